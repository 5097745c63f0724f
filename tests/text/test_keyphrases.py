"""Keyphrases: each segment is told from the rest of its meeting in readable words."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from cofio.text import keyphrases as of_segments
from cofio.text.keyphrases import label
from cofio.text.phrases import phrases
from cofio.text.terms import count_words

SHARED = Path(__file__).parents[2] / "../shared/eval"

TEXTS = [
    "So the battery life of the remote control is too short, you know.",
    "Yeah, I think the battery life needs a rechargeable battery, Maria.",
    "The remote control could have a docking station for the battery.",
    "Yeah, a docking station, I mean, you know, that is nice.",
    "Okay, the market survey says that young people like the fruit shapes.",
    "You know, Contoso did the market survey, and the fruit shapes won.",
    "The remote control with the fruit shapes, yeah, Maria.",
    "I think the market survey by Contoso is fine.",
]


def keyphrases(
    texts: Sequence[str], segments: Sequence[tuple[int, int]], participants: Sequence[str] = ()
) -> tuple[tuple[str, ...], ...]:
    return of_segments.keyphrases(
        phrases(texts, participants), [count_words(text) for text in texts], segments
    )


def test_segments_are_told_apart() -> None:
    first, second = keyphrases(TEXTS, [(0, 4), (4, 8)], participants=["Maria"])
    assert "battery life" in first
    assert "docking station" in first
    assert {"market survey", "fruit shapes", "Contoso"} <= set(second)
    for found in (first, second):
        assert 2 <= len(found) <= 4
        words = [word for phrase in found for word in phrase.lower().split()]
        assert len(words) == len(set(words))
        assert not {"yeah", "know", "think", "maria", "mean"} & set(words)


def test_one_segment_and_silence() -> None:
    (only,) = keyphrases(TEXTS, [(0, 8)])
    assert "remote control" in only
    assert keyphrases(["Yeah.", "Mm-hmm.", "Okay, right."], [(0, 3)]) == ((),)
    assert keyphrases([], []) == ()


def test_label() -> None:
    assert label(("remote control", "battery life")) == "remote control, battery life"
    assert label(()) == ""


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/eval is not here: no real meetings to label")
def test_real_meetings_get_readable_labels() -> None:
    filler = {"yeah", "know", "think", "okay", "mean", "like", "thing", "monday", "um", "uh", "really"}
    labelled = parts = 0
    with gzip.open(SHARED / "ethpm/meetings.jsonl.gz", "rt", encoding="utf-8") as lines:
        meetings = [json.loads(line) for line, _ in zip(lines, range(8), strict=False)]
    for meeting in meetings:
        texts = [turn["text"] for turn in meeting["turns"]]
        segments = [(a, min(a + 80, len(texts))) for a in range(0, len(texts), 80)]
        people = {name.lower() for name in meeting["participants"]}
        for found in keyphrases(texts, segments, meeting["participants"]):
            parts += 1
            labelled += len(found) >= 2
            assert not filler & {word for phrase in found for word in phrase.lower().split()}
            assert not people & {phrase.lower() for phrase in found}
    assert labelled >= 0.9 * parts
