"""Batches in the truth."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from cofio.store.database import Database
from cofio.store.operations import create_operation, unfinished_operations


async def test_batches_are_taken_in_the_order_they_came_in_when_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    database = await Database.open(tmp_path / "cofio.sqlite3", tmp_path / "backups")
    try:
        first = await create_operation(database, [("A", b"{}")])
        with sqlite3.connect(database.path) as clock:  # which showed a later time then
            clock.execute("UPDATE operations SET created_at = '2999-01-01T00:00:00.000+00:00'")
        clock.close()
        second = await create_operation(database, [("B", b"{}")])
        assert await unfinished_operations(database) == (first, second)
    finally:
        await database.aclose()
