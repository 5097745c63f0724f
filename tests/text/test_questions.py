"""Answers to questions inside a meeting, and the questions that stay open."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cofio.records import Episode
from cofio.text.questions import answers, open_questions
from cofio.text.terms import count_words

AMI = Path(__file__).parents[2] / "../shared/eval/ami_icsi"


def meeting(*talk: tuple[str | None, str]) -> list[Episode]:
    return [
        Episode(text=text, position=i, words=count_words(text), speaker=speaker)
        for i, (speaker, text) in enumerate(talk)
    ]


def asked(episodes: Sequence[Episode]) -> list[bool]:
    return [episode.text.endswith("?") for episode in episodes]


def test_the_reply_of_another_speaker_answers() -> None:
    talk = meeting(
        ("Ana", "How long does the battery last?"),
        ("Ana", "I looked for it everywhere."),
        ("Ben", "The battery lasts about three months."),
        ("Ana", "Good."),
    )
    ((answer, question, weight),) = answers(talk, asked(talk))
    assert (answer, question) == (2, 0)
    assert 0.3 <= weight <= 1.0


def test_hesitation_does_not_answer() -> None:
    talk = meeting(
        ("Ana", "Who calls the vendor?"), ("Ben", "Hmm, um."), ("Cem", "Yes, I will call the vendor.")
    )
    assert [pair[:2] for pair in answers(talk, asked(talk))] == [(2, 0)]


def test_a_question_back_is_weaker_than_an_answer() -> None:
    back = meeting(("Ana", "Who calls the vendor?"), ("Ben", "Which vendor?"))
    told = meeting(("Ana", "Who calls the vendor?"), ("Ben", "That vendor."))
    assert not [pair for pair in answers(back, asked(back)) if pair[1] == 0]
    assert [pair[:2] for pair in answers(told, asked(told))] == [(1, 0)]


def test_nobody_answers_himself_and_nothing_from_afar() -> None:
    alone = meeting(("Ana", "Who calls the vendor?"), *[("Ana", "Yes, I call the vendor.")] * 20)
    assert answers(alone, asked(alone)) == ()
    late = meeting(("Ana", "Who?"), *[("Ana", "Let me go on.")] * 14, ("Ben", "Yes, I will."))
    assert answers(late, asked(late)) == ()


def test_without_speakers_nothing_is_known() -> None:
    talk = meeting((None, "Who calls the vendor?"), (None, "Yes, I call the vendor."))
    assert answers(talk, asked(talk)) == ()


def test_open_questions_name_something() -> None:
    talk = meeting(
        ("Ana", "Can you hear me?"),
        ("Ana", "Any other questions?"),
        ("Ana", "Does that make sense?"),
        ("Ana", "The battery goes into the case, right?"),
        ("Ana", "Which supplier will deliver the rechargeable batteries before the trade fair?"),
        ("Ana", "Should the scroll wheel stay in the budget version?"),
        ("Ana", "Is the supplier contract signed?"),
        ("Ana", "Really?"),
        ("Ana", "How are you today, and how was your weekend trip?"),
    )
    answered = [False] * len(talk)
    assert open_questions(talk, [True] * len(talk), answered) == (4, 5, 6)
    assert open_questions(talk, [True] * len(talk), answered, limit=1) == (4,)
    answered[4] = True
    assert open_questions(talk, [True] * len(talk), answered) == (5, 6)
    assert open_questions(talk, [False] * len(talk), answered) == ()


@pytest.mark.skipif(not AMI.is_dir(), reason="../shared/eval is not here: no adjacency pairs to measure on")
def test_answers_agree_with_the_annotators() -> None:
    """On the annotated pairs of AMI the rule is clearly better than whoever speaks next."""
    questions_of, pairs = set(), defaultdict(set)
    for row in rows("labels"):
        if "question" in row["labels"]:
            questions_of.add((row["meeting_id"], row["turn_id"]))
    for row in rows("adjacency"):
        pairs[row["meeting_id"], row["source"]].add(row["target"])
    annotated = 0
    ours, nearest = _Score(), _Score()
    for m in [m for m in rows("meetings") if m["corpus"] == "ami"][:24]:
        turns = [turn for turn in m["turns"] if turn["text"].strip()]
        talk = meeting(*((turn["speaker"], turn["text"]) for turn in turns))
        ids = [(m["meeting_id"], turn["turn_id"]) for turn in turns]
        flags = [i in questions_of for i in ids]
        gold = {(a, q) for q, i in enumerate(ids) if flags[q] for a, j in enumerate(ids) if j[1] in pairs[i]}
        annotated += len(gold)
        ours.add({(a, q) for a, q, _ in answers(talk, flags)}, gold)
        nearest.add({pair for q, flag in enumerate(flags) if flag for pair in next_other(talk, q)}, gold)
    assert annotated > 1000
    assert ours.f1 > 0.47
    assert ours.f1 > nearest.f1 + 0.06
    assert ours.precision > nearest.precision + 0.05


class _Score:
    def __init__(self) -> None:
        self.given = self.gold = self.right = 0

    def add(self, given: set[tuple[int, int]], gold: set[tuple[int, int]]) -> None:
        self.given += len(given)
        self.gold += len(gold)
        self.right += len(given & gold)

    @property
    def precision(self) -> float:
        return self.right / self.given

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.given + self.gold)


def next_other(talk: Sequence[Episode], question: int) -> list[tuple[int, int]]:
    """The rule that a measured one must beat: whoever speaks next answers."""
    others = [p for p in range(question + 1, len(talk)) if talk[p].speaker != talk[question].speaker]
    return [(others[0], question)] if others else []


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(AMI / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
