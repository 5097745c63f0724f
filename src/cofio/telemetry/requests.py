"""What is told of each request: it is counted, timed and logged."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Final

from cofio.telemetry import traces
from cofio.telemetry.metrics import REQUEST_SECONDS, REQUESTS

RECENT_S: Final = 300
_SLOT_S: Final = 10

ACCESS_LOGGER: Final = "cofio.access"
_access: Final = logging.getLogger(ACCESS_LOGGER)

# `labels` looks a child up under a lock each time: these are the same few for every request.
_requests: Final = cache(REQUESTS.labels)
_request_seconds: Final = cache(REQUEST_SECONDS.labels)


@dataclass(slots=True)
class _Slot:
    """The requests of some seconds."""

    number: int
    answered: int = 0
    failed: int = 0


_slots: Final[deque[_Slot]] = deque(maxlen=RECENT_S // _SLOT_S)


def recent_requests() -> tuple[int, int]:
    """How many requests this process answered in the last `RECENT_S` seconds, and how many of them with 5xx.

    Those that ask for its health do not count: a service that is stopping tells them so.
    """
    oldest = int(time.monotonic() / _SLOT_S) - RECENT_S // _SLOT_S
    recent = [slot for slot in _slots if slot.number > oldest]
    return sum(slot.answered for slot in recent), sum(slot.failed for slot in recent)


def _count_recent(endpoint: str, status: int) -> None:
    if endpoint.startswith("/health"):
        return
    number = int(time.monotonic() / _SLOT_S)
    if not _slots or _slots[-1].number != number:
        _slots.append(_Slot(number=number))
    _slots[-1].answered += 1
    _slots[-1].failed += status >= 500


def request_answered(
    *, method: str, endpoint: str, status: int, seconds: float, request_id: str, cached: bool = False
) -> None:
    """The request is counted, timed, and logged as one line of `cofio.access`; if it is traced, its span tells it too.

    `endpoint` is a route's template; a query string, a body or a header is never logged.
    """
    _requests(method, endpoint, str(status)).inc()
    _count_recent(endpoint, status)
    _request_seconds(method, endpoint).observe(seconds)
    traces.request_answered(
        method=method, endpoint=endpoint, status=status, request_id=request_id, cached=cached
    )
    if _access.isEnabledFor(logging.INFO):
        told: dict[str, object] = {
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "cached": cached,
            "request_id": request_id,
        }
        if (ids := traces.span_ids()) is not None:
            told |= {"trace_id": ids.trace_id, "span_id": ids.span_id}
        # Without the walk up the stack for the caller's file and line, which nobody prints.
        _access.handle(logging.LogRecord(_access.name, logging.INFO, "", 0, "request", (told,), None))
