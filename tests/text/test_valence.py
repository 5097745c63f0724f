"""The shortcut round VADER gives exactly VADER's compound score."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import BOOSTER_DICT, NEGATE, SPECIAL_CASES, SentimentIntensityAnalyzer

from cofio.text.valence import valence

SHARED: Final = Path(__file__).parents[2] / "../shared/eval"
ANALYSER: Final = SentimentIntensityAnalyzer()
WORDS: Final = st.one_of(
    st.sampled_from(sorted(ANALYSER.lexicon)),
    st.sampled_from([*BOOSTER_DICT, *SPECIAL_CASES, *NEGATE]),
    st.sampled_from(
        [
            "no",
            "or",
            "nor",
            "never",
            "so",
            "this",
            "without",
            "doubt",
            "at",
            "least",
            "very",
            "but",
            "kind",
            "of",
            "don't",
            "isn't",
            "bus.",
            "stop!",
        ]
    ),
    st.sampled_from(["table", "the", "!!", "?", ":)", "é", "💘", "ok💘"]),
    st.text(max_size=3),
)
CASES: Final = st.sampled_from([str, str, str.upper, str.title])
TEXTS: Final = st.lists(st.tuples(WORDS, CASES), max_size=12).map(
    lambda said: " ".join(case(w) for w, case in said)
)


@given(TEXTS)
def test_made_up_texts(text: str) -> None:
    assert valence(text) == ANALYSER.polarity_scores(text)["compound"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/eval is not here: no real meetings to read")
@pytest.mark.parametrize("name", ["qmsum", "ami_icsi", "ethpm"])
def test_real_texts(name: str) -> None:
    with gzip.open(SHARED / name / "meetings.jsonl.gz", "rt", encoding="utf-8") as lines:
        for turn in json.loads(next(iter(lines)))["turns"]:
            assert valence(turn["text"]) == ANALYSER.polarity_scores(turn["text"])["compound"]
