"""Each kernel against a slow oracle that is plain to read."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from cofio.graph import kernels
from cofio.graph.blocks import KERNEL_L, KERNEL_M
from cofio.records import Float32s, Int32s


def _bounds(sizes: list[int]) -> tuple[Int32s, Int32s]:
    edges = np.concatenate(([0], np.cumsum(sizes)))
    first = np.repeat(edges[:-1], sizes).astype(np.int32)
    return first, np.repeat(edges[1:], sizes).astype(np.int32)


@pytest.mark.parametrize("kernel", [KERNEL_M, KERNEL_L], ids=["M", "L"])
def test_spread_terms_is_bm25_over_smoothed_counts(kernel: Float32s) -> None:
    rng = np.random.default_rng(7)
    sizes = [40, 3, 25]
    n = sum(sizes)
    first, last = _bounds(sizes)
    counts = rng.poisson(0.15, (4, n)).astype(np.int32)
    idf = rng.uniform(0.5, 3.0, 4).astype(np.float32)
    smooth = rng.uniform(5.0, 40.0, n).astype(np.float32)
    rows = [np.flatnonzero(term) for term in counts]
    start = np.concatenate(([0], np.cumsum([row.size for row in rows]))).astype(np.int64)
    posting_row = np.concatenate(rows).astype(np.int32)
    posting_count = np.concatenate([counts[t][row] for t, row in enumerate(rows)]).astype(np.int32)
    score, flow = np.zeros(n, np.float32), np.zeros(n, np.float32)
    woken = np.empty(n, np.int32)
    meeting = np.repeat(np.arange(3, dtype=np.int32), sizes)
    in_scope = np.array([True, True, False])
    found = kernels.spread_terms(
        np.arange(4, dtype=np.int32), idf, start, posting_row, posting_count, np.arange(n, dtype=np.int32), meeting,
        in_scope, first, last, kernel, smooth, 20.0, flow, np.empty(n, np.int32), score, woken,
    )  # fmt: skip

    expected = np.zeros(n)
    for i in range(n):
        if not in_scope[meeting[i]]:
            continue
        for t in range(4):
            tf = sum(
                float(kernel[abs(j - i)]) * counts[t, j]
                for j in range(first[i], last[i])
                if abs(j - i) < kernel.size
            )
            if tf:
                k1, b = kernels.K1, kernels.B
                expected[i] += (
                    float(idf[t]) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * float(smooth[i]) / 20.0))
                )
    np.testing.assert_allclose(score, expected, rtol=1e-4)
    assert set(woken[:found].tolist()) == set(np.flatnonzero(expected).tolist())
    assert not flow.any(), "scratch is left as it came"


def test_context_cosine_is_the_cosine_to_the_averaged_vector() -> None:
    rng = np.random.default_rng(3)
    n, d = 30, 16
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gain = rng.uniform(0.2, 1.0, n).astype(np.float32)
    query = vectors[4] + 0.1
    query /= np.linalg.norm(query)
    first, last = _bounds([n])
    norm = np.empty(n, np.float32)
    kernels.context_norms(vectors, gain, KERNEL_M, d, norm)
    dots, visited = np.empty(n, np.float32), np.empty(n, np.int32)
    everyone = np.arange(n, dtype=np.int32)
    seen = kernels.dots_around(
        query, vectors, everyone[:5], everyone, first, last, 6, dots, np.zeros(n, np.bool_), visited
    )
    assert sorted(visited[:seen].tolist()) == list(range(11))
    out = np.empty(5, np.float32)
    kernels.context_cosines(everyone[:5], first, last, KERNEL_M, gain, norm, dots, out)
    for i in range(5):
        mean = sum(
            KERNEL_M[abs(j - i)] * gain[j] * vectors[j] for j in range(n) if abs(j - i) < KERNEL_M.size
        )
        assert out[i] == pytest.approx(float(query @ mean / np.linalg.norm(mean)), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_best_first_takes_the_strongest_paths(seed: int) -> None:
    """networkx, Dijkstra over −log of the weights, is the oracle."""
    rng = np.random.default_rng(seed)
    graph = nx.gnm_random_graph(60, 200, seed=seed, directed=True)
    for _, _, data in graph.edges(data=True):
        data["strength"] = float(np.float32(rng.uniform(0.2, 0.95)))
        data["weight"] = -math.log(data["strength"])
    start = np.zeros(61, np.int64)
    target: list[int] = []
    weight: list[float] = []
    for v in range(60):
        for t in sorted(graph.successors(v)):
            target.append(t)
            weight.append(graph[v][t]["strength"])
        start[v + 1] = len(target)
    strength, parent, depth = np.zeros(60, np.float32), np.full(60, -1, np.int32), np.zeros(60, np.int32)
    order, touched = np.empty(60, np.int32), np.empty(60, np.int32)
    allowed = np.ones(60, np.bool_)
    allowed[7] = False
    seeds = np.array([0, 13], np.int32)
    reached, _ = kernels.spread_best_first(
        seeds, np.array([1.0, 0.6], np.float32), start, np.array(target, np.int32), np.array(weight, np.float32),
        allowed, 0.05, strength, parent, depth, np.zeros(60, np.bool_), np.empty(500, np.float32),
        np.empty(500, np.int32), order, touched,
    )  # fmt: skip

    graph.remove_node(7)
    graph.add_edge("all", 0, weight=0.0)
    graph.add_edge("all", 13, weight=-math.log(0.6))
    distance = nx.single_source_dijkstra_path_length(graph, "all")
    expected = {v: math.exp(-far) for v, far in distance.items() if v != "all" and math.exp(-far) >= 0.05}
    assert set(order[:reached].tolist()) == expected.keys()
    for v, value in expected.items():
        assert strength[v] == pytest.approx(value, rel=1e-4)
    assert all(strength[a] >= strength[b] for a, b in pairwise(order[:reached]))
    for v in order[:reached]:
        if parent[v] >= 0:
            assert depth[v] == depth[parent[v]] + 1
            assert strength[v] == pytest.approx(
                float(strength[parent[v]]) * graph[parent[v]][v]["strength"], rel=1e-5
            )


def test_group_by_key_is_a_stable_sort() -> None:
    keys = np.array([2, 0, 2, 1, 0, 2], np.int32)
    start, order = np.zeros(5, np.int64), np.empty(6, np.int64)
    kernels.group_by_key(keys, 4, start, order)
    assert order.tolist() == [1, 4, 3, 0, 2, 5]
    assert start.tolist() == [0, 2, 3, 6, 6]


def test_expand_stays_inside_the_meeting_and_lists_each_turn_once() -> None:
    first, last = _bounds([5, 5])
    out = np.empty(10, np.int32)
    n = kernels.expand(np.array([4, 3], np.int32), first, last, 2, np.zeros(10, np.bool_), out)
    assert sorted(out[:n].tolist()) == [1, 2, 3, 4]


def test_meetings_are_scored_as_one_document_each() -> None:
    start = np.array([0, 3], np.int64)
    rows, counts = np.array([0, 1, 4], np.int32), np.array([1, 2, 1], np.int32)
    meeting = np.array([0, 0, 1, 1, 1], np.int32)
    out, flow = np.zeros(2, np.float32), np.zeros(2, np.float32)
    kernels.score_meetings(
        np.zeros(1, np.int32), start, rows, counts, meeting, np.ones(2, np.bool_), np.array([20, 10], np.float32), 2,
        15.0, flow, out,
    )  # fmt: skip
    idf = math.log(1 + (2 - 2 + 0.5) / 2.5)
    assert out[0] == pytest.approx(idf * 3 * 2.2 / (3 + 1.2 * (0.5 + 0.5 * 20 / 15)), rel=1e-5)
    assert not flow.any()
