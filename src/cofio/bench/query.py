"""One question that was never asked before, with everything on."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cofio.bench import peers
from cofio.bench.bench import Bench
from cofio.bench.corpus import count_stored, drawn_store, read_source, read_stored, settings_for
from cofio.bench.indexed import wait_until_indexed
from cofio.bench.results import OURS, Figure, Findings
from cofio.bench.timing import Contender, interleave, ratio
from cofio.embed.onnx import OnnxEncoder
from cofio.query import recall
from cofio.records import SEMANTIC_DIMENSIONS, Answer, Level, Question
from cofio.runtime import Runtime, open_runtime

CHROMA: Final = "Chroma"
TXTAI: Final = "txtai hybrid"
ENCODER: Final = "encoder alone"
LIMIT: Final = 10
WARM_UP: Final = 5


async def measure(bench: Bench) -> Findings:
    """The function behind the endpoint, beside the encoder alone and the peers, which hold fewer memories."""
    findings = Findings()
    source = read_source(bench.data)
    folder = await drawn_store(bench, source, bench.effort.memories)
    counts = count_stored(folder)
    rounds = min(bench.effort.rounds, len(source.questions) - WARM_UP)
    questions = source.questions
    encoder = OnnxEncoder.open(bench.settings.model_dir, precision=bench.settings.precision, threads=1)
    with tempfile.TemporaryDirectory() as place:
        others = _peers(bench, folder, Path(place), findings)
        async with open_runtime(settings_for(bench.settings, folder)) as runtime:
            findings.figures["waited for the index"] = Figure(
                value=await wait_until_indexed(runtime), unit="s"
            )
            stages: dict[str, list[float]] = {}
            contenders = [
                Contender(name=OURS, call=_asking(runtime, questions, stages)),
                Contender(name=ENCODER, call=lambda i: encoder.encode([questions[i]])),
                *(Contender(name=name, call=_of(other, questions)) for name, other in others.items()),
            ]
            seconds = await interleave(contenders, rounds=rounds, warm_up=WARM_UP)
        findings.add_times("query", seconds)
        if TXTAI in others:
            others[TXTAI].close()
    findings.ratios["query: cofio / encoder alone"] = ratio(seconds[ENCODER], seconds[OURS])
    del findings.ratios[f"query: {ENCODER}"]
    findings.figures["p95 / p50 of cofio"] = Figure(
        value=float(np.percentile(seconds[OURS], 95) / np.median(seconds[OURS]))
    )
    for stage, values in stages.items():
        findings.figures[f"stage {stage}, median"] = Figure(value=float(np.median(values)), unit="ms")
    findings.settings |= {
        "source": source.name,
        "cofio holds": counts,
        "peers hold": bench.effort.peer_memories,
        "questions": rounds,
        "results": LIMIT,
        "threads": 1,
    }
    findings.notes.append(
        f"cofio holds {counts['L2']:,} utterances, with contexts, concepts, activation and bridges on, and "
        f"answers with all texts and explanations; the peers hold {bench.effort.peer_memories:,} and return the best "
        f"{LIMIT}. Chroma and txtai were filled with the same drawn vectors; they encode questions with "
        "sentence-transformers."
    )
    return findings


def _of(other: Any, questions: Sequence[str]) -> Callable[[int], object]:
    return lambda i: other.ask(questions[i], LIMIT)


def _asking(
    runtime: Runtime, questions: Sequence[str], stages: dict[str, list[float]]
) -> Callable[[int], Awaitable[Answer]]:
    async def ask(i: int) -> Answer:
        answer = await recall(runtime, Question(query=questions[i][:1000], limit_per_level=LIMIT))
        if i >= 0:
            for stage, ms in answer.stages_ms.items():
                stages.setdefault(stage, []).append(ms)
        return answer

    return ask


def _peers(bench: Bench, folder: Path, place: Path, findings: Findings) -> dict[str, Any]:
    """Chroma and txtai over the first utterances of the store; none where no peers are asked for."""
    if not bench.peers:
        findings.left_out += [CHROMA, TXTAI]
        return {}
    module, encoders = peers.load("memories"), peers.load("encoders")
    stored = read_stored(folder, Level.EPISODE, bench.effort.peer_memories)
    texts = [
        f"{speaker}: {text}" if speaker else text
        for speaker, text in zip(stored.speakers, stored.texts, strict=True)
    ]
    vectors = np.ascontiguousarray(stored.vectors[:, :SEMANTIC_DIMENSIONS])
    chroma = module.Chroma(place / "chroma", encoders.model_folder(bench.settings.model_dir, bench.cache))
    chroma.add(stored.ids, texts, vectors)
    reference = encoders.open_reference(bench.settings.model_dir, bench.cache)
    return {CHROMA: chroma, TXTAI: module.FilledTxtai(reference, stored.ids, texts, vectors)}
