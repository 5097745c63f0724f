"""The sample meetings are what their index and their questions say."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cofio.records import Transcript
from cofio.text.parse import parse_transcript

DATA = Path(__file__).parents[1] / "data"
INDEX: list[dict[str, Any]] = json.loads((DATA / "meetings" / "index.json").read_text())
QUESTIONS: list[dict[str, Any]] = json.loads((DATA / "questions.json").read_text())


def _transcript(external_id: str) -> Transcript:
    (entry,) = (entry for entry in INDEX if entry["external_id"] == external_id)
    return parse_transcript((DATA / "meetings" / entry["file"]).read_bytes())


def test_two_teams_meet_over_two_months_in_many_formats() -> None:
    assert len(INDEX) >= 8
    days = sorted(date.fromisoformat(entry["date"]) for entry in INDEX)
    assert (days[-1] - days[0]).days >= 55
    assert {"heron-device", "heron-app"} <= {entry["series"] for entry in INDEX}
    assert {entry["file"] for entry in INDEX} | {"index.json"} == {
        p.name for p in (DATA / "meetings").iterdir()
    }
    formats = {_transcript(entry["external_id"]).format for entry in INDEX}
    assert len(formats) >= 5


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: str(entry["external_id"]))
def test_every_speaker_is_a_participant_and_every_utterance_has_a_time(entry: dict[str, Any]) -> None:
    transcript = _transcript(entry["external_id"])
    assert transcript.warnings == ()
    assert {utterance.speaker for utterance in transcript.utterances} == set(entry["participants"])
    starts = [utterance.start_s for utterance in transcript.utterances]
    assert None not in starts
    assert starts == sorted(start for start in starts if start is not None)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: str(question["id"]))
def test_gold_quotes_are_said_by_who_is_named(question: dict[str, Any]) -> None:
    assert bool(question["gold"]) == (question["category"] != "unanswerable")
    for gold in question["gold"]:
        said = [u.text for u in _transcript(gold["external_id"]).utterances if u.speaker == gold["speaker"]]
        assert any(gold["quote"] in text for text in said), gold["quote"]
