"""Waiting for the vector index: what is measured is a store at rest, not one whose index is being built."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from cofio.runtime import Runtime
from cofio.store.vectors import Coverage
from cofio.store.vectors_edge import INDEXING_POINTS, INDEXING_SHARE

POLL_S: Final = 0.5


async def wait_until_indexed(runtime: Runtime) -> float:
    """No build is running or due; returns the seconds that this took."""
    started = time.perf_counter()
    while _due(coverage := await runtime.index.coverage()) or coverage.building:  # noqa: ASYNC110  the engine tells no event
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - started


def _due(coverage: Coverage) -> bool:
    # Levels are indexed one by one, but nearly all points are episodes.
    return coverage.points - coverage.indexed > 2 * max(INDEXING_POINTS, INDEXING_SHARE * coverage.points)
