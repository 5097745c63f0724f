"""Each kernel against a slow oracle that is plain to read."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from cofio.graph import kernels


@pytest.mark.parametrize("limit", [60, 7])
@pytest.mark.parametrize("seed", range(5))
def test_best_first_takes_the_strongest_paths(seed: int, limit: int) -> None:
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
        for t in sorted(graph.successors(v), key=lambda t: -graph[v][t]["strength"]):
            target.append(t)
            weight.append(graph[v][t]["strength"])
        start[v + 1] = len(target)
    order, strength, parent = (
        np.empty(limit, np.int32),
        np.empty(limit, np.float32),
        np.empty(limit, np.int32),
    )
    scratch, bins = np.zeros(60, np.float32), np.zeros(2048, np.int32)
    meeting_of_node = np.zeros(60, np.int32)
    meeting_of_node[7] = 1  # which is not in scope
    seeds = np.array([0, 13], np.int32)
    reached = kernels.spread_best_first(
        seeds, np.array([1.0, 0.6], np.float32), start, np.array(target, np.int32), np.array(weight, np.float32),
        meeting_of_node, np.array([True, False]), np.float32(0.05), scratch, np.empty(60, np.int32),
        np.empty(500, np.int64), np.empty(500, np.int32), bins, order, strength, parent,
    )  # fmt: skip
    assert not scratch.any(), "scratch is left as it came"
    assert not bins.any()

    graph.remove_node(7)
    graph.add_edge("all", 0, weight=0.0)
    graph.add_edge("all", 13, weight=-math.log(0.6))
    distance = nx.single_source_dijkstra_path_length(graph, "all")
    expected = {v: math.exp(-far) for v, far in distance.items() if v != "all" and math.exp(-far) >= 0.05}
    assert reached == min(limit, len(expected))
    strongest = sorted(expected.values(), reverse=True)[:limit]
    assert strength[:reached].tolist() == pytest.approx(strongest, rel=1e-4)
    for place, v in enumerate(order[:reached].tolist()):
        assert strength[place] == pytest.approx(expected[v], rel=1e-4)
        if parent[place] >= 0:
            before = int(order[parent[place]])
            assert parent[place] < place
            assert strength[place] == pytest.approx(
                float(strength[parent[place]]) * graph[before][v]["strength"], rel=1e-5
            )
    assert all(a >= b for a, b in pairwise(strength[:reached]))


def test_group_by_key_is_a_stable_sort() -> None:
    keys = np.array([2, 0, 2, 1, 0, 2], np.int32)
    start, order = np.zeros(5, np.int64), np.empty(6, np.int64)
    kernels.group_by_key(keys, 4, start, order)
    assert order.tolist() == [1, 4, 3, 0, 2, 5]
    assert start.tolist() == [0, 2, 3, 6, 6]


def test_terms_and_mentions_of_the_living_are_grouped() -> None:
    pairs = np.zeros((4, 6), np.int32)
    pairs[:, 0], pairs[:, 2] = [0, 0, 1, 2], [3, 1, 9, 2]
    start, out, rows = np.zeros(4, np.int64), np.empty(4, np.int32), np.zeros(3, np.int64)
    alive = np.array([True, False, True])
    n = kernels.group_terms(pairs, np.array([2, 0, 0, 2], np.int32), alive, start, out, rows)
    assert (out[:n].tolist(), start.tolist(), rows.tolist()) == ([1, 0, 3], [0, 1, 1, 3], [1, 0, 5])

    of_concept, of_row = (np.zeros(4, np.int64) for _ in range(2))
    found, concepts = np.empty((2, 5), np.int32)
    n, things = kernels.group_mentions(
        np.array([1, 0, 1, 2, 0], np.int32), np.array([2, 0, 0, 2, 1], np.int32), np.array([True, False, True]),
        np.array([True, True, False]), np.array([False, True, False]), of_concept, found, of_row, concepts,
    )  # fmt: skip
    assert (found[:n].tolist(), of_concept.tolist()) == ([0, 2, 0], [0, 1, 3, 3])
    assert (concepts[:things].tolist(), of_row.tolist()) == ([0], [0, 1, 1, 1])


def test_around_stays_inside_the_meeting_and_lists_each_turn_once() -> None:
    # Row 2 i holds turn i, and the rows between none; the second meeting begins with turn 5.
    row_of_turn = np.arange(0, 20, 2, dtype=np.int32)
    turn_of_row = np.where(np.arange(20) % 2, -1, np.arange(20) // 2).astype(np.int32)
    meeting_of_row = np.repeat(np.arange(2, dtype=np.int32), 10)
    speakers, types = np.full(20, -1, np.int32), np.zeros(20, np.int8)
    speakers[4], types[12] = 0, 1

    def found(also: list[int], **bound: int) -> list[int]:
        passes = {
            "meeting": np.ones(2, np.bool_),
            "speaker": np.ones(2, np.bool_),
            "type": np.ones(2, np.bool_),
        }
        for name, number in bound.items():
            passes[name][number] = False
        rows: list[int] = kernels.around(
            np.array([1, 6, 8, 10], np.int32), np.array(also, np.int32), 2, turn_of_row, row_of_turn, meeting_of_row,
            np.array([0, 5, 10]), speakers, types, *passes.values(),
        ).tolist()  # fmt: skip
        return rows

    assert found([]) == [2, 4, 6, 8, 10, 12, 14]
    assert found([1, 6, 8, 10, 19]) == [1, 2, 4, 6, 8, 10, 12, 14, 19]
    assert found([1, 19], meeting=1) == [1, 2, 4, 6, 8]
    assert found([3], speaker=1) == [2, 3, 6, 8, 10, 12, 14], "place 0 is for nobody"
    assert found([], type=1) == [2, 4, 6, 8, 10, 14]


def test_rare_terms_are_those_that_few_rows_say() -> None:
    said_terms, said_end = np.array([0, 1, 2, 1, 3], np.int32), np.array([3, 3, 5], np.int64)
    end, out = np.empty(2, np.int64), np.empty(5, np.int32)
    kernels.rare_terms(
        np.array([2, 0], np.int32), said_end, said_terms, np.array([1, 2, 1, 1]), np.array([0, 0, -1], np.int32),
        np.array([0, 1]), np.array([2], np.int32), 1, end, out,
    )  # fmt: skip
    assert end.tolist() == [1, 2]
    assert out[:2].tolist() == [3, 0], "2 is the speaker's name"


def test_says_finds_every_term_of_a_row() -> None:
    said_terms, said_end = np.array([0, 1, 2, 1, 3], np.int32), np.array([3, 3, 5], np.int64)
    out = np.zeros((2, 3), np.bool_)
    kernels.says(np.array([1, 3], np.int32), np.arange(3, dtype=np.int32), said_end, said_terms, out)
    assert out.tolist() == [[True, False, True], [False, False, True]]


def test_edges_go_both_ways_and_leave_out_the_dead() -> None:
    start = np.zeros(7, np.int64)
    target, weight = np.empty(20, np.int32), np.empty(20, np.float32)
    used = kernels.link(
        3, np.array([0, 0, 1], np.int32), np.array([True, False]), np.array([0, 0, 1], np.int32),
        np.array([0.5, 0.5], np.float32), np.float32(0.7), np.array([0, 1, 1, 1]), np.array([0], np.int32), 5,
        np.array([0.6], np.float32), np.array([1], np.int32), np.array([4], np.int32), np.array([0.8], np.float32),
        start, target, weight,
    )  # fmt: skip
    edges = {
        (v, int(target[e]), round(float(weight[e]), 2))
        for v in range(6)
        for e in range(start[v], start[v + 1])
    }
    one_way = {(0, 1, 0.7), (0, 3, 0.5), (1, 3, 0.5), (0, 5, 0.6), (1, 4, 0.8)}
    assert edges == one_way | {(b, a, w) for a, b, w in one_way}
    assert used == 10
