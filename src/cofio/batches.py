"""Batches: many meetings acknowledged at once, ingested one after the other, resumed after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from typing import Any, Final

import orjson
import structlog
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cofio.errors import (
    CofioError,
    EncoderUnavailable,
    InternalError,
    InvalidInput,
    MeetingErased,
    StoreUnavailable,
)
from cofio.ingest import ingest
from cofio.records import MeetingInput, Operation
from cofio.runtime import Runtime
from cofio.store import operations
from cofio.store.operations import Origin, PendingMeeting, Progress
from cofio.telemetry import traces
from cofio.text.clean import plain_text

_log = structlog.get_logger(__name__)

_POLL_S: Final = 0.2

# A full disk or a busy database is no fault of the meeting: the batch waits, more and more patiently.
_patiently = retry(
    retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(multiplier=0.5, max=30)
)
# What the encoder fails on again and again is perhaps one of the meeting's texts.
_some_times = retry(
    retry=retry_if_exception_type(EncoderUnavailable),
    wait=wait_random_exponential(multiplier=0.5, max=10),
    stop=stop_after_attempt(5),
    reraise=True,
)


async def submit(
    runtime: Runtime,
    meetings: Sequence[MeetingInput],
    *,
    project: str | None = None,
    request_id: str | None = None,
) -> str:
    """The batch is stored and will be ingested, also if this process is killed now; returns its id.

    `project` is what its sender is bound to: others who are bound to one do not find it. Its log lines have the
    `request_id`, and its spans are in the current trace. Raises `InvalidInput` for metadata that JSON does not hold.
    """
    payloads = await asyncio.to_thread(lambda: [(meeting.title, _payload(meeting)) for meeting in meetings])
    origin = Origin(request_id=request_id, trace=traces.origin())
    operation_id = await operations.create_operation(runtime.database, payloads, project, origin)
    runtime.batch_waiting.set()
    return operation_id


async def operation(runtime: Runtime, operation_id: str, *, project: str | None = None) -> Operation:
    """The operation as it stands, of this project's senders if one is given; raises `NotFound`."""
    return await operations.read_operation(runtime.database, operation_id, project)


async def watch(
    runtime: Runtime, operation_id: str, *, wanted: Callable[[], bool] = lambda: True
) -> AsyncIterator[Operation]:
    """The operation now, and again whenever it has moved on, until it is finished or not `wanted`; raises `NotFound`.

    A process that was told to stop lets its watchers go: they can watch the next one.
    """
    last: Operation | None = None
    seen: Progress | None = None
    while wanted() and (last is None or (last.finished_at is None and not runtime.draining.is_set())):
        progress = await operations.read_progress(runtime.database, operation_id)
        if last is not None and progress == seen:
            await asyncio.sleep(_POLL_S)
            continue
        seen = progress
        current = await operations.read_operation(runtime.database, operation_id)
        if current != last:
            yield current
        last = current


async def work(runtime: Runtime) -> None:
    """Unfinished batches are ingested, oldest first, and new ones as they come in; runs until it is cancelled."""
    while True:
        runtime.batch_waiting.clear()
        await _finish_all(runtime)
        await runtime.batch_waiting.wait()


@_patiently
async def _finish_all(runtime: Runtime) -> None:
    """Every batch is finished, or another worker is at it; begun again after a failure, it goes on where it was."""
    for operation_id in await operations.unfinished_operations(runtime.database):
        turn = f"operation {operation_id}"
        if runtime.turns.take(turn):
            try:
                await _run(runtime, operation_id)
            finally:
                runtime.turns.give_back(turn)


async def _run(runtime: Runtime, operation_id: str) -> None:
    origin = await operations.start_operation(runtime.database, operation_id)
    # What the log tells of it meanwhile leads back to the request.
    told = {"operation_id": operation_id, **({"request_id": origin.request_id} if origin.request_id else {})}
    with structlog.contextvars.bound_contextvars(**told):
        while (pending := await operations.next_meeting(runtime.database, operation_id)) is not None:
            with traces.job("batch meeting", origin.trace):
                traces.annotate(**told, position=pending.position)
                await _ingest_next(runtime, operation_id, pending)
        await operations.finish_operation(runtime.database, operation_id)


async def _ingest_next(runtime: Runtime, operation_id: str, pending: PendingMeeting) -> None:
    try:
        payload = await asyncio.to_thread(orjson.loads, pending.payload)
        still_wanted = partial(operations.is_pending, operation_id=operation_id, position=pending.position)
        receipt = await _some_times(ingest)(runtime, _meeting(payload), still_wanted=still_wanted)
    except StoreUnavailable:
        raise
    except MeetingErased:  # whoever erased it took it out of the operation
        return
    except CofioError as error:
        await _failed(runtime, operation_id, pending, error)
        return
    except Exception:  # noqa: BLE001  one meeting that nobody foresaw must not hold up all that wait behind it
        _log.exception("batch_meeting_broke", position=pending.position)
        await _failed(runtime, operation_id, pending, InternalError())
        return
    # Where its project was erased since it was committed, it went with it, and this changes nothing.
    await operations.settle_meeting(
        runtime.database,
        operation_id,
        pending.position,
        succeeded=True,
        result=asdict(receipt),
        meeting_id=receipt.meeting_id,
    )


async def _failed(runtime: Runtime, operation_id: str, pending: PendingMeeting, error: CofioError) -> None:
    result = {
        "code": error.code,
        "title": error.title(),
        "detail": error.kept,
        "field": error.field,
    }
    await operations.settle_meeting(
        runtime.database,
        operation_id,
        pending.position,
        succeeded=False,
        result=result,
        meeting_id=None,
    )
    _log.warning("batch_meeting_failed", position=pending.position, code=error.code)


def _payload(meeting: MeetingInput) -> bytes:
    # By its project an erasure finds what waits.
    cleaned = replace(meeting, project=plain_text(meeting.project))
    try:
        return orjson.dumps(asdict(cleaned))
    except orjson.JSONEncodeError as error:
        raise InvalidInput(f"The metadata cannot be written as JSON: {error}.", field="metadata") from error


def _meeting(payload: dict[str, Any]) -> MeetingInput:
    payload["date"] = date.fromisoformat(payload["date"]) if payload["date"] else None
    payload["participants"] = tuple(payload["participants"])
    return MeetingInput(**payload)
