"""Activation: how a question's terms and vector light up the turns around what they match.

The spread runs per term and per channel, and each turn saturates after it (DESIGN §3). This module measures;
`cofio.rank` mixes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.blocks import KERNEL_L, KERNEL_M, PAIR_TURNS
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s, Int64s

# Seeds of each channel, and how far around them turns are scored; scoring only these equals scoring
# everything (lab 1 §1: nDCG .173/.173, recall@50 .244/.244 on pooled QMSum).
SEEDS: Final = 50
REACH_M: Final = KERNEL_M.size - 1
# Meetings that are visited in the order of what they promise; the others are only looked at, in any order.
SORTED_MEETINGS: Final = 256

# Best-first activation: how many nodes it wakes, and the strength below which they stay asleep.
WAKE_LIMIT: Final = 500
WAKE_FLOOR: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for each candidate row, raw: row i of every array belongs to `rows[i]`.

    Candidates are ascending. `turn` is −1 for an utterance of fewer than five words, whose spread columns are 0.
    `idf_known` and `idf_all` sum the IDF of the query's terms that occur in scope, and of all its terms.
    """

    rows: Int32s
    turn: Int32s
    bm25: Float32s  # own words
    dense: Float32s  # own vector, steered
    cosine: Float32s  # own vector, not steered
    terms_m: Float32s  # spread BM25, kernel M
    terms_l: Float32s
    context_m: Float32s  # cosine to the kernel-averaged vector, kernel M
    context_l: Float32s
    meeting: Float32s  # (meetings,) prior of each meeting in [0, 1]; zeros if only one is in scope
    terms: Int32s  # (q,) the question's terms that occur in scope
    idf: Float32s  # (q,)
    idf_known: float
    idf_all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """What best-first activation reached, strongest first: place i of every array belongs to `nodes[i]`."""

    nodes: Int32s
    order: Sequence[int]  # the nodes as a list
    strength: Float32s
    parent: Sequence[int]  # the place of the node it was reached from, −1 at a seed
    place: Mapping[int, int]  # of each node

    def path(self, node: int) -> tuple[int, ...]:
        """The nodes from the seed to `node`, both included; `node` alone if it was not reached."""
        path = [node]
        at = self.place.get(node, -1)
        while at >= 0 and (at := self.parent[at]) >= 0:
            path.append(self.order[at])
        return tuple(reversed(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A question's terms that occur in scope, q of them, and where they do.

    IDF is ln(1 + (N − df + ½)/(df + ½)) over the N turns in scope; `idf_known` sums it over these terms, `idf_all` over
    all that the question has. What is said out of scope alone is as if it were never said.
    """

    numbers: Int32s  # (q,)
    idf: Float32s  # (q,)
    pairs: Int32s  # (m, q) the pair of each meeting in scope and each term, −1 where there is none
    held: Int64s  # (q,) the meetings in scope that say each
    idf_known: float
    idf_all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalSeeds:
    """What a question's words find by themselves in a scope, and what they weigh there.

    Meetings, as wholes, are scored by BM25; the means are of the lengths of turns in scope.
    """

    terms: Terms
    turns: Int32s  # rows of the best turns by spread BM25, kernel M
    rows: Int32s  # the best by their own words
    meetings: Float32s  # (m,)
    mean_m: np.float32
    mean_l: np.float32
    mean_own: np.float32


def lexical_seeds(graph: MemoryGraph, scope: Scope, stems: Sequence[str]) -> LexicalSeeds:
    """The seeds of the stems in scope, `SEEDS` turns and rows at most.

    Cost: the postings of the rarer terms in the meetings that may hold a seed × 13.
    """
    terms, survey = _survey(graph, scope, stems)
    turns, rows = _strongest(graph, scope, terms, survey)
    return LexicalSeeds(
        terms=terms,
        turns=turns,
        rows=rows,
        meetings=survey.words,
        mean_m=survey.mean_m,
        mean_l=survey.mean_l,
        mean_own=survey.mean_own,
    )


def gather(
    graph: MemoryGraph, scope: Scope, lexical: LexicalSeeds, vector: Float32s, dense_rows: Int32s
) -> Evidence:
    """The evidence for every row around the lexical seeds and the dense hits.

    `vector` is the query's 400 dimensions (unit semantic part, steering weights), `dense_rows` the rows nearest
    to it. Cost: some 3,000 inner products; nothing is as long as the memory.
    """
    terms = lexical.terms
    seeds = np.unique(np.concatenate((lexical.turns, lexical.rows, dense_rows))).astype(np.int32)
    defined = defined_by(graph, seeds)
    rows = kernels.around(
        seeds, np.unique(np.concatenate((seeds, defined))) if defined.size else seeds, REACH_M, graph.turn_of_row,
        graph.row_of_turn, graph.meeting_of_row, graph.meeting_turns, graph.speakers, graph.types, scope.meetings,
        scope.speakers, scope.types,
    )  # fmt: skip
    turn = graph.turn_of_row[rows]

    words = np.zeros((3, rows.size), np.float32)
    kernels.spread_terms(
        rows, terms.idf, terms.pairs, graph.pairs, graph.meeting_postings, graph.posting_row,
        graph.posting_count, graph.meeting_of_row, graph.meeting_rows, graph.turn_of_row, KERNEL_M, KERNEL_L,
        graph.smooth_m, graph.smooth_l, lexical.mean_m, lexical.mean_l, graph.length, lexical.mean_own, *words,
    )  # fmt: skip
    semantic = np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS])
    context_m, context_l, cosine = np.zeros((3, rows.size), np.float32)
    kernels.context_cosines(
        semantic, rows, turn, graph.vectors, graph.row_of_turn, graph.meeting_of_row, graph.meeting_turns, KERNEL_M, KERNEL_L,
        graph.gain, graph.norm_m, graph.norm_l, context_m, context_l, cosine,
    )  # fmt: skip
    dense = cosine
    if vector[SEMANTIC_DIMENSIONS:].any():
        dense = np.empty(rows.size, np.float32)
        kernels.dots_of_rows(vector, graph.vectors, rows, dense)
    return Evidence(
        rows=rows,
        turn=turn,
        bm25=words[0],
        dense=dense,
        cosine=cosine,
        terms_m=words[1],
        terms_l=words[2],
        context_m=context_m,
        context_l=context_l,
        meeting=_meeting_prior(graph, scope, lexical.meetings, semantic),
        terms=terms.numbers,
        idf=terms.idf,
        idf_known=terms.idf_known,
        idf_all=terms.idf_all,
    )


def defined_by(graph: MemoryGraph, rows: Int32s) -> Int32s:
    """The rows that define what `rows` name; only documents have any."""
    if graph.definition_rows.size == 0 or len(rows) == 0:
        return np.empty(0, np.int32)
    return np.concatenate(
        [graph.definition_rows[graph.definition_start[row] : graph.definition_start[row + 1]] for row in rows]
    )


def naming(graph: MemoryGraph, row: int) -> Int32s:
    """The rows of documents that name the title of the document that begins at `row`."""
    places = np.flatnonzero(graph.definition_rows == row)
    return np.unique(np.searchsorted(graph.definition_start, places, "right") - 1).astype(np.int32)


def wake(graph: MemoryGraph, scope: Scope, seeds: Int32s, strengths: Float32s) -> Wake:
    """Best-first activation from the seeds, inside the scope: at most `WAKE_LIMIT` nodes above `WAKE_FLOOR`."""
    order = np.empty(min(graph.nodes, WAKE_LIMIT), np.int32)
    strength, parent = np.empty(order.size, np.float32), np.empty(order.size, np.int32)
    room = 64 * WAKE_LIMIT
    # The dead have no edges: where nothing is out of scope, nothing need be looked up.
    meetings = graph.meeting_of_node[:0] if scope.meetings is graph.alive else graph.meeting_of_node
    with graph.scratch.borrow(graph.nodes) as scratch:
        reached = kernels.spread_best_first(
            seeds, strengths, graph.edge_start, graph.edge_target, graph.edge_weight, meetings, scope.meetings,
            np.float32(WAKE_FLOOR), scratch.strength, scratch.parent, np.empty(room, np.int64), np.empty(room, np.int32),
            np.zeros(2048, np.int32), order, strength, parent,
        )  # fmt: skip
    nodes = order[:reached]
    listed = nodes.tolist()
    return Wake(
        nodes=nodes,
        order=listed,
        strength=strength[:reached],
        parent=parent[:reached].tolist(),
        place={node: i for i, node in enumerate(listed)},
    )


def terms_of(graph: MemoryGraph, scope: Scope, stems: Sequence[str], turns_in_scope: float) -> Terms:
    """The terms that these stems are in the scope."""
    numbers = [graph.lexicons.terms.find(stem) for stem in stems]
    # A term added by a later ingest has a number beyond this version's postings.
    known = np.array([t for t in numbers if 0 <= t < graph.term_start.size - 1], np.int32)
    pairs = np.full((graph.alive.size, known.size), -1, np.int32)
    held, frequency = np.empty((2, known.size), np.int64)
    kernels.pairs_of_terms(
        known,
        graph.term_start,
        graph.term_pair,
        graph.pairs,
        scope.meetings,
        PAIR_TURNS,
        pairs,
        held,
        frequency,
    )
    idf = np.log(1.0 + (turns_in_scope - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    present = frequency > 0
    if not present.all():
        known, idf, pairs, held = (
            known[present],
            idf[present],
            np.ascontiguousarray(pairs[:, present]),
            held[present],
        )
    idf_known = float(idf.sum())
    return Terms(
        numbers=known,
        idf=idf,
        pairs=pairs,
        held=held,
        idf_known=idf_known,
        idf_all=idf_known + (len(stems) - known.size) * math.log(1.0 + (turns_in_scope + 0.5) / 0.5),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What the meetings in scope say of the terms as wholes, and the mean lengths in scope."""

    mean_m: np.float32
    mean_l: np.float32
    mean_own: np.float32
    words: Float32s  # (m,) BM25 of each meeting as one document
    most_spread: Float32s  # (m,) what no turn's spread BM25 exceeds
    most_own: Float32s  # (m,) what no row's own BM25 exceeds
    touched: Int32s  # the meetings that say one of the terms


def _survey(graph: MemoryGraph, scope: Scope, stems: Sequence[str]) -> tuple[Terms, _Survey]:
    turns, smooth_m, smooth_l, length = (scope.meetings @ graph.meeting_totals).tolist()
    turns = max(turns, 1.0)
    terms = terms_of(graph, scope, stems, turns)
    m = graph.alive.size
    words, most_spread, most_own = np.zeros((3, m), np.float32)
    touched = np.empty(m, np.int32)
    inside = int(scope.meetings.sum())
    mean_m, mean_own = np.float32(max(smooth_m / turns, 1.0)), np.float32(max(length / turns, 1.0))
    mean_meeting = float(graph.meeting_length @ scope.meetings) / max(inside, 1)
    n = kernels.survey_meetings(
        terms.pairs, graph.pairs, terms.held, terms.idf, inside, graph.meeting_length, np.float32(max(mean_meeting, 1.0)),
        np.float32(KERNEL_M.sum() * 2 - KERNEL_M[0]), graph.meeting_least, mean_m, mean_own, words, most_spread, most_own,
        touched,
    )  # fmt: skip
    return terms, _Survey(
        mean_m=mean_m,
        mean_l=np.float32(max(smooth_l / turns, 1.0)),
        mean_own=mean_own,
        words=words,
        most_spread=most_spread,
        most_own=most_own,
        touched=touched[:n],
    )


def _strongest(graph: MemoryGraph, scope: Scope, terms: Terms, survey: _Survey) -> tuple[Int32s, Int32s]:
    """The rows of the best turns by spread BM25 and the best rows by their own, `SEEDS` of each at most."""
    rarest_first = np.argsort(-terms.idf, kind="stable")
    numbers, bounds = np.empty((terms.idf.size, 2), np.int64), np.empty(terms.idf.size, np.float32)
    scores, found = np.empty(SEEDS, np.float32), np.empty((2, SEEDS), np.int32)
    order = _by_promise(survey.touched, survey.most_spread)
    held = int(np.diff(graph.meeting_turns)[order].max(initial=0))
    n_turns = kernels.strongest_turns(
        rarest_first, terms.idf, terms.pairs, graph.pairs, graph.meeting_postings, graph.posting_row, graph.posting_count,
        graph.meeting_rows, graph.meeting_turns, graph.turn_of_row, graph.row_of_turn, graph.ids, graph.speakers, graph.types,
        scope.speakers, scope.types, KERNEL_M, graph.meeting_least, graph.smooth_m, survey.mean_m, order, survey.most_spread,
        numbers, bounds, np.zeros(held, np.float32), np.zeros(held, np.float32), np.empty(held, np.int32), scores, found[0],
    )  # fmt: skip
    order = _by_promise(survey.touched, survey.most_own)
    held = int(np.diff(graph.meeting_rows)[order].max(initial=0))
    n_rows = kernels.strongest_rows(
        rarest_first, terms.idf, terms.pairs, graph.pairs, graph.meeting_postings, graph.posting_row, graph.posting_count,
        graph.meeting_rows, graph.ids, graph.speakers, graph.types, scope.speakers, scope.types, graph.meeting_least,
        graph.length, survey.mean_own, order, survey.most_own, numbers, bounds, np.zeros(held, np.float32), scores, found[1],
    )  # fmt: skip
    return found[0, :n_turns], found[1, :n_rows]


def _by_promise(meetings: Int32s, most: Float32s) -> Int32s:
    """The meetings with those in front, in their order, that promise most."""
    promise = -most[meetings]
    if meetings.size > SORTED_MEETINGS:
        place = np.argpartition(promise, SORTED_MEETINGS)
        meetings, promise = meetings[place], promise[place]
    head = np.argsort(promise[:SORTED_MEETINGS], kind="stable")
    return np.concatenate((meetings[:SORTED_MEETINGS][head], meetings[SORTED_MEETINGS:]))


def _meeting_prior(graph: MemoryGraph, scope: Scope, words: Float32s, semantic: Float32s) -> Float32s:
    """½ BM25 of the whole meeting + ½ cosine to its centroid, each min-max scaled over the scope."""
    inside = np.flatnonzero(scope.meetings).astype(np.int32)
    prior = np.zeros(graph.alive.size, np.float32)
    if inside.size < 2:
        return prior
    cosine = np.empty(inside.size, np.float32)
    kernels.dots_of_rows(semantic, graph.meeting_centroid, inside, cosine)
    prior[inside] = 0.5 * unit_range(words[inside]) + 0.5 * unit_range(cosine)
    return prior


def unit_range(values: Float32s) -> Float32s:
    """Min-max scaling to [0, 1]; equal values become 0."""
    scaled = np.empty(values.size, np.float32)
    kernels.unit_range(values, scaled)
    return scaled
