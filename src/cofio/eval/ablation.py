"""What each ingredient of the ranking is worth: recall with one of them taken out at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from rich.console import Console

from cofio.eval.corpus import Corpus
from cofio.eval.datasets import LabelledQuestion
from cofio.eval.harness import AskedOf, filters_of
from cofio.eval.measures import Figure, average, judge
from cofio.eval.rankings import DEPTH, Asked, Ranking, ask, evidence_of
from cofio.rank import WEIGHTS, Weights, rank_episodes
from cofio.records import Float32s
from cofio.show import progress_bar

# What is taken out, and the weights that are left.
WITHOUT: Final[Mapping[str, Weights]] = {
    "all ingredients": WEIGHTS,
    "without the spread (F)": dataclasses.replace(WEIGHTS, spread_share=0.0),
    "without the spread of terms": dataclasses.replace(WEIGHTS, spread_terms=0.0),
    "without the spread of the vector": dataclasses.replace(WEIGHTS, spread_terms=1.0),
    "without the own match (H)": dataclasses.replace(WEIGHTS, spread_share=1.0),
    "without own terms in H": dataclasses.replace(WEIGHTS, hybrid_terms=0.0),
    "without the own vector in H": dataclasses.replace(WEIGHTS, hybrid_terms=1.0),
    **{
        f"without the {name} prior": dataclasses.replace(WEIGHTS, **{name: 0.0})
        for name in ("length", "speaker", "participant", "date", "question", "meeting")
    },
    "without titles that the question names": dataclasses.replace(WEIGHTS, title=0.0),
    "without definitions": dataclasses.replace(WEIGHTS, definition=0.0),
}
NAMES_KEPT: Final = "without taking names out of the vector"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """Recall@10 without one ingredient, and what that changes, question by question."""

    recall: Figure
    difference: Figure


async def ablate(
    corpus: Corpus, asked_of: AskedOf, questions: Sequence[LabelledQuestion], console: Console
) -> Mapping[str, Without]:
    """Recall@10 of every answerable question, with each ingredient of the ranking out in turn."""
    answerable = [question for question in questions if question.answerable]
    rankings: dict[str, list[Ranking]] = {name: [] for name in (*WITHOUT, NAMES_KEPT)}
    with progress_bar(console) as progress:
        for question in progress.track(answerable, description="Without each ingredient"):
            asked = await ask(corpus, question.text, filters_of(corpus, question, asked_of))
            for name, ranking in (await _rank(corpus, asked, asked.vector, WITHOUT)).items():
                rankings[name].append(ranking)
            raw = await corpus.runtime.batcher.encode([asked.text], urgent=True)
            kept = await _rank(corpus, asked, raw[0], {NAMES_KEPT: WEIGHTS})
            rankings[NAMES_KEPT].append(kept[NAMES_KEPT])
    golds = [question.gold for question in answerable]
    found = {name: judge(ranked, golds)["recall@10"] for name, ranked in rankings.items()}
    whole = found["all ingredients"]
    return {
        name: Without(recall=average(values), difference=average(values - whole))
        for name, values in found.items()
    }


async def _rank(
    corpus: Corpus, asked: Asked, semantic: Float32s, variants: Mapping[str, Weights]
) -> Mapping[str, Ranking]:
    evidence = await evidence_of(corpus, asked, semantic)
    ranked = {}
    for name, weights in variants.items():
        scores = rank_episodes(
            evidence, corpus.runtime.live.current, asked.cue, spreading=True, weights=weights
        )
        best = evidence.rows[np.argsort(-scores, kind="stable")[:DEPTH]]
        ranked[name] = corpus.turns_of_rows(best.tolist())
    return ranked
