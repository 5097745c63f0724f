"""The best of many nodes; of equal scores, up to six decimals, the lower memory id goes first."""

from __future__ import annotations

import numpy as np

from cofio.graph.csr import MemoryGraph
from cofio.graph.ids import Ids
from cofio.records import Float32s, Int32s, Int64s


def best(graph: MemoryGraph, nodes: Int32s, scores: Float32s, limit: int) -> Int64s:
    """The places of the best `limit` nodes, best first."""
    rounded = scores.round(6)
    places = np.arange(nodes.size)
    if nodes.size > limit > 0:
        least = -np.partition(-rounded, limit - 1)[limit - 1]
        places = np.flatnonzero(rounded >= least)  # with everything that ties for the last place
    return np.asarray(places[best_ids(graph.ids_of(nodes[places]), rounded[places], limit)])


def best_ids(ids: Ids, scores: Float32s, limit: int) -> Int64s:
    """The places of the best `limit` ids, best first."""
    return np.lexsort((ids[:, 1], ids[:, 0], -scores.round(6)))[:limit]
