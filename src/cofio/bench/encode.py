"""Encoding: one short question, and real utterances in bulk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np

from cofio.bench import peers
from cofio.bench.bench import Bench
from cofio.bench.corpus import read_source, spoken
from cofio.bench.results import Check, Figure, Findings
from cofio.bench.timing import Contender, interleave
from cofio.embed.onnx import OnnxEncoder
from cofio.records import Float32s

PEER: Final = "sentence-transformers"
PRECISIONS: Final[tuple[Literal["fp32", "int8"], ...]] = ("fp32", "int8")
# The cosine to the reference's vector that every text must have; int8 moves vectors a little, by design.
LEAST_COSINE: Final = {"fp32": 0.9999, "int8": 0.95}


async def measure(bench: Bench) -> Findings:
    """Both precisions of cofio's encoder, one thread each, beside sentence-transformers with the same weights."""
    findings = Findings()
    source = read_source(bench.data)
    questions = source.questions[: bench.effort.rounds]
    texts = spoken(source, bench.effort.bulk_texts * bench.effort.bulk_rounds)
    ours = {
        f"cofio {precision}": OnnxEncoder.open(bench.settings.model_dir, precision=precision, threads=1)
        for precision in PRECISIONS
    }
    batches = [texts[i :: bench.effort.bulk_rounds] for i in range(bench.effort.bulk_rounds)]
    one = [Contender(name=name, call=_one(encoder, questions)) for name, encoder in ours.items()]
    bulk = [Contender(name=name, call=_bulk(encoder, batches)) for name, encoder in ours.items()]
    if bench.peers:
        reference = peers.load("encoders").open_reference(bench.settings.model_dir, bench.cache)
        one.append(Contender(name=PEER, call=lambda i: reference.encode(questions[i])))
        bulk.append(Contender(name=PEER, call=lambda i: reference.encode(batches[i])))
        expected = reference.encode(batches[0])
        for precision in PRECISIONS:
            _check(precision, ours[f"cofio {precision}"].encode(batches[0]), expected, findings)
    else:
        findings.left_out.append(PEER)
    for what, contenders, rounds in (("question", one, len(questions)), ("bulk", bulk, len(batches))):
        seconds = await interleave(contenders, rounds=rounds, warm_up=1)
        findings.add_times(what, seconds, ours="cofio int8", of="total" if what == "bulk" else "median")
        if bench.peers:
            findings.ratios[f"{what}: {PEER} / cofio int8"] = findings.ratios.pop(f"{what}: {PEER}")
            pair = {name: seconds[name] for name in ("cofio fp32", PEER)}
            findings.add_times(what, pair, ours="cofio fp32", of="total" if what == "bulk" else "median")
            findings.ratios[f"{what}: {PEER} / cofio fp32"] = findings.ratios.pop(f"{what}: {PEER}")
        if what == "bulk":
            for name, values in seconds.items():
                rate = sum(map(len, batches)) / float(values.sum())
                findings.figures[f"bulk: {name}"] = Figure(value=rate, unit="utterances/s")
    lengths = [len(text.split()) for text in texts]
    findings.settings |= {
        "source": source.name,
        "questions": len(questions),
        "words of a question, mean": round(float(np.mean([len(q.split()) for q in questions])), 1),
        "utterances": len(texts),
        "utterances of one bulk call": len(batches[0]),
        "words of an utterance, mean": round(float(np.mean(lengths)), 1),
        "words of an utterance, p95": round(float(np.percentile(lengths, 95)), 1),
        "threads": 1,
        "provider": ours["cofio int8"].provider,
    }
    findings.notes.append(
        "sentence-transformers on PyTorch for CPU, fp32, its own batches of 32 sorted by length; the same weights and "
        "the same limit of 256 word pieces."
    )
    return findings


def _one(encoder: OnnxEncoder, questions: Sequence[str]) -> Callable[[int], object]:
    return lambda i: encoder.encode([questions[i]])


def _bulk(encoder: OnnxEncoder, batches: Sequence[Sequence[str]]) -> Callable[[int], object]:
    return lambda i: encoder.encode(batches[i])


def _check(precision: str, ours: Float32s, expected: Float32s, findings: Findings) -> None:
    cosines = (ours * expected).sum(axis=1)
    findings.checks[f"{precision}: the vectors of {PEER}"] = Check(
        agrees=bool(cosines.min() >= LEAST_COSINE[precision]),
        detail=f"{len(cosines)} utterances: cosine at least {cosines.min():.5f}, mean {cosines.mean():.5f}; "
        f"allowed {LEAST_COSINE[precision]}",
    )
