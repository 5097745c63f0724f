"""The state of the service, measured by using each of its parts."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cofio.errors import CofioError, VectorStoreUnavailable
from cofio.runtime import Runtime
from cofio.telemetry import StoreFigures

Status = Literal["ok", "degraded", "down"]
_PATIENCE_S: Final = 5.0  # a part that does not answer within this counts as down


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """One part: `ok`, `degraded` (it works, but something is owed or missing) or `down`.

    `response_ms` is what one use of the part took just now. `detail` differs by part.
    """

    name: str
    status: Status
    response_ms: float
    detail: Mapping[str, object] = field(default_factory=dict)


async def measure_health(runtime: Runtime, *, encode: bool = True) -> tuple[ComponentHealth, ...]:
    """The parts of the service after each was used once, side by side.

    `encode` also runs the encoder on one word; without it the encoder is only described.
    """

    async def database() -> tuple[Status, Mapping[str, object]]:
        await runtime.database.ping()
        return "ok", dict(await runtime.database.counts())

    async def vector_store() -> tuple[Status, Mapping[str, object]]:
        counts = await runtime.index.counts()
        debt = await runtime.outbox.owed()
        coverage = await runtime.index.coverage()
        return ("degraded" if debt else "ok"), {
            "kind": runtime.index.kind,
            "vectors": {level.label: count for level, count in counts.items()},
            "vectors_indexed": coverage.indexed,
            "building": coverage.building,
            "last_build_s": coverage.build_s,
            "index_debt": debt,
        }

    async def encoder() -> tuple[Status, Mapping[str, object]]:
        if encode:
            await runtime.batcher.encode(["health"], urgent=True)
        return "ok", {
            "provider": runtime.encoder.provider,
            "precision": runtime.encoder.precision,
            "fingerprint": runtime.encoder.fingerprint,
        }

    async def graph() -> tuple[Status, Mapping[str, object]]:
        live = runtime.live.current
        return "ok", {"version": live.version, **live.counts}

    async def cache() -> tuple[Status, Mapping[str, object]]:
        figures = runtime.cache.figures()
        asked = figures.hits + figures.misses
        return "ok", {
            "entries": figures.entries,
            "capacity": figures.capacity,
            "content_bytes": figures.content_bytes,
            "capacity_bytes": figures.capacity_bytes,
            "hits": figures.hits,
            "misses": figures.misses,
            "evictions": figures.evictions,
            "hit_rate": round(figures.hits / asked, 4) if asked else None,
        }

    parts = {
        "database": database,
        "vector_store": vector_store,
        "encoder": encoder,
        "graph": graph,
        "cache": cache,
    }
    return tuple(await asyncio.gather(*(_probe(name, use) for name, use in parts.items())))


async def store_figures(runtime: Runtime) -> StoreFigures:
    """What the stores, the graph and the cache hold now, for the metrics."""
    live, cache = runtime.live.current, runtime.cache.figures()
    counts = live.counts
    return StoreFigures(
        memories_by_level={"L0": counts["concepts"], "L1": counts["contexts"], "L2": counts["episodes"]},
        graph_version=live.version,
        graph_size=counts,
        index_debt=await runtime.outbox.owed(),
        index=await _index_figures(runtime),
        cache_entries=cache.entries,
        cache_events={"hits": cache.hits, "misses": cache.misses, "evictions": cache.evictions},
    )


async def _index_figures(runtime: Runtime) -> Mapping[str, int] | None:
    try:
        coverage = await runtime.index.coverage()
    except VectorStoreUnavailable:
        return None  # health says so; the other metrics are wanted all the more
    return {
        "points": coverage.points,
        "points_indexed": coverage.indexed,
        "building": int(coverage.building),
    }


def worst(components: tuple[ComponentHealth, ...]) -> Status:
    """The status of the whole: that of its worst part."""
    found = {component.status for component in components}
    return "down" if "down" in found else "degraded" if "degraded" in found else "ok"


async def _probe(
    name: str, use: Callable[[], Awaitable[tuple[Status, Mapping[str, object]]]]
) -> ComponentHealth:
    started = time.perf_counter()
    status: Status
    detail: Mapping[str, object]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            status, detail = await use()
    except (CofioError, OSError, sqlite3.Error) as error:  # TimeoutError is an OSError
        told = error.detail if isinstance(error, CofioError) else f"{type(error).__name__}: {error}"
        status, detail = "down", {"error": told}
    elapsed_ms = (time.perf_counter() - started) * 1000
    return ComponentHealth(name=name, status=status, response_ms=round(elapsed_ms, 3), detail=detail)
