"""What a question finds in the graph: direct hits, what the spread wakes beyond them, and bridges."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio import rank
from cofio.cue import Cue
from cofio.graph.best import best
from cofio.graph.bridges import LIMIT as BRIDGES
from cofio.graph.bridges import Candidates, Link, find_bridges
from cofio.graph.csr import MemoryGraph
from cofio.graph.documents import spread_through_names
from cofio.graph.scope import Scope, scope
from cofio.graph.spread import SEEDS, Evidence, LexicalSeeds, Wake, gather, lexical_seeds, wake
from cofio.records import Bools, Filters, Float32s, Int32s, Int64s, Level, Question, value

# A direct hit starts with its share of the best score; what only matched the question by itself, below the
# direct hits, starts with this much less, so that a way through a direct hit is preferred as its path.
OWN_MATCH: Final = 0.25
# Contexts and concepts that the spread reaches stand behind the episodes it reached.
UPPER_LEVELS: Final = 0.5
# Below this confidence nothing was found: no bridge leads away from nothing.
LEAST_CONFIDENCE: Final = 0.05
# How many times as many near concepts are looked at as are shown: people among them are left out, who are found by
# name only.
CONCEPTS: Final = 2
# Passages whose rare names lead on to other documents (lab 2 §3a).
NAME_SEEDS: Final = 3


@value
class Reached:
    """A node that the spread woke, its strength in (0, 1], and the nodes from the seed to it, both included."""

    node: int
    strength: float
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found, as nodes of `graph`; scores are those that the answer shows."""

    direct: Mapping[Level, tuple[tuple[int, float], ...]]
    turns: Mapping[int, tuple[int, ...]]  # of direct contexts
    activated: tuple[Reached, ...]
    scores: Mapping[int, float]
    bridges: tuple[Link, ...]
    confidence: float

    @property
    def shown(self) -> frozenset[int]:
        """Every node that the answer shows."""
        direct = (node for found in self.direct.values() for node, _ in found)
        linked = (node for link in self.bridges for node in (link.row, link.anchor))
        return frozenset((*direct, *(reached.node for reached in self.activated), *linked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The rest of the memory for a question that is asked of meetings by their ids: where its bridges lead."""

    filters: Filters
    bounds: Scope
    asked_of: Int32s  # meetings


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What is nearest to a question's vector: rows and numbers of concepts in its scope, and the rows `outside` of it if
    there is an outside.
    """

    rows: Int32s
    outside: Int32s
    concepts: Int32s


def outside_of(graph: MemoryGraph, bounds: Scope, question: Question) -> Outside | None:
    """All that passes the filters but the one on meetings, in the projects of these meetings, without them."""
    asked_of = np.flatnonzero(bounds.meetings).astype(np.int32)
    if not question.filters.meeting_id or not question.enable_bridges or not asked_of.size:
        return None
    projects = tuple(sorted({graph.heads[meeting].project for meeting in asked_of.tolist()}))
    filters = dataclasses.replace(question.filters, meeting_id=(), project=projects)
    whole = scope(graph, filters)
    return Outside(
        filters=filters,
        bounds=dataclasses.replace(whole, meetings=whole.meetings & ~bounds.meetings),
        asked_of=asked_of,
    )


def find(
    graph: MemoryGraph,
    bounds: Scope,
    outside: Outside | None,
    cue: Cue,
    lexical: LexicalSeeds,
    vector: Float32s,
    nearest: Nearest,
    question: Question,
) -> Findings:
    """What `question` finds inside `bounds`; its bridges lead to the `outside` if there is one.

    `lexical` are the seeds of the cue's stems in `bounds`; `nearest` is what is nearest to `vector`, the question's 400
    dimensions.
    """
    evidence = gather(graph, bounds, lexical, vector, np.concatenate((nearest.rows, cue.documents)))
    spreading = question.enable_activation
    plain = rank.unsteered(evidence, graph, cue)
    activation = rank.with_speaker(plain, evidence, graph, cue)
    u = activation if spreading else rank.hybrid(evidence)
    order = best(graph, evidence.rows, u, question.limit_per_level + question.max_activations + BRIDGES)
    turn_score = rank.turn_scores(evidence, spreading=spreading)
    direct = {
        Level.CONCEPT: _best_concepts(graph, bounds, cue, vector, nearest.concepts, question),
        Level.CONTEXT: _best_contexts(graph, evidence, cue, turn_score, question),
        Level.EPISODE: tuple((int(evidence.rows[i]), float(u[i])) for i in order[: question.limit_per_level]),
    }
    levels = question.filters.level or tuple(Level)
    direct = {level: found if level in levels else () for level, found in direct.items()}
    turns = _turns_of(graph, evidence, [node for node, _ in direct[Level.CONTEXT]], turn_score)
    scores = {int(evidence.rows[i]): float(u[i]) for i in order}
    bridges: tuple[Link, ...] = ()
    confidence = rank.confidence(evidence, graph, cue, plain)
    if question.enable_bridges and Level.EPISODE in levels and confidence >= LEAST_CONFIDENCE:
        inside = _Found(bounds=bounds, evidence=evidence, activation=activation)
        hits_shown = [row for row, _ in direct[Level.EPISODE]]
        near = [int(evidence.rows[i]) for i in order[len(hits_shown) :]]
        corpus = scope(graph, Filters(project=question.filters.project)).meetings
        bridges = _bridges(graph, inside, outside, cue, vector, nearest.outside, hits_shown, near, corpus)
    activated: tuple[Reached, ...] = ()
    if spreading:
        woken = _woken(graph, bounds, evidence, u, direct)
        taken = {node for found in direct.values() for node, _ in found} | {link.row for link in bridges}
        activated = tuple(
            Reached(node=node, strength=strength, path=woken.path(node))
            for node, strength in _activated(
                graph, bounds, evidence, u, order, woken, taken, levels, question.max_activations
            )
        )
    return Findings(
        direct=direct,
        turns=turns,
        activated=activated,
        scores=scores,
        bridges=bridges,
        confidence=confidence,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a question finds in one scope: `activation` is U of the evidence's rows."""

    bounds: Scope
    evidence: Evidence
    activation: Float32s


def _bridges(
    graph: MemoryGraph,
    inside: _Found,
    outside: Outside | None,
    cue: Cue,
    vector: Float32s,
    outside_rows: Int32s,
    direct: Sequence[int],
    near: Sequence[int],
    corpus: Bools,
) -> tuple[Link, ...]:
    """Bridges from the direct rows and those that come next, to the same scope or, if there is one, to the outside."""
    own = rank.own_match(inside.evidence, cue)
    named, shares = spread_through_names(graph, inside.evidence, own, NAME_SEEDS, corpus)
    there = inside
    if outside is not None:
        seeds = lexical_seeds(graph, outside.bounds, cue.stems)
        evidence = gather(graph, outside.bounds, seeds, vector, outside_rows)
        activation = rank.rank_episodes(evidence, graph, cue, spreading=True)
        there = _Found(bounds=outside.bounds, evidence=evidence, activation=activation)
    kept = there.bounds.passes(graph, named)
    candidates = Candidates(
        rows=there.evidence.rows,
        scores=there.activation,
        named=named[kept],
        shares=shares[kept],
        asked_of=() if outside is None else outside.asked_of.tolist(),
        corpus=corpus,
    )
    return find_bridges(graph, candidates, direct, [*direct, *near], vector)


def _best_concepts(
    graph: MemoryGraph,
    bounds: Scope,
    cue: Cue,
    vector: Float32s,
    near: Int32s,
    question: Question,
) -> tuple[tuple[int, float], ...]:
    """The concepts in `bounds` that the question names or comes `near` to."""
    numbers, scores = rank.rank_concepts(graph, cue, vector, near)
    base = graph.first_concept
    allowed = bounds.mentions(graph, numbers)
    numbers, scores = numbers[allowed], scores[allowed]
    order = best(graph, base + numbers, scores, question.limit_per_level)
    return tuple((base + int(numbers[i]), float(scores[i])) for i in order)


def _best_contexts(
    graph: MemoryGraph, evidence: Evidence, cue: Cue, turn_score: Float32s, question: Question
) -> tuple[tuple[int, float], ...]:
    # A context has many speakers and types: under a filter it is found by the turns that pass.
    numbers, scores = rank.rank_contexts(
        evidence, graph, cue, turn_score, spreading=question.enable_activation
    )
    nodes = graph.episodes + numbers
    order = best(graph, nodes, scores, question.limit_per_level)
    return tuple((int(nodes[i]), float(scores[i])) for i in order)


def _turns_of(
    graph: MemoryGraph, evidence: Evidence, nodes: Sequence[int], turn_score: Float32s
) -> Mapping[int, tuple[int, ...]]:
    base = graph.episodes
    found = rank.best_turns(evidence, graph, [node - base for node in nodes], turn_score)
    return {base + context: tuple(rows.tolist()) for context, rows in found.items()}


def _woken(
    graph: MemoryGraph,
    bounds: Scope,
    evidence: Evidence,
    u: Float32s,
    direct: Mapping[Level, Sequence[tuple[int, float]]],
) -> Wake:
    """Best-first activation from the direct results, and from what matched the question by itself."""
    own = rank.hybrid(evidence)
    strongest = best(graph, evidence.rows, own, 2 * SEEDS)
    nodes, strengths = [evidence.rows[strongest]], [OWN_MATCH * own[strongest]]
    peak = max(float(u.max(initial=0.0)), 1e-9)
    for level, found in direct.items():
        score = np.array([score for _, score in found], np.float32)
        most = max(float(score.max(initial=0.0)), 1e-9)
        nodes.append(np.array([node for node, _ in found], np.int32))
        strengths.append(score / (peak if level is Level.EPISODE else most / UPPER_LEVELS))
    strength = np.minimum(np.concatenate(strengths), 1.0).astype(np.float32)
    kept = strength > 0.0
    return wake(graph, bounds, np.concatenate(nodes)[kept], strength[kept])


def _activated(
    graph: MemoryGraph,
    bounds: Scope,
    evidence: Evidence,
    u: Float32s,
    order: Int64s,
    woken: Wake,
    taken: Set[int],
    levels: Sequence[Level],
    limit: int,
) -> list[tuple[int, float]]:
    """The best of these levels that were woken and are not taken as (node, strength), strongest first.

    Episodes are those of the asked speakers and types; the ways to them may lead over others'.

    An episode's strength is its share of the best U, which measured best (half of the gold that plain hybrid
    search misses is in ten such slots; lab 1 §2); where U is not known, and for contexts and concepts, it is what
    best-first activation brought. The path is the strongest way from a seed.
    """
    peak = max(float(u.max(initial=0.0)), 1e-9)
    shares = np.clip(u[order] / peak, 0.0, 1.0)
    rows = evidence.rows[order]
    beyond = np.ones(woken.nodes.size, np.bool_)
    beyond[[woken.place[node] for node in (*rows.tolist(), *taken) if node in woken.place]] = False
    nodes, strength = woken.nodes[beyond], woken.strength[beyond]
    strength = np.where(
        nodes < graph.episodes, np.minimum(strength, shares.min(initial=1.0)), UPPER_LEVELS * strength
    )
    left = [row not in taken for row in rows.tolist()]
    nodes, strength = np.concatenate((rows[left], nodes)), np.concatenate((shares[left], strength))
    kept = strength > 0.0
    spoken = np.flatnonzero(nodes < graph.episodes)
    kept[spoken] &= bounds.passes(graph, nodes[spoken])
    if len(levels) < len(Level):
        kept &= np.isin(_levels(graph, nodes), [int(level) for level in levels])
    nodes, strength = nodes[kept], strength[kept]
    places = best(graph, nodes, strength, limit)
    return list(zip(nodes[places].tolist(), strength[places].tolist(), strict=True))


def _levels(graph: MemoryGraph, nodes: Int32s) -> Int64s:
    """The level of each node."""
    upper = np.where(nodes < graph.first_concept, int(Level.CONTEXT), int(Level.CONCEPT))
    return np.where(nodes < graph.episodes, int(Level.EPISODE), upper)
