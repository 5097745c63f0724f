"""A batch goes on, whatever one of its meetings is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import structlog
from hash_encoder import HashEncoder
from test_kill import meeting

from cofio import batches
from cofio.batches import submit, watch, work
from cofio.data_dir import DATABASE_NAME
from cofio.erasure import erase_project
from cofio.ingest import ingest
from cofio.records import MeetingInput, Receipt
from cofio.runtime import Runtime, open_runtime
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


async def test_a_meeting_whose_project_is_erased_right_after_it_was_stored_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure falls between the meeting's commit and its receipt, an instant that no test can hit from outside."""
    settings = Settings(data_dir=tmp_path)
    async with open_runtime(settings, HashEncoder()) as runtime:

        async def ingest_and_lose(opened: Runtime, given: MeetingInput, **more: Any) -> Receipt:
            receipt = await ingest(opened, given, **more)
            if given.project == "heron":
                await erase_project(opened, "heron")
            return receipt

        monkeypatch.setattr(batches, "ingest", ingest_and_lose)
        lost = dataclasses.replace(meeting(1), project="heron")
        operation_id = await submit(runtime, [lost, meeting(2)])
        task = asyncio.create_task(work(runtime))
        states = [state async for state in watch(runtime, operation_id)]
        assert not task.done()
        task.cancel()
        assert states[-1].results[-1].status == "succeeded"
        assert runtime.live.current.counts["meetings"] == 1


async def test_a_watched_batch_is_told_once_in_each_state(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        operation_id = await submit(runtime, [meeting(1), meeting(2)])
        read: list[str] = []

        def wanted() -> bool:
            read.append(operation_id)
            return len(read) < 5

        # Nobody works: it stands where it stood.
        assert [state.status async for state in watch(runtime, operation_id, wanted=wanted)] == ["pending"]
        task = asyncio.create_task(work(runtime))
        states = [state async for state in watch(runtime, operation_id)]
        task.cancel()
    assert [state.finished_at is None for state in states] == [True] * (len(states) - 1) + [False]
    assert states[-1].done == 2
