from __future__ import annotations

import pytest

from cofio.records import Transcript
from cofio.text.parse import parse_transcript

Row = tuple[str | None, float | None, float | None, str]


def rows(transcript: Transcript) -> list[Row]:
    return [(u.speaker, u.start_s, u.end_s, u.text) for u in transcript.utterances]


def vtt(*cues: tuple[float, float, str]) -> str:
    return "WEBVTT\n\n" + "".join(f"00:{a:06.3f} --> 00:{b:06.3f}\n{text}\n\n" for a, b, text in cues)


def test_fragments_of_one_speaker_are_joined_with_marks() -> None:
    transcript = parse_transcript(
        vtt((1, 2, "Ann: so we have…"), (2.5, 4, "Ann: Three items"), (4, 5, "Ann: today. Ok."))
    )
    (utterance,) = transcript.utterances
    assert (utterance.speaker, utterance.start_s, utterance.end_s) == ("Ann", 1.0, 5.0)
    assert utterance.text == "so we have… Three items today. Ok."
    assert [(utterance.text[at:].split()[0], start) for at, start in utterance.marks] == [
        ("so", 1.0),
        ("Three", 2.5),
        ("today.", 4.0),
    ]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ((2, 3, "Bob: we go."), "another speaker"),
        ((4.1, 5, "Ann: we go."), "a pause above two seconds"),
        ((2, 3, "Ann: " + "word " * 60), "too long together"),
    ],
)
def test_fragments_that_are_not_joined(second: tuple[float, float, str], why: str) -> None:
    assert (
        len(parse_transcript(vtt((1, 2, "Ann: and then"), second, (9, 10, "Cid: Yes."))).utterances) == 3
    ), why


def test_a_finished_sentence_is_not_joined() -> None:
    assert len(parse_transcript(vtt((1, 2, "Ann: Done."), (2, 3, "Ann: next."))).utterances) == 2


def test_a_cue_without_a_name_goes_on_with_a_speaker_of_the_last_ten_seconds() -> None:
    transcript = parse_transcript(
        vtt(
            (1, 2, "nobody yet."),
            (3, 4, "Ann: Hello."),
            (9, 10, "still Ann."),
            (30, 31, "who?"),
            (32, 33, "Bob: me."),
        )
    )
    assert [u.speaker for u in transcript.utterances] == [None, "Ann", "Ann", None, "Bob"]


def test_voices_alone_name_speakers_where_there_are_voices() -> None:
    transcript = parse_transcript(
        vtt(
            (1, 2, "<v.loud Ann Lee>Note: it is\n10:30.</v>"),
            (3, 4, "<v Bob &amp; Co>Hi.</v> <v Ann Lee>Yes."),
            (5, 6, "nobody's"),
            (7, 8, "<v >unknown</v>"),
        )
    )
    assert rows(transcript) == [
        ("Ann Lee", 1.0, 2.0, "Note: it is 10:30."),
        ("Bob & Co", 3.0, 4.0, "Hi."),
        ("Ann Lee", 3.0, 4.0, "Yes."),
        (None, 5.0, 6.0, "nobody's"),
        (None, 7.0, 8.0, "unknown"),
    ]


def test_captions_without_speakers_are_joined_to_sentences() -> None:
    transcript = parse_transcript(
        vtt((1, 2, "this is the"), (2, 3, "first part."), (3, 4, "Budget: ten."), (4, 5, "So be it."))
    )
    assert rows(transcript) == [
        (None, 1.0, 3.0, "this is the first part."),
        (None, 3.0, 4.0, "Budget: ten."),
        (None, 4.0, 5.0, "So be it."),
    ]


def test_dashes_and_arrows_show_another_speaker() -> None:
    transcript = parse_transcript(
        vtt((1, 2, "- Are you\n- Am I"), (2, 3, ">> so what"), (3, 4, ">> ANN: fine"))
    )
    assert [u.text for u in transcript.utterances][:3] == ["Are you", "Am I", "so what"]


def test_two_speakers_in_one_cue() -> None:
    transcript = parse_transcript("1\n00:00:01,000 --> 00:00:03,000\nANN: Hello.\nBOB: Hi.\n")
    assert rows(transcript) == [("ANN", 1.0, 3.0, "Hello."), ("BOB", 1.0, 3.0, "Hi.")]


def test_rolling_captions_are_told_once() -> None:
    transcript = parse_transcript(
        "WEBVTT\nKind: captions\nLanguage: en\n\n"
        "00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nhello<00:00:00.500><c> everyone</c>\n\n"
        "00:00:02.000 --> 00:00:02.010 align:start position:0%\nhello everyone\n \n\n"
        "00:00:02.010 --> 00:00:04.000 align:start position:0%\nhello everyone\nwelcome<00:00:02.500><c> to</c>\n\n"
        "00:00:04.000 --> 00:00:04.010 align:start position:0%\nwelcome to\n \n\n"
        "00:00:04.010 --> 00:00:06.000 align:start position:0%\nwelcome to\nthe<00:00:05.000><c> show</c>\n"
    )
    assert rows(transcript) == [(None, 0.0, 6.0, "hello everyone welcome to the show")]
    assert transcript.warnings == ()


def test_what_was_said_twice_is_kept_twice() -> None:
    transcript = parse_transcript(vtt((1, 2, "Ann: Okay."), (2, 3, "Ann: Okay."), (3, 4, "Bob: Okay.")))
    assert [u.text for u in transcript.utterances] == ["Okay.", "Okay.", "Okay."]


def test_the_same_cue_twice_at_the_same_time_is_kept_once() -> None:
    assert (
        len(parse_transcript(vtt((1, 2, "Ann: Yes."), (1, 2, "Ann: Yes."), (3, 4, "Bob: No."))).utterances)
        == 2
    )


def test_broken_times_lose_the_time_and_not_the_text() -> None:
    transcript = parse_transcript(
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nAnn: One.\n\n00:0x:03.000 --> 00:00:04.000\nAnn: Two.\n\n"
        "00:00:09.000 --> 00:00:05.000\nBob: Three.\n"
    )
    assert rows(transcript) == [
        ("Ann", 1.0, 2.0, "One."),
        ("Ann", None, 4.0, "Two."),
        ("Bob", 9.0, None, "Three."),
    ]
    assert [warning.split(":")[0] for warning in transcript.warnings] == [
        "line 6",
        "the caption at 9 s ends before it starts; kept without its end",
    ]


def test_text_after_a_blank_line_is_kept_with_its_caption() -> None:
    transcript = parse_transcript(vtt((1, 2, "Ann: One.\n\nand more."), (3, 4, "Bob: Two.")))
    assert rows(transcript) == [("Ann", 1.0, 2.0, "One. and more."), ("Bob", 3.0, 4.0, "Two.")]
    assert "blank line" in transcript.warnings[0]


def test_missing_blank_lines_and_numbers() -> None:
    transcript = parse_transcript(
        "1\n00:00:01,000 --> 00:00:02,000\nOne.\n2\n00:00:03,000 --> 00:00:04,000\nTwo.\n00:00:05 --> 00:00:06\nThree.\n"
    )
    assert rows(transcript) == [
        (None, 1.0, 2.0, "One."),
        (None, 3.0, 4.0, "Two."),
        (None, 5.0, 6.0, "Three."),
    ]


def test_many_warnings_are_counted() -> None:
    broken = "".join(f"00:00:0x.000 --> 00:00:01.000\nline {n}.\n\n" for n in range(50))
    transcript = parse_transcript("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nFirst.\n\n" + broken)
    assert len(transcript.utterances) == 51
    assert len(transcript.warnings) == 21
    assert transcript.warnings[-1] == "30 more places were mended or skipped"


def test_teams_document() -> None:
    transcript = parse_transcript(
        "0:0:0.0 --> 0:0:3.450\nAnn Lee\nHello all.\n\n0:0:3.500 --> 0:0:5.0\nBob Ray\nHi\nAnn.\n\n"
        "0:0:5.5 --> 0:0:6.0\nAnn Lee\nBye.\n"
    )
    assert rows(transcript) == [
        ("Ann Lee", 0.0, 3.45, "Hello all."),
        ("Bob Ray", 3.5, 5.0, "Hi Ann."),
        ("Ann Lee", 5.5, 6.0, "Bye."),
    ]


def test_meet_sbv_with_names() -> None:
    transcript = parse_transcript(
        "0:00:01.000,0:00:03.000\nAnn Lee: hello there\nand more\n\n0:00:03.000,0:00:05.500\nBob: hi.\n"
    )
    assert transcript.format == "sbv"
    assert rows(transcript) == [("Ann Lee", 1.0, 3.0, "hello there and more"), ("Bob", 3.0, 5.5, "hi.")]


def test_title_from_the_header_and_notes() -> None:
    transcript = parse_transcript(
        "WEBVTT - Weekly sync\n\nNOTE Date: 2026-03-02\n\n00:01.000 --> 00:02.000\nAnn: Hi.\n"
    )
    assert transcript.title == "Weekly sync"
    assert str(transcript.date) == "2026-03-02"


def test_markup_in_captions_is_cleaned() -> None:
    transcript = parse_transcript(
        vtt((1, 2, '<i>Hi</i> &lt;3 x<y <c.yellow>and</c> <font color="#fff">red</font>&nbsp;ok.'))
    )
    assert transcript.utterances[0].text == "Hi <3 x<y and red ok."


@pytest.mark.parametrize(
    "name",
    [
        "Élodie d'Arc",
        "Tullio | Erigon",
        "Ann [Acme]",
        "Z. Victor Zhou (xin)",
        "+1 415***1234",
        "李 雷",
        "Lee, Ann",
    ],
)
def test_names_as_zoom_writes_them(name: str) -> None:
    transcript = parse_transcript(vtt((1, 2, f"{name}: Hello."), (3, 4, "Bob: Hi."), (5, 6, f"{name}: Bye.")))
    assert [u.speaker for u in transcript.utterances] == [name, "Bob", name]
