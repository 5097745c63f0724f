"""Figures with their intervals: rank measures of ir_measures, and a bootstrap over questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ir_measures
import numpy as np
from ir_measures import RR, P, R, Success, nDCG
from numpy.typing import NDArray

from cofio.eval.datasets import TurnKey

Float64s = NDArray[np.float64]

MEASURES: Final = {
    "recall@5": R @ 5,
    "recall@10": R @ 10,
    "recall@20": R @ 20,
    "recall@50": R @ 50,
    "hit@10": Success @ 10,
    "ndcg@10": nDCG @ 10,
    "mrr": RR,
    "precision@10": P @ 10,
}
# Share of questions whose meeting is among those of the five best turns.
RIGHT_MEETING: Final = "meeting@5"
RESAMPLES: Final = 5000
AUROC_RESAMPLES: Final = 500
SEED: Final = 20_260


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean with the bounds of its 95 % interval, over `n` questions or items."""

    mean: float
    low: float
    high: float
    n: int


def judge(
    rankings: Sequence[Sequence[TurnKey]], golds: Sequence[frozenset[TurnKey]]
) -> Mapping[str, Float64s]:
    """Every measure of every question, (questions,) each, in the order given."""
    qrels = [ir_measures.Qrel(f"{i:08}", "\t".join(turn), 1) for i, gold in enumerate(golds) for turn in gold]
    run = [
        ir_measures.ScoredDoc(f"{i:08}", "\t".join(turn), -float(place))
        for i, ranking in enumerate(rankings)
        for place, turn in enumerate(ranking)
    ]
    values = {name: np.zeros(len(golds)) for name in MEASURES}
    names = {str(measure): name for name, measure in MEASURES.items()}
    for found in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        values[names[str(found.measure)]][int(found.query_id)] = found.value
    values[RIGHT_MEETING] = np.array(
        [
            float(bool({meeting for meeting, _ in ranking[:5]} & {meeting for meeting, _ in gold}))
            for ranking, gold in zip(rankings, golds, strict=True)
        ]
    )
    return values


def average(values: Float64s) -> Figure:
    """The mean of one value a question, with its percentile bootstrap interval."""
    return share(values, np.ones(values.size))


def share(found: Float64s, of: Float64s) -> Figure:
    """Σ found / Σ of, with its percentile bootstrap interval over questions: (questions,) both."""
    n = found.size
    if n == 0 or of.sum() == 0:
        return Figure(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)
    weights = _resamples(n)
    totals = weights @ of
    ratios = (weights @ found)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Figure(mean=float(found.sum() / of.sum()), low=float(low), high=float(high), n=int(of.size))


@lru_cache(maxsize=4)
def _resamples(n: int) -> Float64s:
    """(5000, n) how often each of n questions is in each resample; the same for every figure, which pairs them."""
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return drawn.astype(np.float64)


def auroc(positive: Float64s, negative: Float64s) -> Figure:
    """The probability that a positive scores above a negative (ties count half), with its bootstrap interval."""
    if not positive.size or not negative.size:
        return Figure(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)
    rng = np.random.default_rng(SEED)
    draws = [
        _auroc(
            positive[rng.integers(0, positive.size, positive.size)],
            negative[rng.integers(0, negative.size, negative.size)],
        )
        for _ in range(AUROC_RESAMPLES)
    ]
    low, high = np.percentile(draws, (2.5, 97.5))
    return Figure(
        mean=_auroc(positive, negative), low=float(low), high=float(high), n=positive.size + negative.size
    )


def _auroc(positive: Float64s, negative: Float64s) -> float:
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    equal = np.searchsorted(ordered, positive, "right") - below
    return float((below + equal / 2).mean() / negative.size)
