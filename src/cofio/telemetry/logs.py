"""Log lines: of this service and of libraries, in one format, with the id of the request that they belong to."""

from __future__ import annotations

import logging
import sqlite3
import sys
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, Literal

import orjson
import structlog

from cofio.telemetry.requests import ACCESS_LOGGER
from cofio.telemetry.traces import span_ids


class _AccessFormatter(logging.Formatter):
    """Formats the records of `request_answered` as the other lines are, but renders each kind of request once.

    What differs from one request to the next of its kind is filled in: 5 µs a line where structlog takes 50 to 80.
    """

    _TIME: Final = "time-of-the-line"
    _ID: Final = "id-of-the-request"
    _TRACE: Final = "id-of-the-trace"
    _SPAN: Final = "id-of-the-span"
    _MS: Final = 9876543.21

    def __init__(self, renderers: Sequence[structlog.typing.Processor]) -> None:
        super().__init__()
        self._renderers = renderers
        self._templates: dict[tuple[str, str, int, bool, bool], str] = {}
        self._stamp = _stamper()

    def format(self, record: logging.LogRecord) -> str:
        """The line of one request, without its end."""
        told: Mapping[str, Any] = record.args  # type: ignore[assignment]  # as `request_answered` gave it
        kind = (told["method"], told["endpoint"], told["status"], told["cached"], "trace_id" in told)
        template = self._templates.get(kind)
        if template is None:
            template = self._templates[kind] = self._template(record, *kind)
        stamped: MutableMapping[str, Any] = {}
        self._stamp(None, "", stamped)
        return template % {**told, **stamped}

    def _template(
        self, record: logging.LogRecord, method: str, endpoint: str, status: int, cached: bool, traced: bool
    ) -> str:
        line: Any = {
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "duration_ms": self._MS,
            "cached": cached,
            "event": record.msg,
            "request_id": self._ID,
            **({"trace_id": self._TRACE, "span_id": self._SPAN} if traced else {}),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": self._TIME,
        }
        for render in self._renderers:
            line = render(None, "info", line)
        text = str(line).replace("%", "%%")
        for value, name in (
            (self._TIME, "timestamp"),
            (self._ID, "request_id"),
            (self._TRACE, "trace_id"),
            (self._SPAN, "span_id"),
            (self._MS, "duration_ms"),
        ):
            text = text.replace(str(value), f"%({name})s")
        return text


def _add_span_ids(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The line leads to the span in which it was written, if that is traced."""
    ids = span_ids()
    return line if ids is None else {**line, "trace_id": ids.trace_id, "span_id": ids.span_id}


def _course(exc_info: structlog.typing.ExcInfo) -> str:
    """Where an error came from, and those that led to it, the first of them first: types and lines of code.

    Neither messages nor variables: they may quote what people said and asked. What the system and the database say of
    themselves is told.
    """
    told: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        kind = type(error)
        of_system = isinstance(error, OSError) and error.strerror
        reason = f": {error}" if isinstance(error, sqlite3.Error) else f": {of_system}" if of_system else ""
        frames = "".join(traceback.format_tb(error.__traceback__))
        told.append(f"{frames}{kind.__module__}.{kind.__qualname__}{reason}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "Traceback (most recent call last):\n" + "\n\nwhich led to:\n".join(reversed(told))


def _stamper() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def configure_logging(level: str, format: Literal["console", "json"]) -> None:
    """Log lines of this process, libraries' too, go to stderr in one format from `level` up; theirs never below info."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_span_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _stamper(),
    ]
    renderers: list[structlog.typing.Processor] = (
        [
            structlog.processors.ExceptionRenderer(_course),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
        if format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=lambda out, exc_info: print(_course(exc_info), file=out, end=""),
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
    # What nobody prints need not be found out for each line: a microsecond of each request's.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    access = logging.StreamHandler(sys.stderr)
    access.setFormatter(_AccessFormatter(renderers))
    requests = logging.getLogger(ACCESS_LOGGER)
    requests.handlers = [access]
    requests.propagate = False
    root = logging.getLogger()
    root.handlers = [handler]
    # Below info libraries write down what they are given, and so every text.
    logging.getLogger("cofio").setLevel(level.upper())
    root.setLevel(max(logging.INFO, logging.getLogger("cofio").level))
    # One line a request to Qdrant or to our own service would drown the rest.
    # multipart tells, for debugging, what goes through it: all that was said.
    for chatty in ("httpx", "httpcore", "python_multipart"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _dumps(value: object, **_: object) -> str:
    return orjson.dumps(value, default=str).decode()
