"""The audit: who took what out of the memory, and when, in ids, pseudonyms and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiosqlite
import orjson

from cofio.store.database import Database, queries

LOCAL: Final = "local"  # who works on the data directory itself


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry. `subject` is a meeting's id or the pseudonym of a name; `details` are numbers."""

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


async def add_entry(
    connection: aiosqlite.Connection, *, actor: str, action: str, subject: str, details: Mapping[str, int]
) -> int:
    """The entry is there if the transaction of `connection` is committed; returns its number."""
    return int(
        await queries.add_audit(
            connection,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            actor=actor,
            action=action,
            subject=subject,
            details=orjson.dumps(dict(details)).decode(),
        )
    )


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
