"""What a process holds open, and who may write."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from hash_encoder import HashEncoder

from cofio.data_dir import DATABASE_NAME
from cofio.errors import InvalidSettings
from cofio.ingest import ingest
from cofio.query import recall
from cofio.records import MeetingInput, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings


async def test_a_meeting_has_one_writer_at_a_time_and_writers_leave_nothing_behind(tmp_path: Path) -> None:
    inside = most = 0
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:

        async def write_again_and_again() -> None:
            nonlocal inside, most
            for _ in range(20):
                async with runtime.exclusive("one meeting"):
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1

        await asyncio.gather(*(write_again_and_again() for _ in range(3)))
        assert most == 1
        assert not runtime.writing


class ReplacedEncoder(HashEncoder):
    fingerprint = "hash of today"


class RebuiltEncoder(ReplacedEncoder):
    """What became of the hash encoder: its vectors differ from those of before by rounding alone."""

    earlier = frozenset({"hash"})


async def test_a_store_keeps_to_its_encoder_or_to_what_became_of_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()):
        pass
    with pytest.raises(InvalidSettings, match="made by the encoder hash, not by hash of today"):
        async with open_runtime(settings, ReplacedEncoder()):
            pass
    async with open_runtime(settings, RebuiltEncoder()):
        pass
    # The version before opens it again.
    async with open_runtime(settings, HashEncoder()):
        pass


async def test_a_store_that_another_process_holds_is_opened_and_asked_all_the_same(tmp_path: Path) -> None:
    """A worker that takes a dead one's place while an operator looks at the database, say."""
    settings = Settings(data_dir=tmp_path / "store")
    meeting = MeetingInput(title="Kiln", transcript="Ann: The kiln is cold.")
    async with open_runtime(settings, HashEncoder()) as runtime:
        await ingest(runtime, meeting)
    with contextlib.closing(
        sqlite3.connect(settings.data_dir / DATABASE_NAME, isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        async with open_runtime(settings, HashEncoder()) as runtime:
            answer = await recall(runtime, Question(query="Is the kiln cold?"))
            assert [memory.content for memory in answer.direct_results["L2"]] == ["The kiln is cold."]
            other.execute("ROLLBACK")
