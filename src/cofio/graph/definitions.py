"""Definitions: from a passage that names a title to the document under that title."""

from __future__ import annotations

from typing import Final

import numpy as np

from cofio.graph.csr import MemoryGraph
from cofio.graph.spread import Evidence, defined_by
from cofio.records import Float32s, Int32s

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
    for place in np.argsort(-own, kind="stable")[:seeds]:
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


def _holds(
    graph: MemoryGraph, terms: Int32s, rows: Int32s
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(terms, rows): which row says which term."""
    return (
        np.stack(
            [
                np.isin(rows, graph.posting_row[graph.posting_start[term] : graph.posting_start[term + 1]])
                for term in terms
            ]
        )
        if terms.size
        else np.zeros((0, rows.size), np.bool_)
    )
