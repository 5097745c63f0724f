"""What leads from one document to another: a title that it names, and rare names that both hold."""

from __future__ import annotations

from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.best import best
from cofio.graph.csr import MemoryGraph
from cofio.graph.spread import Evidence, defined_by
from cofio.records import Bools, Float32s, Int32s

# What a definition gets from the passage that leads to it: so much by the passage alone, by its own hybrid
# score, and by the share of the question that it adds (lab 1 §4: recall@5 on 2Wiki .672 → .971).
BY_PASSAGE: Final = 0.3
BY_ITSELF: Final = 0.35
BY_COVER: Final = 0.7


def spread_to_definitions(graph: MemoryGraph, evidence: Evidence, own: Float32s, seeds: int) -> Float32s:
    """What each candidate gets as a definition of what one of the best `seeds` candidates by `own` names.

        add(n) = max_p own(p) · (.3 + .35 own(n) + .7 cov(n)) / √log₂(2 + definitions of p)

    where cov(n) is the IDF share of the question's terms that n has and p lacks (lab 1 §4). Zeros where there
    are no documents.
    """
    add = np.zeros(evidence.rows.size, np.float32)
    if graph.definition_rows.size == 0:
        return add
    total = float(evidence.idf.sum()) or 1.0
    for place in best(graph, evidence.rows, own, seeds):
        passage = evidence.rows[place : place + 1]
        named = np.unique(defined_by(graph, passage))
        at = np.searchsorted(evidence.rows, named)
        kept = (at < evidence.rows.size) & (evidence.rows[np.minimum(at, evidence.rows.size - 1)] == named)
        at, named = at[kept], named[kept]
        if not named.size:
            continue
        lacks = ~_holds(graph, evidence.terms, passage)[:, 0]
        cover = (evidence.idf * lacks) @ _holds(graph, evidence.terms, named) / total
        fan = np.sqrt(np.log2(2.0 + named.size))
        add[at] = np.maximum(
            add[at], own[place] * (BY_PASSAGE + BY_ITSELF * own[at] + BY_COVER * cover) / fan
        )
    return add


def spread_through_names(
    graph: MemoryGraph, evidence: Evidence, own: Float32s, seeds: int, corpus: Bools
) -> tuple[Int32s, Float32s]:
    """The rows that share a rare name with one of the best `seeds` candidates by `own`, and how strongly.

        shared(n) = max_p own(p) · Σ idf/df of the names that p and n share · (.3 + .35 own(n) + .7 cov(n))
                    / √log₂(2 + rows that share a name with p)

    scaled to a greatest of 1 (lab 2 §3a); they may lie beyond the candidates. Nothing where there are no documents.
    `corpus` (m,) are the meetings by which rarity is measured.
    """
    reached: dict[int, float] = {}
    if not graph.document_keys.size:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    start, names = graph.names_of_row
    _, held_start, held = graph.rows_of_name
    total = float(evidence.idf.sum()) or 1.0
    episodes = int(np.diff(graph.meeting_rows)[corpus].sum())
    for place in best(graph, evidence.rows, own, seeds):
        passage = evidence.rows[place : place + 1]
        worth: dict[int, float] = {}
        for name in names[start[passage[0]] : start[passage[0] + 1]]:
            rows = held[held_start[name] : held_start[name + 1]]
            for row in rows.tolist():
                worth[row] = worth.get(row, 0.0) + np.log1p(episodes / rows.size) / rows.size
        worth.pop(int(passage[0]), None)
        if not worth:
            continue
        rows = np.array(sorted(worth), np.int32)
        at = np.minimum(np.searchsorted(evidence.rows, rows), evidence.rows.size - 1)
        itself = np.where(evidence.rows[at] == rows, own[at], 0.0)
        lacks = ~_holds(graph, evidence.terms, passage)[:, 0]
        cover = (evidence.idf * lacks) @ _holds(graph, evidence.terms, rows) / total
        fan = np.sqrt(np.log2(2.0 + rows.size))
        gains = own[place] * (BY_PASSAGE + BY_ITSELF * itself + BY_COVER * cover) / fan
        for row, gain in zip(rows.tolist(), gains.tolist(), strict=True):
            reached[row] = max(reached.get(row, 0.0), gain * worth[row])
    most = max(reached.values(), default=0.0) or 1.0
    found = np.array(sorted(reached), np.int32)
    return found, np.array([reached[row] / most for row in found.tolist()], np.float32)


def _holds(
    graph: MemoryGraph, terms: Int32s, rows: Int32s
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(terms, rows): which row says which term."""
    out = np.zeros((terms.size, rows.size), np.bool_)
    kernels.says(terms, rows, graph.said_end, graph.said_terms, out)
    return out
