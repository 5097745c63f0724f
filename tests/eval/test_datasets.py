"""Labelled folders are read as what they label, and what cannot be read is named."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from labelled_folder import write

from cofio.errors import InvalidInput
from cofio.eval.datasets import read_dataset, read_samples

ROOT = Path(__file__).parents[2]


def test_sessions_are_dated_meetings_of_the_series_that_their_conversation_is(labelled: Path) -> None:
    dataset = read_dataset(labelled, "locomo")
    assert [(m.meeting_id, m.series, m.date) for m in dataset.meetings] == [
        ("c1-s1", "c1", date(2023, 5, 8)),
        ("c1-s2", "c1", date(2023, 6, 1)),
        ("c2-s1", "c2", date(2023, 5, 20)),
    ]
    questions = {question.question_id: question for question in dataset.questions}
    assert questions["q3"].gold == {("c1-s1", "c1-s1:2"), ("c1-s2", "c1-s2:1")}
    assert not questions["q6"].answerable
    # Two words are no gold, and a question without gold is told, not asked.
    assert "q5" not in questions
    assert dataset.skipped == 1


def test_evidence_items_and_topics_stand_beside_the_gold(labelled: Path) -> None:
    dataset = read_dataset(labelled, "ami_icsi")
    (question,) = dataset.questions
    assert question.gold == {("south", "0"), ("south", "1")}
    assert question.evidence == {("south", "1")}
    assert dataset.items[0].kind == "action"
    # A topic starts where its span starts, and the talk after it where it ends; a meeting's first turn is no cut.
    assert dataset.topic_starts == {"north": ("3",)}
    assert {meeting.kin for meeting in dataset.meetings} == {"harbour"}


def test_passages_are_documents_of_one_utterance(labelled: Path) -> None:
    dataset = read_dataset(labelled, "musique")
    assert [meeting.title for meeting in dataset.meetings][:2] == ["Blue Kiln", "Mara Lindqvist"]
    assert all(len(meeting.turns) == 1 and meeting.turns[0].speaker is None for meeting in dataset.meetings)
    assert dataset.questions[0].gold == {("p1", "0"), ("p2", "0")}


def test_the_samples_have_a_gold_turn_for_every_quote() -> None:
    dataset = read_samples(ROOT / "data")
    assert len(dataset.meetings) == 10
    for question in dataset.questions:
        assert bool(question.gold) == question.answerable, question.question_id


def test_a_set_that_is_not_there_is_named_with_those_that_are(labelled: Path) -> None:
    with pytest.raises(InvalidInput, match="no folder nowhere; it holds ami_icsi, locomo, musique"):
        read_dataset(labelled, "nowhere")


def test_the_files_of_a_set_tell_what_it_is_and_the_least_is_enough(tmp_path: Path) -> None:
    turns = [{"turn_id": "1", "text": "The ferry leaves from the northern pier at nine."}]
    write(tmp_path / "new" / "meetings.jsonl", [{"meeting_id": "m", "turns": turns}])
    write(
        tmp_path / "new" / "queries.jsonl",
        [
            {"query_id": "1", "query": "Where does it leave?", "meeting_id": "m", "gold_turn_ids": ["1"]},
            {"query_id": "2", "query": "Who rows?", "meeting_id": "m", "category": "adversarial"},
            {"query_id": "3", "query": "Who steers?", "meeting_id": "m"},
        ],
    )
    dataset = read_dataset(tmp_path, "new")
    assert (dataset.name, len(dataset.meetings), dataset.skipped) == ("new", 1, 1)
    assert [(q.category, q.answerable) for q in dataset.questions] == [("all", True), ("adversarial", False)]


@pytest.mark.parametrize(
    ("file", "content"),
    [("queries.jsonl.gz", b"no gzip"), ("queries.jsonl", b'{"query_id": "q1"'), (None, b"")],
    ids=["no gzip", "no JSON", "missing"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, file: str | None, content: bytes) -> None:
    folder = tmp_path / "musique"
    folder.mkdir()
    (folder / "passages.jsonl").write_text('{"id": "p", "title": "t", "text": "x"}\n')
    if file is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(InvalidInput, match="queries"):
        read_dataset(tmp_path, "musique")
