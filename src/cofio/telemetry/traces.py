"""Traces: a span for each request, each stage of a query or an ingest, and each meeting of a batch.

Off, and of no cost, unless `otlp_endpoint` is set. OpenTelemetry is an optional extra, which `telemetry/otlp.py` alone
imports; nothing else knows it. Spans hold names, numbers and codes, never a path, a question or a word of a transcript.
"""

from __future__ import annotations

import asyncio
import contextlib
import pkgutil
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cofio.errors import InvalidSettings
from cofio.settings import Settings

Attribute = str | int | float | bool
_OTLP: Final = "cofio.telemetry.otlp:OtlpTracer"
_OFF: Final[AbstractContextManager[None]] = nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanIds:
    """The ids of a span and its trace, in hexadecimal digits as W3C's trace context writes them."""

    trace_id: str
    span_id: str


class Tracer(Protocol):
    """What `telemetry/otlp.py` offers. The span of the running task or thread is the current one."""

    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[None]:
        """The block has a span, in the trace that the headers name if they do."""
        ...

    def job(self, name: str, origin: str | None) -> AbstractContextManager[None]:
        """The block has a span of this name, in the trace of the `origin` that `origin` returned in another task."""
        ...

    def span(self, name: str) -> AbstractContextManager[None]:
        """The block has a span of this name inside the current one."""
        ...

    def rename(self, name: str, *, failed: bool) -> None:
        """The current span has this name, and failed or did not."""
        ...

    def annotate(self, attributes: dict[str, Attribute]) -> None:
        """The current span has these attributes too."""
        ...

    def origin(self) -> str | None:
        """The current span as a text, for a job that it asks for; None if there is none."""
        ...

    def ids(self) -> SpanIds | None:
        """The ids of the current span; None if there is none, or if its trace is not sent."""
        ...

    def close(self) -> None:
        """What ended is sent, if it is taken within some seconds."""
        ...


_tracer: Tracer | None = None


def check_traces(settings: Settings) -> None:
    """Raises InvalidSettings where traces are wanted and OpenTelemetry is not installed."""
    if settings.otlp_endpoint is not None:
        _kind()


@contextlib.asynccontextmanager
async def traced(settings: Settings) -> AsyncIterator[None]:
    """What happens inside the block is traced, if the settings want it. Raises what `check_traces` raises."""
    global _tracer
    if settings.otlp_endpoint is None:
        yield
        return
    tracer: Tracer = _kind()(settings.otlp_endpoint, share=settings.trace_share)
    _tracer = tracer
    try:
        yield
    finally:
        _tracer = None
        await asyncio.to_thread(tracer.close)


def request(headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[None]:
    """The block is a request with these headers."""
    return _OFF if _tracer is None else _tracer.request(headers)


def request_answered(*, method: str, endpoint: str, status: int, request_id: str, cached: bool) -> None:
    """The current span, of a request, tells how it was answered. `endpoint` is a route's template."""
    if _tracer is not None:
        _tracer.rename(f"{method} {endpoint}", failed=status >= 500)
        _tracer.annotate(
            {
                "http.request.method": method,
                "http.route": endpoint,
                "http.response.status_code": status,
                "cofio.request_id": request_id,
                "cofio.cached": cached,
            }
        )


def job(name: str, origin_: str | None) -> AbstractContextManager[None]:
    """The block is done in the background, for the request whose `origin` is given."""
    return _OFF if _tracer is None else _tracer.job(name, origin_)


def span(name: str) -> AbstractContextManager[None]:
    """The block has a span of its own."""
    return _OFF if _tracer is None else _tracer.span(name)


def annotate(**attributes: Attribute) -> None:
    """The current span has these attributes too, their names behind `cofio.`; never what somebody said or asked."""
    if _tracer is not None:
        _tracer.annotate({f"cofio.{name}": value for name, value in attributes.items()})


def origin() -> str | None:
    """What a job must be given to be in the trace of the current span; None while there is none."""
    return None if _tracer is None else _tracer.origin()


def span_ids() -> SpanIds | None:
    """The ids of the current span; None while there is none, and where its trace is not sent."""
    return None if _tracer is None else _tracer.ids()


def _kind() -> Any:
    # By its name: who wants no traces need not have OpenTelemetry, nor wait for its import.
    try:
        return pkgutil.resolve_name(_OTLP)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise InvalidSettings(
            "otlp_endpoint is set, but OpenTelemetry is not installed: run `pip install 'cofio[traces]'`, or leave "
            "otlp_endpoint out.",
            field="otlp_endpoint",
        ) from error
