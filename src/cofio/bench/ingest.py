"""Ingest: real meetings from their transcripts until they can be found."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from cofio.bench import peers
from cofio.bench.bench import Bench
from cofio.bench.corpus import Said, read_source, settings_for, utterances
from cofio.bench.results import OURS, Check, Figure, Findings
from cofio.bench.timing import Contender, interleave
from cofio.embed.onnx import OnnxEncoder
from cofio.errors import InvalidInput
from cofio.ingest import ingest
from cofio.line import Call, Line, in_line
from cofio.query import recall
from cofio.records import MeetingInput, Question
from cofio.runtime import Runtime, open_runtime

CHROMA: Final = "Chroma"
TXTAI: Final = "txtai hybrid"
BULK: Final = "encoding alone"

Batch = Sequence[tuple[MeetingInput, Sequence[Said]]]


async def measure(bench: Bench) -> Findings:
    """Batches of meetings into cofio and into each peer; and the same utterances merely encoded."""
    findings = Findings()
    source = read_source(bench.data)
    chosen: list[tuple[MeetingInput, list[Said]]] = []
    for meeting in source.meetings:
        if len(chosen) > 1 and sum(len(said) for _, said in chosen) >= bench.effort.ingest_utterances:
            break
        chosen.append((meeting, utterances(meeting)))
    if len(chosen) < 2:
        raise InvalidInput(f"{bench.data} holds fewer than two meetings", field="data")
    warming, *measured = chosen

    def batch(i: int) -> Batch:
        """The meetings of round i, each time for another project: nothing of it is known."""
        meetings = measured if i >= 0 else [warming]
        return [(replace(meeting, project=f"round {i}"), said) for meeting, said in meetings]

    encoder = OnnxEncoder.open(bench.settings.model_dir, precision=bench.settings.precision, threads=1)
    with tempfile.TemporaryDirectory() as place:
        async with open_runtime(settings_for(bench.settings, Path(place) / "cofio")) as runtime:
            contenders = [
                Contender(name=OURS, call=lambda i: _remembered(runtime, batch(i))),
                Contender(name=BULK, call=lambda i: _encoded(encoder, batch(i))),
            ]
            others: dict[str, Any] = {}
            if bench.peers:
                module = peers.load("memories")
                model = peers.load("encoders").model_folder(bench.settings.model_dir, bench.cache)
                others = {CHROMA: module.Chroma(Path(place) / "chroma", model), TXTAI: module.Txtai(model)}
                contenders += [
                    Contender(name=name, call=_adding(other, batch)) for name, other in others.items()
                ]
            else:
                findings.left_out += [CHROMA, TXTAI]
            seconds = await interleave(contenders, rounds=bench.effort.batches, warm_up=1)
            findings.add_times("batch", seconds, of="total")
            count = sum(len(said) for _, said in measured)
            for name, values in seconds.items():
                findings.figures[f"rate: {name}"] = Figure(
                    value=count * values.size / float(values.sum()), unit="utterances/s"
                )
            findings.figures["share of the encoder's own speed"] = Figure(
                value=float(seconds[BULK].sum() / seconds[OURS].sum())
            )
            wanted = measured[-1][1][len(measured[-1][1]) // 2].text[:1000]
            answer = await recall(runtime, Question(query=wanted))
            found = [memory.content for memory in answer.direct_results["L2"]]
            findings.checks["what went in last is found"] = Check(
                agrees=any(wanted in content for content in found),
                detail=f"asked with its own words, {len(found)} direct episodes",
            )
        if TXTAI in others:
            others[TXTAI].close()
    findings.settings |= {
        "source": source.name,
        "batches": bench.effort.batches,
        "meetings of a batch": len(measured),
        "utterances of a batch": count,
        "utterances of a meeting, median": float(np.median([len(said) for _, said in measured])),
        "threads": 1,
    }
    findings.notes.append(
        "A batch is remembered as `POST /ingest` does one of several meetings, the next encoded while the one before is stored. cofio begins with the "
        "transcripts and ends when graph and index hold the meetings; Chroma and txtai are given the utterances that the "
        "parser found, meeting after meeting, without speakers' features, segments or concepts. All three write to "
        "disk except txtai, which keeps its index in memory until it is saved. One thread encodes in each; cofio's "
        "other work has the second core, and its vector index is a process of its own."
    )
    return findings


async def _remembered(runtime: Runtime, batch: Batch) -> None:
    async def remember(meeting: MeetingInput, line: Line) -> None:
        await ingest(runtime, meeting, line=line)

    async def calls() -> AsyncIterator[Call]:
        for meeting, _ in batch:
            yield partial(remember, meeting)

    await in_line(calls())


def _encoded(encoder: OnnxEncoder, batch: Batch) -> None:
    for _, said in batch:
        encoder.encode([one.encoded_text for one in said])


def _adding(other: Any, batch: Callable[[int], Batch]) -> Callable[[int], object]:
    def add(i: int) -> None:
        for number, (_, said) in enumerate(batch(i)):
            other.add([f"{i}-{number}-{j}" for j in range(len(said))], [one.encoded_text for one in said])

    return add
