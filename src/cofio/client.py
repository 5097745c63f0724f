"""A running service over HTTP, as the command line uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson
from pydantic import SecretStr, TypeAdapter
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from cofio.backups import Backup
from cofio.erasure import Erasure
from cofio.errors import (
    CofioError,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    Unauthenticated,
    Unavailable,
)
from cofio.records import DEFAULT_PROJECT, Answer, Deletion, MeetingInput, Operation, Question
from cofio.store.audit import AuditPage

_POLL_S: Final = 0.25
_TIMEOUT: Final = httpx.Timeout(300.0, connect=5.0)
_ANSWER: Final = TypeAdapter(Answer)
_OPERATION: Final = TypeAdapter(Operation)
_DELETION: Final = TypeAdapter(Deletion)
_ERASURE: Final = TypeAdapter(Erasure)
_AUDIT: Final = TypeAdapter(AuditPage)
_BACKUP: Final = TypeAdapter(Backup)
_BACKUPS: Final = TypeAdapter(tuple[Backup, ...])
_BY_STATUS: Final[Mapping[int, type[CofioError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    429: Overloaded,
    503: Overloaded,
}

# A busy service is asked again, more and more patiently.
_patiently = retry(
    retry=retry_if_exception_type(Overloaded),
    wait=wait_exponential_jitter(initial=1, max=20),
    stop=stop_after_delay(180),
    reraise=True,
)


class Client:
    """An open connection to the service at one URL."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @_patiently
    def submit(self, meetings: Sequence[MeetingInput]) -> str:
        """The meetings are on their way, and this is the id of their operation."""
        body = {"meetings": [_meeting_body(meeting) for meeting in meetings]}
        return str(self._send("POST", "/ingest", body)["operation_id"])

    def watch(self, operation_id: str) -> Iterator[Operation]:
        """The operation again and again until it is finished, the last time finished."""
        while True:
            operation = self._operation(operation_id)
            yield operation
            if operation.finished_at is not None:
                return
            time.sleep(_POLL_S)

    @_patiently
    def _operation(self, operation_id: str) -> Operation:
        return _OPERATION.validate_python(self._send("GET", f"/operations/{operation_id}"))

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
        return _ANSWER.validate_python(self._send("POST", "/api/v2/query", body))

    @_patiently
    def create_backup(self, keep: int | None) -> Backup:
        """The service has made a backup of its store; with `keep`, only so many of the newest are left."""
        body = {} if keep is None else {"keep": keep}
        return _BACKUP.validate_python(self._send("POST", "/admin/backups", body))

    @_patiently
    def list_backups(self) -> tuple[Backup, ...]:
        """The service's backups, the newest first."""
        return _BACKUPS.validate_python(self._send("GET", "/admin/backups")["backups"])

    @_patiently
    def delete_meeting(self, meeting_id: str) -> Deletion:
        """The service has forgotten the meeting."""
        return _DELETION.validate_python(
            self._send("DELETE", f"/api/v2/meetings/{quote(meeting_id, safe='')}")
        )

    @_patiently
    def erase_speaker(self, name: str, project: str | None) -> Erasure:
        """The service has erased the speaker, in one project or in all."""
        within = "" if project is None else f"?project={quote(project, safe='')}"
        return _ERASURE.validate_python(
            self._send("DELETE", f"/admin/speakers/{quote(name, safe='')}{within}")
        )

    @_patiently
    def erase_project(self, project: str) -> Erasure:
        """The service has erased the project."""
        return _ERASURE.validate_python(self._send("DELETE", f"/admin/projects/{quote(project, safe='')}"))

    @_patiently
    def list_audit(self, limit: int) -> AuditPage:
        """The latest entries of the service's audit."""
        return _AUDIT.validate_python(self._send("GET", f"/admin/audit?limit={limit}"))

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

    def _send(self, method: str, path: str, body: object | None = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        try:
            response = self._http.request(
                method, path, content=content, headers={"Content-Type": "application/json"}
            )
        except httpx.TransportError as error:
            raise Unavailable(
                f"no service answers at {self._http.base_url}: {error or type(error).__name__}"
            ) from error
        if response.is_success:
            return orjson.loads(response.content)
        raise _refusal(response)


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
    """The domain error that a problem stands for, as far as the status tells."""
    kind = _BY_STATUS.get(response.status_code, InvalidInput if response.is_client_error else CofioError)
    try:
        detail = str(orjson.loads(response.content)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        detail = f"the service answered {response.status_code} without a problem"
    return kind(detail)
