"""Work behind the requests goes on as long as it is wanted, and tells when it stands still."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from cofio.background import going_on


async def test_work_that_breaks_is_told_at_once_and_raised_in_the_end() -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as lines:
        block = going_on("batches", breaks())
        await block.__aenter__()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [(line["event"], line["task"]) for line in lines] == [("background_work_ended", "batches")]
        with pytest.raises(ZeroDivisionError):
            await block.__aexit__(None, None, None)
    assert isinstance(lines[0]["exc_info"], ZeroDivisionError)


async def test_work_goes_on_inside_the_block_only_and_its_end_is_nobodys_news() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    with structlog.testing.capture_logs() as lines:
        async with going_on("ticks", tick()):
            while ticks < 3:
                await asyncio.sleep(0)
        at_the_end = ticks
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert ticks == at_the_end
    assert lines == []
