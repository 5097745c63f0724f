"""Who fails three times in a row is asked no more, until somebody says otherwise."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from cofio.errors import InvalidInput, VectorStoreUnavailable
from cofio.store.breaker import FAILURES, Breaker


def openings() -> float:
    return REGISTRY.get_sample_value("cofio_index_breaker_openings_total") or 0.0


async def fail(breaker: Breaker) -> None:
    with pytest.raises(VectorStoreUnavailable, match="no answer"):
        async with breaker.calling():
            raise VectorStoreUnavailable("no answer")


async def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker, before = Breaker(), openings()
    for _ in range(FAILURES - 1):
        await fail(breaker)
    async with breaker.calling():
        pass
    for _ in range(FAILURES - 1):
        await fail(breaker)
    assert breaker.reason is None
    await fail(breaker)
    assert breaker.reason == "no answer"
    assert openings() == before + 1


async def test_an_open_one_lets_nobody_through_until_it_is_closed() -> None:
    breaker = Breaker()
    waiting = asyncio.create_task(breaker.opened())
    breaker.open("gone")
    await waiting
    reached = False
    with pytest.raises(VectorStoreUnavailable, match="gone"):
        async with breaker.calling():
            reached = True
    assert not reached
    breaker.close()
    for _ in range(FAILURES - 1):
        await fail(breaker)
    assert breaker.reason is None


async def test_a_call_that_takes_too_long_has_failed() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        with pytest.raises(VectorStoreUnavailable, match=r"within 0\.01 s"):
            async with breaker.calling(0.01):
                await asyncio.sleep(60)
    assert breaker.reason is not None


async def test_other_errors_say_nothing_about_the_store() -> None:
    breaker = Breaker()
    for _ in range(2 * FAILURES):
        with pytest.raises(InvalidInput):
            async with breaker.calling():
                raise InvalidInput
    assert breaker.reason is None


async def test_who_only_watches_keeps_no_breaker_closed() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.reason is None
        async with breaker.probing(0.01):
            pass
        await fail(breaker)
    assert breaker.reason == "no answer"
    with pytest.raises(VectorStoreUnavailable, match="left alone"):
        async with breaker.probing(0.01):
            pass
    assert breaker.reason == "no answer"


async def test_failures_of_both_together_open_it() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        with pytest.raises(VectorStoreUnavailable, match=r"within 0\.01 s"):
            async with breaker.probing(0.01):
                await asyncio.sleep(60)
    assert breaker.reason is None
    await fail(breaker)
    assert breaker.reason == "no answer"


async def test_who_only_watches_opens_it_where_nobody_searches() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.reason is None
        with pytest.raises(VectorStoreUnavailable, match=r"within 0\.01 s"):
            async with breaker.probing(0.01):
                await asyncio.sleep(60)
    assert breaker.reason is not None
