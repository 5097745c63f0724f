"""What is nearest is found by sketches first, and what they leave is compared in full."""

from __future__ import annotations

import numpy as np
import pytest
from toy_graph import SIZES, SPEAKERS, concept, meeting, meeting_id, toy_ledger, vectors

from cofio.graph import kernels, nearest
from cofio.graph.csr import MemoryGraph
from cofio.graph.ids import written
from cofio.graph.ledger import Ledger, compact
from cofio.graph.nearest import comparable, nearest_nodes
from cofio.graph.scope import Scope, scope
from cofio.graph.sketches import SKETCH_WORDS, sketched
from cofio.records import SEMANTIC_DIMENSIONS, ConceptKind, Filters, Float32s, Int32s, Level, MemoryType


@pytest.fixture
def ledger() -> Ledger:
    return toy_ledger()


@pytest.fixture
def graph(ledger: Ledger) -> MemoryGraph:
    return ledger.graph(1)


def _question(seed: int, **weights: float) -> Float32s:
    vector = vectors(np.random.default_rng(seed), 1)[0]
    vector[SEMANTIC_DIMENSIONS:] = 0.0
    for place, weight in weights.items():
        vector[SEMANTIC_DIMENSIONS + int(place[1:])] = weight
    return np.asarray(vector, np.float32)


def _nearest(
    graph: MemoryGraph, bounds: Scope, level: Level, vector: Float32s, limit: int
) -> tuple[Int32s, Float32s]:
    return nearest_nodes(graph, bounds, vector, {level: limit})[level]


def _allowed(graph: MemoryGraph, bounds: Scope) -> Int32s:
    rows = np.arange(graph.episodes, dtype=np.int32)
    return rows[bounds.passes(graph, rows)]


def _slowly(graph: MemoryGraph, rows: Int32s, vector: Float32s, limit: int) -> list[int]:
    """The best of `rows` by every inner product, ties by id."""
    scores = graph.vectors[rows].astype(np.float32) @ vector / np.float32(32767)
    ids = written(graph.ids[rows])
    order = sorted(range(rows.size), key=lambda i: (-round(float(scores[i]), 6), ids[i]))
    return [int(rows[i]) for i in order[:limit]]


def _bits(graph: MemoryGraph, rows: Int32s, vector: Float32s) -> Int32s:
    """In how many signs the rows differ from the question."""
    signs = graph.vectors[rows, :SEMANTIC_DIMENSIONS] > 0
    return np.asarray((signs != (vector[:SEMANTIC_DIMENSIONS] > 0)).sum(axis=1), np.int32)


def test_a_question_is_sketched_as_memories_are() -> None:
    for vector in vectors(np.random.default_rng(7), 20).astype(np.float32):
        assert (kernels.sketch_of(vector, SKETCH_WORDS) == sketched(vector[None])[0]).all()


def test_sketches_differ_in_as_many_bits_as_the_signs_do(graph: MemoryGraph) -> None:
    vector = _question(1)
    meetings = np.flatnonzero(graph.alive).astype(np.int32)
    rows = _allowed(graph, scope(graph, Filters()))
    steps = np.empty(rows.size, np.uint16)
    kernels.sketch_steps(sketched(vector[None])[0], graph.sketches, meetings, graph.meeting_rows, steps)
    assert steps.tolist() == _bits(graph, rows, vector).tolist()


FILTERS = (
    Filters(),
    Filters(speaker=(SPEAKERS[1],)),
    Filters(memory_type=(MemoryType.DECISION,)),
    Filters(
        speaker=SPEAKERS[:2], memory_type=(MemoryType.CONTEXT,), meeting_id=(meeting_id(0), meeting_id(4))
    ),
    Filters(speaker=("Nobody",)),
)


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("weights", [{}, {"f3": 0.5, "f9": -1.5}])
def test_few_are_compared_exactly(graph: MemoryGraph, filters: Filters, weights: dict[str, float]) -> None:
    bounds = scope(graph, filters)
    for seed in range(5):
        vector = _question(seed, **weights)
        rows, scores = _nearest(graph, bounds, Level.EPISODE, vector, 20)
        assert rows.tolist() == _slowly(graph, _allowed(graph, bounds), vector, 20)
        exact = graph.vectors[rows].astype(np.float32) @ vector / np.float32(32767)
        assert scores.tolist() == pytest.approx(exact.tolist(), abs=1e-5)


@pytest.mark.parametrize("filters", FILTERS)
def test_of_many_those_whose_signs_differ_least(
    graph: MemoryGraph, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "WEIGHED_LEAST", 0)
    monkeypatch.setattr(nearest, "WEIGHED_EACH", 2)
    bounds = scope(graph, filters)
    allowed = _allowed(graph, bounds)
    for seed in range(5):
        vector = _question(seed)
        bits = _bits(graph, allowed, vector)
        # Ten are wanted, so the twenty nearest by signs are looked at, and all that tie with the last of them.
        most = np.sort(bits)[:20].max(initial=0)
        rows, _ = _nearest(graph, bounds, Level.EPISODE, vector, 10)
        assert rows.tolist() == _slowly(graph, allowed[bits <= most], vector, 10)


@pytest.mark.parametrize("filters", FILTERS)
def test_of_these_the_ones_whose_signs_promise_most(
    graph: MemoryGraph, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "FULL_LEAST", 0)
    monkeypatch.setattr(nearest, "FULL_EACH", 2)
    bounds = scope(graph, filters)
    allowed = _allowed(graph, bounds)
    told_apart = 0
    for seed in range(5):
        vector = _question(seed)
        sums = (graph.vectors[allowed, :SEMANTIC_DIMENSIONS] > 0) @ vector[:SEMANTIC_DIMENSIONS]
        # Ten are wanted, so twenty are compared, and whose sums are within one of 4,096 steps of the last of them.
        least = np.sort(sums)[-20:].min(initial=np.inf)
        step = np.ptp(sums) / 4000 if sums.size else 0.0
        if not ((sums != least) & (abs(sums - least) < step)).any():
            told_apart += 1
            rows, _ = _nearest(graph, bounds, Level.EPISODE, vector, 10)
            assert rows.tolist() == _slowly(graph, allowed[sums >= least], vector, 10)
    assert told_apart


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_signs_are_weighed_by_the_numbers_of_the_question(scale: float) -> None:
    rng = np.random.default_rng(3)
    held, query = vectors(rng, 500), scale * vectors(rng, 1)[0, :SEMANTIC_DIMENSIONS]
    sums = (held[:, :SEMANTIC_DIMENSIONS] > 0) @ query
    rows = np.arange(0, 500, 2, dtype=np.int32)
    kept = kernels._weighed(query, sketched(held), rows, 40)
    assert 40 <= kept.size <= 44  # what falls into one step comes together
    order = rows[np.argsort(-sums[rows])]
    assert set(order[:36].tolist()) <= set(kept.tolist()) <= set(order[:48].tolist())
    assert kept.tolist() == sorted(kept.tolist())


def test_a_weight_that_outweighs_all_decides_who_is_compared(
    graph: MemoryGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    for least, each in (("WEIGHED_LEAST", "WEIGHED_EACH"), ("FULL_LEAST", "FULL_EACH")):
        monkeypatch.setattr(nearest, least, 0)
        monkeypatch.setattr(nearest, each, 2)
    bounds = scope(graph, Filters())
    for weight in (40.0, -40.0):
        rows, _ = _nearest(graph, bounds, Level.EPISODE, _question(1, f5=weight), 10)
        assert rows.tolist() == _slowly(graph, _allowed(graph, bounds), _question(1, f5=weight), 10)


def test_the_same_said_twice_goes_by_its_id() -> None:
    ledger = Ledger()
    for key in (7, 7, 3):  # whatever the order of the rows
        ledger.add_meeting(meeting(key, 12, ledger.lexicons))
    graph = ledger.graph(1)
    rows, scores = _nearest(graph, scope(graph, Filters()), Level.EPISODE, _question(2), 30)
    pairs = list(zip((-scores.round(6)).tolist(), written(graph.ids[rows]), strict=True))
    assert pairs == sorted(pairs)


# Concept i is of the i-th kind and mentioned in these meetings: of one in the dead alone, of one nowhere any more.
MENTIONS = ((0, 2, 5), (0,), (1, 4), (2,), (4,))


@pytest.fixture
def associated(ledger: Ledger) -> MemoryGraph:
    """The toy memory with five concepts, the last of them dead."""
    concepts = [concept(i, kind, [(key, 0) for key in MENTIONS[i]]) for i, kind in enumerate(ConceptKind)]
    ledger.set_concepts(concepts, gone=())
    ledger.set_concepts([], gone=[concepts[4].memory_id])
    return ledger.graph(2)


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (Filters(), [0, 1, 2]),
        (Filters(meeting_id=(meeting_id(0),)), [0, 1]),
        (Filters(meeting_id=(meeting_id(4),)), [2]),
        (Filters(project=("p",)), [0, 1, 2]),
        (Filters(project=("q",)), []),
        (Filters(memory_type=(MemoryType.CONTEXT,)), [0, 1, 2]),
        (Filters(memory_type=(MemoryType.QUESTION,)), []),
        (Filters(speaker=(SPEAKERS[0],)), []),
    ],
)
@pytest.mark.parametrize("weights", [{}, {"f3": 0.5, "f9": -1.5}])
def test_concepts_are_those_that_are_mentioned_inside(
    associated: MemoryGraph, filters: Filters, numbers: list[int], weights: dict[str, float]
) -> None:
    graph, vector = associated, _question(3, **weights)
    nodes, scores = _nearest(graph, scope(graph, filters), Level.CONCEPT, vector, 4)
    exact = graph.concept_vectors[numbers].astype(np.float32) @ vector / np.float32(32767)
    order = np.argsort(-exact)
    assert nodes.tolist() == [graph.first_concept + numbers[i] for i in order]
    assert scores.tolist() == pytest.approx(exact[order].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("filters", "meetings"),
    [
        (Filters(), [0, 1, 3, 4, 5]),
        (Filters(meeting_id=(meeting_id(4), meeting_id(1))), [1, 4]),
        (Filters(memory_type=(MemoryType.DECISION,)), []),
        (Filters(speaker=(SPEAKERS[0],)), []),
    ],
)
def test_contexts_are_those_of_the_meetings_inside(
    graph: MemoryGraph, filters: Filters, meetings: list[int]
) -> None:
    vector = _question(3)
    nodes, scores = _nearest(graph, scope(graph, filters), Level.CONTEXT, vector, 20)
    numbers = np.flatnonzero(np.isin(graph.context_meeting, meetings))
    exact = graph.context_vectors[numbers].astype(np.float32) @ vector / np.float32(32767)
    order = np.argsort(-exact)
    assert nodes.tolist() == (graph.episodes + numbers[order]).tolist()
    assert scores.tolist() == pytest.approx(exact[order].tolist(), abs=1e-5)


def test_compacting_keeps_each_memory_its_sketch(ledger: Ledger) -> None:
    ledger.set_concepts([concept(i, ConceptKind.TERM, [(key, 0)]) for i, key in enumerate((0, 1))], gone=())
    ledger.set_concepts([], gone=[concept(0, ConceptKind.TERM, []).memory_id])
    graph = Ledger.of(compact(ledger.state())).graph(2)
    assert graph.episodes == sum(SIZES) - SIZES[2]
    assert len(graph.context_vectors) == 2 * (len(SIZES) - 1)
    assert len(graph.concept_vectors) == 1
    assert (graph.sketches == sketched(graph.vectors)).all()
    assert (graph.context_sketches == sketched(graph.context_vectors)).all()
    assert (graph.concept_sketches == sketched(graph.concept_vectors)).all()


def test_a_memory_is_compared_up_to_a_size(graph: MemoryGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    living = sum(SIZES) - SIZES[2]
    everything, one = scope(graph, Filters()), scope(graph, Filters(meeting_id=(meeting_id(0),)))
    monkeypatch.setattr(nearest, "MOST_COMPARED", living)
    assert comparable(graph, everything)
    monkeypatch.setattr(nearest, "MOST_COMPARED", living - 1)
    assert not comparable(graph, everything)
    assert comparable(graph, one)
