"""The state of the service, part by part, with what was measured just now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cofio.errors import CofioError
from cofio.resources import memory, resident_bytes
from cofio.runtime import Runtime
from cofio.telemetry.requests import RECENT_S, recent_requests

Status = Literal["ok", "degraded", "down"]
_PATIENCE_S: Final = 10.0  # a part that does not answer within this, however busy, counts as down
# Of fewer requests a share of errors says nothing.
_FEW_REQUESTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """One part: `ok`, `degraded` (something is owed, near its bound, or others stand in for it) or `down`.

    `reason` says why it is not `ok`, in words that anybody may read; `error` is what the part itself said, which may
    name files and addresses. `response_ms` is what one use of the part took: just now, of the encoder the last time, and
    None before that. `detail` differs by part.
    """

    name: str
    status: Status
    reason: str | None
    error: str | None
    response_ms: float | None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    """A part that answered: why it is not well all the same, and what it tells."""

    detail: Mapping[str, object]
    reason: str | None = None
    error: str | None = None
    response_ms: float | None = None  # where it is not what the use took


async def unready(runtime: Runtime) -> str | None:
    """Why questions should go to another process, in words that anybody may read; None if they need not."""
    if runtime.draining.is_set():
        return "The service is stopping; ask another one, or this one when it is back."
    if runtime.rebuilding.is_set():
        return "The vector index is being made anew from the database; ask again when it is complete."
    database = await _probe("database", lambda: _database(runtime))
    if database.status == "down":
        return "Down: database. /health/detailed tells why."
    return None


async def measure_health(runtime: Runtime, *, thorough: bool = True) -> tuple[ComponentHealth, ...]:
    """The parts of the service after each was used once, side by side; it takes some milliseconds.

    If `thorough`, what is near its bound is told too: memory, disk, queue and errors. The encoder is not run for this:
    its last call tells.
    """
    probes = [
        _probe("database", lambda: _database(runtime)),
        # Questions are answered without these two, if not as well.
        _probe("vector_store", lambda: _vector_store(runtime), without="degraded"),
        _probe("encoder", lambda: _encoder(runtime), without="degraded"),
        _probe("graph", lambda: _graph(runtime)),
        _probe("cache", lambda: _cache(runtime)),
    ]
    if thorough:
        probes += [
            _probe("memory", lambda: _memory(runtime)),
            _probe("disk", lambda: _disk(runtime), without="degraded"),
            _probe("queue", lambda: _queue(runtime)),
            _probe("requests", lambda: _requests(runtime)),
        ]
    return tuple(await asyncio.gather(*probes))


def worst(components: tuple[ComponentHealth, ...]) -> Status:
    """The status of the whole: that of its worst part."""
    found = {component.status for component in components}
    return "down" if "down" in found else "degraded" if "degraded" in found else "ok"


async def _database(runtime: Runtime) -> _Used:
    await runtime.database.ping()
    return _Used(detail={})


async def _vector_store(runtime: Runtime) -> _Used:
    debt, bound = await runtime.outbox.owed(), runtime.settings.degraded_index_debt
    async with runtime.breaker.probing(runtime.settings.max_search_wait_s):
        coverage = await runtime.index.coverage()
    return _Used(
        reason=f"It is owed {debt} writes, more than {bound}." if debt > bound else None,
        detail={
            "kind": runtime.index.kind,
            "vectors": coverage.points,
            "vectors_indexed": coverage.indexed,
            "building": coverage.building,
            "last_build_s": coverage.build_s,
            "index_debt": debt,
            "degraded_index_debt": bound,
        },
    )


async def _encoder(runtime: Runtime) -> _Used:
    failure, last_s = runtime.batcher.last_failure, runtime.batcher.last_call_s
    return _Used(
        reason="Its last call failed." if failure is not None else None,
        error=failure,
        response_ms=None if last_s is None else last_s * 1000,
        detail={
            "provider": runtime.encoder.provider,
            "precision": runtime.encoder.precision,
            "fingerprint": runtime.encoder.fingerprint,
        },
    )


async def _graph(runtime: Runtime) -> _Used:
    live = runtime.live.current
    return _Used(detail={"version": live.version, **live.counts})


async def _cache(runtime: Runtime) -> _Used:
    figures = runtime.cache.figures()
    asked = figures.hits + figures.misses
    return _Used(
        detail={
            "entries": figures.entries,
            "capacity": figures.capacity,
            "content_bytes": figures.content_bytes,
            "capacity_bytes": figures.capacity_bytes,
            "hits": figures.hits,
            "misses": figures.misses,
            "evictions": figures.evictions,
            "hit_rate": round(figures.hits / asked, 4) if asked else None,
        }
    )


async def _memory(runtime: Runtime) -> _Used:
    bound = runtime.settings.degraded_memory_share
    told = memory()
    share = None if told is None else told.used / told.limit
    return _Used(
        reason=f"{share:.0%} are in use, more than {bound:.0%}."
        if share is not None and share > bound
        else None,
        detail={
            "used_bytes": told and told.used,
            "limit_bytes": told and told.limit,
            "resident_bytes": resident_bytes(),
            "engine_resident_bytes": runtime.index.process_id and resident_bytes(runtime.index.process_id),
            "degraded_memory_share": bound,
        },
    )


async def _disk(runtime: Runtime) -> _Used:
    bound = runtime.settings.degraded_disk_free_bytes
    disk = await runtime.disk.last()
    full = [name for name, space in disk.folders.items() if space.free < bound]
    return _Used(
        reason=f"Less than {bound} bytes are free for: {' and '.join(full)}." if full else None,
        detail={
            "free_bytes": {name: space.free for name, space in disk.folders.items()},
            "store_bytes": disk.stores,
            "backups": disk.backups,
            "degraded_disk_free_bytes": bound,
        },
    )


async def _queue(runtime: Runtime) -> _Used:
    # Of those under way so many are worked on; the others wait.
    waiting, most = (
        runtime.recalls.waiting,
        max(1, runtime.settings.max_pending_queries - runtime.recalls.at_once),
    )
    bound = runtime.settings.degraded_queue_share
    return _Used(
        reason=(
            f"{waiting} questions wait for their turn, more than {bound:.0%} of what may."
            if waiting > bound * most
            else None
        ),
        detail={
            "questions": waiting,
            "most_questions": most,
            "import_texts": runtime.batcher.pending_imports,
            "degraded_queue_share": bound,
        },
    )


async def _requests(runtime: Runtime) -> _Used:
    bound = runtime.settings.degraded_error_share
    answered, failed = recent_requests()
    share = failed / answered if answered else 0.0
    return _Used(
        reason=(
            f"{share:.1%} of the last minutes' requests failed, more than {bound:.1%}."
            if answered >= _FEW_REQUESTS and share > bound
            else None
        ),
        detail={
            "seconds": RECENT_S,
            "answered": answered,
            "failed": failed,
            "degraded_error_share": bound,
        },
    )


async def _probe(
    name: str, use: Callable[[], Awaitable[_Used]], *, without: Literal["degraded", "down"] = "down"
) -> ComponentHealth:
    """The part after one use; `without` is what the whole is while the part fails."""
    started = time.perf_counter()
    status: Status
    try:
        async with asyncio.timeout(_PATIENCE_S):
            used = await use()
        status = "ok" if used.reason is None else "degraded"
    except CofioError as error:
        status, used = without, _Used(reason=f"{error.title()}.", error=error.detail, detail={})
    except TimeoutError:
        status, used = without, _Used(reason=f"It did not answer within {_PATIENCE_S:g} s.", detail={})
    elapsed_ms = (time.perf_counter() - started) * 1000
    measured_ms = used.response_ms if name == "encoder" else elapsed_ms
    return ComponentHealth(
        name=name,
        status=status,
        reason=used.reason,
        error=used.error,
        response_ms=None if measured_ms is None else round(measured_ms, 3),
        detail=used.detail,
    )
