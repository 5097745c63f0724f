"""Places at which a life of the drill kills itself.

They are put around cofio's own functions from outside, in a process of the drill: cofio has no hook for them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import pathlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from yoyo.backends.base import DatabaseBackend

from cofio import backups, ingest
from cofio.data_dir import GRAPH_NAME
from cofio.graph import snapshot
from cofio.livegraph import LiveGraph
from cofio.store import archives, generations, meetings, operations, vectors_edge_process
from cofio.store.database import Database
from cofio.store.outbox import Outbox
from cofio.store.vectors_edge import EdgeIndex
from drills.engine import ENGINE_POINTS

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The process, or its whole group, is killed when `point` is reached for the `hit`th time."""

    point: str
    hit: int
    group: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A function of cofio, and what reaching its begin and its end is called; None where nobody is killed."""

    owner: object
    name: str
    before: str | None = None
    after: str | None = None


_PLACES: Final = (
    _Place(
        owner=DatabaseBackend,
        name="mark_one",
        before="migration: applied, not noted",
        after="migration: noted, not committed",
    ),
    _Place(owner=ingest, name="save_meeting", before="ingest: nothing written"),
    _Place(owner=meetings, name="_save_edges", before="ingest: memories written, edges not"),
    _Place(owner=meetings, name="_record_change", before="write: concepts not refreshed"),
    _Place(
        owner=Database,
        name="_commit",
        before="commit: about to",
        after="commit: done, told nobody",
    ),
    _Place(owner=LiveGraph, name="catch_up", before="graph: behind the truth", after="graph: caught up"),
    _Place(owner=Outbox, name="pay", before="outbox: about to pay", after="outbox: paid"),
    _Place(owner=EdgeIndex, name="upsert", before="index: about to upsert", after="index: upserted a level"),
    _Place(
        owner=EdgeIndex, name="delete", before="index: about to delete", after="index: deleted of a level"
    ),
    _Place(
        owner=EdgeIndex, name="flush", before="strike: about to flush", after="strike: flushed, not struck"
    ),
    _Place(owner=Outbox, name="strike", after="strike: done"),
    _Place(owner=snapshot, name="save", before="snapshot: about to write", after="snapshot: in place"),
    _Place(owner=meetings, name="delete_meeting", before="delete: nothing done", after="delete: committed"),
    _Place(owner=Database, name="scrub", before="delete: log not scrubbed", after="delete: log scrubbed"),
    _Place(owner=operations, name="create_operation", after="batch: stored, not acknowledged"),
    _Place(owner=operations, name="start_operation", after="batch: started"),
    _Place(
        owner=operations,
        name="settle_meeting",
        before="batch: meeting stored, not settled",
        after="batch: meeting settled",
    ),
    _Place(owner=operations, name="finish_operation", before="batch: about to finish"),
    _Place(owner=archives, name="copy_database", before="backup: about to copy", after="backup: copied"),
    _Place(owner=archives, name="_pack", after="backup: packed, not named"),
    _Place(owner=backups, name="write_archive", after="backup: named, older ones not removed"),
    _Place(owner=generations, name="copy", before="build: about to copy", after="build: copied"),
    _Place(owner=EdgeIndex, name="_optimize", after="build: indexed"),
    _Place(
        owner=generations, name="make_current", before="build: about to be current", after="build: current"
    ),
)
_SNAPSHOT_REPLACED: Final = "snapshot: written beside, not in place"
ACKNOWLEDGING: Final = "receipt: about to go out"
ACKNOWLEDGED: Final = "receipt: gone out"

POINTS: Final = (
    *(point for place in _PLACES for point in (place.before, place.after) if point is not None),
    _SNAPSHOT_REPLACED,
    ACKNOWLEDGING,
    ACKNOWLEDGED,
)


class Points:
    """Counts how often the armed fault's point was reached, and kills when it is time."""

    def __init__(self, fault: Fault | None, engine_mark: pathlib.Path) -> None:
        self._fault = fault
        self._engine_mark = engine_mark
        self._reached = 0

    def reach(self, point: str) -> None:
        """Nothing has happened, or this process is no more."""
        if self._fault is None or point != self._fault.point:
            return
        self._reached += 1
        if self._reached == self._fault.hit:
            die(group=self._fault.group)

    def install(self) -> None:
        """Every place of this process tells when it is reached."""
        for place in _PLACES:
            setattr(place.owner, place.name, self._watched(getattr(place.owner, place.name), place))
        replace = pathlib.Path.replace

        @functools.wraps(replace)
        def replaced(path: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
            if pathlib.Path(target).name == GRAPH_NAME:
                self.reach(_SNAPSHOT_REPLACED)
            return replace(path, target)

        pathlib.Path.replace = replaced  # type: ignore[method-assign,assignment]
        if self._fault is not None and self._fault.point in ENGINE_POINTS:
            self._engine_mark.unlink(missing_ok=True)
            fault = f"{self._fault.point!r}, {self._fault.hit}, {str(self._engine_mark)!r}"
            vectors_edge_process._BOOT = (  # type: ignore[misc]
                f"import sys; from drills import engine; engine.serve_until({fault}, *map(int, sys.argv[1:]))"
            )

    def _watched(self, function: Callable[P, R], place: _Place) -> Callable[P, R]:
        if asyncio.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                self._reach(place.before)
                result = await function(*args, **kwargs)
                self._reach(place.after)
                return result

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            self._reach(place.before)
            result = function(*args, **kwargs)
            self._reach(place.after)
            return result

        return called

    def _reach(self, point: str | None) -> None:
        if point is not None:
            self.reach(point)


def die(*, group: bool) -> None:
    """SIGKILL to this process, or to its whole group."""
    if group:
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
