"""The sample meetings are what their index and their questions say."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cofio.records import Transcript
from cofio.text.parse import parse_transcript

DATA = Path(__file__).parents[1] / "data"
INDEX: list[dict[str, Any]] = json.loads((DATA / "meetings" / "index.json").read_text())
QUESTIONS: list[dict[str, Any]] = json.loads((DATA / "questions.json").read_text())


@cache
def _transcript(external_id: str) -> Transcript:
    (entry,) = (entry for entry in INDEX if entry["external_id"] == external_id)
    return parse_transcript((DATA / "meetings" / entry["file"]).read_bytes())


def test_two_teams_meet_over_two_months_in_many_formats() -> None:
    assert len(INDEX) >= 8
    days = [date.fromisoformat(entry["date"]) for entry in INDEX]
    assert days == sorted(days)
    assert (days[-1] - days[0]).days >= 55
    assert {entry["project"] for entry in INDEX} == {"heron"}
    assert {entry["series"] for entry in INDEX} == {"heron-device", "heron-app", "heron-joint"}
    assert {entry["file"] for entry in INDEX} | {"index.json"} == {
        path.name for path in (DATA / "meetings").iterdir()
    }
    formats = {_transcript(entry["external_id"]).format for entry in INDEX}
    assert formats == {"webvtt", "plain", "otter", "speaker_markdown", "assemblyai_json"}


def test_some_people_sit_in_both_teams_and_most_in_one() -> None:
    device, app = (
        {name for entry in INDEX if entry["series"] == series for name in entry["participants"]}
        for series in ("heron-device", "heron-app")
    )
    assert {"Marcus Webb", "Hanne Vik"} <= device & app
    assert device - app
    assert app - device


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: str(entry["external_id"]))
def test_every_speaker_is_a_participant_and_every_utterance_has_a_time(entry: dict[str, Any]) -> None:
    transcript = _transcript(entry["external_id"])
    assert transcript.warnings == ()
    assert 60 <= len(transcript.utterances) <= 130
    assert {utterance.speaker for utterance in transcript.utterances} == set(entry["participants"])
    assert transcript.title in (None, entry["title"])
    assert transcript.date in (None, date.fromisoformat(entry["date"]))
    starts = [utterance.start_s for utterance in transcript.utterances if utterance.start_s is not None]
    assert len(starts) == len(transcript.utterances)
    assert starts == sorted(starts)


def test_utterances_that_zoom_split_over_two_captions_are_whole_again() -> None:
    said = _transcript("heron-1").utterances
    assert any(utterance.marks for utterance in said)
    assert all(before.speaker != after.speaker for before, after in pairwise(said))


def test_questions_are_of_every_kind() -> None:
    kinds = Counter(question["category"] for question in QUESTIONS)
    assert set(kinds) == {
        "direct",
        "multi-meeting",
        "decision-change",
        "action-owner",
        "late-answer",
        "unanswerable",
    }
    assert min(kinds.values()) >= 3
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS) == 24


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: str(question["id"]))
def test_gold_quotes_are_said_once_by_who_is_named(question: dict[str, Any]) -> None:
    assert bool(question["gold"]) == bool(question["answer"]) == (question["category"] != "unanswerable")
    for gold in question["gold"]:
        said = [u.text for u in _transcript(gold["external_id"]).utterances if u.speaker == gold["speaker"]]
        assert sum(gold["quote"] in text for text in said) == 1, gold["quote"]
