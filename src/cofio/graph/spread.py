"""Activation: how a question's terms and vector light up the turns around what they match.

The spread runs per term and per channel, and each turn saturates after it (DESIGN §3). This module measures;
`cofio.rank` mixes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.blocks import KERNEL_L, KERNEL_M
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s

# Seeds of each channel, and how far around them turns are scored; scoring only these equals scoring
# everything (lab 1 §1: nDCG .173/.173, recall@50 .244/.244 on pooled QMSum).
SEEDS: Final = 50
REACH_M: Final = KERNEL_M.size - 1
REACH_L: Final = KERNEL_L.size - 1

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
    terms: Int32s  # (q,) the question's terms that the graph knows
    idf: Float32s  # (q,)
    idf_known: float
    idf_all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """What best-first activation reached: nodes in the order of their strength, with the way back."""

    nodes: Int32s
    strength: Float32s  # (all nodes,)
    parent: Int32s  # (all nodes,) −1 at a seed
    depth: Int32s  # (all nodes,)

    def path(self, node: int) -> tuple[int, ...]:
        """The nodes from the seed to `node`, both included."""
        path = [node]
        while self.parent[path[-1]] >= 0:
            path.append(int(self.parent[path[-1]]))
        return tuple(reversed(path))


def gather(
    graph: MemoryGraph, scope: Scope, stems: Sequence[str], vector: Float32s, dense_rows: Int32s
) -> Evidence:
    """The evidence for every row around the best lexical seeds and the dense hits.

    `vector` is the query's 400 dimensions (unit semantic part, steering weights), `dense_rows` the rows that the
    vector index returned. Cost: the postings of the terms × 38, and about 2,500 inner products.
    """
    totals = scope.meetings @ graph.turn_totals
    turns_in_scope = max(float(totals[0]), 1.0)
    terms, idf, idf_known, idf_all = term_weights(graph, scope, stems, turns_in_scope)
    k, n = graph.row_of_turn.size, len(graph.memory_ids)

    terms_m, woken_m = _spread(graph, scope, terms, idf, KERNEL_M, graph.smooth_m, totals[1] / turns_in_scope)
    terms_l, _ = _spread(graph, scope, terms, idf, KERNEL_L, graph.smooth_l, totals[2] / turns_in_scope)
    bm25 = np.zeros(n, np.float32)
    woken = np.empty(n, np.int32)
    n_woken = kernels.score_terms(
        terms, idf, graph.posting_start, graph.posting_row, graph.posting_count, graph.meeting_of_row, scope.meetings,
        graph.length, max(totals[3] / turns_in_scope, 1.0), bm25, woken,
    )  # fmt: skip
    woken = woken[:n_woken]

    allowed_m = woken_m[scope.rows[graph.row_of_turn[woken_m]]]
    seeds = _strongest(allowed_m, terms_m[allowed_m], SEEDS)
    own = woken[scope.rows[woken]]
    own = _strongest(own, bm25[own], SEEDS)
    seed_rows = np.unique(np.concatenate((graph.row_of_turn[seeds], own, dense_rows))).astype(np.int32)
    seed_turns = graph.turn_of_row[seed_rows]
    around = np.empty(k, np.int32)
    n_around = kernels.expand(
        seed_turns[seed_turns >= 0], graph.first, graph.last, REACH_M, np.zeros(k, np.bool_), around
    )
    rows = np.union1d(
        np.union1d(graph.row_of_turn[around[:n_around]], seed_rows), defined_by(graph, seed_rows)
    ).astype(np.int32)
    rows = rows[scope.rows[rows]]
    turn = graph.turn_of_row[rows]
    spoken = turn >= 0
    candidates = turn[spoken]

    dots = np.empty(k, np.float32)
    visited = np.empty(k, np.int32)
    semantic = np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS])
    kernels.dots_around(
        semantic, graph.vectors, candidates, graph.row_of_turn, graph.first, graph.last, REACH_L, dots,
        np.zeros(k, np.bool_), visited,
    )  # fmt: skip
    columns = {
        name: np.zeros(rows.size, np.float32) for name in ("context_m", "context_l", "terms_m", "terms_l")
    }
    for name, kernel, norm in (("context_m", KERNEL_M, graph.norm_m), ("context_l", KERNEL_L, graph.norm_l)):
        values = np.empty(candidates.size, np.float32)
        kernels.context_cosines(candidates, graph.first, graph.last, kernel, graph.gain, norm, dots, values)
        columns[name][spoken] = values
    columns["terms_m"][spoken] = terms_m[candidates]
    columns["terms_l"][spoken] = terms_l[candidates]
    dense = np.empty(rows.size, np.float32)
    kernels.dots_of_rows(vector, graph.vectors, rows, dense)
    cosine = np.empty(rows.size, np.float32)
    kernels.dots_of_rows(semantic, graph.vectors, rows, cosine)
    return Evidence(
        rows=rows,
        turn=turn,
        bm25=bm25[rows],
        dense=dense,
        cosine=cosine,
        meeting=_meeting_prior(graph, scope, terms, semantic),
        terms=terms,
        idf=idf,
        idf_known=idf_known,
        idf_all=idf_all,
        **columns,
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
    nodes = graph.nodes
    strength = np.zeros(nodes, np.float32)
    parent = np.full(nodes, -1, np.int32)
    depth = np.zeros(nodes, np.int32)
    order = np.empty(min(nodes, WAKE_LIMIT), np.int32)
    room = 64 * WAKE_LIMIT
    reached, _ = kernels.spread_best_first(
        seeds, strengths, graph.edge_start, graph.edge_target, graph.edge_weight, scope.nodes, WAKE_FLOOR, strength,
        parent, depth, np.zeros(nodes, np.bool_), np.empty(room, np.float32), np.empty(room, np.int32), order,
        np.empty(room, np.int32),
    )  # fmt: skip
    return Wake(nodes=order[:reached], strength=strength, parent=parent, depth=depth)


def term_weights(
    graph: MemoryGraph, scope: Scope, stems: Sequence[str], turns_in_scope: float
) -> tuple[Int32s, Float32s, float, float]:
    """The query's terms that occur in scope with their IDF ln(1 + (N − df + ½)/(df + ½)), and the two sums."""
    numbers = [graph.lexicons.terms.find(stem) for stem in stems]
    # A term added by a later ingest has a number beyond this version's postings.
    known = np.array([t for t in numbers if 0 <= t < graph.posting_start.size - 1], np.int32)
    frequency = np.zeros(known.size, np.int64)
    kernels.document_frequencies(
        known,
        graph.posting_start,
        graph.posting_row,
        graph.turn_of_row,
        graph.meeting_of_row,
        scope.meetings,
        frequency,
    )
    idf = np.log(1.0 + (turns_in_scope - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    present = frequency > 0
    idf_known = float(idf[present].sum())
    unknown = len(stems) - int(present.sum())
    return known, idf, idf_known, idf_known + unknown * math.log(1.0 + (turns_in_scope + 0.5) / 0.5)


def _spread(
    graph: MemoryGraph,
    scope: Scope,
    terms: Int32s,
    idf: Float32s,
    kernel: Float32s,
    smooth: Float32s,
    mean_length: float,
) -> tuple[Float32s, Int32s]:
    k = graph.row_of_turn.size
    score = np.zeros(k, np.float32)
    woken = np.empty(k, np.int32)
    n = kernels.spread_terms(
        terms, idf, graph.posting_start, graph.posting_row, graph.posting_count, graph.turn_of_row,
        graph.meeting_of_row, scope.meetings, graph.first, graph.last, kernel, smooth, max(mean_length, 1.0),
        np.zeros(k, np.float32), np.empty(k, np.int32), score, woken,
    )  # fmt: skip
    return score, woken[:n]


def _strongest(items: Int32s, scores: Float32s, limit: int) -> Int32s:
    if items.size <= limit:
        return items
    return items[np.argpartition(-scores, limit)[:limit]]


def _meeting_prior(graph: MemoryGraph, scope: Scope, terms: Int32s, semantic: Float32s) -> Float32s:
    """½ BM25 of the whole meeting + ½ cosine to its centroid, each min-max scaled over the scope."""
    inside = int(scope.meetings.sum())
    m = len(graph.blocks)
    if inside < 2:
        return np.zeros(m, np.float32)
    words = np.zeros(m, np.float32)
    kernels.score_meetings(
        terms, graph.posting_start, graph.posting_row, graph.posting_count, graph.meeting_of_row, scope.meetings,
        graph.meeting_length, inside, max(float(graph.meeting_length[scope.meetings].mean()), 1.0),
        np.zeros(m, np.float32), words,
    )  # fmt: skip
    cosine = graph.meeting_centroid[:, :SEMANTIC_DIMENSIONS] @ semantic
    prior = np.zeros(m, np.float32)
    prior[scope.meetings] = 0.5 * unit_range(words[scope.meetings]) + 0.5 * unit_range(cosine[scope.meetings])
    return prior


def unit_range(values: Float32s) -> Float32s:
    """Min-max scaling to [0, 1]; equal values become 0."""
    if values.size == 0:
        return values
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
