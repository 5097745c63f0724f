"""`cofio eval`: one set, one scope, one table."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
import platformdirs
from rich.console import Console

from cofio.errors import InvalidInput
from cofio.eval.ablation import Without, ablate
from cofio.eval.corpus import open_corpus
from cofio.eval.datasets import Dataset
from cofio.eval.harness import AskedOf, Recall, SystemFigures, measure_recall
from cofio.eval.measures import Figure
from cofio.eval.probes import probe
from cofio.eval.rankings import BASELINE, SYSTEMS
from cofio.provenance import commit
from cofio.settings import Settings
from cofio.show import table

CACHE: Final = platformdirs.user_cache_path("cofio") / "eval"
COLUMNS: Final[Mapping[str, str]] = {
    "recall@5": "R@5",
    "recall@10": "R@10",
    "recall@20": "R@20",
    "recall@50": "R@50",
    "hit@10": "hit@10",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
    "precision@10": "P@10",
    "meeting@5": "mtg@5",
}


# What the ten sample meetings must still give (`cofio eval --quick`): a little under what they gave when this was
# written, recall@10 .69 and MRR .47 of 21 questions over all ten.
LEAST: Final[Mapping[str, float]] = {"recall@10": 0.63, "mrr": 0.42}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where, when and from what a figure was measured."""

    machine: str
    commit: str
    date: str
    precision: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One run of `cofio eval`."""

    set: str
    scope: AskedOf
    n: int
    skipped: int
    systems: Mapping[str, SystemFigures]
    figures: Mapping[str, Figure]
    ablation: Mapping[str, Without]
    measured: Circumstances


def evaluate(
    dataset: Dataset,
    settings: Settings,
    *,
    asked_of: AskedOf,
    limit: int | None,
    ablation: bool,
    cache: Path,
    console: Console,
) -> Evaluation:
    """The set's questions, or `limit` of them spread evenly, measured through the code of the endpoint.

    Questions that name no meeting are asked of the whole set, whatever `asked_of`. Raises InvalidInput if none of
    them can be answered.
    """
    started = time.perf_counter()
    questions = dataset.questions
    if all(question.meeting_id is None and question.series is None for question in questions):
        asked_of = "pooled"
    if limit is not None and limit < len(questions):
        questions = tuple(questions[i * len(questions) // limit] for i in range(limit))
    if not any(question.answerable for question in questions):
        raise InvalidInput(f"none of the {len(questions)} questions has an answer to find", field="limit")

    async def measure() -> tuple[Recall, Mapping[str, Figure], Mapping[str, Without]]:
        async with open_corpus(dataset, settings, cache, console) as corpus:
            recall = await measure_recall(corpus, asked_of, questions, console)
            figures = await probe(corpus, asked_of, questions, console)
            return recall, figures, await ablate(corpus, asked_of, questions, console) if ablation else {}

    recall, figures, without = asyncio.run(measure())
    return Evaluation(
        set=dataset.name,
        scope=asked_of,
        n=recall.n,
        skipped=recall.skipped,
        systems=recall.systems,
        figures={**recall.figures, **figures},
        ablation=without,
        measured=Circumstances(
            machine=_machine(),
            commit=commit(),
            date=datetime.now(UTC).date().isoformat(),
            precision=settings.precision,
            seconds=round(time.perf_counter() - started, 1),
        ),
    )


def show(console: Console, evaluation: Evaluation) -> None:
    """The table of systems, the paired differences, the categories, and the figures beside them."""
    console.print(
        f"[bold]{evaluation.set}[/], asked of {'its meeting' if evaluation.scope == 'meeting' else 'the whole set'}: "
        f"{evaluation.n} questions, {evaluation.skipped} without gold left out; commit {evaluation.measured.commit}, "
        f"{evaluation.measured.machine}, {evaluation.measured.seconds:.0f} s",
        highlight=False,
    )
    systems = evaluation.systems
    console.print(
        table(
            ("system", *COLUMNS.values()),
            [(name, *(_short(systems[name].metrics[column]) for column in COLUMNS)) for name in SYSTEMS],
        )
    )
    others = [name for name in SYSTEMS if name != BASELINE]
    console.print(
        table(
            (f"difference to {BASELINE}", *others),
            [
                (label, *(_signed(systems[name].difference_to_hybrid[measure], "\n") for name in others))
                for measure, label in COLUMNS.items()
            ],
        )
    )
    for category in systems[BASELINE].by_category:
        found = {name: systems[name].by_category[category] for name in SYSTEMS}
        console.print(
            table(
                (f"{category} ({found[BASELINE]['recall@10'].n})", *COLUMNS.values()),
                [(name, *(_short(of[column]) for column in COLUMNS)) for name, of in found.items()],
            )
        )
    evidence = [
        m for m in evaluation.systems[BASELINE].metrics if m.startswith("evidence") and m.endswith("@10")
    ]
    if evidence:
        console.print(
            table(
                ("system", *evidence),
                [
                    (name, *(_short(systems[name].metrics[measure]) for measure in evidence))
                    for name in SYSTEMS
                ],
            )
        )
    console.print(
        table(
            ("figure", "", "95 % interval", "n"),
            [
                (name, _short(figure), f"[{figure.low:.3f}, {figure.high:.3f}]", str(figure.n))
                for name, figure in evaluation.figures.items()
            ],
        )
    )
    if evaluation.ablation:
        console.print(
            table(
                ("ranking", "R@10", "difference"),
                [
                    (name, _short(without.recall), _signed(without.difference))
                    for name, without in evaluation.ablation.items()
                ],
            )
        )


def shortfalls(evaluation: Evaluation) -> list[str]:
    """What the sample meetings' questions give less of than they must, a sentence each."""
    found = evaluation.systems["activation_on"].metrics
    return [
        f"{measure} of activation_on is {found[measure].mean:.3f}, below {least}"
        for measure, least in LEAST.items()
        if found[measure].mean < least
    ]


def as_json(evaluation: Evaluation) -> bytes:
    """The evaluation as JSON."""
    return orjson.dumps(asdict(evaluation), option=orjson.OPT_INDENT_2)


def _signed(figure: Figure, apart: str = " ") -> str:
    return f"{figure.mean:+.3f}{apart}[{figure.low:+.3f}, {figure.high:+.3f}]"


def _short(figure: Figure) -> str:
    return f"{figure.mean:.3f}"


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
