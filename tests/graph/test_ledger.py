"""What the graph remembers as meetings come and go, and what of it lies on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from toy_graph import SPEAKERS, WORDS, meeting, vectors

from cofio.graph import snapshot
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import ConceptRow, Ledger, compact
from cofio.graph.scope import scope
from cofio.graph.spread import gather, lexical_seeds
from cofio.records import ConceptKind, Filters
from cofio.text.terms import stems

KILN = "00000000-0000-4000-8000-000000000001"
CRANE = "00000000-0000-4000-8000-000000000002"


def _concept(memory_id: str, label: str, mentions: list[tuple[int, int]]) -> ConceptRow:
    return ConceptRow(
        memory_id=memory_id,
        project="p",
        label=label,
        kind=ConceptKind.TERM,
        mentions=tuple(mentions),
        vector=vectors(np.random.default_rng(9), 1)[0].tobytes(),
    )


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for key, size in enumerate((12, 30, 7)):
        ledger.add_meeting(meeting(key, size, ledger.lexicons))
    ledger.set_concepts(
        [_concept(KILN, "kiln", [(0, 1), (1, 4), (2, 2)]), _concept(CRANE, "crane", [(2, 3)])], ()
    )
    return ledger


def _seen(graph: MemoryGraph) -> dict[str, object]:
    """What a question, the index of ids and the edges show of a graph, by memory id."""
    query = vectors(np.random.default_rng(5), 1)[0]
    query[384:] = 0.0
    everything = scope(graph, Filters())
    evidence = gather(
        graph,
        everything,
        lexical_seeds(graph, everything, stems(f"{WORDS[0]} {WORDS[4]}")),
        query,
        graph.rows_by_id.row[:3],
    )
    columns = [
        field.name
        for field in dataclasses.fields(evidence)
        if field.name not in ("rows", "turn", "meeting", "terms", "idf", "idf_known", "idf_all")
    ]
    edges = {
        (
            graph.memory_id(v),
            graph.memory_id(int(graph.edge_target[e])),
            round(float(graph.edge_weight[e]), 4),
        )
        for v in range(graph.nodes)
        for e in range(graph.edge_start[v], graph.edge_start[v + 1])
    }
    return {
        "evidence": {
            graph.memory_id(row): [round(float(getattr(evidence, name)[i]), 4) for name in columns]
            for i, row in enumerate(evidence.rows.tolist())
        },
        "edges": edges,
        "counts": {name: count for name, count in graph.counts.items() if name != "dead"},
        "speakers": {
            graph.lexicons.speakers[speaker]: graph.living_meetings(speaker).size
            for name in SPEAKERS
            if (speaker := graph.lexicons.speakers.find(name)) >= 0
        },
    }


def test_a_graph_does_not_see_what_comes_after_it(ledger: Ledger) -> None:
    graph = ledger.graph(1)
    before = _seen(graph)
    for key in range(3, 9):
        ledger.add_meeting(meeting(key, 40, ledger.lexicons))
    ledger.set_concepts([_concept(KILN, "kiln", [(5, 1)])], [CRANE])
    ledger.drop_meetings([0])
    later = ledger.graph(2)
    assert _seen(graph) == before
    assert later.counts["meetings"] == 8
    assert later.counts["concepts"] == 1


def test_a_meeting_that_comes_and_goes_leaves_no_trace(ledger: Ledger) -> None:
    before = _seen(ledger.graph(1))
    ledger.add_meeting(meeting(3, 20, ledger.lexicons))
    ledger.set_concepts([_concept(KILN, "kiln", [(3, 1)])], ())
    assert _seen(ledger.graph(2)) != before
    ledger.drop_meetings([3])
    assert _seen(ledger.graph(3)) == before


def test_a_meeting_written_anew_replaces_the_old_one(ledger: Ledger) -> None:
    graph = ledger.graph(1)
    ledger.drop_meetings([1])
    ledger.add_meeting(meeting(1, 30, ledger.lexicons))
    ledger.set_concepts([_concept(KILN, "kiln", [(1, 4)])], ())
    again = ledger.graph(2)
    assert _seen(again) == _seen(graph)
    assert again.counts["dead"] == 30
    assert again.rows_by_id.find([graph.memory_id(12)]) == [49], "the row that lives"


def test_compacting_changes_nothing_that_is_alive(ledger: Ledger) -> None:
    ledger.drop_meetings([0])
    ledger.set_concepts([], [CRANE])
    small = compact(ledger.state())
    graph = Ledger.of(small).graph(2)
    assert _seen(graph) == _seen(ledger.graph(1))
    assert graph.counts["dead"] == 0
    assert len(small.columns["ids"]) == 37
    # It grows on like any other.
    grown = Ledger.of(small)
    grown.add_meeting(meeting(4, 10, grown.lexicons))
    ledger.add_meeting(meeting(4, 10, ledger.lexicons))
    assert _seen(grown.graph(3)) == _seen(ledger.graph(3))


def test_no_word_of_the_dead_is_left_after_compacting(ledger: Ledger) -> None:
    block = meeting(5, 6, ledger.lexicons)
    ledger.lexicons.terms.add("confidential")
    ledger.add_meeting(block)
    ledger.drop_meetings([5])
    small = compact(ledger.state())
    assert "confidential" not in small.words["terms"]
    assert {head.key for head in small.heads} == {0, 1, 2}


def test_a_snapshot_is_read_as_it_was_written(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "graph.npz"
    snapshot.save(ledger.state(), 7, "stamp", path)
    assert snapshot.saved_version(path) == (7, "stamp")
    state = snapshot.load(path)
    assert state is not None
    assert _seen(Ledger.of(state).graph(7)) == _seen(ledger.graph(7))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["graph.npz"]


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_snapshot_is_no_snapshot(ledger: Ledger, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "graph.npz"
    snapshot.save(ledger.state(), 7, "stamp", path)
    content = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flipped":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    assert snapshot.saved_version(path) is None or snapshot.load(path) is None


def test_a_concept_is_called_what_its_newest_label_says(ledger: Ledger) -> None:
    ledger.set_concepts([_concept(KILN, "rotary kiln", [])], gone=())
    ledger.set_concepts([_concept(KILN, "rotary furnace of Leith", [])], gone=())
    graph = ledger.graph(2)
    kiln = graph.concept_of_memory[KILN]
    assert graph.concepts[kiln].label == "rotary furnace of Leith"
    held = {
        stem: list(graph.concepts_of_stem[stem]).count(kiln) for stem in stems("rotary kiln furnace Leith")
    }
    assert sorted(held.values()) == [0, 1, 1, 1]  # the kiln is a furnace now, and nothing is counted twice
    assert graph.concept_stems[kiln] == len(graph.concepts[kiln].stems) == 3
    again = Ledger.of(ledger.state()).graph(2)
    assert again.concept_stems.tolist() == graph.concept_stems.tolist()
