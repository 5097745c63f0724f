"""Batches in the truth: acknowledged with every meeting's full text, so that a kill loses none."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from cofio.errors import NotFound
from cofio.records import Operation, OperationItem
from cofio.store.clock import now
from cofio.store.database import Database, queries


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingMeeting:
    """One meeting of a batch that is still to be ingested; `payload` is what `create_operation` was given."""

    position: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which request asked for an operation, and in which trace (W3C's `traceparent`); None where there was none."""

    request_id: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation is; it changes whenever the operation moves on."""

    started_at: str | None
    finished_at: str | None
    total: int
    done: int


async def create_operation(
    database: Database,
    meetings: Sequence[tuple[str, bytes]],
    project: str | None = None,
    origin: Origin | None = None,
) -> str:
    """A pending operation over (title, payload) pairs is stored; returns its id.

    `project` is the one that its sender is bound to.
    """
    origin = origin or Origin()
    operation_id = str(uuid.uuid4())
    operation = {
        "operation_id": operation_id,
        "project": project,
        "request_id": origin.request_id,
        "trace": origin.trace,
        "created_at": now(),
    }
    await database.write(_create_operation, operation, meetings)
    return operation_id


def _create_operation(
    connection: sqlite3.Connection, operation: Mapping[str, object], meetings: Sequence[tuple[str, bytes]]
) -> None:
    queries.create_operation(connection, **operation)
    rows = [
        {
            "operation_id": operation["operation_id"],
            "position": position,
            "title": title,
            "payload": payload.decode(),
        }
        for position, (title, payload) in enumerate(meetings)
    ]
    queries.add_operation_meetings(connection, rows)


async def unfinished_operations(database: Database) -> tuple[str, ...]:
    """The operations that are not finished, oldest first."""
    return tuple(row["operation_id"] for row in await database.rows(queries.unfinished_operations))


async def pending_meetings(database: Database) -> int:
    """How many meetings of all operations are still to be ingested."""
    (row,) = await database.rows(queries.pending_meetings)
    return int(row[0])


async def start_operation(database: Database, operation_id: str) -> Origin:
    """The operation is running; returns who asked for it."""
    row = await database.write(queries.start_operation, operation_id=operation_id, started_at=now())
    return Origin(request_id=row["request_id"], trace=row["trace"]) if row is not None else Origin()


async def next_meeting(database: Database, operation_id: str) -> PendingMeeting | None:
    """The first meeting of the operation that is still to be ingested, None if there is none."""
    rows = await database.rows(queries.next_pending_meeting, operation_id=operation_id)
    return PendingMeeting(position=rows[0]["position"], payload=rows[0]["payload"].encode()) if rows else None


def is_pending(connection: sqlite3.Connection, operation_id: str, position: int) -> bool:
    """Whether the meeting is still to be ingested, as the transaction finds it."""
    return bool(queries.is_pending(connection, operation_id=operation_id, position=position))


async def settle_meeting(
    database: Database,
    operation_id: str,
    position: int,
    *,
    succeeded: bool,
    result: Mapping[str, object],
    meeting_id: str | None,
) -> bool:
    """One meeting of the operation has its result, and its text is no longer kept in the operation.

    `result` must quote nothing of what was said: nobody looks for it there. Of a meeting that failed, title and project
    are kept. Returns False, and nothing is changed, if it was taken out of the operation meanwhile.
    """
    settled = await database.write(
        queries.settle_operation_meeting,
        operation_id=operation_id,
        position=position,
        status="succeeded" if succeeded else "failed",
        result=orjson.dumps(result).decode(),
        meeting_id=meeting_id,
    )
    return settled is not None


async def finish_operation(database: Database, operation_id: str) -> None:
    """The operation is finished."""
    await database.write(queries.finish_operation, operation_id=operation_id, finished_at=now())


async def read_progress(database: Database, operation_id: str) -> Progress | None:
    """How far the operation is now, None if there is none. Costs far less than to read the operation."""
    rows = await database.rows(queries.operation_progress, operation_id=operation_id)
    return Progress(**dict(rows[0])) if rows else None


async def read_operation(database: Database, operation_id: str, project: str | None = None) -> Operation:
    """The operation as it stands; raises `NotFound` if there is none, or none of this project's senders."""
    return await database.read(_read_operation, operation_id, project)


def _read_operation(connection: sqlite3.Connection, operation_id: str, project: str | None) -> Operation:
    row = queries.operation(connection, operation_id=operation_id, project=project)
    if row is None:
        raise NotFound(f"There is no operation {operation_id}.", field="operation_id")
    items = [_item(item) for item in queries.operation_meetings(connection, operation_id=operation_id)]
    failed = sum(item.status == "failed" for item in items)
    return Operation(
        operation_id=operation_id,
        status=_status(row, failed),
        total=len(items),
        done=sum(item.status != "pending" for item in items),
        failed=failed,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        results=tuple(items),
    )


def _status(row: sqlite3.Row, failed: int) -> str:
    if row["finished_at"] is not None:
        return "failed" if failed else "succeeded"
    return "pending" if row["started_at"] is None else "running"


def _item(row: sqlite3.Row) -> OperationItem:
    result = orjson.loads(row["result"]) if row["result"] is not None else None
    return OperationItem(
        index=row["position"],
        title=row["title"],
        status=row["status"],
        receipt=result if row["status"] == "succeeded" else None,
        error=result if row["status"] == "failed" else None,
    )
