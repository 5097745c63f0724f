"""Concept candidates: what is found, what is not, and which mention defines it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofio.records import ConceptKind, Episode
from cofio.text.concepts import Candidate, promoted
from cofio.text.concepts import candidates as concept_candidates
from cofio.text.phrases import phrases
from cofio.text.terms import count_words

TALK = (
    ("Ana", "Good morning everyone, yeah, can you hear me?"),
    ("Ben", "Yeah. On Monday we looked at EIP-7732 and the battery life of the remote control."),
    ("Ana", "The battery life is the time the remote control runs before you must charge it again."),
    ("Ben", "You know, I think the scroll wheel needs more power than a plain button."),
    ("Ana", "Next slide. We asked Contoso for a price of the scroll wheel, and they said two euros."),
    ("Ben", "Is Contoso the vendor from Lisbon?"),
    ("Ana", "Right. Contoso is the vendor that made the case for our first remote control in 2019."),
    ("Ben", "Okay, so EIP 7732 stays, and the battery life decides about the scroll wheel."),
    ("Ana", "Thanks, Ben. Ana out."),
)


def meeting(talk: Sequence[tuple[str | None, str]] = TALK) -> list[Episode]:
    return [
        Episode(text=text, position=i, words=count_words(text), speaker=speaker)
        for i, (speaker, text) in enumerate(talk)
    ]


def candidates(
    episodes: Sequence[Episode],
    *,
    known_keys: frozenset[str] = frozenset(),
    participants: Sequence[str] = (),
    limit: int = 80,
) -> tuple[Candidate, ...]:
    said = phrases([episode.text for episode in episodes], participants)
    return concept_candidates(episodes, said, known_keys=known_keys, limit=limit)


def by_key(found: Sequence[Candidate]) -> dict[str, Candidate]:
    return {c.key: c for c in found}


def test_names_and_phrases_are_found() -> None:
    found = by_key(candidates(meeting(), participants=["Ana Costa", "Ben"]))
    assert found["contoso"].kind is ConceptKind.ENTITY
    assert found["contoso"].episodes == (4, 5, 6)
    assert found["eip 7732"].episodes == (1, 7)
    assert found["eip 7732"].kind is ConceptKind.ENTITY
    assert found["batteri life"].label == "battery life"
    assert found["batteri life"].kind is ConceptKind.TERM
    assert found["batteri life"].episodes == (1, 2, 7)
    assert found["scroll wheel"].episodes == (3, 4, 7)
    assert found["remot control"].episodes == (1, 2, 6)
    assert found["lisbon"].episodes == (5,)


def test_what_is_no_concept_is_not_found() -> None:
    labels = {c.label.lower() for c in candidates(meeting(), participants=["Ana Costa", "Ben"])}
    assert labels.isdisjoint(
        {
            "ana",
            "ben",
            "monday",
            "yeah",
            "good morning",
            "next slide",
            "right",
            "okay",
            "thanks",
            "2019",
            "is",
        }
    )
    # parts that never stand alone
    assert labels.isdisjoint({"battery", "wheel", "scroll", "remote", "eip"})


def test_misspelt_participants_are_no_concepts() -> None:
    talk = [("Ana", "I asked Barnabus about it, and then Barnabus asked Zeplin about the plan.")] * 3
    labels = {c.label for c in candidates(meeting(talk), participants=["Barnabas Busa", "Ana"])}
    assert "Zeplin" in labels
    assert not any("Barnab" in label for label in labels)


def test_sentence_openings_are_no_names() -> None:
    talk = [
        ("A", "Maybe later. Green is nice. Something else. The green one is cheap."),
        ("B", "It is green."),
    ]
    assert not [c for c in candidates(meeting(talk)) if c.kind is ConceptKind.ENTITY]


def test_definition_explains() -> None:
    found = by_key(candidates(meeting(), participants=["Ana", "Ben"]))
    assert found["batteri life"].definition == 2  # "is the time …", not the first mention
    assert found["contoso"].definition == 6  # not the question in 5
    assert found["lisbon"].definition == 5  # the only mention, though it is short
    assert found["scroll wheel"].definition == 3  # nothing explains it: the first of 10 words


def test_known_things_are_always_found() -> None:
    talk = [
        ("A", "well the contoso guys want a case"),
        ("B", "yeah, yeah"),
        ("A", "and they sent the CONTOSO bill"),
    ]
    found = by_key(candidates(meeting(talk), known_keys=frozenset({"contoso", "scroll wheel"}), limit=0))
    assert set(found) == {"contoso"}
    assert found["contoso"].episodes == (0, 2)
    assert found["contoso"].label.lower() == "contoso"


def test_known_phrases_match_in_any_spelling() -> None:
    talk = [
        ("A", "we tried scrolling wheels once"),
        ("B", "the wheel of the scroll"),
        ("A", "Scroll-wheel it is"),
    ]
    found = by_key(candidates(meeting(talk), known_keys=frozenset({"scroll wheel"})))
    assert found["scroll wheel"].episodes == (0, 2)


def test_limit_keeps_the_most_salient() -> None:
    every = candidates(meeting())
    few = candidates(meeting(), limit=3)
    assert len(few) == 3
    assert [c.key for c in few] == [c.key for c in every[:3]]
    assert [c.salience for c in every] == sorted((c.salience for c in every), reverse=True)


@pytest.mark.parametrize(
    ("meetings", "contexts", "episodes", "kind", "expected"),
    [
        (2, 2, 2, ConceptKind.TERM, True),
        (1, 2, 3, ConceptKind.TERM, True),
        (1, 1, 9, ConceptKind.TERM, False),
        (1, 2, 2, ConceptKind.ENTITY, False),
        (1, 1, 1, ConceptKind.PERSON, True),
        (1, 1, 1, ConceptKind.QUESTION, True),
    ],
)
def test_promoted(meetings: int, contexts: int, episodes: int, kind: ConceptKind, expected: bool) -> None:
    assert promoted(meetings, contexts, episodes, kind) is expected


def test_empty_meeting() -> None:
    assert candidates([]) == ()
    assert candidates(meeting([("A", ""), ("B", "…")])) == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=12), st.lists(st.text(max_size=12), max_size=3))
def test_any_text_is_read(texts: list[str], people: list[str]) -> None:
    episodes = meeting([("A", text) for text in texts])
    for c in candidates(episodes, participants=people, known_keys=frozenset({"a b", "", "zero"})):
        assert c.key == c.key.lower()
        assert c.label
        assert list(c.episodes) == sorted(set(c.episodes))
        assert c.episodes
        assert c.definition in c.episodes
