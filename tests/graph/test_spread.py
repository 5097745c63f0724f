"""The evidence for a question is what the formulas say, and nothing better was passed over."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from toy_graph import SPEAKERS, WORDS, meeting, toy_ledger, vectors

from cofio.graph import kernels, spread
from cofio.graph.blocks import KERNEL_L, KERNEL_M
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import Ledger
from cofio.graph.scope import scope
from cofio.graph.spread import gather
from cofio.records import Filters, Float32s, MemoryType
from cofio.text.terms import stems


@pytest.fixture
def graph() -> MemoryGraph:
    return toy_ledger().graph(1)


def _saturated(tf: float, idf: float, length: float, mean: float) -> float:
    k1, b = kernels.K1, kernels.B
    return float(idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean))) if tf else 0.0


class _Oracle:
    """BM25 of every row and its spread along time, computed the slow way from the words of each row."""

    def __init__(self, graph: MemoryGraph, asked: list[str], meetings: np.ndarray) -> None:
        self.graph = graph
        begins = np.concatenate(([0], graph.said_end[:-1]))
        terms = [graph.lexicons.terms.find(stem) for stem in asked]
        words = {row: graph.said_terms[begins[row] : graph.said_end[row]] for row in range(graph.episodes)}
        rows_of = np.flatnonzero(meetings[graph.meeting_of_row])
        turns = [row for row in rows_of.tolist() if graph.turn_of_row[row] >= 0]
        self.count = np.zeros((len(terms), graph.episodes))
        for m in np.flatnonzero(meetings):
            first = int(graph.meeting_rows[m])
            for pair in graph.pairs[graph.pairs[:, 0] == m]:
                at = int(graph.meeting_postings[m]) + int(pair[1])
                for p in range(at, at + int(pair[2])):
                    row = first + int(graph.posting_row[p])
                    for i, term in enumerate(terms):
                        if term in words[row] and self._term_of(pair, words[row], p, term):
                            self.count[i, row] = graph.posting_count[p]
        n = len(turns)
        self.idf = []
        for i in range(len(terms)):
            df = sum(self.count[i, row] > 0 for row in turns)
            self.idf.append(math.log(1 + (n - df + 0.5) / (df + 0.5)))
        self.turns = turns
        self.mean = {
            "own": sum(float(graph.length[row]) for row in turns) / n,
            "m": sum(float(graph.smooth_m[graph.turn_of_row[row]]) for row in turns) / n,
            "l": sum(float(graph.smooth_l[graph.turn_of_row[row]]) for row in turns) / n,
        }

    def _term_of(self, pair: np.ndarray, said: np.ndarray, p: int, term: int) -> bool:
        graph = self.graph
        number = int(np.flatnonzero((graph.pairs == pair).all(axis=1))[0])
        return number in graph.term_pair[graph.term_start[term] : graph.term_start[term + 1]]

    def own(self, row: int) -> float:
        lengths = float(self.graph.length[row])
        return sum(
            _saturated(self.count[i, row], idf, lengths, self.mean["own"]) for i, idf in enumerate(self.idf)
        )

    def spread(self, row: int, kernel: Float32s, smooth: Float32s, which: str) -> float:
        graph = self.graph
        k = int(graph.turn_of_row[row])
        total = 0.0
        for i, idf in enumerate(self.idf):
            tf = sum(
                float(kernel[abs(int(graph.turn_of_row[other]) - k)]) * self.count[i, other]
                for other in self.turns
                if graph.meeting_of_row[other] == graph.meeting_of_row[row]
                and abs(int(graph.turn_of_row[other]) - k) < kernel.size
            )
            total += _saturated(tf, idf, float(smooth[k]), self.mean[which])
        return total


@pytest.mark.parametrize(
    "filters",
    [Filters(), Filters(speaker=(SPEAKERS[1],)), Filters(memory_type=(MemoryType.DECISION,))],
    ids=["all", "speaker", "type"],
)
def test_the_evidence_is_what_the_formulas_say(graph: MemoryGraph, filters: Filters) -> None:
    rng = np.random.default_rng(5)
    asked = stems(f"{WORDS[0]} {WORDS[3]} {WORDS[7]} {WORDS[0]}")
    asked = list(dict.fromkeys(asked))
    query = vectors(rng, 1)[0]
    query[384:] = 0.0
    bounds = scope(graph, filters)
    evidence = gather(
        graph, bounds, spread.lexical_seeds(graph, bounds, asked), query, np.array([1, 70], np.int32)
    )
    oracle = _Oracle(graph, asked, bounds.meetings)
    assert np.diff(evidence.rows).min() > 0
    assert bounds.passes(graph, evidence.rows).all()
    assert not (graph.meeting_of_row[evidence.rows] == 2).any(), "the dead stay dead"
    semantic = graph.semantic(slice(0, graph.episodes))
    for i, row in enumerate(evidence.rows.tolist()):
        assert evidence.bm25[i] == pytest.approx(oracle.own(row), rel=1e-4, abs=1e-6)
        assert evidence.cosine[i] == pytest.approx(float(semantic[row] @ query[:384]), abs=1e-4)
        k = int(graph.turn_of_row[row])
        if k < 0:
            assert evidence.terms_m[i] == evidence.context_l[i] == 0.0
            continue
        for kernel, smooth, which, terms, context in (
            (KERNEL_M, graph.smooth_m, "m", evidence.terms_m, evidence.context_m),
            (KERNEL_L, graph.smooth_l, "l", evidence.terms_l, evidence.context_l),
        ):
            assert terms[i] == pytest.approx(oracle.spread(row, kernel, smooth, which), rel=1e-4, abs=1e-6)
            mean = sum(
                float(kernel[abs(int(graph.turn_of_row[other]) - k)])
                * float(graph.gain[graph.turn_of_row[other]])
                * semantic[other]
                for other in oracle.turns
                if graph.meeting_of_row[other] == graph.meeting_of_row[row]
                and abs(int(graph.turn_of_row[other]) - k) < kernel.size
            )
            cosine = float(query[:384] @ mean / np.linalg.norm(mean))
            assert context[i] == pytest.approx(cosine, abs=1e-3)


def test_no_better_seed_was_passed_over() -> None:
    """More meetings than seeds, so that some are passed over for what they promise."""
    ledger = Ledger()
    for key in range(spread.SEEDS + 10):
        ledger.add_meeting(meeting(key, 4 + key % 9, ledger.lexicons))
    graph = ledger.graph(1)
    for words in (WORDS[:1], WORDS[2:5], WORDS[5:12]):
        asked = stems(" ".join(words))
        bounds = scope(graph, Filters())
        seeds = spread.lexical_seeds(graph, bounds, asked)
        turns, rows = seeds.turns, seeds.rows
        oracle = _Oracle(graph, asked, bounds.meetings)
        best = sorted((oracle.spread(r, KERNEL_M, graph.smooth_m, "m") for r in oracle.turns), reverse=True)
        found = [oracle.spread(row, KERNEL_M, graph.smooth_m, "m") for row in turns.tolist()]
        assert found == pytest.approx(best[: spread.SEEDS], rel=1e-4)
        everything = np.flatnonzero(bounds.meetings[graph.meeting_of_row]).tolist()
        best = sorted((oracle.own(row) for row in everything), reverse=True)
        assert [oracle.own(int(row)) for row in rows] == pytest.approx(best[: spread.SEEDS], rel=1e-4)


def test_what_is_woken_has_a_way_back_to_its_seed(graph: MemoryGraph) -> None:
    woken = spread.wake(graph, scope(graph, Filters()), np.array([0], np.int32), np.ones(1, np.float32))
    assert woken.nodes[0] == 0
    assert woken.path(0) == (0,)
    for node in woken.nodes.tolist():
        path = woken.path(node)
        assert path[0] == 0
        for here, there in pairwise(path):
            assert there in graph.edge_target[graph.edge_start[here] : graph.edge_start[here + 1]]
