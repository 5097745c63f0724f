"""Ingest: real meetings from their transcripts until they can be found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
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
from cofio.query import recall
from cofio.records import MeetingInput, Question
from cofio.runtime import open_runtime

CHROMA: Final = "Chroma"
TXTAI: Final = "txtai hybrid"
BULK: Final = "encoding alone"


async def measure(bench: Bench) -> Findings:
    """Meeting after meeting into cofio and into each peer; and the same utterances merely encoded."""
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
    order = [*measured, warming]  # round −1 is the last
    encoder = OnnxEncoder.open(bench.settings.model_dir, precision=bench.settings.precision, threads=1)
    with tempfile.TemporaryDirectory() as place:
        async with open_runtime(settings_for(bench.settings, Path(place) / "cofio")) as runtime:
            contenders = [
                Contender(name=OURS, call=lambda i: ingest(runtime, order[i][0])),
                Contender(
                    name=BULK, call=lambda i: encoder.encode([said.encoded_text for said in order[i][1]])
                ),
            ]
            others: dict[str, Any] = {}
            if bench.peers:
                module = peers.load("memories")
                model = peers.load("encoders").model_folder(bench.settings.model_dir, bench.cache)
                others = {CHROMA: module.Chroma(Path(place) / "chroma", model), TXTAI: module.Txtai(model)}
                contenders += [
                    Contender(name=name, call=_adding(other, order)) for name, other in others.items()
                ]
            else:
                findings.left_out += [CHROMA, TXTAI]
            seconds = await interleave(contenders, rounds=len(measured), warm_up=1)
            findings.add_times("meeting", seconds, of="total")
            count = sum(len(said) for _, said in measured)
            for name, values in seconds.items():
                findings.figures[f"rate: {name}"] = Figure(
                    value=count / float(values.sum()), unit="utterances/s"
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
        "meetings": len(measured),
        "utterances": count,
        "utterances of a meeting, median": float(np.median([len(said) for _, said in measured])),
        "threads": 1,
    }
    findings.notes.append(
        "cofio begins with the transcript and ends when graph and index hold the meeting; Chroma and txtai are given "
        "the utterances that the parser found, without speakers' features, segments or concepts. All three write to "
        "disk except txtai, which keeps its index in memory until it is saved. One thread encodes in each; cofio's "
        "database and vector index have a thread and a process of their own."
    )
    return findings


def _adding(other: Any, order: list[tuple[MeetingInput, list[Said]]]) -> Callable[[int], object]:
    def add(i: int) -> None:
        said = order[i][1]
        number = i % len(order)
        other.add([f"{number}-{j}" for j in range(len(said))], [one.encoded_text for one in said])

    return add
