"""Fits the constants of the confidence, `CONFIDENCE` and `SUPPORT` of `cofio.rank`, and prints them.

    python scripts/fit_confidence.py --data ../shared/eval [--cache DIR]

Asks the questions of `locomo`, `qmsum` and `ethpm`, which the endpoint's own signals describe. An answer is held by a
question's own meeting and not by another of its kin, names taken out. For a question that names one speaker, it is not
held either where another speaker's name is put for this one: LoCoMo has such questions, in the other sets one is made.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from train_type_heads import fit

from cofio.eval.command import CACHE
from cofio.eval.corpus import Corpus, open_corpus
from cofio.eval.datasets import LabelledQuestion, read_dataset
from cofio.eval.harness import filters_of
from cofio.eval.measures import auroc
from cofio.eval.probes import kin_of, without_names
from cofio.eval.rankings import ask, evidence_of
from cofio.rank import CONFIDENCE, held_signals, support_signals, unsteered
from cofio.records import Filters
from cofio.settings import Settings
from cofio.show import progress_bar

SETS: Final = ("locomo", "qmsum", "ethpm")
# A question without names, asked of its own meeting or a foreign one, counts a tenth of one that names a speaker: with
# more, swapped speakers are told less well (AUROC .838 at .1, .834 at .15, .815 at .3), with none, foreign meetings.
FOREIGN: Final = 0.1
L2: Final = 1e-6


@dataclass(slots=True, kw_only=True)
class Labelled:
    """The signals of the questions of one set, whose answers are held (1) or not (0), the constant left out."""

    held: list[tuple[Sequence[float], float]] = field(default_factory=list)
    supported: list[tuple[Sequence[float], float]] = field(default_factory=list)  # true and swapped speakers
    foreign: list[tuple[Sequence[float], float]] = field(default_factory=list)  # the same signals, of `held`


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder where the sets' stores are kept")
    options = parser.parse_args()
    sets = {name: asyncio.run(labelled(options.data, name, options.cache)) for name in SETS}
    confidence = fitted([(of.held, 1.0) for of in sets.values()])
    support = fitted([pair for of in sets.values() for pair in ((of.supported, 1.0), (of.foreign, FOREIGN))])
    for name, weights in (("CONFIDENCE", confidence), ("SUPPORT", support)):
        print(name, ", ".join(f"{weight:.2f}" for weight in weights))
    for name, of in sets.items():
        for what, weights, pairs in (("held", confidence, of.held), ("supported", support, of.supported)):
            inputs, target = _columns(pairs)
            score = weights[0] + inputs @ weights[1:]
            print(name, what, len(pairs), "AUROC", auroc(score[target == 1], score[target == 0]))


async def labelled(data: Path, name: str, cache: Path) -> Labelled:
    """The signals of every question of the set that tells whether an answer is held."""
    dataset = read_dataset(data, name)
    meetings = {meeting.meeting_id: meeting for meeting in dataset.meetings}
    found = Labelled()
    console = Console(stderr=True)
    async with open_corpus(dataset, Settings(), cache, console) as corpus:
        with progress_bar(console) as progress:
            for question in progress.track(dataset.questions, description=name):
                own, kin = filters_of(corpus, question, "meeting"), kin_of(corpus, question)
                for text, held in _named(corpus, question, own):
                    supported = (await _signals(corpus, text, own))[1]
                    if supported is not None:
                        found.supported.append((supported, held))
                if question.answerable and kin is not None:
                    text = without_names(question, meetings, dataset.meetings)
                    for filters, held in ((own, 1.0), (kin, 0.0)):
                        signals, supported = await _signals(corpus, text, filters)
                        if signals is not None:
                            found.held.append((signals, held))
                        if supported is not None:
                            found.foreign.append((supported, held))
    return found


def fitted(parts: Sequence[tuple[Sequence[tuple[Sequence[float], float]], float]]) -> NDArray[np.float64]:
    """The constants, the one of 1 first. In every part held and not held weigh as much, all parts as told."""
    inputs, target = _columns([pair for pairs, _ in parts for pair in pairs])
    weight = np.concatenate([_even(pairs) * share for pairs, share in parts if pairs])
    weights = fit(inputs.astype(np.float32), target, weight, L2)
    constants: NDArray[np.float64] = np.concatenate((weights[-1:], weights[:-1]))
    return constants


def _even(pairs: Sequence[tuple[Sequence[float], float]]) -> NDArray[np.float64]:
    target = np.array([held for _, held in pairs])
    return np.asarray(np.where(target == 1, 1 / max(1.0, target.sum()), 1 / max(1.0, (1 - target).sum())))


def _columns(
    pairs: Sequence[tuple[Sequence[float], float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([signals for signals, _ in pairs]), np.array([held for _, held in pairs])


def _named(corpus: Corpus, question: LabelledQuestion, own: Filters) -> Iterable[tuple[str, float]]:
    """The question, and if it names one speaker and the set has none of its own, the question with another's name."""
    yield question.text, float(question.answerable)
    if any(not other.answerable for other in corpus.dataset.questions):
        return
    there = {
        person
        for meeting in corpus.dataset.meetings
        if meeting.meeting_id == question.meeting_id
        or (question.series is not None and meeting.series == question.series)
        for person in meeting.participants
    }
    named = [person for person in sorted(there) if re.search(_first(person), question.text)]
    others = sorted(person for person in there if not re.search(_first(person), question.text))
    if len(named) == 1 and others:
        other = others[len(question.text) % len(others)]
        whole = question.text.replace(named[0], other)
        yield re.sub(_first(named[0]), other.split()[0], whole), 0.0


def _first(person: str) -> str:
    return rf"\b{re.escape(person.split()[0])}\b"


async def _signals(
    corpus: Corpus, text: str, filters: Filters
) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """What tells whether an answer is held, and, where it can, whether it is of the speaker who is named."""
    graph = corpus.runtime.live.current
    asked = await ask(corpus, text, filters)
    evidence = await evidence_of(corpus, asked, asked.vector)
    if not evidence.rows.size:
        return None, None
    held = held_signals(evidence, graph)
    named = graph.speakers[evidence.rows] == asked.cue.person
    if asked.cue.person is None or named.all() or not named.any():
        return held[1:], None
    u = unsteered(evidence, graph, asked.cue)
    odds = float(np.dot(CONFIDENCE, held))
    return held[1:], support_signals(evidence, graph, asked.cue.person, u, odds)[1:]


if __name__ == "__main__":
    main()
