"""Metrics and logs: what they are called, and the few functions that write them.

No text of a transcript or a query goes into either.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import orjson
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30)
_QUERY_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_INGEST_BUCKETS: Final = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 120)
_LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

# `endpoint` is always a route's template, never a raw path: the number of label values stays bounded.
REQUESTS: Final = Counter(
    "api_requests_total", "HTTP requests answered.", labelnames=("method", "endpoint", "status")
)
REQUEST_SECONDS: Final = Histogram(
    "api_request_duration_seconds",
    "Seconds from a request's arrival to the last byte of its answer.",
    labelnames=("method", "endpoint"),
    buckets=_REQUEST_BUCKETS,
)
ACTIVE_REQUESTS: Final = Gauge("api_active_requests", "HTTP requests being answered now.")
INGESTED_MEETINGS: Final = Counter(
    "cofio_ingested_meetings_total",
    "Meetings that ingest stored or found unchanged.",
    labelnames=("outcome", "format"),
)
DEGRADED_ANSWERS: Final = Counter(
    "cofio_degraded_answers_total",
    "Answers to queries that had to do without a part of the service.",
    labelnames=("missing",),
)
QUERY_STAGE_SECONDS: Final = Histogram(
    "cofio_query_stage_seconds",
    "Seconds that one stage of a query took.",
    labelnames=("stage",),
    buckets=_QUERY_BUCKETS,
)
INGEST_STAGE_SECONDS: Final = Histogram(
    "cofio_ingest_stage_seconds",
    "Seconds that one stage of an ingest took.",
    labelnames=("stage",),
    buckets=_INGEST_BUCKETS,
)
LOOP_LAG_SECONDS: Final = Histogram(
    "cofio_event_loop_lag_seconds",
    "Seconds by which the event loop woke a sleeper too late.",
    buckets=_LAG_BUCKETS,
)

LOOP_LAG_WORST_SECONDS: Final = Gauge(
    "cofio_event_loop_lag_worst_seconds", "Worst lag of the event loop in the last minute."
)
_WORST_OF_S: Final = 60.0

_access: Final = logging.getLogger("cofio.access")

_STAGE_SECONDS: Final = {"query": QUERY_STAGE_SECONDS, "ingest": INGEST_STAGE_SECONDS}


class Stages:
    """Measures the stages of one run of a verb: `with stages("encode"): ...`.

    Each stage is also observed in the verb's histogram. A stage entered twice adds up in `ms`.
    """

    __slots__ = ("_histogram", "_seconds")

    def __init__(self, verb: Literal["query", "ingest"]) -> None:
        self._histogram = _STAGE_SECONDS[verb]
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """The time spent inside is added to `stage`, also when it ends in an error."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
            self._histogram.labels(stage).observe(seconds)

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds by stage in the order of first entry, rounded to three decimals."""
        return {stage: round(seconds * 1000, 3) for stage, seconds in self._seconds.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """What the stores, the graph and the cache hold at the moment of a scrape."""

    memories_by_level: Mapping[str, int]  # keys L0, L1, L2
    graph_version: int
    graph_size: Mapping[str, int]  # by kind of thing
    index_debt: int  # changes that the vector index still owes to the database
    # points, points_indexed and building; None while the index does not answer
    index: Mapping[str, int] | None
    index_breaker_open: bool
    index_breaker_openings: int  # since start
    cache_entries: int
    cache_events: Mapping[str, int]  # hits, misses, evictions since start


_OF_INDEX: Final = {
    "points": "Vectors in the index.",
    "points_indexed": "Vectors that a search need not scan.",
    "building": "1 while an index is being built beside the one that serves.",
}


class _Scrape(Collector):
    """Store figures as metric families, so that no gauge keeps a value from an earlier scrape."""

    def __init__(self, figures: StoreFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        figures = self._figures
        memories = GaugeMetricFamily("memory_count_by_level", "Memories stored.", labels=("level",))
        for level, count in figures.memories_by_level.items():
            memories.add_metric((level,), count)
        size = GaugeMetricFamily("cofio_graph_size", "Things in the live graph.", labels=("kind",))
        for kind, count in figures.graph_size.items():
            size.add_metric((kind,), count)
        events = CounterMetricFamily(
            "cofio_cache_events_total", "Events of the answer cache.", labels=("event",)
        )
        for event, count in figures.cache_events.items():
            events.add_metric((event,), count)
        return (
            memories,
            size,
            events,
            GaugeMetricFamily("cofio_cache_entries", "Answers cached.", value=figures.cache_entries),
            GaugeMetricFamily("cofio_graph_version", "Version of the graph.", value=figures.graph_version),
            GaugeMetricFamily("cofio_index_debt", "Changes owed to the index.", value=figures.index_debt),
            GaugeMetricFamily(
                "cofio_index_breaker_open",
                "1 while the vector store is left alone and questions are answered without it.",
                value=int(figures.index_breaker_open),
            ),
            CounterMetricFamily(
                "cofio_index_breaker_openings_total",
                "Times that the vector store was left alone since start.",
                value=figures.index_breaker_openings,
            ),
            *(
                GaugeMetricFamily(f"cofio_index_{name}", told, value=value)
                for name, told in _OF_INDEX.items()
                if (value := (figures.index or {}).get(name)) is not None
            ),
        )


def exposition(figures: StoreFigures) -> tuple[bytes, str]:
    """All metrics of this process in Prometheus' text format, and the content type of that text."""
    scrape = CollectorRegistry()
    scrape.register(_Scrape(figures))
    return generate_latest(REGISTRY) + generate_latest(scrape), CONTENT_TYPE_LATEST


async def sample_loop_lag(interval_s: float = 0.01) -> None:
    """Never returns: observes how late the event loop wakes it, until it is cancelled.

    Whatever keeps the loop from turning is seen: its own callbacks, a thread that holds the interpreter's lock, a
    machine without a free core. A stall is seen short by at most `interval_s`, a shorter one perhaps not at all;
    several within one interval are seen as one. The loop's timers are a millisecond exact.
    """
    worst: deque[tuple[float, float]] = deque()  # times and lags of the last minute that no later lag exceeds
    while True:
        # Not the loop's own clock: uvloop reads it once a turn, which hides what the turn itself takes.
        started = time.perf_counter()
        await asyncio.sleep(interval_s)
        now = time.perf_counter()
        lag = max(0.0, now - started - interval_s)
        LOOP_LAG_SECONDS.observe(lag)
        while worst and worst[-1][1] <= lag:
            worst.pop()
        worst.append((now, lag))
        while worst[0][0] < now - _WORST_OF_S:
            worst.popleft()
        LOOP_LAG_WORST_SECONDS.set(worst[0][1])


# `labels` looks a child up under a lock each time: these are the same few for every request.
_requests: Final = cache(REQUESTS.labels)
_request_seconds: Final = cache(REQUEST_SECONDS.labels)


def request_answered(*, method: str, endpoint: str, status: int, seconds: float, request_id: str) -> None:
    """The request is counted, timed, and logged as one line of `cofio.access`.

    `endpoint` is a route's template; a query string, a body or a header is never logged.
    """
    _requests(method, endpoint, str(status)).inc()
    _request_seconds(method, endpoint).observe(seconds)
    if _access.isEnabledFor(logging.INFO):
        told = {
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "request_id": request_id,
        }
        # Without the walk up the stack for the caller's file and line, which nobody prints.
        _access.handle(logging.LogRecord(_access.name, logging.INFO, "", 0, "request", (told,), None))


class _AccessFormatter(logging.Formatter):
    """Formats the records of `request_answered` as the other lines are, but renders each kind of request once.

    What differs from one request to the next of its kind is filled in: 5 µs a line where structlog takes 50 to 80.
    """

    _TIME: Final = "time-of-the-line"
    _ID: Final = "id-of-the-request"
    _MS: Final = 9876543.21

    def __init__(self, renderers: Sequence[structlog.typing.Processor]) -> None:
        super().__init__()
        self._renderers = renderers
        self._templates: dict[tuple[str, str, int], str] = {}
        self._stamp = _stamper()

    def format(self, record: logging.LogRecord) -> str:
        """The line of one request, without its end."""
        told: Mapping[str, Any] = record.args  # type: ignore[assignment]  # as `request_answered` gave it
        kind = (told["method"], told["endpoint"], told["status"])
        template = self._templates.get(kind)
        if template is None:
            template = self._templates[kind] = self._template(record, *kind)
        stamped: MutableMapping[str, Any] = {}
        self._stamp(None, "", stamped)
        return template % {**told, **stamped}

    def _template(self, record: logging.LogRecord, method: str, endpoint: str, status: int) -> str:
        line: Any = {
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "duration_ms": self._MS,
            "event": record.msg,
            "request_id": self._ID,
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": self._TIME,
        }
        for render in self._renderers:
            line = render(None, "info", line)
        text = str(line).replace("%", "%%")
        for value, name in ((self._TIME, "timestamp"), (self._ID, "request_id"), (self._MS, "duration_ms")):
            text = text.replace(str(value), f"%({name})s")
        return text


def _stamper() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def configure_logging(level: str, format: Literal["console", "json"]) -> None:
    """Log lines of this process, libraries' too, go to stderr in one format from `level` up; theirs never below info."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _stamper(),
    ]
    renderers: list[structlog.typing.Processor] = (
        [
            # Never the local variables: they hold what people said and asked.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
        if format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    access = logging.StreamHandler(sys.stderr)
    access.setFormatter(_AccessFormatter(renderers))
    _access.handlers = [access]
    _access.propagate = False
    root = logging.getLogger()
    root.handlers = [handler]
    # Below info libraries write down what they are given: aiosqlite each parameter of a statement, and so every text.
    logging.getLogger("cofio").setLevel(level.upper())
    root.setLevel(max(logging.INFO, logging.getLogger("cofio").level))
    # One line a request to Qdrant or to our own service would drown the rest.
    # aiosqlite and multipart tell, for debugging, what goes through them: all that was said and asked.
    for chatty in ("httpx", "httpcore", "aiosqlite", "python_multipart"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _dumps(value: object, **_: object) -> str:
    return orjson.dumps(value, default=str).decode()
