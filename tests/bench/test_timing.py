"""Contenders take turns, and ratios come with their intervals."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from cofio.bench.timing import Contender, interleave, ratio, timing
from cofio.errors import InvalidInput


async def test_contenders_take_turns_and_slow_ones_leave_early() -> None:
    called: list[tuple[str, int]] = []

    async def waiting(i: int) -> None:
        await asyncio.sleep(0)
        called.append(("b", i))

    seconds = await interleave(
        [
            Contender(name="a", call=lambda i: called.append(("a", i))),
            Contender(name="b", call=waiting, rounds=2),
        ],
        rounds=3,
        warm_up=1,
    )
    assert called[:2] == [("a", -1), ("b", -1)]
    rounds = [[name for name, at in called if at == i] for i in range(3)]
    assert [sorted(names) for names in rounds] == [["a", "b"], ["a", "b"], ["a"]]
    assert [at for _, at in called[2:]] == [0, 0, 1, 1, 2]
    assert {name: values.size for name, values in seconds.items()} == {"a": 3, "b": 2}


async def test_nobody_always_comes_after_the_same() -> None:
    called: list[str] = []
    contenders = [Contender(name=name, call=lambda i, name=name: called.append(name)) for name in "abcd"]  # type: ignore[misc]
    await interleave(contenders, rounds=200, warm_up=0)
    rounds = [called[at : at + 4] for at in range(0, len(called), 4)]
    assert all(sorted(names) == list("abcd") for names in rounds)
    for name in "abcd":
        before = [names[names.index(name) - 1] for names in rounds if names[0] != name]
        assert all(30 < before.count(other) < 70 for other in set("abcd") - {name})
    again = len(called)
    await interleave(contenders, rounds=200, warm_up=0)
    assert called[again:] == called[:again], "the same order in every run"


async def test_no_rounds_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one round"):
        await interleave([], rounds=0)


def test_a_timing_is_in_milliseconds() -> None:
    found = timing(np.array([0.001, 0.003, 0.002]))
    assert (found.n, found.median, found.minimum) == (3, 2.0, 1.0)
    assert 2.0 < found.p95 <= 3.0


def test_a_ratio_uses_the_rounds_of_both() -> None:
    found = ratio(np.array([1.0, 1.0, 1.0, 900.0]), np.array([2.0, 4.0, 6.0]))
    assert (found.ratio, found.n) == (4.0, 3)
    assert 2.0 <= found.low <= found.ratio <= found.high <= 6.0
    assert ratio(np.array([1.0, 3.0]), np.array([4.0, 4.0]), of="total").ratio == 2.0
