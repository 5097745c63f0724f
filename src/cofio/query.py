"""Recall: one question in, direct hits, activated memories and bridges out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

import numpy as np
import structlog

from cofio import explain
from cofio.cue import Cue, read_cue
from cofio.errors import CofioError, EncoderUnavailable
from cofio.find import CONCEPTS, Findings, Nearest, Outside, find, outside_of
from cofio.graph.bridges import Link
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope, scope
from cofio.graph.spread import SEEDS, LexicalSeeds, lexical_seeds
from cofio.records import (
    FEATURE_DIMENSIONS,
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Activated,
    Answer,
    Bridge,
    Float32s,
    Level,
    MemoryMetadata,
    Missing,
    Question,
    Recalled,
)
from cofio.runtime import Runtime
from cofio.search import search
from cofio.store.recalled import Shown, shown, stored_memories
from cofio.telemetry.metrics import DEGRADED_ANSWERS, QUERY_SECONDS
from cofio.telemetry.stages import Stages
from cofio.telemetry.traces import annotate
from cofio.text.features import FEATURES, query_features
from cofio.threads import run_in

_log = structlog.get_logger(__name__)

# How many times as many hits are asked for where those of the asked meetings do not count.
OUTSIDE: Final = 4
# What stands in for the encoder where it does not answer.
WITHOUT_ENCODER: Final = Missing(
    code=EncoderUnavailable.code,
    detail="The encoder does not answer: only the question's words were looked for, not its meaning.",
)
CORE: Final = 0.7
CONTEXTUAL: Final = 0.4


async def recall(runtime: Runtime, question: Question) -> Answer:
    """The answer to `question` from the memory as it is now.

    Equal questions on an equal memory have equal answers. Where the encoder does not answer, or the vector store and it
    is needed, the answer is found without it and says so. Raises `Overloaded` when it has waited for its turn, or then for the
    encoder, for `max_query_wait_s`. Either way it is counted, timed and logged, without a word of the question or the
    answer.
    """
    started = time.perf_counter()
    stages = Stages("query")
    try:
        found, missing = await _recall(runtime, question, stages)
    except CofioError as error:
        annotate(outcome=error.code)
        _log.info("query", outcome=error.code, stages_ms=stages.ms)
        raise
    seconds = time.perf_counter() - started
    QUERY_SECONDS.observe(seconds)
    for part in missing:
        DEGRADED_ANSWERS.labels(part.code).inc()
    answer = dataclasses.replace(
        found,
        degraded=bool(missing),
        missing=missing,
        processing_time_ms=round(seconds * 1000, 3),
        stages_ms=stages.ms,
    )
    outcome = "degraded" if missing else "answered"
    annotate(outcome=outcome, results=answer.total_results)
    _log.info(
        "query",
        outcome=outcome,
        missing=[part.code for part in missing],
        results=answer.total_results,
        confidence=answer.confidence,
        duration_ms=answer.processing_time_ms,
        stages_ms=answer.stages_ms,
    )
    return answer


async def _recall(runtime: Runtime, question: Question, stages: Stages) -> tuple[Answer, tuple[Missing, ...]]:
    """The answer but for its marks and times, and what did not answer on the way."""
    async with contextlib.AsyncExitStack() as stack:
        with stages("wait"):
            await stack.enter_async_context(runtime.recalls.place())
        return await _recall_in_place(runtime, question, stages)


async def _recall_in_place(
    runtime: Runtime, question: Question, stages: Stages
) -> tuple[Answer, tuple[Missing, ...]]:
    graph = runtime.live.current
    with stages("prepare"):
        bounds, outside, cue = await run_in(runtime.recalls.threads, _prepare, graph, question)
    # The words are looked up while the encoder and the index work.
    words = asyncio.create_task(run_in(runtime.recalls.threads, _by_words, graph, bounds, cue))
    try:
        with stages("encode"):
            semantic = await _encoded(runtime, cue)
        with stages("search", more=True):
            vector = _steered(
                np.zeros(SEMANTIC_DIMENSIONS, np.float32) if semantic is None else semantic, question
            )
            limits = {} if semantic is None else _limits(question)
            inside = await search(runtime, graph, bounds, question.filters, vector, limits)
            beyond = None
            if outside is not None:
                # The index knows no "all but these": what it finds in the meetings that were asked is left out later.
                limits = {} if semantic is None else {Level.EPISODE: OUTSIDE * SEEDS}
                beyond = await search(runtime, graph, outside.bounds, outside.filters, vector, limits)
            lexical, features = await words
    finally:
        words.cancel()

    def answer() -> Answer:
        # One thread does what is left: handing a question from thread to thread costs more than to fetch its memories.
        with stages("search"):
            nodes = inside.nodes()
            nearest = Nearest(
                rows=nodes[Level.EPISODE],
                outside=np.empty(0, np.int32) if beyond is None else beyond.nodes()[Level.EPISODE],
                concepts=nodes[Level.CONCEPT] - graph.first_concept,
            )
        with stages("activate"):
            findings, ids = _find(graph, bounds, outside, cue, lexical, vector, nearest, question)
        with stages("fetch"):
            wanted = {ids[node] for node in findings.shown}
            rows = {ids[node]: int(graph.stored[node]) for node in findings.shown if node < graph.episodes}
            stored = stored_memories(runtime.database, wanted, rows)
        with stages("assemble"):
            return _assemble(graph, question, features, findings, ids, stored)

    made = await run_in(runtime.recalls.threads, answer)
    if semantic is None:
        return made, (WITHOUT_ENCODER,)
    return made, inside.missing or (() if beyond is None else beyond.missing)


async def _encoded(runtime: Runtime, cue: Cue) -> Float32s | None:
    """The cue's 384 semantic dimensions, None where the encoder fails."""
    try:
        encoded = await runtime.batcher.encode([cue.encoded_text], urgent=True)
    except EncoderUnavailable:  # the batcher has told why
        return None
    vector: Float32s = encoded[0]
    return vector


def _prepare(graph: MemoryGraph, question: Question) -> tuple[Scope, Outside | None, Cue]:
    bounds = scope(graph, question.filters)
    return bounds, outside_of(graph, bounds, question), read_cue(question.query, graph, bounds)


def _by_words(graph: MemoryGraph, bounds: Scope, cue: Cue) -> tuple[LexicalSeeds, Mapping[str, float]]:
    """What the question's words find by themselves, and its own sixteen features."""
    values = query_features(cue.text).tolist()
    features = {name: round(value, 4) for name, value in zip(FEATURES, values, strict=True)}
    return lexical_seeds(graph, bounds, cue.stems), features


def _steered(semantic: Float32s, question: Question) -> Float32s:
    """The query's 400 dimensions: zeros in the last 16 rank by the cosine alone, weights there steer."""
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:-FEATURE_DIMENSIONS] = semantic
    for name, weight in question.steer:
        vector[VECTOR_DIMENSIONS - FEATURE_DIMENSIONS + FEATURES.index(name)] = weight
    return vector


def _limits(question: Question) -> Mapping[Level, int]:
    # Contexts are ranked by their turns, wherever these were found: their own vectors are not asked.
    return {
        Level.EPISODE: max(SEEDS, question.limit_per_level),
        Level.CONCEPT: CONCEPTS * question.limit_per_level,
    }


def _find(
    graph: MemoryGraph,
    bounds: Scope,
    outside: Outside | None,
    cue: Cue,
    lexical: LexicalSeeds,
    vector: Float32s,
    nearest: Nearest,
    question: Question,
) -> tuple[Findings, Mapping[int, str]]:
    """What is found, and the memory id of every node that the answer names."""
    findings = find(graph, bounds, outside, cue, lexical, vector, nearest, question)
    named = set(findings.shown)
    named.update(*(reached.path for reached in findings.activated), *findings.turns.values())
    named.update(graph.first_concept + link.concept for link in findings.bridges if link.concept is not None)
    return findings, graph.memory_ids(named)


def _assemble(
    graph: MemoryGraph,
    question: Question,
    features: Mapping[str, float],
    findings: Findings,
    ids: Mapping[int, str],
    stored: Sequence[Sequence[Any]],
) -> Answer:
    """The answer from what was found; a memory that was deleted meanwhile is left out."""
    found = {memory.memory_id: memory for memory in map(shown, stored)}
    direct = {
        level.label: tuple(
            Recalled(
                **_common(found[ids[node]], score),
                turns=tuple(ids[row] for row in findings.turns.get(node, ())),
            )
            for node, score in findings.direct[level]
            if ids[node] in found
        )
        for level in Level
    }
    activated = tuple(
        Activated(
            **_common(found[ids[reached.node]], findings.scores.get(reached.node, reached.strength)),
            activation_strength=round(reached.strength, 6),
            depth=len(reached.path) - 1,
            path=tuple(ids[node] for node in reached.path),
            classification=_classify(reached.strength),
        )
        for reached in findings.activated
        if ids[reached.node] in found
    )
    bridges = tuple(
        Bridge(
            **_common(found[ids[link.row]], link.score),
            novelty_score=round(link.novelty, 6),
            connection_score=round(link.strength, 6),
            connecting_memories=_connecting(graph, link, ids),
            explanation=explain.bridge(graph, link, found[ids[link.row]], found[ids[link.anchor]]),
        )
        for link in findings.bridges
        if ids[link.row] in found and ids[link.anchor] in found
    )
    return Answer(
        query=question.query,
        direct_results=direct,
        activated_memories=activated,
        bridge_memories=bridges,
        confidence=round(findings.confidence, 4),
        total_results=sum(map(len, direct.values())) + len(activated) + len(bridges),
        query_dimensions=features,
        degraded=False,
        missing=(),
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


def _common(memory: Shown, score: float) -> _Common:
    """What every kind of result says of a memory."""
    return {
        "memory_id": memory.memory_id,
        "content": memory.content,
        "memory_type": memory.memory_type,
        "score": round(score, 6),
        "level": memory.level.label,
        "metadata": memory.metadata,
    }


def _connecting(graph: MemoryGraph, link: Link, ids: Mapping[int, str]) -> tuple[str, ...]:
    concept = () if link.concept is None else (ids[graph.first_concept + link.concept],)
    return (ids[link.anchor], *concept)


def _classify(strength: float) -> str:
    return "core" if strength >= CORE else "contextual" if strength >= CONTEXTUAL else "peripheral"
