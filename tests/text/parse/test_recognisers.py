from __future__ import annotations

import json
from datetime import date

import pytest

from cofio.records import Transcript
from cofio.text.extract import episodes
from cofio.text.parse import parse_transcript

Row = tuple[str | None, float | None, float | None, str]


def parse(value: object) -> Transcript:
    return parse_transcript(json.dumps(value))


def rows(transcript: Transcript) -> list[Row]:
    return [(u.speaker, u.start_s, u.end_s, u.text) for u in transcript.utterances]


def words(*spoken: tuple[str, float, float, int | str | None], scale: float = 1) -> list[dict[str, object]]:
    return [
        {
            "word": text,
            "punctuated_word": text,
            "start": start * scale,
            "end": end * scale,
            "speaker": speaker,
        }
        for text, start, end, speaker in spoken
    ]


def test_whisper_segments_are_joined_to_sentences() -> None:
    transcript = parse_transcript(
        '{"text": "x", "segments": [{"start": 0.0, "end": 2.0, "text": " Hello we", "avg_logprob": NaN},'
        '{"start": 2.0, "end": 3.5, "text": " go."}, {"start": 4, "end": 5, "text": "Yes."}]}'
    )
    assert transcript.format == "whisper_json"
    assert rows(transcript) == [(None, 0.0, 3.5, "Hello we go."), (None, 4.0, 5.0, "Yes.")]
    assert transcript.utterances[0].marks == ((0, 0.0), (9, 2.0))


def test_segments_without_a_speaker_are_not_joined_where_others_have_one() -> None:
    entries = [{"start": n, "end": n + 1, "text": f"part {n}"} for n in range(2)]
    transcript = parse({"segments": [*entries, {"start": 2, "end": 3, "text": "Yes.", "speaker": "Ann"}]})
    assert [u.speaker for u in transcript.utterances] == [None, None, "Ann"]


def test_whisper_words_decide_who_speaks() -> None:
    spoken = words(("Are", 0, 1, "SPEAKER_00"), ("you?", 1, 2, None), ("Yes.", 2, 3, "SPEAKER_01"))
    transcript = parse(
        {
            "segments": [
                {"start": 0, "end": 3, "text": "Are you? Yes.", "speaker": "SPEAKER_00", "words": spoken}
            ]
        }
    )
    assert rows(transcript) == [("SPEAKER_00", 0.0, 2.0, "Are you?"), ("SPEAKER_01", 2.0, 3.0, "Yes.")]


@pytest.mark.parametrize(
    "value",
    [
        {"words": [{"word": " Hello", "start": 0.5, "end": 1.0}, {"word": "all.", "start": 1.0, "end": 1.5}]},
        {"chunks": [{"timestamp": [0.5, 1.5], "text": " Hello all."}], "text": "Hello all."},
        {"transcription": [{"offsets": {"from": 500, "to": 1500}, "text": " Hello all."}]},
        {"word_segments": [{"word": "Hello", "start": 0.5}, {"word": "all.", "end": 1.5}]},
    ],
)
def test_relatives_of_whisper(value: object) -> None:
    transcript = parse(value)
    assert transcript.format == "whisper_json"
    assert rows(transcript) == [(None, 0.5, 1.5, "Hello all.")]


def test_whisper_text_alone() -> None:
    assert rows(parse({"text": " Hello all.", "language": "en"})) == [(None, None, None, "Hello all.")]


def test_deepgram_utterance_with_two_speakers_is_cut() -> None:
    spoken = words(("Final", 64, 65, 2), ("step.", 65, 66, 2), ("Copy.", 66, 67, 1))
    entry = {"start": 64, "end": 67, "transcript": "Final step. Copy.", "speaker": 2, "words": spoken}
    transcript = parse({"results": {"channels": [], "utterances": [entry]}})
    assert transcript.format == "deepgram_json"
    assert rows(transcript) == [("Speaker 2", 64.0, 66.0, "Final step."), ("Speaker 1", 66.0, 67.0, "Copy.")]


def test_deepgram_words_without_utterances() -> None:
    spoken = words(("One", 0, 1, 0), ("two.", 1, 2, 0), ("Three.", 5, 6, 0), ("Four.", 6, 7, 1))
    transcript = parse({"results": {"channels": [{"alternatives": [{"transcript": "x", "words": spoken}]}]}})
    assert rows(transcript) == [
        ("Speaker 0", 0.0, 2.0, "One two."),
        ("Speaker 0", 5.0, 6.0, "Three."),
        ("Speaker 1", 6.0, 7.0, "Four."),
    ]


def test_deepgram_paragraphs_and_bare_transcript() -> None:
    paragraphs = {
        "paragraphs": [
            {"speaker": n, "sentences": [{"text": f"No {n}.", "start": n, "end": n + 1}]} for n in (0, 1)
        ]
    }
    alternative = {"transcript": "No 0. No 1.", "paragraphs": paragraphs}
    assert rows(parse({"results": {"channels": [{"alternatives": [alternative]}]}})) == [
        ("Speaker 0", 0.0, 1.0, "No 0."),
        ("Speaker 1", 1.0, 2.0, "No 1."),
    ]
    assert rows(parse({"results": {"channels": [{"alternatives": [{"transcript": "Hi."}]}]}})) == [
        (None, None, None, "Hi.")
    ]


def test_deepgram_channels_are_speakers_in_the_order_of_time() -> None:
    channels = [
        {"alternatives": [{"words": [{"word": text, "start": start, "end": start + 0.5}]}]}
        for text, start in (("second", 2.0), ("first", 1.0))
    ]
    assert rows(parse({"results": {"channels": channels}})) == [
        ("Channel 1", 1.0, 1.5, "first"),
        ("Channel 0", 2.0, 2.5, "second"),
    ]


def test_assemblyai_counts_milliseconds() -> None:
    entries = [
        {"speaker": "A", "start": 1500, "end": 2500, "text": "Hi.", "confidence": 0.9, "words": []},
        {"speaker": "B", "start": 3000, "end": 3500, "text": "Yo.", "confidence": 0.9},
    ]
    transcript = parse({"id": "x", "audio_duration": 4, "text": "Hi. Yo.", "utterances": entries})
    assert transcript.format == "assemblyai_json"
    assert rows(transcript) == [("Speaker A", 1.5, 2.5, "Hi."), ("Speaker B", 3.0, 3.5, "Yo.")]


def test_assemblyai_words_and_text() -> None:
    spoken = [{"text": text, "start": n * 500, "end": n * 500 + 500, "confidence": 1, "speaker": who} for n, (text, who) in enumerate([("Hi", "A"), ("all.", "A"), ("Yo.", "B")])]  # fmt: skip
    assert rows(parse({"audio_url": "x", "utterances": None, "words": spoken})) == [
        ("Speaker A", 0.0, 1.0, "Hi all."),
        ("Speaker B", 1.0, 1.5, "Yo."),
    ]
    assert rows(parse({"audio_url": "x", "text": "Hi all."})) == [(None, None, None, "Hi all.")]


def test_parts_of_a_long_recognised_turn_start_at_their_own_words() -> None:
    spoken = [
        {
            "text": f"w{n}." if n % 10 == 9 else f"W{n}",
            "start": n * 1000,
            "end": n * 1000 + 900,
            "confidence": 1,
        }
        for n in range(100)
    ]
    first, second = episodes(parse({"audio_url": "x", "words": spoken}))
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0.0, 50.0, 50.0, 99.9)


@pytest.mark.parametrize("key", ["turns", "utterances", "sentences"])
def test_turns(key: str) -> None:
    transcript = parse(
        {
            "title": "Weekly",
            "date": "2026-03-02T10:00:00Z",
            "participants": ["Ann", {"name": "Cid"}],
            key: [
                {"speaker": "Ann", "text": "<b>Hi</b>", "start": 1.5, "end": 2},
                {"speaker_name": "Bob", "content": "Yo", "start_time": "00:01:02"},
                {"speaker": None, "text": "who?", "start": -1, "end": "x"},
                {"speaker": "Ann"},
                7,
            ],
        }
    )
    assert transcript.format == "turns_json"
    assert (transcript.title, transcript.date) == ("Weekly", date(2026, 3, 2))
    assert transcript.participants == ("Ann", "Bob", "Cid")
    assert rows(transcript) == [
        ("Ann", 1.5, 2.0, "Hi"),
        ("Bob", 62.0, None, "Yo"),
        (None, None, None, "who?"),
    ]
    assert transcript.warnings == ("entry 3: no text; skipped", "entry 4: no text; skipped")


def test_a_bare_list_of_turns() -> None:
    transcript = parse(
        [{"speaker": "Ann", "text": "Hi", "start": 1}, {"speaker": 2, "text": "Yo", "start": 3, "end": 2}]
    )
    assert rows(transcript) == [("Ann", 1.0, None, "Hi"), ("Speaker 2", 3.0, None, "Yo")]
    assert transcript.warnings == ("entry 1: it ends before it starts; kept without its end",)


def test_impossible_lengths_are_milliseconds() -> None:
    transcript = parse({"turns": [{"speaker": "Ann", "text": "Hi there.", "start": 1000, "end": 2500}]})
    assert rows(transcript) == [("Ann", 1.0, 2.5, "Hi there.")]
    assert "milliseconds" in transcript.warnings[0]
