"""Kernels: best-first activation over a large graph, and the context spread of one question over a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from cofio.bench import peers
from cofio.bench.bench import Bench
from cofio.bench.corpus import count_stored, drawn_store, read_source, read_stored, settings_for
from cofio.bench.results import OURS, Check, Figure, Findings, close
from cofio.bench.timing import Contender, Float64s, interleave
from cofio.graph import kernels
from cofio.graph.csr import MemoryGraph
from cofio.graph.nearest import nearest_nodes
from cofio.graph.scope import Scope, scope
from cofio.graph.spread import SEEDS, Evidence, gather, lexical_seeds
from cofio.records import (
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Filters,
    Float32s,
    Int32s,
    Int64s,
    Level,
)
from cofio.runtime import open_runtime
from cofio.text.terms import query_stems

SPREADING_PEERS: Final = ("Python (heapq, dict)", "SciPy PageRank", "igraph PageRank", "networkx PageRank")
CONTEXT_PEER: Final = "NumPy and SciPy"

WOKEN: Final = 500
FLOOR: Final = 0.001
QUERY_SEEDS: Final = 10
SEED: Final = 20_260

Edges = tuple[Int64s, Int32s, Float32s]


async def measure(bench: Bench) -> Findings:
    """Both kernels, each beside its peers."""
    findings = Findings()
    size = (bench.effort.graph_nodes, bench.effort.graph_edges)
    await _spreading(bench, "spreading", made_graph(*size, hubs=False), findings)
    await _spreading(bench, "spreading with hubs", made_graph(*size, hubs=True), findings)
    await _contexts(bench, findings)
    if bench.peers:
        findings.notes.append(
            "PageRank is another algorithm for the same purpose: it ranks every node, where best-first activation stops "
            f"at the {WOKEN} strongest. Only Python computes the same. The graphs are made, not real: 200,000 edges of "
            "time, the rest drawn."
        )
    else:
        findings.left_out += [*SPREADING_PEERS, CONTEXT_PEER]
    return findings


def made_graph(nodes: int, edges: int, *, hubs: bool) -> Edges:
    """A graph like a memory's: time joins neighbours, and the rest of the edges are drawn, both ways each.

    With `hubs` one end of a drawn edge is one of few nodes with many edges, as people and terms are: the largest has
    a hundredth of them. CSR arrays, as cofio keeps its own, a node's
    strongest edges first: start (nodes + 1,), target, weight in (0, 1].
    """
    rng = np.random.default_rng(SEED)
    ahead = np.arange(nodes - 1)
    rest = max(edges - 2 * ahead.size, 0) // 2
    one = (nodes * rng.random(rest) ** (3 if hubs else 1)).astype(np.int64)
    other = rng.integers(0, nodes, rest)
    source = np.concatenate((ahead, ahead + 1, one, other))
    target = np.concatenate((ahead + 1, ahead, other, one))
    weight = np.concatenate((np.full(2 * ahead.size, 0.7), np.tile(rng.uniform(0.05, 0.85, rest), 2)))
    pairs, first = np.unique(source * nodes + target, return_index=True)
    weight = weight[first].astype(np.float32)
    start = np.searchsorted(pairs // nodes, np.arange(nodes + 1))
    order = np.lexsort((-weight, pairs // nodes))
    return start.astype(np.int64), (pairs % nodes)[order].astype(np.int32), weight[order]


async def _spreading(bench: Bench, what: str, graph: Edges, findings: Findings) -> None:
    effort = bench.effort
    start, target, weight = graph
    nodes = start.size - 1
    rng = np.random.default_rng(SEED)
    seeds = [
        np.sort(rng.choice(nodes, QUERY_SEEDS, replace=False)).astype(np.int32) for _ in range(effort.rounds)
    ]
    strengths = [rng.uniform(0.3, 1.0, QUERY_SEEDS).astype(np.float32) for _ in range(effort.rounds)]
    spread = best_first(graph)
    contenders = [Contender(name=OURS, call=lambda i: spread(seeds[i], strengths[i]))]
    findings.settings |= {
        f"{what}: nodes": nodes,
        f"{what}: edges": int(target.size),
        f"{what}: edges of the largest node": int(np.diff(start).max()),
        f"{what}: activations": WOKEN,
        f"{what}: seeds of a question": QUERY_SEEDS,
        f"{what}: floor": FLOOR,
        f"{what}: rounds": effort.rounds,
        "threads": 1,
    }
    if bench.peers:
        other = peers.load("spreading")
        edges = other.adjacency(start, target, weight)
        given = [
            dict(zip(s.tolist(), w.tolist(), strict=True)) for s, w in zip(seeds, strengths, strict=True)
        ]
        _check_spreading(what, other, edges, given, spread, seeds, strengths, findings)
        contenders += _spreading_peers(other, edges, graph, given, effort.slow_rounds)
    seconds = await interleave(contenders, rounds=effort.rounds, warm_up=2)
    findings.add_times(what, seconds)


def best_first(edges: Edges) -> Callable[[Int32s, Float32s], tuple[Int32s, Float32s]]:
    """What spreads from seeds along the edges by cofio's kernel: nodes and strengths, strongest first.

    Scratch is allocated once; the kernel leaves it clean.
    """
    start, target, weight = edges
    nodes, room = start.size - 1, 64 * WOKEN
    nowhere, in_scope = np.zeros(0, np.int32), np.ones(1, np.bool_)
    strength, parent = np.zeros(nodes, np.float32), np.empty(nodes, np.int32)
    heap, touched, bins = np.empty(room, np.int64), np.empty(room, np.int32), np.zeros(2048, np.int32)
    order = np.empty(min(nodes, WOKEN), np.int32)
    found, reached_from = np.empty(order.size, np.float32), np.empty(order.size, np.int32)

    def spread(seeds: Int32s, strengths: Float32s) -> tuple[Int32s, Float32s]:
        reached = kernels.spread_best_first(
            seeds, strengths, start, target, weight, nowhere, in_scope, np.float32(FLOOR), strength, parent, heap,
            touched, bins, order, found, reached_from,
        )  # fmt: skip
        return order[:reached].copy(), found[:reached].copy()

    return spread


def _check_spreading(
    what: str,
    other: Any,
    edges: object,
    given: list[dict[int, float]],
    spread: Callable[[Int32s, Float32s], tuple[Int32s, Float32s]],
    seeds: list[Int32s],
    strengths: list[Float32s],
    findings: Findings,
) -> None:
    worst, differing, compared = 0.0, 0, min(len(given), 20)
    for i in range(compared):
        nodes, values = spread(seeds[i], strengths[i])
        theirs: Mapping[int, float] = other.best_first(edges, given[i], FLOOR, WOKEN)
        ours = dict(zip(nodes.tolist(), values.tolist(), strict=True))
        differing += len(ours.keys() ^ theirs.keys())
        worst = max((abs(ours[node] - theirs[node]) for node in ours.keys() & theirs.keys()), default=worst)
    findings.checks[f"{what}: the same nodes as Python"] = Check(
        # Float32 here and float64 there may part a tie at the last place.
        agrees=differing <= 2 * compared and worst < 1e-5,
        detail=f"{compared} questions of {WOKEN} nodes: {differing} in one of them only, "
        f"largest difference of a strength {worst:.1e}",
    )


def _spreading_peers(
    other: Any, edges: object, arrays: Edges, given: list[dict[int, float]], slow_rounds: int
) -> list[Contender]:
    walk = other.transitions(*arrays)
    restarts = []
    for seeds in given:
        restart = np.zeros(arrays[0].size - 1)
        restart[list(seeds)] = list(seeds.values())
        restarts.append(restart / restart.sum())
    in_igraph, in_networkx = other.igraph_graph(*arrays), other.networkx_graph(edges)
    calls: list[tuple[Callable[[int], object], int]] = [
        (lambda i: other.best_first(edges, given[i], FLOOR, WOKEN), len(given)),
        (lambda i: other.power_iteration(walk, restarts[i]), 3 * slow_rounds),
        (lambda i: other.igraph_pagerank(in_igraph, given[i]), slow_rounds),
        (lambda i: other.networkx_pagerank(in_networkx, given[i]), max(1, slow_rounds // 5)),
    ]
    return [
        Contender(name=name, call=call, rounds=rounds)
        for name, (call, rounds) in zip(SPREADING_PEERS, calls, strict=True)
    ]


async def _contexts(bench: Bench, findings: Findings) -> None:
    source = read_source(bench.data)
    folder = await drawn_store(bench, source, bench.effort.memories)
    counts = count_stored(folder)
    async with open_runtime(settings_for(bench.settings, folder)) as runtime:
        graph = runtime.live.current
        questions = source.questions[: bench.effort.rounds]
        vectors = np.zeros((len(questions), VECTOR_DIMENSIONS), np.float32)
        vectors[:, :SEMANTIC_DIMENSIONS] = runtime.encoder.encode(questions)
        stems = [query_stems(question) for question in questions]
        everything = scope(graph, Filters())
        limits = {Level.EPISODE: SEEDS}
        nearest = [nearest_nodes(graph, everything, vector, limits)[Level.EPISODE][0] for vector in vectors]
        contenders = [
            Contender(
                name=OURS,
                call=lambda i: _gather(graph, everything, stems[i], vectors[i], nearest[i]),
            )
        ]
        if bench.peers:
            stored = read_stored(folder, Level.EPISODE)
            plain = peers.load("contexts").PlainContexts(stored)
            contenders.append(
                Contender(
                    name=CONTEXT_PEER,
                    call=lambda i: plain.spread(stems[i], vectors[i, :SEMANTIC_DIMENSIONS]),
                    rounds=4 * bench.effort.slow_rounds,
                )
            )
            place = {memory_id: row for row, memory_id in enumerate(stored.ids)}
            compared: dict[str, list[tuple[Float32s, Float64s]]] = {}
            for i in range(min(len(questions), 10)):
                evidence = _gather(graph, everything, stems[i], vectors[i], nearest[i])
                theirs = plain.spread(stems[i], vectors[i, :SEMANTIC_DIMENSIONS])
                rows = np.array([place[graph.memory_id(int(row))] for row in evidence.rows])
                for name, pair in _pairs(evidence, theirs, rows, plain.turn_rows).items():
                    compared.setdefault(name, []).append(pair)
            for name, pairs in compared.items():
                findings.checks[f"context spread: {name}"] = close(
                    f"{len(pairs)} questions",
                    np.concatenate([ours for ours, _ in pairs]).astype(np.float64),
                    np.concatenate([other for _, other in pairs]).astype(np.float64),
                    within=2e-3,
                )
        seconds = await interleave(contenders, rounds=len(questions), warm_up=2)
    findings.add_times("context spread", seconds)
    findings.settings |= {
        "context spread: source": source.name,
        "context spread: memories": counts,
        "context spread: edges of the graph": int(graph.edge_target.size),
        "context spread: rounds": len(questions),
    }
    findings.figures["context spread: memories"] = Figure(value=float(counts["L2"]))
    findings.notes.append(
        f"Context spread: cofio is given the {SEEDS} nearest rows (to find them is timed in the part search) and scores "
        "what lies around the seeds, for both kernels, with the prior of meetings; NumPy and SciPy score every turn."
    )


def _gather(
    graph: MemoryGraph, bounds: Scope, stems: list[str], vector: Float32s, nearest: Int32s
) -> Evidence:
    """The one place that knows how cofio's context spread is called."""
    return gather(graph, bounds, lexical_seeds(graph, bounds, stems), vector, nearest)


def _pairs(
    evidence: Evidence, theirs: Any, rows: Int64s, turn_rows: Int64s
) -> dict[str, tuple[Float32s, Float64s]]:
    """By what it measures, cofio's evidence and the other's for the same memories."""
    turn = np.searchsorted(turn_rows, rows)
    is_turn = (turn < turn_rows.size) & (turn_rows[np.minimum(turn, turn_rows.size - 1)] == rows)
    spoken = turn[is_turn]
    return {
        "own words": (evidence.bm25, theirs.bm25[rows]),
        "own vector": (evidence.cosine, theirs.dense[rows]),
        "terms, kernel M": (evidence.terms_m[is_turn], theirs.terms_m[spoken]),
        "terms, kernel L": (evidence.terms_l[is_turn], theirs.terms_l[spoken]),
        "vectors, kernel M": (evidence.context_m[is_turn], theirs.context_m[spoken]),
        "vectors, kernel L": (evidence.context_l[is_turn], theirs.context_l[spoken]),
    }
