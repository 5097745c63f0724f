"""The vector engine's process as the drill starts it: it kills itself at a place, or answers too early.

Imports as little as the real one, so that it starts as fast.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from cofio.store import vectors_edge_child as child

_PLACES: Final = (
    ("upsert", "engine: about to upsert", "engine: upserted, not answered"),
    ("delete", "engine: about to delete", "engine: deleted, not answered"),
    ("flush", "engine: about to flush", "engine: flushed, not answered"),
    ("_open", "engine: about to open a collection", "engine: opened a collection"),
)
ENGINE_POINTS: Final = tuple(point for _, *points in _PLACES for point in points)


def serve_until(point: str, hit: int, mark: str, descriptor: int, parent: int) -> None:
    """Serves as the real engine does, until the point is reached for the `hit`th time.

    The file `mark` is made then: only the first process that comes so far is killed.
    """
    reached = 0

    def reach(place: str) -> None:
        nonlocal reached
        reached += place == point
        if reached == hit and not os.path.exists(mark):
            os.close(os.open(mark, os.O_CREAT))
            os.kill(os.getpid(), signal.SIGKILL)

    for name, before, after in _PLACES:
        setattr(child._Shards, name, _watched(getattr(child._Shards, name), before, after, reach))
    child.serve(descriptor, parent)


def serve_late(descriptor: int, parent: int) -> None:
    """Serves as the real engine does, but answers writes and flushes before it has applied anything.

    What it answered is applied when somebody reads, so that nobody notices, unless it is killed before.
    """
    answer = child._answer
    owed: list[child.Upsert | child.Delete] = []

    def answered(shards: child._Shards, request: child.Request) -> object:
        match request:
            case child.Upsert() | child.Delete():
                owed.append(request)
                return None
            case child.Flush():
                return None
        if not isinstance(request, child.Coverage):  # which is asked for all the time
            while owed:
                answer(shards, owed.pop(0))
        return answer(shards, request)

    child._answer = answered
    child.serve(descriptor, parent)


def _watched(
    function: Callable[..., Any], before: str, after: str, reach: Callable[[str], None]
) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        reach(before)
        result = function(*args)
        reach(after)
        return result

    return called
