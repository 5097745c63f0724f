"""Asks a corpus all of its questions, in every system, and sums up what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from rich.console import Console

from cofio.eval.corpus import Corpus
from cofio.eval.datasets import LabelledQuestion, TurnKey
from cofio.eval.measures import Figure, average, judge
from cofio.eval.rankings import BASELINE, DIRECT, SLOTS, SYSTEMS, ask
from cofio.records import Filters
from cofio.show import progress_bar

AskedOf = Literal["meeting", "pooled"]
# The answers by which the sharper gold of a set is told from its first one.
EVIDENCE: Final = "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFigures:
    """One row of the table: each measure overall, by category, and as a paired difference to the hybrid."""

    metrics: Mapping[str, Figure]
    by_category: Mapping[str, Mapping[str, Figure]]
    difference_to_hybrid: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What recall measured on one set. `figures` are the ones that belong to no single system."""

    n: int
    skipped: int
    systems: Mapping[str, SystemFigures]
    figures: Mapping[str, Figure]


async def measure_recall(
    corpus: Corpus, asked_of: AskedOf, questions: Sequence[LabelledQuestion], console: Console
) -> Recall:
    """Every answerable question, asked of its meeting (or series) or of all, ranked by every system."""
    answerable = [question for question in questions if question.answerable]
    rankings: dict[str, list[list[TurnKey]]] = {name: [] for name in SYSTEMS}
    with progress_bar(console) as progress:
        task = progress.add_task(f"Asking {corpus.dataset.name}", total=len(answerable), encoded=None)
        for question in answerable:
            asked = await ask(corpus, question.text, filters_of(corpus, question, asked_of))
            for name, system in SYSTEMS.items():
                rankings[name].append(list(await system(corpus, asked)))
            progress.advance(task)
    golds = [question.gold for question in answerable]
    categories = np.array([question.category for question in answerable])
    values = {name: dict(judge(ranked, golds)) for name, ranked in rankings.items()}
    sharper = np.array([bool(question.evidence) for question in answerable])
    figures = {"activated_share_of_missed": _activated(rankings, golds)}
    systems = {}
    for name, of in values.items():
        if sharper.any():
            evidence = judge(rankings[name], [question.evidence for question in answerable])
            of |= {f"{EVIDENCE}_{measure}": found for measure, found in evidence.items() if "@" in measure}
    for name, of in values.items():
        kept = {measure: sharper if measure.startswith(EVIDENCE) else np.ones_like(sharper) for measure in of}
        systems[name] = SystemFigures(
            metrics={measure: average(found[kept[measure]]) for measure, found in of.items()},
            by_category={
                str(category): {
                    measure: average(found[(categories == category) & kept[measure]])
                    for measure, found in of.items()
                    if (kept[measure] & (categories == category)).any()
                }
                for category in np.unique(categories)
            },
            difference_to_hybrid={
                measure: average((found - values[BASELINE][measure])[kept[measure]])
                for measure, found in of.items()
                if name != BASELINE
            },
        )
    return Recall(n=len(answerable), skipped=corpus.dataset.skipped, systems=systems, figures=figures)


def filters_of(corpus: Corpus, question: LabelledQuestion, asked_of: AskedOf) -> Filters:
    """What the question may look at."""
    if asked_of == "pooled":
        return corpus.scope()
    return corpus.scope(meeting_id=question.meeting_id, series=question.series)


def missed(direct: Sequence[TurnKey], gold: frozenset[TurnKey]) -> frozenset[TurnKey]:
    """The gold that is not among the ten direct results."""
    return gold - set(direct[:DIRECT])


def share_of_missed(
    direct: Sequence[Sequence[TurnKey]],
    found: Sequence[Sequence[TurnKey]],
    golds: Sequence[frozenset[TurnKey]],
) -> Figure:
    """Of the gold that the direct results miss, the share that is among what was found beside them.

    Averaged over the questions that miss any (as lab 2 §3 counts), so that one with thirty gold turns does not
    outweigh thirty with one.
    """
    lost = [missed(ranking, gold) for ranking, gold in zip(direct, golds, strict=True)]
    return average(
        np.array(
            [len(gone & set(more)) / len(gone) for gone, more in zip(lost, found, strict=True) if gone], float
        )
    )


def _activated(
    rankings: Mapping[str, Sequence[Sequence[TurnKey]]], golds: Sequence[frozenset[TurnKey]]
) -> Figure:
    """Ten slots for what the spread woke beyond plain hybrid's ten direct results (lab 1 §2)."""
    direct = rankings[BASELINE]
    woken = [
        [turn for turn in ranking if turn not in set(plain[:DIRECT])][:SLOTS]
        for plain, ranking in zip(direct, rankings["activation_on"], strict=True)
    ]
    return share_of_missed(direct, woken, golds)
