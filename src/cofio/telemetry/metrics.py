"""Every metric: its name, what it tells, its labels, and what it is where several workers serve.

Most are objects of prometheus_client that count in their process; its multiprocess mode adds the workers up
(`telemetry/exposition.py`). What the workers share, such as the store, is read when it is asked for: a `Reading`.

`endpoint` is always a route's template, never a raw path, and no label takes what a client has written: the number of
label values stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

# Among several workers: those of one that has ended count no more in a gauge, but do in counters and histograms.
Together = Literal["livesum", "livemax", "livemin"]
_TOGETHER: Final[Mapping[Together, str]] = {
    "livesum": "sum of the workers",
    "livemax": "highest of the workers",
    "livemin": "lowest of the workers",
}
_SUMMED: Final = "sum of the workers"
_READ: Final = "as the worker that answers reads it"

# An answer from the cache takes .2 ms, another 10 to 25, an ingest 20 to 200, an hour of meeting seconds
# (docs/benchmarks.md).
_REQUEST_BUCKETS: Final = (
    0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60,
)  # fmt: skip
_QUERY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5)
_QUERY_STAGE_BUCKETS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5,
)  # fmt: skip
_INGEST_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_INGEST_STAGE_BUCKETS: Final = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 120)
_LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_BATCH_SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A metric as the documentation tells it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    told: str
    together: str


_DESCRIBED: Final[list[Described]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A gauge that keeps no value: what is not read is not told, and nothing is left of an earlier scrape."""

    name: str
    told: str
    labels: tuple[str, ...]

    def of(self, values: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
        """The gauge with a value for each combination of labels."""
        family = GaugeMetricFamily(self.name, self.told, labels=self.labels)
        for labels, value in values:
            family.add_metric(labels, value)
        return family

    def value(self, value: float) -> GaugeMetricFamily:
        """The gauge, which has no labels, with its value."""
        return self.of([((), value)])


def _counter(name: str, told: str, *labels: str) -> Counter:
    _DESCRIBED.append(Described(name=name, kind="counter", labels=labels, told=told, together=_SUMMED))
    return Counter(name, told, labels)


def _histogram(name: str, told: str, buckets: Sequence[float], *labels: str) -> Histogram:
    _DESCRIBED.append(Described(name=name, kind="histogram", labels=labels, told=told, together=_SUMMED))
    return Histogram(name, told, labels, buckets=buckets)


def _gauge(name: str, told: str, together: Together, *labels: str) -> Gauge:
    _DESCRIBED.append(
        Described(name=name, kind="gauge", labels=labels, told=told, together=_TOGETHER[together])
    )
    return Gauge(name, told, labels, multiprocess_mode=together)


def _reading(name: str, told: str, *labels: str) -> Reading:
    _DESCRIBED.append(Described(name=name, kind="gauge", labels=labels, told=told, together=_READ))
    return Reading(name=name, told=told, labels=labels)


# Requests
REQUESTS: Final = _counter("api_requests_total", "HTTP requests answered.", "method", "endpoint", "status")
REQUEST_SECONDS: Final = _histogram(
    "api_request_duration_seconds",
    "Seconds from a request's arrival to the last byte of its answer; `unrouted` are those refused before their route.",
    _REQUEST_BUCKETS,
    "method",
    "endpoint",
)
ACTIVE_REQUESTS: Final = _gauge("api_active_requests", "HTTP requests being answered now.", "livesum")
PROBLEMS: Final = _counter("cofio_problems_total", "Requests refused, by the problem's code.", "code")
RATE_LIMITED: Final = _counter(
    "cofio_rate_limited_total", "Requests refused because their sender was over its rate.", "kind"
)
RATE_STORAGE_FAILURES: Final = _counter(
    "cofio_rate_storage_failures_total",
    "Times that the shared storage of rates did not answer, and each process counted for itself.",
)

# Queries
QUERY_SECONDS: Final = _histogram(
    "cofio_query_seconds", "Seconds that a query took which the cache could not answer.", _QUERY_BUCKETS
)
QUERY_STAGE_SECONDS: Final = _histogram(
    "cofio_query_stage_seconds",
    "Seconds that one stage of a query took; `cache` is one that the cache answered.",
    _QUERY_STAGE_BUCKETS,
    "stage",
)
DEGRADED_ANSWERS: Final = _counter(
    "cofio_degraded_answers_total",
    "Answers to queries that had to do without a part of the service.",
    "missing",
)
CACHE_EVENTS: Final = _counter(
    "cofio_cache_events_total",
    "Hits, misses and evictions of the answer cache; `shared_hits` are those in Redis, misses too.",
    "event",
)
CACHE_ENTRIES: Final = _gauge("cofio_cache_entries", "Answers cached.", "livesum")
CACHE_BYTES: Final = _gauge("cofio_cache_bytes", "Bytes of the answers cached.", "livesum")

# Ingest
INGEST_SECONDS: Final = _histogram(
    "cofio_ingest_seconds", "Seconds that the ingest of one meeting took.", _INGEST_BUCKETS
)
INGEST_STAGE_SECONDS: Final = _histogram(
    "cofio_ingest_stage_seconds",
    "Seconds that one stage of an ingest took.",
    _INGEST_STAGE_BUCKETS,
    "stage",
)
INGESTED_MEETINGS: Final = _counter(
    "cofio_ingested_meetings_total",
    "Meetings that ingest stored or found unchanged.",
    "outcome",
    "format",
)
INGEST_FAILURES: Final = _counter(
    "cofio_ingest_failures_total",
    "Meetings that ingest could not take, by the format that they were read as (`unknown` if none fits) and the error's code.",
    "format",
    "code",
)
INGEST_QUEUE: Final = _reading(
    "cofio_ingest_queue_meetings", "Meetings of accepted batches that are still to be ingested."
)

# Behind the requests
BACKGROUND_FAILURES: Final = _counter(
    "cofio_background_failures_total",
    "Errors that nobody foresaw in work that goes on behind the requests; it was begun again after each.",
    "work",
)

# Encoder
QUERY_QUEUE: Final = _gauge("cofio_query_queue_questions", "Questions that wait for their turn.", "livesum")
ENCODER_QUEUE: Final = _gauge(
    "cofio_encoder_queue_texts", "Texts that wait for the encoder: `question` or `import`.", "livesum", "kind"
)
ENCODER_BATCH_TEXTS: Final = _histogram(
    "cofio_encoder_batch_texts", "Texts of one call of the encoder.", _BATCH_BUCKETS, "kind"
)
ENCODER_BATCH_SECONDS: Final = _histogram(
    "cofio_encoder_batch_seconds", "Seconds of one call of the encoder.", _BATCH_SECONDS_BUCKETS, "kind"
)
ENCODER_INFO: Final = _reading(
    "cofio_encoder_info",
    "1, with the execution provider and precision of the encoder.",
    "provider",
    "precision",
)
GPU_MEMORY_USED: Final = _reading(
    "cofio_gpu_memory_used_bytes",
    "GPU memory in use by all processes; only where the encoder runs on a GPU.",
    "gpu",
)
GPU_MEMORY_TOTAL: Final = _reading(
    "cofio_gpu_memory_total_bytes", "GPU memory; only where the encoder runs on a GPU.", "gpu"
)

# Memory, graph and index
MEMORIES: Final = _reading("memory_count_by_level", "Memories stored.", "level")
GRAPH_VERSION: Final = _reading(
    "cofio_graph_version", "Version of the truth that the graph holds; it grows with every change."
)
GRAPH_SIZE: Final = _reading("cofio_graph_size", "Things in the live graph.", "kind")
INDEX_DEBT: Final = _reading("cofio_index_debt", "Changes that the vector index still owes to the database.")
INDEX_POINTS: Final = _reading("cofio_index_points", "Vectors in the index; absent while it does not answer.")
INDEX_POINTS_INDEXED: Final = _reading(
    "cofio_index_points_indexed",
    "Vectors that a search need not scan; absent while the index does not answer.",
)
INDEX_BUILDING: Final = _reading(
    "cofio_index_building",
    "1 while an index is being built beside the one that serves; absent while the index does not answer.",
)
INDEX_BREAKER_OPEN: Final = _gauge(
    "cofio_index_breaker_open",
    "1 while the vector store is left alone and questions are answered without it.",
    "livemax",
)
INDEX_BREAKER_OPENINGS: Final = _counter(
    "cofio_index_breaker_openings_total", "Times that the vector store was left alone."
)

# Disk
STORE_BYTES: Final = _reading(
    "cofio_store_bytes",
    "Bytes on disk, measured every ten seconds: `database`, its `log`, `vectors` (of the embedded engine), the `graph` snapshot, `backups`.",
    "store",
)
DISK_FREE: Final = _reading("cofio_disk_free_bytes", "Bytes free where this folder lies.", "folder")
DISK_SIZE: Final = _reading("cofio_disk_size_bytes", "Bytes of the file system of this folder.", "folder")
BACKUPS: Final = _reading("cofio_backups", "Backups in backup_dir, whether they can be read or not.")
LAST_BACKUP: Final = _reading(
    "cofio_backup_last_success_timestamp_seconds",
    "When the newest backup that can be read was made, in seconds of the epoch; 0 if there is none.",
)

# The process
BUILD_INFO: Final = _reading(
    "cofio_build_info", "1, with the versions of cofio and Python.", "version", "python"
)
WORKERS: Final = _gauge("cofio_workers", "Processes that serve.", "livesum")
WORKERS_WANTED: Final = _reading(
    "cofio_workers_wanted", "Processes that should serve: the setting `workers`."
)
READY: Final = _gauge(
    "cofio_ready", "1 if the service would answer /health/ready with 200, 0 if not.", "livemin"
)
DRAINING: Final = _gauge("cofio_draining", "1 once the service was told to stop.", "livemax")
REBUILDING: Final = _gauge(
    "cofio_rebuilding", "1 while the vector index is made anew from the database.", "livemax"
)
RESIDENT_BYTES: Final = _gauge(
    "cofio_resident_memory_bytes",
    "Resident memory of the `service` and of the process of the embedded vector `engine`.",
    "livesum",
    "process",
)
MEMORY_USED: Final = _reading(
    "cofio_memory_used_bytes", "Memory in use in the container, or on the machine where nothing limits it."
)
MEMORY_LIMIT: Final = _reading(
    "cofio_memory_limit_bytes",
    "Memory that the container may take, or the machine's where nothing limits it.",
)
LOOP_LAG_SECONDS: Final = _histogram(
    "cofio_event_loop_lag_seconds",
    "Seconds by which the event loop woke a sleeper too late.",
    _LAG_BUCKETS,
)
LOOP_LAG_WORST_SECONDS: Final = _gauge(
    "cofio_event_loop_lag_worst_seconds", "Worst lag of the event loop in the last minute.", "livemax"
)


def describe_metrics() -> str:
    """Every metric with its type, labels and meaning, as a table in Markdown."""
    rows = ["| metric | type | labels | meaning | several workers |", "|---|---|---|---|---|"]
    for each in _DESCRIBED:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.name}` | {each.kind} | {labels} | {each.told} | {each.together} |")
    return "\n".join(rows)
