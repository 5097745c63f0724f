"""The audit: who looked after the memory or took something out of it, and when, in ids, pseudonyms and numbers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson
import structlog

from cofio.store.archives import connect
from cofio.store.clock import now
from cofio.store.database import Database, queries

_log: Final = structlog.get_logger(__name__)

LOCAL: Final = "local"  # who works on the data directory itself


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry. `subject` is the id of a meeting or key, a backup's name, the pseudonym of a name, or where the index is; `details` are numbers."""

    entry: int
    at: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, the latest first. `next_before` asks for those before them; None at the end."""

    entries: tuple[AuditEntry, ...]
    next_before: int | None


def add_entry(
    connection: sqlite3.Connection, *, actor: str, action: str, subject: str, details: Mapping[str, int]
) -> int:
    """The entry is there if the transaction of `connection` is committed; returns its number."""
    return int(
        queries.add_audit(
            connection,
            at=now(),
            actor=actor,
            action=action,
            subject=subject,
            details=orjson.dumps(dict(details)).decode(),
        )
    )


def add_entry_once(connection: sqlite3.Connection, *, at: datetime, action: str, subject: str) -> None:
    """The entry of who works on the data directory itself is there, unless it was told before."""
    queries.add_audit_once(
        connection,
        at=at.isoformat(timespec="milliseconds"),
        actor=LOCAL,
        action=action,
        subject=subject,
        details="{}",
    )


def note(path: Path, *, actor: str, action: str, subject: str, details: Mapping[str, int]) -> None:
    """The audit in the database at `path` has this entry, also while a service has it open.

    For acts that are done whatever becomes of the entry: where it cannot be written (a full disk, a schema from before
    there was an audit), the log tells it instead.
    """
    told = {
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": orjson.dumps(dict(details)).decode(),
    }
    try:
        with contextlib.closing(connect(path)) as connection:
            connection.execute(queries.add_audit.sql, {"at": now(), **told})
    except sqlite3.DatabaseError as error:
        _log.warning("audit_not_written", reason=str(error), **told)


async def page_of_audit(database: Database, *, limit: int, before: int | None) -> AuditPage:
    """At most `limit` entries before the entry `before`, or the latest."""
    rows = await database.rows(queries.page_of_audit, before=before, limit=limit + 1)
    entries = tuple(
        AuditEntry(
            entry=row["entry"],
            at=row["at"],
            actor=row["actor"],
            action=row["action"],
            subject=row["subject"],
            details=orjson.loads(row["details"]),
        )
        for row in rows[:limit]
    )
    return AuditPage(entries=entries, next_before=entries[-1].entry if len(rows) > limit else None)
