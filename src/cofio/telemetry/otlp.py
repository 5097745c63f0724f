"""Traces by OpenTelemetry, sent as OTLP over HTTP by a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import cofio
from cofio.telemetry.traces import Attribute, SpanIds

_W3C: Final = TraceContextTextMapPropagator()
_CARRIED: Final = frozenset({b"traceparent", b"tracestate"})
_ORIGIN: Final = "traceparent"
# A collector that does not answer must hold up neither the spans that come next nor a service that stops.
_EXPORT_S: Final = 5


class OtlpTracer:
    """An open tracer, which sends a `share` of the traces that begin here; of those begun elsewhere, their beginner decides.

    Spans that cannot be sent are dropped, at the latest when 2,048 of them wait.
    """

    def __init__(self, endpoint: str, *, share: float) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource.create(
                {
                    "service.name": "cofio",
                    "service.version": cofio.__version__,
                    "process.pid": os.getpid(),
                }
            ),
        )
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("cofio", cofio.__version__)

    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[None]:
        """The block has a span of the kind `server`, in the trace that the headers name if they do."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CARRIED}
        return self._spanning("request", _W3C.extract(carrier), SpanKind.SERVER)

    def job(self, name: str, origin: str | None) -> AbstractContextManager[None]:
        """The block has a span of the kind `consumer`, in the trace of the `origin`."""
        return self._spanning(name, _W3C.extract({_ORIGIN: origin} if origin else {}), SpanKind.CONSUMER)

    def span(self, name: str) -> AbstractContextManager[None]:
        """The block has a span of this name inside the current one."""
        return self._spanning(name, None, SpanKind.INTERNAL)

    @contextmanager
    def _spanning(self, name: str, context: Context | None, kind: SpanKind) -> Iterator[None]:
        # What an error says may hold what somebody sent: the span tells that there was one, and the log which.
        with self._tracer.start_as_current_span(
            name, context, kind, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException:
                span.set_status(StatusCode.ERROR)
                raise

    def rename(self, name: str, *, failed: bool) -> None:
        """The current span has this name, and failed or did not."""
        span = trace.get_current_span()
        span.update_name(name)
        if failed:
            span.set_status(StatusCode.ERROR)

    def annotate(self, attributes: dict[str, Attribute]) -> None:
        """The current span has these attributes too."""
        trace.get_current_span().set_attributes(attributes)

    def origin(self) -> str | None:
        """The current span as W3C's `traceparent`; None if there is none."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_ORIGIN)

    def ids(self) -> SpanIds | None:
        """The ids of the current span; None if there is none, or if its trace is not sent."""
        context = trace.get_current_span().get_span_context()
        if not (context.is_valid and context.trace_flags.sampled):
            return None
        return SpanIds(
            trace_id=trace.format_trace_id(context.trace_id), span_id=trace.format_span_id(context.span_id)
        )

    def close(self) -> None:
        """What ended is sent, if it is taken within some seconds."""
        # Without this it would try again and again with every batch that waits.
        patience = threading.Timer(_EXPORT_S, self._exporter.shutdown)
        patience.start()
        self._provider.shutdown()
        patience.cancel()
