"""Measures agree with their definitions, and their intervals with what they are intervals of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cofio.eval.harness import share_of_missed
from cofio.eval.measures import auroc, average, judge, share


def _turns(*names: str) -> list[tuple[str, str]]:
    return [(name[0], name[1:]) for name in names]


def test_rank_measures_are_what_they_are_called() -> None:
    ranking = _turns("a1", "a2", "b1", "b2", "c1")
    gold = frozenset(_turns("a2", "b2", "d9"))
    values = judge([ranking], [gold])
    assert values["recall@5"][0] == pytest.approx(2 / 3)
    assert values["hit@10"][0] == 1
    assert values["mrr"][0] == pytest.approx(1 / 2)
    assert values["precision@10"][0] == pytest.approx(2 / 10)
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    best = sum(1 / math.log2(place + 2) for place in range(3))
    assert values["ndcg@10"][0] == pytest.approx(gain / best)
    assert values["meeting@5"][0] == 1


def test_a_question_with_an_empty_ranking_counts_as_zero() -> None:
    values = judge([[], _turns("a1")], [frozenset(_turns("a1")), frozenset(_turns("a1"))])
    assert {name: found.tolist() for name, found in values.items() if name.startswith(("recall", "mrr"))} == {
        name: [0.0, 1.0] for name in values if name.startswith(("recall", "mrr"))
    }


def test_an_interval_holds_the_mean_and_narrows_with_the_number_of_questions() -> None:
    rng = np.random.default_rng(0)
    few, many = average(rng.random(50)), average(rng.random(5000))
    for figure in (few, many):
        assert figure.low < figure.mean < figure.high
    assert many.high - many.low < (few.high - few.low) / 5
    # 95 % of a mean of n uniform values: 1.96 · √(1/12n) on either side.
    assert many.high - many.low == pytest.approx(2 * 1.96 * math.sqrt(1 / 12 / 5000), rel=0.1)


def test_a_share_weighs_each_question_by_its_gold() -> None:
    assert share(np.array([1.0, 0.0]), np.array([1.0, 3.0])).mean == pytest.approx(1 / 4)
    assert share(np.zeros(3), np.zeros(3)).n == 0


def test_missed_gold_is_averaged_over_the_questions_that_miss_any() -> None:
    golds = [frozenset(_turns("a1")), frozenset(_turns("a1", "a2", "a3")), frozenset(_turns("b1"))]
    direct = [_turns("a1"), _turns("a1"), _turns("c1")]
    found = [_turns("z1"), _turns("a2"), _turns("b1")]
    figure = share_of_missed(direct, found, golds)
    assert figure.mean == pytest.approx((1 / 2 + 1) / 2)
    assert figure.n == 2


def test_auroc_is_the_chance_that_a_positive_scores_above_a_negative() -> None:
    rng = np.random.default_rng(1)
    positive, negative = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 60).astype(float)
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    figure = auroc(positive, negative)
    assert figure.mean == pytest.approx(np.mean(pairs))
    assert figure.low < figure.mean < figure.high
