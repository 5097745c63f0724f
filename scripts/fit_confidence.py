"""Fits the constants of the confidence, `CONFIDENCE` of `cofio.rank`, and prints them.

    python scripts/fit_confidence.py --data ../shared/eval [--cache DIR]

Asks the questions of `locomo`, `qmsum` and `ethpm`, names taken out: an answer is held by a question's own meeting, and
not by another of its kin. Every set weighs as much, and in it held and not held. The areas under the curves that are
printed are of the questions that were fitted.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from train_type_heads import fit

from cofio.eval.command import CACHE
from cofio.eval.corpus import open_corpus
from cofio.eval.datasets import read_dataset
from cofio.eval.harness import filters_of
from cofio.eval.measures import auroc
from cofio.eval.probes import kin_of, without_names
from cofio.eval.rankings import ask, evidence_of
from cofio.rank import held_signals
from cofio.settings import Settings
from cofio.show import progress_bar

SETS: Final = ("locomo", "qmsum", "ethpm")
L2: Final = 1e-6

Float64s = NDArray[np.float64]
Labelled = tuple[Float64s, Float64s]  # signals (n, 4), and whether the answer is held (n,)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder where the sets' stores are kept")
    options = parser.parse_args()
    sets = {name: asyncio.run(labelled(options.data, name, options.cache)) for name in SETS}
    constants = fitted(list(sets.values()))
    print("CONFIDENCE", ", ".join(f"{constant:.2f}" for constant in constants))
    for name, (signals, held) in sets.items():
        score = constants[0] + signals @ constants[1:]
        found = auroc(score[held == 1], score[held == 0])
        print(f"{name}: AUROC {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}] of {found.n}")


async def labelled(data: Path, name: str, cache: Path) -> Labelled:
    """The signals of every answerable question of the set, asked of its own meeting and of another of its kin."""
    dataset = read_dataset(data, name)
    meetings = {meeting.meeting_id: meeting for meeting in dataset.meetings}
    found: list[tuple[Sequence[float], float]] = []
    console = Console(stderr=True)
    async with open_corpus(dataset, Settings(), cache, console) as corpus:
        with progress_bar(console) as progress:
            for question in progress.track(dataset.questions, description=name):
                kin = kin_of(corpus, question)
                if not question.answerable or kin is None:
                    continue
                text = without_names(question, meetings, dataset.meetings)
                for filters, held in ((filters_of(corpus, question, "meeting"), 1.0), (kin, 0.0)):
                    asked = await ask(corpus, text, filters)
                    evidence = await evidence_of(corpus, asked, asked.vector)
                    if evidence.rows.size:
                        found.append((held_signals(evidence, corpus.runtime.live.current)[1:], held))
    return np.array([signals for signals, _ in found]), np.array([held for _, held in found])


def fitted(sets: Sequence[Labelled]) -> Float64s:
    """The constants, the one of 1 first."""
    signals = np.concatenate([signals for signals, _ in sets])
    held = np.concatenate([held for _, held in sets])
    weight = np.concatenate([np.where(h == 1, 1 / h.sum(), 1 / (1 - h).sum()) for _, h in sets])
    weights = fit(signals.astype(np.float32), held, weight, L2)
    constants: Float64s = np.concatenate((weights[-1:], weights[:-1]))
    return constants


if __name__ == "__main__":
    main()
