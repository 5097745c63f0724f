"""The whole of `parse_transcript`: every format, the shared files, refusals, hostile input, speed."""

from __future__ import annotations

import contextlib
import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofio.errors import CofioError, EmptyTranscript, UnknownFormat, UnreadableTranscript
from cofio.text.extract import episodes
from cofio.text.parse import FORMATS, parse_transcript

SHARED = Path(__file__).parents[3] / "../shared/transcripts"

# format, utterances, speakers, number of warnings; or the code of the refusal
EXPECTED: dict[str, tuple[str, int, int, int] | str] = {
    "assemblyai_json/deepgram-python-ca__test_assemblyai_transcription.json": ("assemblyai_json", 1, 1, 0),
    "assemblyai_json/deepgram-python-ca__test_assemblyai_utterances.json": ("assemblyai_json", 1, 1, 0),
    "deepgram_json/deepgram-python-ca__test_dg_speakers.json": ("deepgram_json", 19, 3, 0),
    "deepgram_json/deepgram-python-ca__test_dg_speakers_no_utterances.json": ("deepgram_json", 15, 3, 0),
    "deepgram_json/deepgram-python-ca__test_dg_utterances.json": ("deepgram_json", 2, 0, 0),
    "deepgram_json/deepgram-python-ca__test_dg_whisper_transcription.json": ("deepgram_json", 1, 0, 0),
    "otter_txt/ladybug-website__transcripts_27-data-structures-and-algorithms.md": ("otter", 66, 4, 0),
    "otter_txt/ladybug-website__transcripts_29-building-a-resume.md": ("otter", 33, 4, 0),
    "sbv/webvtt-py__tests_subtitles_invalid_format.sbv": "unknown_format",
    "sbv/webvtt-py__tests_subtitles_invalid_timeframe.sbv": ("sbv", 5, 0, 2),
    "sbv/webvtt-py__tests_subtitles_missing_caption_text.sbv": ("sbv", 4, 0, 2),
    "sbv/webvtt-py__tests_subtitles_sample.sbv": ("sbv", 5, 0, 1),
    "speaker_md/ladybug-website__transcripts_01-new-career-who-dis.md": ("speaker_markdown", 22, 4, 0),
    "srt/webvtt-py__tests_subtitles_invalid_format2.srt": "unknown_format",
    "srt/webvtt-py__tests_subtitles_invalid_timeframe.srt": ("srt", 5, 0, 0),
    "srt/webvtt-py__tests_subtitles_missing_timeframe.srt": ("srt", 5, 0, 1),
    "srt/webvtt-py__tests_subtitles_one_caption.srt": ("srt", 1, 0, 0),
    "srt/webvtt-py__tests_subtitles_sample.srt": ("srt", 5, 0, 0),
    "vtt_generic/webvtt-py__tests_subtitles_captions_with_bom.vtt": ("webvtt", 4, 0, 0),
    "vtt_generic/webvtt-py__tests_subtitles_comments.vtt": ("webvtt", 5, 0, 0),
    "vtt_generic/webvtt-py__tests_subtitles_cue_tags.vtt": ("webvtt", 3, 0, 0),
    "vtt_generic/webvtt-py__tests_subtitles_empty.vtt": "empty_transcript",
    "vtt_generic/webvtt-py__tests_subtitles_invalid.vtt": ("webvtt", 7, 0, 1),
    "vtt_generic/webvtt-py__tests_subtitles_missing_caption_text.vtt": ("webvtt", 4, 0, 1),
    "vtt_generic/webvtt-py__tests_subtitles_sample.vtt": ("webvtt", 16, 0, 0),
    "vtt_generic/webvtt-py__tests_subtitles_using_identifiers.vtt": ("webvtt", 6, 0, 0),
    "vtt_zoom/pm__acdt_2026-06-22_084_transcript.vtt": ("webvtt", 110, 7, 0),
    "vtt_zoom/pm__allwalletdevs_2026-05-20_039_transcript.vtt": ("webvtt", 23, 1, 0),
    "vtt_zoom/pm__focil_2026-02-24_029_transcript.vtt": ("webvtt", 64, 4, 0),
    "vtt_zoom/pm__rpcstandards_2026-07-13_030_transcript.vtt": ("webvtt", 99, 5, 0),
    "zoom_chat_txt/pm__focil_2026-03-24_031_chat.txt": ("zoom_chat", 4, 2, 0),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared transcripts are not beside this checkout")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_shared_file(name: str) -> None:
    expected = EXPECTED[name]
    raw = (SHARED / name).read_bytes()
    if isinstance(expected, str):
        with pytest.raises(CofioError) as refusal:
            parse_transcript(raw)
        assert (refusal.value.code, refusal.value.field) == (expected, "transcript")
        return
    transcript = parse_transcript(raw)
    speakers = {utterance.speaker for utterance in transcript.utterances} - {None}
    assert (
        transcript.format,
        len(transcript.utterances),
        len(speakers),
        len(transcript.warnings),
    ) == expected
    assert set(transcript.participants) == speakers


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared transcripts are not beside this checkout")
def test_every_shared_file_is_expected() -> None:
    assert {f"{path.parent.name}/{path.name}" for path in SHARED.glob("*/*")} == set(EXPECTED)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared transcripts are not beside this checkout")
@pytest.mark.parametrize("name", [name for name in sorted(EXPECTED) if name.startswith("vtt_zoom/")])
def test_every_word_of_a_zoom_recording_has_its_speaker_and_time(name: str) -> None:
    """Read the file a second way, line by line, and compare."""
    raw = (SHARED / name).read_text()
    transcript = parse_transcript(raw)
    fragments = []
    for block in raw.replace("\r\n", "\n").split("\n\n")[1:]:
        lines = block.strip().split("\n")
        if len(lines) < 3:
            continue
        hours, minutes, seconds = lines[1].split(" --> ")[0].split(":")
        speaker, _, text = lines[2].partition(": ")
        fragments.append(
            (speaker, int(hours) * 3600 + int(minutes) * 60 + float(seconds), " ".join(text.split()))
        )
    found: list[tuple[str | None, float | None, str]] = []
    for utterance in transcript.utterances:
        marks = utterance.marks or ((0, utterance.start_s),)
        assert marks[0] == (0, utterance.start_s)
        ends = [offset - 1 for offset, _ in marks[1:]] + [len(utterance.text)]
        found.extend(
            (utterance.speaker, start_s, utterance.text[offset:end])
            for (offset, start_s), end in zip(marks, ends, strict=True)
        )
    assert [(speaker, text) for speaker, _, text in fragments] == [
        (speaker, text) for speaker, _, text in found
    ]
    assert [start_s for _, start_s, _ in fragments] == pytest.approx([start_s for _, start_s, _ in found])


def test_formats_are_stable_names() -> None:
    assert FORMATS == (
        "webvtt", "srt", "sbv", "otter", "speaker_markdown", "plain", "zoom_chat",
        "whisper_json", "deepgram_json", "assemblyai_json", "turns_json",
    )  # fmt: skip


def test_a_given_format_is_obeyed() -> None:
    text = "Ann  0:03\nHello there.\n"
    assert parse_transcript(text).format == "otter"
    assert parse_transcript(text, format="plain").format == "plain"
    assert parse_transcript(text, format="plain").utterances == parse_transcript(text).utterances


def test_an_unknown_format_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UnknownFormat) as refusal:
        parse_transcript("Ann: hello", format="docx")
    assert refusal.value.field == "format"
    assert all(name in refusal.value.detail for name in FORMATS)


@pytest.mark.parametrize(
    "raw", ["", " \n\t", b"", b"\xef\xbb\xbf", "WEBVTT\n", "[]", "1\n00:00:01,000 --> 00:00:02,000\n"]
)
def test_nothing_said_is_refused(raw: str | bytes) -> None:
    with pytest.raises((EmptyTranscript, UnknownFormat)) as refusal:
        parse_transcript(raw)
    assert refusal.value.field == "transcript"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ('{"a": [1, 2', "line 1, column"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        (b"PK\x03\x04rest", "zip archive or an Office document"),
        (b"%PDF-1.7", "PDF"),
        (bytes(range(32)) * 20, "control characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(raw: str | bytes, says: str) -> None:
    with pytest.raises(UnreadableTranscript, match=says) as refusal:
        parse_transcript(raw)
    assert refusal.value.field == "transcript"


@pytest.mark.parametrize("format", ["webvtt", "srt", "sbv", "zoom_chat"])
def test_the_wrong_format_is_refused_with_an_example(format: str) -> None:
    with pytest.raises(UnreadableTranscript, match="such as"):
        parse_transcript("Ann: hello there", format=format)


def test_participants_are_speakers_in_order_then_those_only_listed() -> None:
    transcript = parse_transcript(
        "Title: Weekly\nDate: 2026-03-02\nParticipants: Ann Lee, Bob Ray, Cid\n\nBob Ray (Acme): hi\nAnn Lee: hello\n"
    )
    assert transcript.participants == ("Bob Ray (Acme)", "Ann Lee", "Cid")
    assert (transcript.title, transcript.date) == ("Weekly", date(2026, 3, 2))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str) -> None:
    transcript = parse_transcript("Élodie: ça va\r\nBob: さくら\r\n".encode(encoding))
    assert [(u.speaker, u.text) for u in transcript.utterances] == [("Élodie", "ça va"), ("Bob", "さくら")]
    assert transcript.warnings == ()


def test_windows_1252_is_read_with_a_warning() -> None:
    transcript = parse_transcript("Élodie: ça va\nBob: oui\n".encode("cp1252"))
    assert transcript.utterances[0].speaker == "Élodie"
    assert "Windows-1252" in transcript.warnings[0]


LINES = st.lists(
    st.sampled_from(
        ["WEBVTT", "NOTE x", "1", "00:00:01.000 --> 00:00:02.000", "00:00:01,0 --> 9:99:99,9", "0:00:01.000,0:00:02.000",
         "-->", "<v Ann>hi</v> <v", "Ann: hello", "ann:", ": x", "[00:01] Bob: yes", "Bob  0:12", "**Ann** 0:01", "**Cid:** x",
         "### Ann", "00:00:01 From Ann to Bob(Direct Message):", "00:00:01\tAnn:\tgm", 'Replying to "', "Title:", "Date: 99",
         "Participants: a, b;", "SPEAKERS", "", " ", "\t", "<b>&amp;", "Meeting ended after 00:01", "99:99:99"]
    ),
    max_size=12,
).map("\n".join)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["results", "channels", "alternatives", "utterances", "words", "word", "text", "speaker", "start", "end",
                 "segments", "chunks", "timestamp", "transcription", "offsets", "from", "turns", "confidence", "channel",
                 "audio_url", "paragraphs", "sentences", "title", "date", "participants"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.binary(), LINES, VALUES.map(json.dumps)), st.sampled_from([None, *FORMATS]))
def test_refuses_but_never_breaks(raw: str | bytes, format: str | None) -> None:
    try:
        transcript = parse_transcript(raw, format=format)
    except CofioError:
        return
    assert transcript.utterances
    for utterance in transcript.utterances:
        assert utterance.text == " ".join(utterance.text.split()) != ""
        assert utterance.start_s is None or utterance.start_s >= 0
        assert all(0 <= offset < len(utterance.text) for offset, _ in utterance.marks)
    assert " ".join(e.text for e in episodes(transcript)) == " ".join(u.text for u in transcript.utterances)


@pytest.mark.parametrize(
    "piece",
    [
        "a:",
        "a: ",
        "<",
        "[",
        "{",
        "(",
        "**",
        "<v ",
        "<v.",
        "-",
        "00:",
        "0:00 ",
        "_",
        '"',
        "&amp;",
        "https://",
        "a ",
        "#",
        "é",
    ],
)
@pytest.mark.timeout(60)  # what is not linear takes hours
def test_time_is_linear(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    with contextlib.suppress(CofioError):
        parse_transcript(text)


@pytest.mark.parametrize(
    "piece", ["<v A>b</v>", "A: b\n", "- a\n", "-->\n", "<v A>", "<00:00:01.000>", "\n \n"]
)
@pytest.mark.timeout(60)
def test_time_is_linear_inside_a_cue(piece: str) -> None:
    text = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nAnn: " + piece * (200_000 // len(piece))
    with contextlib.suppress(CofioError):
        parse_transcript(text)


@pytest.mark.parametrize("format", ["webvtt", "srt", "sbv"])
@pytest.mark.timeout(60)
def test_time_is_linear_between_cues(format: str) -> None:
    """Text without times goes on with the caption before it, however often that happens."""
    cue = "0:00:01.000,0:00:04.000" if format == "sbv" else "00:00:01,000 --> 00:00:04,000"
    transcript = parse_transcript(f"{cue}\nAnn: a" + "\n\nb" * 300_000, format=format)
    assert sum(len(utterance.text.split()) for utterance in transcript.utterances) == 300_001


def test_three_thousand_utterances_are_read() -> None:
    speakers = ("Ann Lee", "Bob", "Cid Roe")
    said = "So I think we should look at the budget: it is e.g. 3.5 million, and Dr. Smith said so."
    cues = (
        f"{n}\n{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}.000 --> {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}.900\n"
        f"{speakers[n % 3]}: {said}\n"
        for n in range(3000)
    )
    text = "WEBVTT\n\n" + "\n".join(cues)
    transcript = parse_transcript(text)
    found = episodes(transcript)
    assert len(found) == len(transcript.utterances) == 3000
