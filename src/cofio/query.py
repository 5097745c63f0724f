"""Recall: one question in, direct hits, activated memories and bridges out."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

import numpy as np

from cofio import explain
from cofio.cue import Cue, read_cue
from cofio.find import Findings, Outside, find, outside_of
from cofio.graph.bridges import Link
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope, scope
from cofio.graph.spread import SEEDS
from cofio.records import (
    FEATURE_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Activated,
    Answer,
    Bridge,
    Float32s,
    Level,
    MemoryMetadata,
    Question,
    Recalled,
)
from cofio.runtime import Runtime
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.recalled import Shown, shown_memories
from cofio.store.vectors import Hit
from cofio.telemetry import Stages
from cofio.text.features import FEATURES, query_features

# How many times as many hits are asked for where those of the asked meetings do not count.
OUTSIDE: Final = 4
CORE: Final = 0.7
CONTEXTUAL: Final = 0.4


async def recall(runtime: Runtime, question: Question) -> Answer:
    """The answer to `question` from the memory as it is now.

    Equal questions on an equal memory have equal answers. Raises `Overloaded` when too many questions wait for
    the encoder, `EncoderUnavailable` or `VectorStoreUnavailable` when that part does not answer.
    """
    started = time.perf_counter()
    stages = Stages("query")
    graph = runtime.live.current
    with stages("cache"):
        cached = runtime.cache.get(question, graph.version)
    if cached is not None:
        return dataclasses.replace(cached, processing_time_ms=_ms_since(started), stages_ms=stages.ms)
    with stages("prepare"):
        bounds, outside, cue = await asyncio.to_thread(_prepare, graph, question)
    with stages("encode"):
        encoded = await runtime.batcher.encode([cue.encoded_text], urgent=True)
    vector = _steered(encoded[0], question)
    with stages("search"):
        hits = await runtime.index.search(vector, _limits(question), in_pseudonyms(question.filters))
        outside_hits: Sequence[Hit] = ()
        if outside is not None:
            # The index knows no "all but these": what it finds in the meetings that were asked is left out later.
            wanted = {Level.EPISODE: OUTSIDE * SEEDS}
            found = await runtime.index.search(vector, wanted, in_pseudonyms(outside.filters))
            outside_hits = found[Level.EPISODE]
    with stages("activate"):
        findings = await asyncio.to_thread(
            find, graph, bounds, outside, cue, vector, hits, outside_hits, question
        )
    with stages("fetch"):
        shown = await shown_memories(runtime.database, _wanted(graph, findings))
    with stages("assemble"):
        answer = await asyncio.to_thread(_assemble, graph, question, cue, findings, shown)
    answer = dataclasses.replace(answer, processing_time_ms=_ms_since(started), stages_ms=stages.ms)
    runtime.cache.put(question, graph.version, answer)
    return answer


def _prepare(graph: MemoryGraph, question: Question) -> tuple[Scope, Outside | None, Cue]:
    bounds = scope(graph, question.filters)
    return bounds, outside_of(graph, bounds, question), read_cue(question.query, graph, bounds)


def _steered(semantic: Float32s, question: Question) -> Float32s:
    """The query's 400 dimensions: zeros in the last 16 rank by the cosine alone, weights there steer."""
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:-FEATURE_DIMENSIONS] = semantic
    for name, weight in question.steer:
        vector[VECTOR_DIMENSIONS - FEATURE_DIMENSIONS + FEATURES.index(name)] = weight
    return vector


def _limits(question: Question) -> Mapping[Level, int]:
    wider = max(SEEDS, question.limit_per_level)
    return {Level.EPISODE: wider, Level.CONTEXT: wider, Level.CONCEPT: wider}


def _wanted(graph: MemoryGraph, findings: Findings) -> frozenset[str]:
    nodes = {node for found in findings.direct.values() for node, _ in found}
    nodes |= {reached.node for reached in findings.activated}
    nodes |= {node for link in findings.bridges for node in (link.row, link.anchor)}
    return frozenset(graph.memory_id(node) for node in nodes)


def _assemble(
    graph: MemoryGraph, question: Question, cue: Cue, findings: Findings, shown: Mapping[str, Shown]
) -> Answer:
    direct = {
        level.label: tuple(
            Recalled(
                **_common(shown[memory_id], score),
                turns=tuple(graph.memory_id(row) for row in findings.turns.get(node, ())),
            )
            for node, score in findings.direct[level]
            if (memory_id := graph.memory_id(node)) in shown
        )
        for level in Level
    }
    activated = tuple(
        Activated(
            **_common(shown[memory_id], findings.scores.get(reached.node, reached.strength)),
            activation_strength=round(reached.strength, 6),
            depth=len(reached.path) - 1,
            path=tuple(graph.memory_id(node) for node in reached.path),
            classification=_classify(reached.strength),
        )
        for reached in findings.activated
        if (memory_id := graph.memory_id(reached.node)) in shown
    )
    bridges = tuple(
        Bridge(
            **_common(shown[memory_id], link.score),
            novelty_score=round(link.novelty, 6),
            connection_score=round(link.strength, 6),
            connecting_memories=_connecting(graph, link),
            explanation=explain.bridge(graph, link, shown[memory_id], shown[anchor_id]),
        )
        for link in findings.bridges
        if (memory_id := graph.memory_id(link.row)) in shown
        and (anchor_id := graph.memory_id(link.anchor)) in shown
    )
    return Answer(
        query=question.query,
        direct_results=direct,
        activated_memories=activated,
        bridge_memories=bridges,
        confidence=round(findings.confidence, 4),
        total_results=sum(map(len, direct.values())) + len(activated) + len(bridges),
        query_dimensions={
            name: round(float(value), 4)
            for name, value in zip(FEATURES, query_features(cue.text), strict=True)
        },
        processing_time_ms=0.0,
        stages_ms={},
    )


class _Common(TypedDict):
    memory_id: str
    content: str
    memory_type: str
    score: float
    level: str
    metadata: MemoryMetadata


def _common(shown: Shown, score: float) -> _Common:
    """What every kind of result says of a memory."""
    return {
        "memory_id": shown.memory_id,
        "content": shown.content,
        "memory_type": shown.memory_type,
        "score": round(score, 6),
        "level": shown.level.label,
        "metadata": shown.metadata,
    }


def _connecting(graph: MemoryGraph, link: Link) -> tuple[str, ...]:
    concept = () if link.concept is None else (graph.concepts[link.concept].memory_id,)
    return (graph.memory_id(link.anchor), *concept)


def _classify(strength: float) -> str:
    return "core" if strength >= CORE else "contextual" if strength >= CONTEXTUAL else "peripheral"


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
