"""Contenders timed in alternation, and what their times say: medians, ratios, intervals."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cofio.errors import InvalidInput

Float64s = NDArray[np.float64]

RESAMPLES: Final = 2000
SEED: Final = 20_260


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What is timed. `call(i)` does the work of round i, and may return an awaitable.

    One that is slow takes part in the first `rounds` rounds only; None means in all of them.
    """

    name: str
    call: Callable[[int], object]
    rounds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of `n` calls."""

    n: int
    median: float
    minimum: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The other's time by ours over the `n` rounds that both took part in, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    n: int


async def interleave(
    contenders: Sequence[Contender], *, rounds: int, warm_up: int = 1
) -> Mapping[str, Float64s]:
    """Seconds of each contender's calls, by its name, in the order of the rounds.

    Every round calls all that take part in it, one after the other, so that whatever else the machine does meets them
    all, and in an order of its own, drawn from a fixed seed: who is called before one leaves other caches behind, and
    no one shall always come after the same. Round i is the same i for all. Before that, all warm up with the rounds
    −1, −2, ….
    """
    if rounds < 1:
        raise InvalidInput("a measurement has at least one round", field="rounds")
    for i in range(warm_up):
        for contender in contenders:
            await _timed(contender, -1 - i)
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    order = np.random.default_rng(SEED)
    for i in range(rounds):
        for contender in (contenders[place] for place in order.permutation(len(contenders))):
            if contender.rounds is None or i < contender.rounds:
                seconds[contender.name].append(await _timed(contender, i))
    return {name: np.array(values) for name, values in seconds.items()}


async def _timed(contender: Contender, i: int) -> float:
    started = time.perf_counter()
    result = contender.call(i)
    if inspect.isawaitable(result):
        await result
    return time.perf_counter() - started


def timing(seconds: Float64s) -> Timing:
    """The figures of one contender's calls."""
    return Timing(
        n=seconds.size,
        median=1000 * float(np.median(seconds)),
        minimum=1000 * float(seconds.min()),
        p95=1000 * float(np.percentile(seconds, 95)),
    )


def ratio(ours: Float64s, theirs: Float64s, *, of: Literal["median", "total"] = "median") -> Ratio:
    """Theirs by ours: of the medians, or of the sums, of the rounds that both took part in.

    The interval is a percentile bootstrap over rounds, which keeps what was timed together together.
    """
    n = min(ours.size, theirs.size)
    ours, theirs = ours[:n], theirs[:n]
    drawn = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    sum_up = np.median if of == "median" else np.sum
    low, high = np.percentile(sum_up(theirs[drawn], axis=1) / sum_up(ours[drawn], axis=1), (2.5, 97.5))
    return Ratio(ratio=float(sum_up(theirs) / sum_up(ours)), low=float(low), high=float(high), n=n)
