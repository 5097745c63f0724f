"""Work behind the requests goes on as long as it is wanted, whatever befalls it."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import REGISTRY

from cofio.background import going_on


async def test_work_that_breaks_is_told_and_begun_again() -> None:
    begun = 0
    goes_on = asyncio.Event()

    async def breaks_twice() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ZeroDivisionError
        goes_on.set()
        await asyncio.Event().wait()

    with structlog.testing.capture_logs() as lines:
        async with going_on("batches", breaks_twice, pause_s=0.01):
            await asyncio.wait_for(goes_on.wait(), 10)
    assert begun == 3
    assert [(line["event"], line["task"]) for line in lines] == [("background_work_broke", "batches")] * 2
    assert all(isinstance(line["exc_info"], ZeroDivisionError) for line in lines)


async def test_work_goes_on_inside_the_block_only_and_its_end_is_nobodys_news() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    with structlog.testing.capture_logs() as lines:
        async with going_on("ticks", tick):
            while ticks < 3:
                await asyncio.sleep(0)
            # Told from the start, so that to Prometheus the first failure is a growth.
            assert REGISTRY.get_sample_value("cofio_background_failures_total", {"work": "ticks"}) == 0
        at_the_end = ticks
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert ticks == at_the_end
    assert lines == []
