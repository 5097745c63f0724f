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

# Whose time it is where a request was answered without a route.
UNROUTED: Final = "unrouted"

# `labels` looks a child up under a lock each time: these are the same few for every request.
_requests: Final = cache(REQUESTS.labels)
_request_seconds: Final = cache(REQUEST_SECONDS.labels)


@dataclass(slots=True)
class _Slot:
    """The requests of some seconds."""

    ends_at: float  # of the monotonic clock
    answered: int = 0
    failed: int = 0


_slots: Final[deque[_Slot]] = deque([_Slot(ends_at=0.0)], maxlen=RECENT_S // _SLOT_S + 1)


def recent_requests() -> tuple[int, int]:
    """How many requests this process answered in the last `RECENT_S` seconds, and how many of them with 5xx.

    A service that is stopping says so to those that ask for its health: that is no error.
    """
    since = time.monotonic() - RECENT_S
    recent = [slot for slot in _slots if slot.ends_at > since]
    return sum(slot.answered for slot in recent), sum(slot.failed for slot in recent)


def _count_recent(endpoint: str, status: int) -> None:
    slot = _slots[-1]
    now = time.monotonic()
    if now >= slot.ends_at:
        slot = _Slot(ends_at=now + _SLOT_S)
        _slots.append(slot)
    if status < 500:
        slot.answered += 1
    elif not endpoint.startswith("/health"):
        slot.answered += 1
        slot.failed += 1


def request_answered(
    *,
    method: str,
    endpoint: str,
    routed: bool,
    status: int,
    seconds: float,
    request_id: str,
    cached: bool = False,
) -> None:
    """The request is counted, timed, and logged as one line of `cofio.access`; if it is traced, its span tells it too.

    `endpoint` is a route's template; a query string, a body or a header is never logged. What was
    refused before it was `routed` counts there, but its time does not: it took none, and would make a slow route look fast.
    """
    _requests(method, endpoint, str(status)).inc()
    _count_recent(endpoint, status)
    _request_seconds(method, endpoint if routed else UNROUTED).observe(seconds)
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
