"""Each format, told from its content, gives who said what and when."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofio.errors import CofioError, EmptyTranscript, UnknownFormat, UnreadableTranscript
from cofio.text.extract import episodes
from cofio.text.parse import FORMATS, parse_transcript

SHARED = Path(__file__).parents[3].parent / "shared" / "transcripts"

Said = list[tuple[str | None, float | None, str]]

CASES: dict[str, tuple[str, str, Said]] = {
    "Teams voices, several lines and several voices in a cue": (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.500\n<v Ann Lee>Hello there, this is\na multi line cue.</v>\n\n"
        "00:00:03.600 --> 00:00:05.000\n<v Bob Øst (Acme)>Hi. <v Ann Lee>And me.</v>\n",
        "webvtt",
        [
            ("Ann Lee", 1.0, "Hello there, this is a multi line cue."),
            ("Bob Øst (Acme)", 3.6, "Hi."),
            ("Ann Lee", 3.6, "And me."),
        ],
    ),
    "Zoom, colons in the text, a cue that goes on": (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.500\nAnn Lee: note: 10:30 is the time, see https://x.y/z\n\n"
        "2\n00:00:03.500 --> 00:00:06.000\nand this goes on.\n\n3\n00:00:06.000 --> 00:00:07.000\nBob: ok\n",
        "webvtt",
        [
            ("Ann Lee", 1.0, "note: 10:30 is the time, see https://x.y/z and this goes on."),
            ("Bob", 6.0, "ok"),
        ],
    ),
    "SRT with names": (
        "1\n00:00:01,000 --> 00:00:02,000\nSPEAKER_00: Hi there.\n\n2\n00:00:02,500 --> 00:00:04,000\nSPEAKER_01: Hello.\n",
        "srt",
        [("SPEAKER_00", 1.0, "Hi there."), ("SPEAKER_01", 2.5, "Hello.")],
    ),
    "times before names": (
        "[00:12:03] Ann: First.\n[00:12:09] Bob: Second.\n00:12:15 Cy: Third\n",
        "plain",
        [("Ann", 723.0, "First."), ("Bob", 729.0, "Second."), ("Cy", 735.0, "Third")],
    ),
    "times after names": (
        "Ann Lee (00:12): hello\nBob (00:20): bye\n",
        "plain",
        [("Ann Lee", 12.0, "hello"), ("Bob", 20.0, "bye")],
    ),
    "times under names": (
        "Ann Lee\n00:00:05\nHello everyone, the pier is closed.\n\nBob Ray\n00:00:09\nThanks Ann, who reopens it?\n",
        "plain",
        [
            ("Ann Lee", 5.0, "Hello everyone, the pier is closed."),
            ("Bob Ray", 9.0, "Thanks Ann, who reopens it?"),
        ],
    ),
    "Whisper": (
        '{"text":"a b","segments":[{"id":0,"start":0.0,"end":2.0,"text":" Hello there."},'
        '{"id":1,"start":2.0,"end":4.0,"text":" How are you?"}],"language":"en"}',
        "whisper_json",
        [(None, 0.0, "Hello there."), (None, 2.0, "How are you?")],
    ),
    "Whisper with speakers": (
        '{"segments":[{"start":0.0,"end":2.0,"text":"Hello.","speaker":"SPEAKER_00"},'
        '{"start":2.1,"end":3.0,"text":"Hi.","speaker":"SPEAKER_01"}]}',
        "whisper_json",
        [("SPEAKER_00", 0.0, "Hello."), ("SPEAKER_01", 2.1, "Hi.")],
    ),
    "AssemblyAI counts milliseconds": (
        '{"id":"x","utterances":[{"speaker":"A","start":1000,"end":2500,"text":"Hello.","words":[]},'
        '{"speaker":"B","start":2600,"end":3000,"text":"Hi.","words":[]}]}',
        "assemblyai_json",
        [("Speaker A", 1.0, "Hello."), ("Speaker B", 2.6, "Hi.")],
    ),
    "turns as JSON": (
        '[{"speaker":"Ann","text":"Hello.","start":1.5},{"speaker":"Bob","text":"Hi."}]',
        "turns_json",
        [("Ann", 1.5, "Hello."), ("Bob", None, "Hi.")],
    ),
    "Zoom chat, old and new": (
        "10:02:11 From Ann Lee to Everyone:\n\thello all\n10:02:30 From  Bob  to  Everyone : fine\n",
        "zoom_chat",
        [("Ann Lee", 36131.0, "hello all"), ("Bob", 36150.0, "fine")],
    ),
    "Otter": (
        "Ann Lee  0:03\nHello all of you.\n\nUnknown Speaker  1:02:09\nBye.\n\nTranscribed by https://otter.ai\n",
        "otter",
        [("Ann Lee", 3.0, "Hello all of you."), ("Unknown Speaker", 3729.0, "Bye.")],
    ),
    "speaker markdown": (
        "## Notes\n\n**Ann Lee:** hello\n\n**Bob:** hi\n",
        "speaker_markdown",
        [("Ann Lee", None, "hello"), ("Bob", None, "hi")],
    ),
    "markup in the text": (
        "Ann: <b>bold</b> a < b and 1<2 &amp; done\nBob: fine\n",
        "plain",
        [("Ann", None, "bold a < b and 1<2 & done"), ("Bob", None, "fine")],
    ),
}


@pytest.mark.parametrize(("raw", "name", "said"), CASES.values(), ids=CASES.keys())
def test_who_said_what_and_when(raw: str, name: str, said: Said) -> None:
    transcript = parse_transcript(raw)
    assert transcript.format == name
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == said
    assert parse_transcript(raw.encode()).utterances == transcript.utterances
    assert parse_transcript("\ufeff" + raw.replace("\n", "\r\n")).utterances == transcript.utterances


def test_headers_are_facts_and_not_speech() -> None:
    transcript = parse_transcript(
        "Title: Weekly\nDate: 2026-03-02\nParticipants: Ann Lee, Bob\n\nAnn Lee: Hello,\nwelcome.\nBob: Note: 10:30.\n"
    )
    assert (transcript.title, transcript.date) == ("Weekly", date(2026, 3, 2))
    assert transcript.participants == ("Ann Lee", "Bob")
    assert [(u.speaker, u.text) for u in transcript.utterances] == [
        ("Ann Lee", "Hello, welcome."),
        ("Bob", "Note: 10:30."),
    ]


def test_parts_of_a_long_turn_keep_its_speaker_and_lie_within_its_times() -> None:
    sentence = "The supplier is late again and so the enclosure waits for the gasket in the harbour. "
    vtt = f"WEBVTT\n\n00:01:00.000 --> 00:02:00.000\nAnn: {sentence * 9}\n\n00:02:00.000 --> 00:02:01.000\nBob: Oh.\n"
    *parts, last = episodes(parse_transcript(vtt))
    assert len(parts) > 1
    assert {part.speaker for part in parts} == {"Ann"}
    assert (last.speaker, last.start_s) == ("Bob", 120.0)
    assert parts[0].start_s == 60.0
    starts = [part.start_s for part in parts if part.start_s is not None]
    assert starts == sorted(starts)
    assert 60.0 <= starts[-1] < 120.0
    assert " ".join(part.text for part in parts) == (sentence * 9).strip()
    assert [part.position for part in parts] == list(range(len(parts)))


@pytest.mark.parametrize(
    ("raw", "error"),
    [("", EmptyTranscript), ("WEBVTT\n", EmptyTranscript), ("[" * 100_000, UnreadableTranscript)],
    ids=["nothing", "only a header", "deep"],
)
def test_what_cannot_be_read_says_why(raw: str, error: type[CofioError]) -> None:
    with pytest.raises(error) as refused:
        parse_transcript(raw)
    assert refused.value.field == "transcript"
    assert len(refused.value.detail) > 20


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownFormat, match="webvtt"):
        parse_transcript("Ann: hi", format="docx")


@pytest.mark.skipif(not SHARED.exists(), reason=f"the collected transcripts are not at {SHARED}")
def test_every_collected_file_is_read_or_clearly_refused() -> None:
    files = [path for path in SHARED.rglob("*.*") if path.name != "INDEX.json"]
    assert len(files) >= 30
    refused = {}
    for path in files:
        try:
            transcript = parse_transcript(path.read_bytes())
        except CofioError as error:
            refused[path.name] = error.detail
            continue
        assert transcript.utterances
        assert transcript.format in FORMATS
        starts = [u.start_s for u in transcript.utterances if u.start_s is not None]
        assert starts, path.name
    assert len(refused) <= 3
    assert all(len(detail) > 20 for detail in refused.values())


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=400), st.binary(max_size=400)))
def test_nothing_but_our_own_errors_is_raised(raw: str | bytes) -> None:
    try:
        transcript = parse_transcript(raw)
    except CofioError:
        return
    assert all(part.text for part in episodes(transcript))


@pytest.mark.parametrize("name", ["A" * length for length in range(2, 22, 3)])
def test_no_words_are_glued_in_a_long_line(name: str) -> None:
    said = ("word " * 80).strip()
    transcript = parse_transcript(f"[00:00:01] {name.title()}: {said}\n[00:00:09] Bob: ok\n")
    assert transcript.utterances[0].text == said
