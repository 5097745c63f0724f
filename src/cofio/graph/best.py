"""The best of many nodes; of equal scores, up to six decimals, the lower memory id goes first."""

from __future__ import annotations

import numpy as np

from cofio.graph import kernels
from cofio.graph.csr import MemoryGraph
from cofio.records import Float32s, Int32s, Int64s


def best(graph: MemoryGraph, nodes: Int32s, scores: Float32s, limit: int) -> Int64s:
    """The places of the best `limit` nodes, best first."""
    places = np.empty(min(limit, nodes.size), np.int64)
    if places.size:
        kernels.best_places(scores, nodes, graph.ids, graph.context_ids, graph.concept_ids, places)
    return places
