"""The figures of the stores, the graph and this process for the metrics."""

from __future__ import annotations

import asyncio
import pkgutil
import platform
from collections.abc import Iterable, Sequence
from typing import Any, Final

from prometheus_client.core import Metric

import cofio
from cofio.embed.onnx import CUDA
from cofio.errors import StoreUnavailable, Unavailable, VectorStoreUnavailable
from cofio.health import unready
from cofio.resources import memory, resident_bytes
from cofio.runtime import Runtime
from cofio.store import operations
from cofio.telemetry import metrics

# How old at most are the figures of one worker that another one tells.
PUBLISH_S: Final = 1.0
# By its name: its library takes long to import, and is of no use without a GPU.
_GPU_MEMORY: Final = "cofio.gpu:gpu_memory"


async def read_figures(runtime: Runtime) -> Sequence[Metric]:
    """What all workers share, as it is now; what does not answer is left out, since health says so."""
    live, settings = runtime.live.current, runtime.settings
    counts = live.counts
    return (
        metrics.BUILD_INFO.of([((cofio.__version__, platform.python_version()), 1)]),
        metrics.WORKERS_WANTED.value(settings.workers),
        metrics.ENCODER_INFO.of([((runtime.encoder.provider, runtime.encoder.precision), 1)]),
        metrics.MEMORIES.of(
            [(("L0",), counts["concepts"]), (("L1",), counts["contexts"]), (("L2",), counts["episodes"])]
        ),
        metrics.GRAPH_VERSION.value(live.version),
        metrics.GRAPH_SIZE.of(((kind,), count) for kind, count in counts.items()),
        *await _of_database(runtime),
        *await _of_index(runtime),
        *await _of_disk(runtime),
        *_of_memory(),
        *await _of_gpus(runtime),
    )


async def publish(runtime: Runtime) -> None:
    """The gauges of this process hold what is true of it now."""
    metrics.WORKERS.set(1)
    metrics.READY.set(await unready(runtime) is None)
    metrics.DRAINING.set(runtime.draining.is_set())
    metrics.REBUILDING.set(runtime.rebuilding.is_set())
    metrics.INDEX_BREAKER_OPEN.set(runtime.breaker.reason is not None)
    cache = runtime.cache.figures()
    metrics.CACHE_ENTRIES.set(cache.entries)
    metrics.CACHE_BYTES.set(cache.content_bytes)
    metrics.QUERY_QUEUE.set(runtime.recalls.waiting)
    metrics.ENCODER_QUEUE.labels("question").set(runtime.batcher.pending_questions)
    metrics.ENCODER_QUEUE.labels("import").set(runtime.batcher.pending_imports)
    for process, process_id in (("service", None), ("engine", runtime.index.process_id)):
        if process == "service" or process_id is not None:
            metrics.RESIDENT_BYTES.labels(process).set(resident_bytes(process_id) or 0)


async def keep_published(runtime: Runtime) -> None:
    """Never returns: other workers, which are asked for the metrics of all, find this one's gauges as they are."""
    while True:
        await publish(runtime)
        await asyncio.sleep(PUBLISH_S)


async def _of_disk(runtime: Runtime) -> Iterable[Metric]:
    try:
        disk = await runtime.disk.last()
    except Unavailable:
        return ()
    return (
        metrics.STORE_BYTES.of(((store,), size) for store, size in disk.stores.items()),
        metrics.DISK_FREE.of(((folder,), space.free) for folder, space in disk.folders.items()),
        metrics.DISK_SIZE.of(((folder,), space.size) for folder, space in disk.folders.items()),
        metrics.BACKUPS.value(disk.backups),
        metrics.LAST_BACKUP.value(disk.last_backup or 0),
    )


async def _of_database(runtime: Runtime) -> Iterable[Metric]:
    try:
        owed = await runtime.outbox.owed()
        waiting = await operations.pending_meetings(runtime.database)
    except StoreUnavailable:
        return ()
    return (metrics.INDEX_DEBT.value(owed), metrics.INGEST_QUEUE.value(waiting))


async def _of_index(runtime: Runtime) -> Iterable[Metric]:
    try:
        async with runtime.breaker.probing(runtime.settings.max_search_wait_s):
            coverage = await runtime.index.coverage()
    except VectorStoreUnavailable:
        return ()
    return (
        metrics.INDEX_POINTS.value(coverage.points),
        metrics.INDEX_POINTS_INDEXED.value(coverage.indexed),
        metrics.INDEX_BUILDING.value(int(coverage.building)),
    )


def _of_memory() -> Iterable[Metric]:
    told = memory()
    if told is None:
        return ()
    return (metrics.MEMORY_USED.value(told.used), metrics.MEMORY_LIMIT.value(told.limit))


async def _of_gpus(runtime: Runtime) -> Iterable[Metric]:
    if runtime.encoder.provider != CUDA:
        return ()
    read: Any = await asyncio.to_thread(pkgutil.resolve_name, _GPU_MEMORY)
    gpus = await asyncio.to_thread(read)
    return (
        metrics.GPU_MEMORY_USED.of(((each.gpu,), each.used) for each in gpus),
        metrics.GPU_MEMORY_TOTAL.of(((each.gpu,), each.total) for each in gpus),
    )
