"""Meetings in a line: the next is encoded while the one before is stored, and not a step further."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from hash_encoder import HashEncoder
from test_kill import meeting

from cofio.ingest import ingest
from cofio.line import Call, Line, in_line
from cofio.runtime import open_runtime
from cofio.settings import Settings


async def test_the_next_meeting_is_encoded_while_the_one_before_is_stored(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        line = Line()
        encoded = asyncio.Event()
        async with line.storing:  # the one before
            task = asyncio.create_task(
                ingest(runtime, meeting(1), on_encoded=lambda _: encoded.set(), line=line)
            )
            async with asyncio.timeout(30):
                await encoded.wait()
                async with line.encoding:  # free again for the one after it
                    pass
            assert not task.done()
            assert runtime.live.current.counts["meetings"] == 0
        assert (await task).outcome == "created"
        assert runtime.live.current.counts["meetings"] == 1


async def test_a_meeting_is_not_encoded_before_its_turn(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        line = Line()
        encoded: list[int] = []
        async with line.encoding:
            task = asyncio.create_task(ingest(runtime, meeting(1), on_encoded=encoded.append, line=line))
            await asyncio.sleep(0.2)
            assert not encoded
        await task
        assert encoded


async def test_two_calls_are_under_way_at_a_time_and_end_in_their_order() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def call(number: int, line: Line) -> None:
        begun.append(number)
        async with line.encoding:
            await asyncio.sleep(0)
        async with line.storing:
            assert begun[-1] - number <= 1
            await asyncio.sleep(0.01 * (3 - number))
            ended.append(number)

    async def calls() -> AsyncIterator[Call]:
        for number in range(4):
            yield partial(call, number)

    await in_line(calls())
    assert ended == begun == [0, 1, 2, 3]


async def test_an_error_ends_the_line_after_those_before_it() -> None:
    told: list[str] = []

    async def call(number: int, line: Line) -> None:
        try:
            if number == 1:
                await asyncio.sleep(0.3)
                raise OSError("no space left")
            await asyncio.sleep(0.1 if number == 0 else 60)
            told.append(f"{number} ended")
        except asyncio.CancelledError:
            told.append(f"{number} cancelled")
            raise

    async def calls() -> AsyncIterator[Call]:
        for number in range(4):
            yield partial(call, number)

    with pytest.raises(OSError, match="no space left"):
        await in_line(calls())
    assert told == ["0 ended", "2 cancelled"]
