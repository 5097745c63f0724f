"""The state of the service, measured by using each of its parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cofio.errors import CofioError, VectorStoreUnavailable
from cofio.runtime import Runtime
from cofio.telemetry import StoreFigures

Status = Literal["ok", "degraded", "down"]
_Used = tuple[str | None, Mapping[str, object]]  # why the part is not well, and what it tells
_PATIENCE_S: Final = 10.0  # a part that does not answer within this, however busy, counts as down


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """One part: `ok`, `degraded` (something is owed, or others stand in for it) or `down`.

    `reason` says why it is not `ok`. `response_ms` is what one use of the part took just now. `detail` differs by
    part.
    """

    name: str
    status: Status
    reason: str | None
    response_ms: float
    detail: Mapping[str, object] = field(default_factory=dict)


async def measure_health(runtime: Runtime, *, thorough: bool = True) -> tuple[ComponentHealth, ...]:
    """The parts of the service after each was used once, side by side.

    If `thorough`, the truth is counted and the encoder runs on one word, which is too much for who asks every second.
    """

    async def database() -> _Used:
        await runtime.database.ping()
        return None, dict(await runtime.database.counts()) if thorough else {}

    async def vector_store() -> _Used:
        debt = await runtime.outbox.owed()
        async with runtime.breaker.calling(runtime.settings.max_search_wait_s):
            counts = await runtime.index.counts()
            coverage = await runtime.index.coverage()
        return (f"it is owed {debt} writes" if debt else None), {
            "kind": runtime.index.kind,
            "vectors": {level.label: count for level, count in counts.items()},
            "vectors_indexed": coverage.indexed,
            "building": coverage.building,
            "last_build_s": coverage.build_s,
            "index_debt": debt,
        }

    async def encoder() -> _Used:
        if thorough:
            await runtime.batcher.encode(["health"], urgent=True)
        return None, {
            "provider": runtime.encoder.provider,
            "precision": runtime.encoder.precision,
            "fingerprint": runtime.encoder.fingerprint,
        }

    async def graph() -> _Used:
        live = runtime.live.current
        return None, {"version": live.version, **live.counts}

    async def cache() -> _Used:
        figures = runtime.cache.figures()
        asked = figures.hits + figures.misses
        return None, {
            "entries": figures.entries,
            "capacity": figures.capacity,
            "content_bytes": figures.content_bytes,
            "capacity_bytes": figures.capacity_bytes,
            "hits": figures.hits,
            "misses": figures.misses,
            "evictions": figures.evictions,
            "hit_rate": round(figures.hits / asked, 4) if asked else None,
        }

    return tuple(
        await asyncio.gather(
            _probe("database", database),
            # Questions are answered without these two, if not as well.
            _probe("vector_store", vector_store, without="degraded"),
            _probe("encoder", encoder, without="degraded"),
            _probe("graph", graph),
            _probe("cache", cache),
        )
    )


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
        index_breaker_open=runtime.breaker.reason is not None,
        index_breaker_openings=runtime.breaker.times_opened,
        cache_entries=cache.entries,
        cache_events={"hits": cache.hits, "misses": cache.misses, "evictions": cache.evictions},
    )


async def _index_figures(runtime: Runtime) -> Mapping[str, int] | None:
    try:
        async with runtime.breaker.calling(runtime.settings.max_search_wait_s):
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
    name: str, use: Callable[[], Awaitable[_Used]], *, without: Literal["degraded", "down"] = "down"
) -> ComponentHealth:
    """The part after one use; `without` is what the whole is while the part fails."""
    started = time.perf_counter()
    detail: Mapping[str, object] = {}
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reason, detail = await use()
        status: Status = "ok" if reason is None else "degraded"
    except CofioError as error:
        status, reason = without, error.detail
    except TimeoutError:
        status, reason = without, f"it did not answer within {_PATIENCE_S:g} s"
    elapsed_ms = (time.perf_counter() - started) * 1000
    return ComponentHealth(
        name=name, status=status, reason=reason, response_ms=round(elapsed_ms, 3), detail=detail
    )
