"""Counters that alerts look at are there from the start, at zero.

To Prometheus a series that appears with the value 1 has not grown: the first failure of each kind after a start would
be missing from every rate. So each combination of labels that may fail is told before it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

from starlette.routing import Route

from cofio.errors import (
    CofioError,
    EmptyTranscript,
    EncoderUnavailable,
    InvalidInput,
    Overloaded,
    StorageFull,
    StoreBusy,
    TranscriptTooLong,
    UnknownFormat,
    UnreadableTranscript,
    VectorStoreUnavailable,
)
from cofio.http import query
from cofio.http.problems import TABLE
from cofio.telemetry.metrics import (
    DEGRADED_ANSWERS,
    INGEST_FAILURES,
    INGESTED_MEETINGS,
    PROBLEMS,
    RATE_LIMITED,
    REQUEST_SECONDS,
    REQUESTS,
)
from cofio.text.parse import FORMATS

# What an ingest says became of its meeting, and why there is none.
_OUTCOMES: Final = ("created", "grown", "changed", "unchanged")
_REFUSALS: Final[tuple[type[CofioError], ...]] = (
    UnknownFormat,
    UnreadableTranscript,
    EmptyTranscript,
    InvalidInput,
    TranscriptTooLong,
    EncoderUnavailable,
    StoreBusy,
    StorageFull,
)


def begin_at_zero(routes: Iterable[Route]) -> None:
    """A scrape tells of every failure that alerts look for, also of those that have not happened."""
    failures = {mapped.status for mapped in TABLE.values() if mapped.status >= 500}
    for route, status in product(routes, sorted(failures)):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            REQUESTS.labels(method, route.path, str(status))
    REQUEST_SECONDS.labels("POST", query.PATH)
    PROBLEMS.labels(Overloaded.code)
    for kind in ("query", "ingest"):
        RATE_LIMITED.labels(kind)
    for missing in (VectorStoreUnavailable, EncoderUnavailable):
        DEGRADED_ANSWERS.labels(missing.code)
    for format in (*FORMATS, "unknown"):
        for outcome in _OUTCOMES:
            INGESTED_MEETINGS.labels(outcome, format)
        for refusal in _REFUSALS:
            INGEST_FAILURES.labels(format, refusal.code)
