"""Spreading elsewhere: the same algorithm in plain Python, and personalised PageRank of three libraries."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import igraph
import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cofio.records import Float32s, Int32s, Int64s

DAMPING = 0.85
TOLERANCE = 1e-6

Adjacency = Sequence[Sequence[tuple[int, float]]]


def adjacency(start: Int64s, target: Int32s, weight: Float32s) -> Adjacency:
    """The edges as Python lists of (target, weight)."""
    targets, weights = target.tolist(), weight.tolist()
    return [
        list(zip(targets[a:b], weights[a:b], strict=True))
        for a, b in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)
    ]


def best_first(edges: Adjacency, seeds: Mapping[int, float], floor: float, limit: int) -> Mapping[int, float]:
    """Node → strength of the first `limit` nodes, strongest first: Dijkstra with heapq and dicts."""
    strength = dict(seeds)
    heap = [(-value, node) for node, value in seeds.items()]
    heapq.heapify(heap)
    settled: dict[int, float] = {}
    while heap and len(settled) < limit:
        key, node = heapq.heappop(heap)
        if node in settled:
            continue
        settled[node] = -key
        for target, weight in edges[node]:
            value = -key * weight
            if value >= floor and target not in settled and value > strength.get(target, 0.0):
                strength[target] = value
                heapq.heappush(heap, (-value, target))
    return settled


def transitions(start: Int64s, target: Int32s, weight: Float32s) -> sparse.csr_array:
    """The column-stochastic matrix of the walk along the edges, transposed for `power_iteration`."""
    n = start.size - 1
    matrix = sparse.csr_array((weight.astype(np.float64), target, start), shape=(n, n))
    out = np.asarray(matrix.sum(axis=1)).ravel()
    scale = sparse.diags_array(np.divide(1.0, out, out=np.zeros(n), where=out > 0))
    return sparse.csr_array((scale @ matrix).T)


def power_iteration(walk: sparse.csr_array, restart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Personalised PageRank until the L1 change is below `TOLERANCE`; `restart` sums to 1."""
    rank = restart
    while True:
        following: NDArray[np.float64] = DAMPING * (walk @ rank)
        following += (1.0 - following.sum()) * restart
        if np.abs(following - rank).sum() < TOLERANCE:
            return following
        rank = following


def networkx_graph(edges: Adjacency) -> nx.DiGraph:
    """The edges as a graph of networkx."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(edges)))
    graph.add_weighted_edges_from((node, t, w) for node, out in enumerate(edges) for t, w in out)
    return graph


def networkx_pagerank(graph: nx.DiGraph, seeds: Mapping[int, float]) -> Mapping[int, float]:
    """networkx's PageRank with its own defaults (damping .85, tolerance 1e-6 a node)."""
    ranks: Mapping[int, float] = nx.pagerank(
        graph, alpha=DAMPING, personalization=dict(seeds), weight="weight"
    )
    return ranks


def igraph_graph(start: Int64s, target: Int32s, weight: Float32s) -> igraph.Graph:
    """The edges as a graph of igraph."""
    source = np.repeat(np.arange(start.size - 1), np.diff(start))
    graph = igraph.Graph(n=start.size - 1, edges=np.stack((source, target), axis=1), directed=True)
    graph.es["weight"] = weight.tolist()
    return graph


def igraph_pagerank(graph: igraph.Graph, seeds: Mapping[int, float]) -> Sequence[float]:
    """igraph's PageRank (PRPACK, its default; exact)."""
    reset = [0.0] * graph.vcount()
    for node, value in seeds.items():
        reset[node] = value
    ranks: Sequence[float] = graph.personalized_pagerank(damping=DAMPING, reset=reset, weights="weight")
    return ranks
