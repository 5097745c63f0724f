from __future__ import annotations

import pytest

from cofio.text.sentences import ends_sentence, sentence_ends


def split(text: str) -> list[str]:
    tokens = text.split(" ")
    ends = sentence_ends(tokens)
    return [" ".join(tokens[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    "whole",
    [
        "Use a store, e.g. Postgres or so.",
        "Dr. Smith and Prof. J. R. Miller agree.",
        "It is 3.5 percent in v2.0 now.",
        "The U.S. Senate said no.",
        "Version 2.0.1 fixes no. 5 and p. 12.",
        "Well... maybe so.",
    ],
)
def test_stays_whole(whole: str) -> None:
    assert split(whole) == [whole]


def test_splits_at_ends() -> None:
    assert split('He said "Go!" Then we went. Did it work? Yes… It did.') == [
        'He said "Go!"',
        "Then we went.",
        "Did it work?",
        "Yes…",
        "It did.",
    ]
    assert split("Apples, pears, etc. We ate them at 5 p.m. Then we slept.") == [
        "Apples, pears, etc.",
        "We ate them at 5 p.m.",
        "Then we slept.",
    ]


@pytest.mark.parametrize("text", ["Done.", "Really?", "Yes!)", 'He said "no."', "はい。"])
def test_finished(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text", ["we have…", "so...", "and then", "for example, e.g.", "with Dr.", "well,", ""]
)
def test_unfinished(text: str) -> None:
    assert not ends_sentence(text)
