"""A running service over HTTP, as the command line uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import SecretStr, TypeAdapter, ValidationError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential_jitter

from cofio.backups import Backup
from cofio.erasure import Erasure
from cofio.errors import (
    BackupUnderWay,
    CofioError,
    EncoderUnavailable,
    Forbidden,
    InvalidInput,
    InvalidSettings,
    MeetingsWaiting,
    ModelMissing,
    NotFound,
    Overloaded,
    StorageFull,
    StoreBusy,
    StoreInUse,
    StoreTooNew,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
    VectorStoreUnavailable,
)
from cofio.records import DEFAULT_PROJECT, Answer, Deletion, MeetingInput, Operation, Question
from cofio.store.audit import AuditPage

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    operation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    backups: tuple[Backup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    detail: str
    code: str = ""


_POLL_S: Final = 0.25
_TIMEOUT: Final = httpx.Timeout(300.0, connect=5.0)
_ACCEPTED: Final = TypeAdapter(_Accepted)
_ANSWER: Final = TypeAdapter(Answer)
_OPERATION: Final = TypeAdapter(Operation)
_DELETION: Final = TypeAdapter(Deletion)
_ERASURE: Final = TypeAdapter(Erasure)
_AUDIT: Final = TypeAdapter(AuditPage)
_BACKUP: Final = TypeAdapter(Backup)
_HELD: Final = TypeAdapter(_Held)
_PROBLEM: Final = TypeAdapter(_Problem)
# The status tells too little of these: most of them are a 503.
_BY_CODE: Final[Mapping[str, type[CofioError]]] = {
    kind.code: kind
    for kind in (
        Overloaded,
        BackupUnderWay,
        MeetingsWaiting,
        Unavailable,
        StoreUnavailable,
        StoreBusy,
        StorageFull,
        VectorStoreUnavailable,
        EncoderUnavailable,
        ModelMissing,
        StoreInUse,
        StoreTooNew,
        InvalidSettings,
    )
}
_BY_STATUS: Final[Mapping[int, type[CofioError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def _is_busy(error: BaseException) -> bool:
    """Whether a second try soon may succeed; a backup or a batch under way may take much longer."""
    return type(error) in (Overloaded, StoreBusy)


def _may_come_back(error: BaseException) -> bool:
    """Whether the service may only be starting again: its batches then go on."""
    return _is_busy(error) or isinstance(error, Unavailable)


_WAIT: Final = wait_exponential_jitter(initial=1, max=20)
_STOP: Final = stop_after_delay(180)

# A busy service is asked again, more and more patiently.
_patiently = retry(retry=retry_if_exception(_is_busy), wait=_WAIT, stop=_STOP, reraise=True)
# What is only read may be asked for again after any failure of the way there.
_persistently = retry(retry=retry_if_exception(_may_come_back), wait=_WAIT, stop=_STOP, reraise=True)


class Client:
    """An open connection to the service at one URL."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @_patiently
    def submit(self, meetings: Sequence[MeetingInput]) -> str:
        """The meetings are on their way, and this is the id of their operation."""
        body = {"meetings": [_meeting_body(meeting) for meeting in meetings]}
        return self._send("POST", "/ingest", _ACCEPTED, body).operation_id

    def watch(self, operation_id: str) -> Iterator[Operation]:
        """The operation again and again until it is finished, the last time finished.

        A service that is away meanwhile is waited for, three minutes at most; then this raises `Unavailable`.
        """
        while True:
            operation = self._operation(operation_id)
            yield operation
            if operation.finished_at is not None:
                return
            time.sleep(_POLL_S)

    @_persistently
    def _operation(self, operation_id: str) -> Operation:
        return self._send("GET", f"/operations/{operation_id}", _OPERATION)

    @_patiently
    def ask(self, question: Question) -> Answer:
        """The service's answer."""
        body = {
            "query": question.query,
            "limit_per_level": question.limit_per_level,
            "enable_activation": question.enable_activation,
            "enable_bridges": question.enable_bridges,
            "filters": {
                name: value for name, value in asdict(question.filters).items() if value not in ((), None)
            },
        }
        return self._send("POST", "/api/v2/query", _ANSWER, body)

    @_patiently
    def create_backup(self, keep: int | None) -> Backup:
        """The service has made a backup of its store; with `keep`, only so many of the newest are left."""
        body = {} if keep is None else {"keep": keep}
        return self._send("POST", "/admin/backups", _BACKUP, body)

    @_patiently
    def list_backups(self) -> tuple[Backup, ...]:
        """The service's backups, the newest first."""
        return self._send("GET", "/admin/backups", _HELD).backups

    @_patiently
    def delete_meeting(self, meeting_id: str) -> Deletion:
        """The service has forgotten the meeting."""
        return self._send("DELETE", f"/api/v2/meetings/{quote(meeting_id, safe='')}", _DELETION)

    @_patiently
    def erase_speaker(self, name: str, project: str | None) -> Erasure:
        """The service has erased the speaker, in one project or in all."""
        within = "" if project is None else f"?project={quote(project, safe='')}"
        return self._send("DELETE", f"/admin/speakers/{quote(name, safe='')}{within}", _ERASURE)

    @_patiently
    def erase_project(self, project: str) -> Erasure:
        """The service has erased the project."""
        return self._send("DELETE", f"/admin/projects/{quote(project, safe='')}", _ERASURE)

    @_patiently
    def list_audit(self, limit: int) -> AuditPage:
        """The latest entries of the service's audit."""
        return self._send("GET", f"/admin/audit?limit={limit}", _AUDIT)

    def export(self, project: str | None) -> Iterator[bytes]:
        """The lines of the service's export, as they come."""
        params = {} if project is None else {"project": project}
        try:
            with self._http.stream("GET", "/admin/export", params=params) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise Unavailable(f"the export was cut off: {error or type(error).__name__}") from error

    def _send(self, method: str, path: str, expected: TypeAdapter[Body], body: object | None = None) -> Body:
        content = None if body is None else orjson.dumps(body)
        try:
            response = self._http.request(
                method, path, content=content, headers={"Content-Type": "application/json"}
            )
        except httpx.TransportError as error:
            raise Unavailable(
                f"no service answers at {self._http.base_url}: {error or type(error).__name__}"
            ) from error
        if not response.is_success:
            raise _refusal(response)
        try:
            return expected.validate_json(response.content)
        except ValidationError as error:
            raise Unavailable(
                f"what answers at {self._http.base_url} is no cofio, or one of another version"
            ) from error


@contextmanager
def connect(url: str, api_key: SecretStr | None) -> Iterator[Client]:
    """A client of the service at `url` that sends this key, closed at the end of the block."""
    headers = {"X-API-Key": api_key.get_secret_value()} if api_key else {}
    try:
        http = httpx.Client(base_url=url, timeout=_TIMEOUT, headers=headers)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InvalidInput(f"{url} is not a URL: {error}", field="url") from error
    with http:
        yield Client(http)


def _meeting_body(meeting: MeetingInput) -> dict[str, object]:
    fields = asdict(meeting)
    if meeting.project == DEFAULT_PROJECT:
        del fields["project"]  # where nobody named one, the service takes that of the key
    return {name: value for name, value in fields.items() if value not in (None, ())}


def _refusal(response: httpx.Response) -> CofioError:
    """The domain error that a problem stands for, as far as its code and the status tell."""
    by_status = _BY_STATUS.get(response.status_code, InvalidInput if response.is_client_error else CofioError)
    try:
        problem = _PROBLEM.validate_json(response.content)
    except ValidationError:
        return by_status(f"the service answered {response.status_code} without a problem")
    return _BY_CODE.get(problem.code, by_status)(problem.detail)
