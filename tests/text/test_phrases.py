"""Words and phrases as speech has them: hesitations, repetitions, names, identifiers and nouns."""

from __future__ import annotations

import pytest

from cofio.text.fillers import BLOCKED_STEMS, WEAK_STEMS, is_adverb
from cofio.text.phrases import Phrase, phrases, tokens
from cofio.text.terms import stem


def labels(*texts: str, people: tuple[str, ...] = ()) -> dict[str, Phrase]:
    return {p.label: p for p in phrases(texts, people)}


def test_tokens_skip_hesitations_and_repetitions() -> None:
    found = tokens("Uh the the rubber uh button, um, works. It re-opens")
    assert [t.lower for t in found] == ["the", "rubber", "button", "works", "it", "re", "opens"]
    assert [t.joined for t in found] == [False, True, True, False, False, True, True]
    assert [t.opens for t in found] == [True, False, False, False, True, False, False]


def test_a_phrase_ends_with_its_clause() -> None:
    found = labels("I like the rubber, button shapes of the case", "the rubber of the button, the shapes")
    assert "rubber button" not in found
    assert "button shapes" in found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("we ask the Bank of England for it", "Bank of England"),
        ("we merge PR 4897 today", "PR 4897"),
        ("about EIP-7732 we know", "EIP 7732"),
        ("then DevNet 5 starts", "DevNet 5"),
        ("I use iPhone apps", "iPhone"),
        ("that is Contoso's plan", "Contoso"),
    ],
)
def test_names(text: str, name: str) -> None:
    found = labels(text)
    assert name in found
    assert found[name].named


def test_numbers_and_calendar_are_no_names() -> None:
    assert not {"Monday", "March", "2019", "2", "May"} & set(
        labels("On Monday in March or May 2019 we have 2")
    )


def test_a_word_used_as_a_verb_is_no_noun() -> None:
    found = labels("we repackage it", "they repackage the box", "to repackage the box is hard")
    assert "repackage" not in found
    assert "box" in found


def test_episodes_and_counts_run_parallel() -> None:
    found = labels("the battery and the battery", "nothing here", "a battery")
    assert found["battery"].episodes == (0, 2)
    assert found["battery"].counts == (2, 1)


def test_word_lists_do_not_overlap() -> None:
    assert not BLOCKED_STEMS & WEAK_STEMS
    assert "" not in BLOCKED_STEMS | WEAK_STEMS
    assert stem("monday") in BLOCKED_STEMS
    assert stem("yeah") not in WEAK_STEMS
    assert stem("battery") not in BLOCKED_STEMS | WEAK_STEMS


def test_adverbs() -> None:
    assert is_adverb("slightly")
    assert not is_adverb("assembly")
