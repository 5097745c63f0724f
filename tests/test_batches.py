"""A batch goes on, whatever one of its meetings is."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import structlog
from hash_encoder import HashEncoder
from test_kill import meeting

from cofio.batches import submit, watch, work
from cofio.data_dir import DATABASE_NAME
from cofio.runtime import open_runtime
from cofio.settings import Settings


async def test_a_meeting_that_breaks_the_worker_holds_up_no_other(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with open_runtime(settings, HashEncoder()) as runtime:
        operation_id = await submit(runtime, [meeting(1), meeting(2)])
        # What a later version has accepted, and this one does not know.
        with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as later, later:
            later.execute(
                "UPDATE operation_meetings SET payload = json_set(payload, '$.mood', 1) WHERE position = 0"
            )
        with structlog.testing.capture_logs() as lines:
            task = asyncio.create_task(work(runtime))
            states = [state async for state in watch(runtime, operation_id)]
            assert not task.done()
            task.cancel()
    assert [item.status for item in states[-1].results] == ["failed", "succeeded"]
    error = states[-1].results[0].error
    assert error is not None
    assert error["code"] == "internal_error"
    (broke,) = [line for line in lines if line["event"] == "batch_meeting_broke"]
    assert broke["exc_info"] is True
