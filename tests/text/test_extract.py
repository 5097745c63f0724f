from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofio.records import Episode, Transcript, Utterance
from cofio.text.clean import clean_text
from cofio.text.extract import PART_WORDS, SENTENCE_WORDS, episodes
from cofio.text.terms import count_words

SENTENCE = "We looked at the plan for the new store again today."  # 11 words


def of(*utterances: Utterance) -> tuple[Episode, ...]:
    return episodes(Transcript(format="plain", utterances=utterances))


def test_one_episode_for_each_short_utterance() -> None:
    found = of(
        Utterance(text="Hello.", speaker="Ann", start_s=1.0, end_s=2.0),
        Utterance(text="Hi there.", start_s=3.0),
    )
    assert found == (
        Episode(text="Hello.", position=0, words=1, speaker="Ann", start_s=1.0, end_s=2.0),
        Episode(text="Hi there.", position=1, words=2, start_s=3.0),
    )


def test_a_long_turn_is_split_at_sentences_and_keeps_its_speaker() -> None:
    found = of(
        Utterance(text=" ".join([SENTENCE] * 12), speaker="Ann"), Utterance(text="Yes.", speaker="Bob")
    )
    assert len(found) == 4
    assert [episode.speaker for episode in found] == ["Ann"] * 3 + ["Bob"]
    assert [episode.position for episode in found] == [0, 1, 2, 3]
    assert all(episode.text.endswith("today.") for episode in found[:3])
    assert all(episode.words <= PART_WORDS for episode in found)


def test_parts_are_of_similar_length() -> None:
    found = of(Utterance(text=" ".join([SENTENCE] * 6)))
    assert [episode.words for episode in found] == [33, 33]


def test_a_part_starts_when_the_fragment_it_begins_in_starts() -> None:
    text = " ".join([SENTENCE] * 8)
    marks = tuple((n * (len(SENTENCE) + 1), 10.0 * n + 5) for n in range(8))
    first, second = of(Utterance(text=text, start_s=5.0, end_s=90.0, marks=marks))
    assert (first.start_s, first.end_s) == (5.0, 45.0)
    assert (second.start_s, second.end_s) == (45.0, 90.0)
    # With marks in the middle of the parts only, a part starts with the fragment that holds its beginning.
    first, second = of(Utterance(text=text, start_s=5.0, end_s=90.0, marks=((0, 5.0), (60, 11.0))))
    assert (first.start_s, first.end_s) == (5.0, 90.0)
    assert (second.start_s, second.end_s) == (11.0, 90.0)


def test_times_without_marks_are_shared_out_by_words() -> None:
    found = of(Utterance(text=" ".join([SENTENCE] * 8), start_s=100.0, end_s=188.0))
    assert [(episode.start_s, episode.end_s) for episode in found] == [(100.0, 144.0), (144.0, 188.0)]


def test_a_start_alone_is_never_moved() -> None:
    found = of(Utterance(text=" ".join([SENTENCE] * 8), start_s=100.0))
    assert [(episode.start_s, episode.end_s) for episode in found] == [(100.0, None), (100.0, None)]


def test_a_monstrous_sentence_is_split_at_clauses_or_words() -> None:
    clauses = of(Utterance(text=", ".join(["we went on with it and then"] * 60)))
    assert all(episode.words <= PART_WORDS for episode in clauses)
    assert all(episode.text.endswith(",") for episode in clauses[:-1])
    bare = of(Utterance(text=" ".join(["word"] * 1000)))
    assert max(episode.words for episode in bare) <= PART_WORDS


def test_a_sentence_that_the_encoder_can_read_stays_whole() -> None:
    text = " ".join(["word"] * (SENTENCE_WORDS - 1)) + " end."
    assert [episode.text for episode in of(Utterance(text=text))] == [text]


@given(
    st.lists(
        st.sampled_from(
            ["word", "Dr.", "e.g.", "end.", "So", "what?", "3.5", "yes,", "…", "—", "U.S.", "a/b/c"]
        ),
        min_size=1,
        max_size=600,
    )
)
def test_nothing_is_lost(words: list[str]) -> None:
    text = clean_text(" ".join(words))
    found = of(Utterance(text=text, speaker="Ann", start_s=0.0, end_s=60.0))
    assert " ".join(episode.text for episode in found) == text
    assert [episode.position for episode in found] == list(range(len(found)))
    assert all(episode.words == count_words(episode.text) <= SENTENCE_WORDS for episode in found)
    assert all(episode.speaker == "Ann" for episode in found)
    starts = [episode.start_s for episode in found]
    assert starts == sorted(starts, key=lambda start: start or 0.0)


@pytest.mark.parametrize("text", ["a " * 100_000, "a. " * 100_000, "- " * 100_000, "a" * 300_000])
@pytest.mark.timeout(60)  # what is not linear takes hours
def test_time_is_linear(text: str) -> None:
    found = of(Utterance(text=text.strip()))
    assert " ".join(episode.text for episode in found) == text.strip()
