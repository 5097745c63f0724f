"""Errors as RFC 9457 problems: one table from error class to status, and the one shape of every refusal."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, get_args

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from cofio.errors import (
    MAKE_ROOM,
    CofioError,
    EncoderUnavailable,
    Forbidden,
    InternalError,
    InvalidInput,
    InvalidSettings,
    InvalidVector,
    ModelMissing,
    NotFound,
    Overloaded,
    StorageFull,
    StoreBusy,
    StoreInUse,
    StoreTooNew,
    Unauthenticated,
    Unavailable,
)
from cofio.http.headers import SECURITY_HEADERS
from cofio.http.templates import Templates
from cofio.telemetry.metrics import PROBLEMS

MEDIA_TYPE: Final = "application/problem+json"
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One broken rule: where, which, and what mends it. `field` is a dotted path into the request."""

    field: str
    rule: str
    remedy: str


class InvalidRequest(InvalidInput):
    """The request breaks a rule."""

    code = "invalid_request"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{error.field}: {error.rule}" for error in self.errors[:5]))


class MalformedBody(InvalidInput):
    """The request's body cannot be read."""

    code = "malformed_body"


class BodyTooLarge(InvalidInput):
    """The request's body is too large."""

    code = "body_too_large"


class BodyTooSlow(InvalidInput):
    """The request's body comes in too slowly."""

    code = "body_too_slow"


class ClientGone(CofioError):
    """The client hung up before its request was complete."""

    code = "client_gone"


class HeadTooLarge(InvalidInput):
    """The request's address and headers are too long."""

    code = "head_too_large"


class DecompressedTooLarge(BodyTooLarge):
    """The request's body is too large once it is decompressed."""

    code = "decompressed_too_large"


class TooManyJsonValues(BodyTooLarge):
    """The request's JSON holds too many values."""

    code = "too_many_json_values"


class TooManyParts(BodyTooLarge):
    """The upload has too many files or fields."""

    code = "too_many_parts"


class PartTooLarge(BodyTooLarge):
    """A file or field of the upload is too large."""

    code = "part_too_large"


class JsonTooDeep(MalformedBody):
    """The request's JSON is nested too deeply."""

    code = "json_too_deep"


class FieldTooLong(InvalidRequest):
    """A text in the request is too long."""

    code = "field_too_long"


class TooManyItems(InvalidRequest):
    """A list in the request has too many items."""

    code = "too_many_items"


class TooManyKeys(InvalidRequest):
    """An object in the request has too many keys."""

    code = "too_many_keys"


class UnsupportedMediaType(InvalidInput):
    """This media type is not understood here."""

    code = "unsupported_media_type"


class UnsupportedContentEncoding(UnsupportedMediaType):
    """This content encoding is not understood here."""

    code = "unsupported_content_encoding"


class NoSuchRoute(CofioError):
    """There is nothing at this address."""

    code = "no_such_route"


class MethodNotAllowed(CofioError):
    """This address does not take this method."""

    code = "method_not_allowed"


class RateLimited(Overloaded):
    """This client has sent too many requests; try again after the time in `Retry-After`."""

    code = "rate_limited"


class NotReady(Unavailable):
    """The service is not ready to answer queries."""

    code = "not_ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """How a class of errors is answered. `retry_after_s` goes into `Retry-After`; with `closes` the connection ends."""

    status: int
    retry_after_s: int | None = None
    closes: bool = False


# The table. An error is answered as the nearest of its base classes that is listed.
TABLE: Final[Mapping[type[CofioError], Mapped]] = {
    CofioError: Mapped(status=500),
    InvalidInput: Mapped(status=422),
    InvalidVector: Mapped(status=500),  # no client sends vectors
    MalformedBody: Mapped(status=400),
    BodyTooLarge: Mapped(status=413),
    # What may still come of the body cannot be told from a next request.
    BodyTooSlow: Mapped(status=408, closes=True),
    # Nobody reads this answer: it is for the log and the metrics, where nginx too writes this number.
    ClientGone: Mapped(status=499, closes=True),
    HeadTooLarge: Mapped(status=431),
    UnsupportedMediaType: Mapped(status=415),
    Unauthenticated: Mapped(status=401),
    Forbidden: Mapped(status=403),
    NotFound: Mapped(status=404),
    NoSuchRoute: Mapped(status=404),
    MethodNotAllowed: Mapped(status=405),
    RateLimited: Mapped(status=429, retry_after_s=60),
    Overloaded: Mapped(status=503, retry_after_s=1),
    Unavailable: Mapped(status=503, retry_after_s=5),
    EncoderUnavailable: Mapped(status=503, retry_after_s=5),
    StoreBusy: Mapped(status=503, retry_after_s=1),
    StorageFull: Mapped(status=507, retry_after_s=60),
    ModelMissing: Mapped(status=503),
    StoreInUse: Mapped(status=503),
    StoreTooNew: Mapped(status=500),
    InvalidSettings: Mapped(status=500),
}

# Of a body that breaks more rules only the first are told.
MAX_TOLD_ERRORS: Final = 20
_LONGEST_NAME: Final = 80

# Rules whose breach has a code of its own, if nothing else is wrong.
_KINDS: Final[Mapping[str, type[InvalidRequest]]] = {
    "string_too_long": FieldTooLong,
    "too_long": TooManyItems,
}

# What mends a broken rule, by pydantic's name of it. `{...}` are the rule's own values.
_REMEDIES: Final[Mapping[str, str]] = {
    "missing": "Add this field.",
    "extra_forbidden": "Remove it, or use one of: {known}.",
    "string_too_short": "Send at least {min_length} character(s) that are not white space.",
    "string_too_long": "Shorten it to {max_length} characters.",
    "greater_than_equal": "Send a value of {ge} or more.",
    "less_than_equal": "Send a value of {le} or less.",
    "too_long": "Send at most {max_length} item(s).",
    "too_short": "Send at least {min_length} item(s).",
    "enum": "Send one of: {expected}.",
    "literal_error": "Send one of: {expected}.",
    "unknown_feature": "Use one of: {known}.",
    "not_a_date": "Write it as YYYY-MM-DD.",
    "json_invalid": "Send valid JSON, encoded in UTF-8.",
}


class ProblemField(BaseModel):
    """One broken rule of the request."""

    field: str = Field(description="Dotted path to the field.")
    rule: str = Field(description="The rule that is broken.")
    remedy: str = Field(description="What mends it.")


class Problem(BaseModel):
    """A refusal, as RFC 9457 writes it."""

    type: str = Field(description="URN of the kind of problem; ends in `code`.")
    title: str = Field(description="The kind of problem in one sentence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened here, and what mends it.")
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable name of the kind of problem, for programs.")
    request_id: str = Field(description="The request's id, as in the header X-Request-ID and in the log.")
    errors: list[ProblemField] | None = Field(
        default=None, description="The broken rules one by one; only where the request itself is at fault."
    )


def mapped(kind: type[CofioError]) -> Mapped:
    """How errors of this class are answered."""
    return next(TABLE[base] for base in kind.__mro__ if base in TABLE)


def problem(
    error: CofioError, *, path: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The response that tells `error`, which is counted."""
    PROBLEMS.labels(error.code).inc()
    told = mapped(type(error))
    body: dict[str, object] = {
        "type": f"urn:cofio:problem:{error.code}",
        "title": error.title(),
        "status": told.status,
        "detail": error.detail,
        "instance": path,
        "code": error.code,
        "request_id": request_id,
    }
    if isinstance(error, InvalidRequest):
        body["errors"] = error.errors
    elif error.field is not None:
        body["errors"] = [
            FieldError(field=error.field, rule=error.detail, remedy="Correct it and send the request again.")
        ]
    own = {} if told.retry_after_s is None else {"Retry-After": str(told.retry_after_s)}
    if told.closes:
        own["Connection"] = "close"
    return Response(
        orjson.dumps(body),
        status_code=told.status,
        media_type=MEDIA_TYPE,
        headers={**own, "X-Request-ID": request_id, **(headers or {})},
    )


def describe(*kinds: type[CofioError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may raise these errors, for the OpenAPI document."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        told = mapped(kind)
        entry = responses.setdefault(
            told.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        entry["description"] = " ".join(
            filter(None, (entry["description"], f"{kind.title()} (`{kind.code}`)."))
        )
        if told.retry_after_s is not None:
            entry["headers"] = {
                "Retry-After": {
                    "description": "Seconds to wait before the next try.",
                    "schema": {"type": "integer"},
                }
            }
        entry["content"][MEDIA_TYPE]["examples"][kind.code] = {
            "value": {
                "type": f"urn:cofio:problem:{kind.code}",
                "title": kind.title(),
                "status": told.status,
                "detail": kind.title(),
                "instance": "/",
                "code": kind.code,
                "request_id": "0193e8c2a7b44d1f9c55a0e6d1f3b2a4",
            }
        }
    return responses


def schemas() -> dict[str, Any]:
    """The schemas that `describe` refers to, for the components of the OpenAPI document."""
    _, together = models_json_schema([(Problem, "validation")], ref_template="#/components/schemas/{model}")
    return dict(together["$defs"])


def invalid(errors: Sequence[Mapping[str, Any]], models: Mapping[str, type[BaseModel]]) -> InvalidInput:
    """Pydantic's errors as one refusal that names every broken rule, and the known names for unknown ones.

    `models` are those of the request's parts, `body` and `query`, with which each error's `loc` begins.
    """
    if any(error["type"] == "json_invalid" for error in errors):
        reason = next(error for error in errors if error["type"] == "json_invalid")["ctx"]["error"]
        return MalformedBody(f"The body is not valid JSON: {reason}. {_REMEDIES['json_invalid']}")
    told = [_field_error(error, models.get(error["loc"][0])) for error in errors[:MAX_TOLD_ERRORS]]
    kinds = {_KINDS.get(error["type"], InvalidRequest) for error in errors}
    return (kinds.pop() if len(kinds) == 1 else InvalidRequest)(told)


def _field_error(error: Mapping[str, Any], model: type[BaseModel] | None) -> FieldError:
    place = list(error["loc"][1:])  # the first part says body, query or path
    context: dict[str, Any] = dict(error.get("ctx") or {})
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, place[:-1])
        context["known"] = ", ".join(known)
        rule = f"unknown field; known are {', '.join(known)}"
    else:
        rule = str(error["msg"])
    remedy = _REMEDIES.get(error["type"])
    return FieldError(
        # Of a field that nobody knows the sender has chosen the name, and its length.
        field=".".join(str(step)[:_LONGEST_NAME] for step in place) or "body",
        rule=rule,
        remedy=remedy.format_map(context) if remedy else "Correct it and send the request again.",
    )


def _fields_at(model: type[BaseModel] | None, place: Sequence[str | int]) -> list[str]:
    """The field names that the part of `model` at `place` knows."""
    for step in place:
        if isinstance(step, int) or model is None:
            continue  # the index of an item: `_model_in` has already taken the items' model
        model = _model_in(model.model_fields[step].annotation) if step in model.model_fields else None
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `Filters | None` or `list[MeetingRequest]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def install(app: FastAPI, templates: Templates) -> None:
    """Every error that leaves a route of `app`, or that routing itself raises, is answered as a problem."""
    app.add_exception_handler(CofioError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, partial(_on_http_exception, templates))
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_unexpected)


def _answer(request: Request, error: CofioError, headers: Mapping[str, str] | None = None) -> Response:
    request_id = request.scope.get("request_id", "")
    return problem(error, path=request.url.path, request_id=request_id, headers=headers)


async def _on_domain_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, CofioError):
        raise error
    if mapped(type(error)).status >= 500:
        _log.warning("refused", code=error.code, detail=error.detail)
    return _answer(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    route = request.scope["route"]
    fields = [("query", field) for field in route.dependant.query_params]
    if route.body_field is not None:
        fields.append(("body", route.body_field))
    found = ((part, _model_in(field.field_info.annotation)) for part, field in fields)
    return _answer(request, invalid(error.errors(), {part: model for part, model in found if model}))


async def _on_http_exception(templates: Templates, request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    refusal: CofioError
    if isinstance(error.__cause__, CofioError):
        refusal = error.__cause__  # FastAPI wraps what reading the body raised
    elif error.status_code == 404:
        refusal = NoSuchRoute("There is nothing at this address; /docs lists what there is.")
    elif error.status_code == 405:
        # Routing names the methods of the first route at this address only.
        allowed = ", ".join(sorted(templates.methods_at(request.scope["path"])))
        refusal = MethodNotAllowed(f"This address takes {allowed} only.")
        return _answer(request, refusal, {"Allow": allowed})
    elif error.status_code < 500:
        refusal = MalformedBody(f"{error.detail}.")
    else:
        refusal = InternalError()
    return _answer(request, refusal, error.headers)


async def _on_os_error(request: Request, error: Exception) -> Response:
    # Large uploads are kept in the folder for temporary files while they come in.
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _answer(request, StorageFull(f"{StorageFull.title()}. {MAKE_ROOM}"))
    raise error


async def _on_unexpected(request: Request, error: Exception) -> Response:
    # The server logs the traceback itself once this answer is out: nothing of it goes to the client.
    # This answer alone goes out around the middleware that adds these.
    return _answer(request, InternalError(), SECURITY_HEADERS)
