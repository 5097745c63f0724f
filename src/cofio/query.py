"""Recall: one question in, direct hits, activated memories and bridges out."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypedDict

import numpy as np

from cofio import explain, rank
from cofio.cue import Cue, read_cue
from cofio.graph.bridges import LIMIT as BRIDGES
from cofio.graph.bridges import Candidates, Link, find_bridges
from cofio.graph.csr import MemoryGraph
from cofio.graph.documents import spread_through_names
from cofio.graph.scope import Scope, scope
from cofio.graph.spread import SEEDS, Evidence, Wake, gather, wake
from cofio.records import (
    FEATURE_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Activated,
    Answer,
    Bridge,
    Filters,
    Float32s,
    Int32s,
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

# A direct hit starts with its share of the best score; what only matched the question by itself, below the
# direct hits, starts with this much less, so that a way through a direct hit is preferred as its path.
OWN_MATCH: Final = 0.25
# Contexts and concepts that the spread reaches stand behind the episodes it reached.
UPPER_LEVELS: Final = 0.5
# Below this confidence nothing was found: no bridge leads away from nothing.
LEAST_CONFIDENCE: Final = 0.05
# Passages whose rare names lead on to other documents (lab 2 §3a).
NAME_SEEDS: Final = 3
CORE: Final = 0.7
CONTEXTUAL: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reached:
    node: int
    strength: float
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Findings:
    """What was found, as nodes of `graph`; scores are those that the answer shows."""

    direct: Mapping[Level, tuple[tuple[int, float], ...]]
    turns: Mapping[int, tuple[int, ...]]  # of direct contexts
    activated: tuple[_Reached, ...]
    scores: Mapping[int, float]
    bridges: tuple[Link, ...]
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outside:
    """The rest of the memory for a question that is asked of meetings by their ids: where its bridges lead."""

    filters: Filters
    bounds: Scope
    asked_of: Int32s  # meetings


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
            wanted = {Level.EPISODE: SEEDS}
            found = await runtime.index.search(vector, wanted, in_pseudonyms(outside.filters))
            outside_hits = found[Level.EPISODE]
    with stages("activate"):
        findings = await asyncio.to_thread(
            _find, graph, bounds, outside, cue, vector, hits, outside_hits, question
        )
    with stages("fetch"):
        shown = await shown_memories(runtime.database, _wanted(graph, findings))
    with stages("assemble"):
        answer = await asyncio.to_thread(_assemble, graph, question, cue, findings, shown)
    answer = dataclasses.replace(answer, processing_time_ms=_ms_since(started), stages_ms=stages.ms)
    runtime.cache.put(question, graph.version, answer)
    return answer


def _prepare(graph: MemoryGraph, question: Question) -> tuple[Scope, _Outside | None, Cue]:
    bounds = scope(graph, question.filters)
    return bounds, _outside(graph, bounds, question), read_cue(question.query, graph, bounds)


def _outside(graph: MemoryGraph, bounds: Scope, question: Question) -> _Outside | None:
    """All that passes the filters but the one on meetings, in the projects of these meetings, without them."""
    asked_of = np.flatnonzero(bounds.meetings).astype(np.int32)
    if not question.filters.meeting_id or not question.enable_bridges or not asked_of.size:
        return None
    projects = tuple(sorted({graph.blocks[meeting].head.project for meeting in asked_of}))
    filters = dataclasses.replace(question.filters, meeting_id=(), project=projects)
    whole = scope(graph, filters)
    meetings = whole.meetings & ~bounds.meetings
    rows = whole.rows & meetings[graph.meeting_of_row]
    return _Outside(
        filters=filters,
        bounds=dataclasses.replace(whole, meetings=meetings, rows=rows),
        asked_of=asked_of,
    )


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


def _find(
    graph: MemoryGraph,
    bounds: Scope,
    outside: _Outside | None,
    cue: Cue,
    vector: Float32s,
    hits: Mapping[Level, Sequence[Hit]],
    outside_hits: Sequence[Hit],
    question: Question,
) -> _Findings:
    dense_rows = np.union1d(_rows_of(graph, hits[Level.EPISODE]), cue.documents)
    evidence = gather(graph, bounds, cue.stems, vector, dense_rows)
    spreading = question.enable_activation
    activation = rank.rank_episodes(evidence, graph, cue, spreading=True)
    u = activation if spreading else rank.hybrid(evidence)
    order = _best(graph, evidence.rows, u, question.limit_per_level + question.max_activations + BRIDGES)
    direct = {
        Level.CONCEPT: _best_concepts(
            graph, bounds, cue, vector, hits[Level.CONCEPT], question.limit_per_level
        ),
        Level.CONTEXT: _best_contexts(graph, evidence, cue, question),
        Level.EPISODE: tuple((int(evidence.rows[i]), float(u[i])) for i in order[: question.limit_per_level]),
    }
    levels = question.filters.level or tuple(Level)
    direct = {level: found if level in levels else () for level, found in direct.items()}
    turns = _turns_of(graph, evidence, [node for node, _ in direct[Level.CONTEXT]], question)
    scores = {int(evidence.rows[i]): float(u[i]) for i in order}
    woken = _woken(graph, bounds, evidence, u, direct) if spreading or question.enable_bridges else None
    bridges: tuple[Link, ...] = ()
    confidence = rank.confidence(evidence, graph, cue)
    if (
        woken is not None
        and question.enable_bridges
        and Level.EPISODE in levels
        and confidence >= LEAST_CONFIDENCE
    ):
        direct_rows = [row for row, _ in direct[Level.EPISODE]]
        near = direct_rows + [int(evidence.rows[i]) for i in order[len(direct_rows) :]]
        named, shares = spread_through_names(graph, evidence, rank.own_match(evidence, cue), NAME_SEEDS)
        rows, scores_there, inside = evidence.rows, activation, bounds.rows
        if outside is not None:
            there = gather(graph, outside.bounds, cue.stems, vector, _rows_of(graph, outside_hits))
            rows, scores_there = there.rows, rank.rank_episodes(there, graph, cue, spreading=True)
            inside = outside.bounds.rows
        bridges = find_bridges(
            graph,
            Candidates(
                rows=rows,
                scores=scores_there,
                named=named[inside[named]],
                shares=shares[inside[named]],
                asked_of=() if outside is None else outside.asked_of.tolist(),
            ),
            direct_rows,
            near,
            vector,
        )
    activated: tuple[_Reached, ...] = ()
    if woken is not None and spreading:
        taken = {node for found in direct.values() for node, _ in found} | {link.row for link in bridges}
        beyond = (
            (node, strength)
            for node, strength in _activated(graph, evidence, u, order, woken)
            if node not in taken and _level(graph, node) in levels
        )
        activated = tuple(
            _Reached(node=node, strength=strength, path=woken.path(node))
            for node, strength in islice(beyond, question.max_activations)
        )
    return _Findings(
        direct=direct,
        turns=turns,
        activated=activated,
        scores=scores,
        bridges=bridges,
        confidence=confidence,
    )


def _rows_of(graph: MemoryGraph, hits: Sequence[Hit]) -> Int32s:
    """The rows of the hits; what the index holds and this version of the graph does not (or no more) is left out."""
    found = (graph.row_of_memory.get(hit.memory_id) for hit in hits)
    return np.array([row for row in found if row is not None], np.int32)


def _best_concepts(
    graph: MemoryGraph, bounds: Scope, cue: Cue, vector: Float32s, hits: Sequence[Hit], limit: int
) -> tuple[tuple[int, float], ...]:
    near = [number for hit in hits if (number := graph.concept_of_memory.get(hit.memory_id)) is not None]
    numbers, scores = rank.rank_concepts(graph, cue, vector, near)
    base = len(graph.memory_ids) + len(graph.context_ids)
    allowed = bounds.nodes[base + numbers]
    numbers, scores = numbers[allowed], scores[allowed]
    order = np.lexsort((numbers, -scores.round(6)))[:limit]
    return tuple((base + int(numbers[i]), float(scores[i])) for i in order)


def _best_contexts(
    graph: MemoryGraph, evidence: Evidence, cue: Cue, question: Question
) -> tuple[tuple[int, float], ...]:
    # A context has many speakers and types: under a filter it is found by the turns that pass.
    numbers, scores = rank.rank_contexts(evidence, graph, cue, spreading=question.enable_activation)
    ids = [graph.context_ids[number] for number in numbers]
    order = sorted(range(len(ids)), key=lambda i: (-round(float(scores[i]), 6), ids[i]))[
        : question.limit_per_level
    ]
    return tuple((len(graph.memory_ids) + int(numbers[i]), float(scores[i])) for i in order)


def _turns_of(
    graph: MemoryGraph, evidence: Evidence, nodes: Sequence[int], question: Question
) -> Mapping[int, tuple[int, ...]]:
    base = len(graph.memory_ids)
    contexts = [node - base for node in nodes]
    best = rank.best_turns(evidence, graph, contexts, spreading=question.enable_activation)
    return {base + context: tuple(rows.tolist()) for context, rows in best.items()}


def _woken(
    graph: MemoryGraph,
    bounds: Scope,
    evidence: Evidence,
    u: Float32s,
    direct: Mapping[Level, Sequence[tuple[int, float]]],
) -> Wake:
    """Best-first activation from the direct results, and from what matched the question by itself."""
    own = rank.hybrid(evidence)
    strongest = np.argsort(-own, kind="stable")[: 2 * SEEDS]
    peak = max(float(u.max(initial=0.0)), 1e-9)
    seeds = [int(row) for row in evidence.rows[strongest]]
    strengths = [OWN_MATCH * float(value) for value in own[strongest]]
    for level, found in direct.items():
        best = max((score for _, score in found), default=0.0)
        top = peak if level is Level.EPISODE else best / UPPER_LEVELS
        seeds += [node for node, _ in found]
        strengths += [max(score, 0.0) / top if top > 0 else 0.0 for _, score in found]
    kept = [
        (seed, min(strength, 1.0)) for seed, strength in zip(seeds, strengths, strict=True) if strength > 0.0
    ]
    return wake(
        graph,
        bounds,
        np.array([seed for seed, _ in kept], np.int32),
        np.array([strength for _, strength in kept], np.float32),
    )


def _activated(
    graph: MemoryGraph, evidence: Evidence, u: Float32s, order: Sequence[int], woken: Wake
) -> list[tuple[int, float]]:
    """Everything that was woken as (node, strength), strongest first; nothing of no strength.

    An episode's strength is its share of the best U, which measured best (half of the gold that plain hybrid
    search misses is in ten such slots; lab 1 §2); where U is not known, and for contexts and concepts, it is what
    best-first activation brought. The path is the strongest way from a seed.
    """
    peak = max(float(u.max(initial=0.0)), 1e-9)
    reached: dict[int, float] = {}
    for i in order:
        reached[int(evidence.rows[i])] = min(1.0, max(0.0, float(u[i]) / peak))
    weakest = min(reached.values(), default=1.0)
    for node in woken.nodes:
        if int(node) not in reached:
            strength = float(woken.strength[node])
            episode = node < len(graph.memory_ids)
            reached[int(node)] = min(strength, weakest) if episode else UPPER_LEVELS * strength
    best = sorted(reached, key=lambda node: (-round(reached[node], 6), graph.memory_id(node)))
    return [(node, reached[node]) for node in best if reached[node] > 0.0]


def _level(graph: MemoryGraph, node: int) -> Level:
    n, c = len(graph.memory_ids), len(graph.context_ids)
    return Level.EPISODE if node < n else Level.CONTEXT if node < n + c else Level.CONCEPT


def _best(graph: MemoryGraph, rows: Int32s, scores: Float32s, limit: int) -> list[int]:
    """The places of the best `limit` rows, best first; of equal scores the lower memory id goes first."""
    rounded = scores.round(6)
    places = np.arange(rows.size)
    if rows.size > limit:
        least = -np.partition(-rounded, limit - 1)[limit - 1]
        places = np.flatnonzero(rounded >= least)  # with everything that ties for the last place
    return sorted(places.tolist(), key=lambda i: (-float(rounded[i]), graph.memory_ids[rows[i]]))[:limit]


def _wanted(graph: MemoryGraph, findings: _Findings) -> frozenset[str]:
    nodes = {node for found in findings.direct.values() for node, _ in found}
    nodes |= {reached.node for reached in findings.activated}
    nodes |= {node for link in findings.bridges for node in (link.row, link.anchor)}
    return frozenset(graph.memory_id(node) for node in nodes)


def _assemble(
    graph: MemoryGraph, question: Question, cue: Cue, findings: _Findings, shown: Mapping[str, Shown]
) -> Answer:
    direct = {
        level.label: tuple(
            Recalled(
                **_common(shown[memory_id], score),
                turns=tuple(graph.memory_ids[row] for row in findings.turns.get(node, ())),
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
        if (memory_id := graph.memory_ids[link.row]) in shown
        and (anchor_id := graph.memory_ids[link.anchor]) in shown
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
    return (graph.memory_ids[link.anchor], *concept)


def _classify(strength: float) -> str:
    return "core" if strength >= CORE else "contextual" if strength >= CONTEXTUAL else "peripheral"


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
