"""Running text: plain, Otter and Markdown."""

from __future__ import annotations

from datetime import date

import pytest

from cofio.text.parse import parse_transcript

Said = list[tuple[str | None, float | None, str]]


def said(raw: str) -> Said:
    return [(u.speaker, u.start_s, u.text) for u in parse_transcript(raw).utterances]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Ann: hello\nBob: hi\n", [("Ann", None, "hello"), ("Bob", None, "hi")]),
        ("[00:12:03] Ann: hello\n[00:12:10] Bob: hi\n", [("Ann", 723.0, "hello"), ("Bob", 730.0, "hi")]),
        ("00:12:03 Ann Lee: hello\n1:02:03 Bob: hi\n", [("Ann Lee", 723.0, "hello"), ("Bob", 3723.0, "hi")]),
        ("Ann Lee (00:12): hello\nBob (1:00:12): hi\n", [("Ann Lee", 12.0, "hello"), ("Bob", 3612.0, "hi")]),
        ("Ann Lee (00:00):\nHello.\n\nSpeaker 2 (00:12):\nHi.\nMore.\n", [("Ann Lee", 0.0, "Hello."), ("Speaker 2", 12.0, "Hi. More.")]),
        ("Ann Lee 00:12\nHello.\nBob 00:15\nHi.\n", [("Ann Lee", 12.0, "Hello."), ("Bob", 15.0, "Hi.")]),
        ("Ann\t00:01\tHello\nBob\t00:04\tHi\nAnn\t00:05\tBye\n", [("Ann", 1.0, "Hello"), ("Bob", 4.0, "Hi"), ("Ann", 5.0, "Bye")]),
        ("00:00:03 - Ann Lee\nHello all.\n\n00:00:09 - Bob\nHi.\n", [("Ann Lee", 3.0, "Hello all."), ("Bob", 9.0, "Hi.")]),
        ("[1:12 PM] Ann Lee: hi\n[1:13 PM] Bob: hey\n", [("Ann Lee", 47520.0, "hi"), ("Bob", 47580.0, "hey")]),
        ("[00:00:01] hello\n[00:00:04] Thank you\n", [(None, 1.0, "hello"), (None, 4.0, "Thank you")]),
        ("0:00\nhello all\n0:05\nwe go on\n", [(None, 0.0, "hello all"), (None, 5.0, "we go on")]),
        ("Q: What?\nA: This.\nQ: Why?\nA: So.\n", [("Q", None, "What?"), ("A", None, "This."), ("Q", None, "Why?"), ("A", None, "So.")]),
        ("alice: hi\nbob_42: hello\nalice: ok\n", [("alice", None, "hi"), ("bob_42", None, "hello"), ("alice", None, "ok")]),
        ("Lee, Ann (Acme): yes.\nRay, Bob: no.\n", [("Lee, Ann (Acme)", None, "yes."), ("Ray, Bob", None, "no.")]),
        ("[SPEAKER_00]: yes\nUnknown Speaker: no\nSpeaker 1: so\n", [("SPEAKER_00", None, "yes"), ("Unknown Speaker", None, "no"), ("Speaker 1", None, "so")]),
        ("Will: hi\nDon: yes\nWill: ok\n", [("Will", None, "hi"), ("Don", None, "yes"), ("Will", None, "ok")]),
        ("田中：こんにちは。\n鈴木：はい。\n", [("田中", None, "こんにちは。"), ("鈴木", None, "はい。")]),
        ("### Ann Lee\nHello.\n\n### Bob\nHi.\n\n### Ann Lee\nBye.\n", [("Ann Lee", None, "Hello."), ("Bob", None, "Hi."), ("Ann Lee", None, "Bye.")]),
        ("**Ann Lee** *00:12*\nHello.\n\n**Bob** *00:15*\nHi.\n", [("Ann Lee", 12.0, "Hello."), ("Bob", 15.0, "Hi.")]),
        ("**Ann:** Hello _all_.\n**Bob** (00:12): Hi [link](http://x.org).\n**[00:15] Cid:** yes\n", [("Ann", None, "Hello all."), ("Bob", 12.0, "Hi link."), ("Cid", 15.0, "yes")]),
        ("- **Ann** (00:00:05): Hello\n- **Bob** (00:00:09): Hi\n", [("Ann", 5.0, "Hello"), ("Bob", 9.0, "Hi")]),
    ],
)  # fmt: skip
def test_a_turn_begins(raw: str, expected: Said) -> None:
    assert said(raw) == expected


def test_ends_are_kept() -> None:
    transcript = parse_transcript("[00:00:01 - 00:00:05] Ann: hello\n[00:00:05 - 00:00:09] Bob: hi\n")
    assert [(u.speaker, u.start_s, u.end_s) for u in transcript.utterances] == [
        ("Ann", 1.0, 5.0),
        ("Bob", 5.0, 9.0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Agenda: item one",
        "Note: 10:30 is the time",
        "note: this matters",
        "https://example.com/a:b",
        "10:30 is fine",
        "Remember: we have little time",
        "Next Steps: none",
        "std::vector is a type",
    ],
)
def test_what_is_no_name_stays_with_the_speaker(line: str) -> None:
    raw = (
        f"Ann Lee: hello and welcome to this long meeting of ours, in which\n{line}\nBob: ok\nAnn Lee: yes\n"
    )
    transcript = parse_transcript(raw)
    assert transcript.participants == ("Ann Lee", "Bob")
    assert transcript.utterances[0].text.endswith(line)


def test_a_wrapped_line_with_a_colon_is_no_speaker() -> None:
    transcript = parse_transcript(
        "Ann Lee: when we looked at what the customers have told us about it, the\nMarket: was never ready for this at\nall.\nBob: ok\n"
    )
    assert transcript.participants == ("Ann Lee", "Bob")


def test_prefixes_under_headings_are_text() -> None:
    raw = "Ann Lee  0:03\nHello.\nHi: there.\n\nCid  0:10\nPoint: yes\n\nAnn Lee  0:12\nok\n"
    assert said(raw) == [
        ("Ann Lee", 3.0, "Hello. Hi: there."),
        ("Cid", 10.0, "Point: yes"),
        ("Ann Lee", 12.0, "ok"),
    ]


def test_otter_export() -> None:
    transcript = parse_transcript(
        "Team sync\nThu, Mar 05, 2026 10:02AM • 34:12\n\nSUMMARY KEYWORDS\nbudget, launch\n\nSPEAKERS\nAnn Lee, Bob, "
        "Unknown Speaker\n\nAnn Lee  00:03\nHello.\n\nAnd more.\n\nBob  00:10\nHi: there.\n\nTranscribed by https://otter.ai\n"
    )
    assert transcript.format == "otter"
    assert (transcript.title, transcript.date) == ("Team sync", date(2026, 3, 5))
    assert transcript.participants == ("Ann Lee", "Bob", "Unknown Speaker")
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        ("Ann Lee", 3.0, "Hello. And more."),
        ("Bob", 10.0, "Hi: there."),
    ]


def test_meet_document() -> None:
    transcript = parse_transcript(
        "Team Sync - 2026/03/02 10:00 CET - Transcript\n\nAttendees\nAnn Lee, Bob Ray\n\nTranscript\n00:00:00\n\n"
        "Ann Lee: Hello\nBob Ray: Hi\n\n00:05:00\n\nAnn Lee: back\nMeeting ended after 00:32:11 👋\n"
    )
    assert (transcript.title, transcript.date) == ("Team Sync", date(2026, 3, 2))
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        ("Ann Lee", 0.0, "Hello"),
        ("Bob Ray", None, "Hi"),
        ("Ann Lee", 300.0, "back"),
    ]


def test_teams_copy() -> None:
    transcript = parse_transcript(
        "Weekly sync-20260302_100000-Meeting Recording\nMarch 2, 2026, 10:00AM\n32m 11s\n\nAnn Lee   0:03\nHello all.\n\n"
        "Bob Ray   0:10\nHi. See you at\n10:30.\n\nAnn Lee stopped transcription\n"
    )
    assert (transcript.title, transcript.date) == ("Weekly sync", date(2026, 3, 2))
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        ("Ann Lee", 3.0, "Hello all."),
        ("Bob Ray", 10.0, "Hi. See you at 10:30."),
    ]


def test_participants_as_a_list() -> None:
    transcript = parse_transcript(
        "Meeting: Budget\nDate: 2 March 2026\nAttendees:\n- Ann Lee (Acme)\n- Bob\n\nAnn Lee: go\nBob: ok\n"
    )
    assert (transcript.title, transcript.date) == ("Budget", date(2026, 3, 2))
    assert transcript.participants == ("Ann Lee", "Bob")


def test_sentences_above_the_first_turn_have_no_speaker() -> None:
    raw = "This is the record of our call. It was long.\n\nAnn: hi\nBob: yo\n"
    assert said(raw)[0] == (None, None, "This is the record of our call. It was long.")


def test_prose_is_read_with_a_warning() -> None:
    transcript = parse_transcript(
        "We met on Monday and spoke about the budget at length with all of the people.\n\nThen we agreed: nothing changes yet."
    )
    assert [u.text.split()[0] for u in transcript.utterances] == ["We", "Then"]
    assert "no speakers" in transcript.warnings[0]


def test_wrapped_prose_is_put_together() -> None:
    transcript = parse_transcript(
        "this is a long talk that was\nrecognised by a machine and has twenty words or\nmore of them at 10:30. And then\nit ends.\n"
    )
    assert [u.text for u in transcript.utterances] == [
        "this is a long talk that was recognised by a machine and has twenty words or more of them at 10:30. And then it ends."
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Ann: When?\nBob: 10:30 works for me\n", [("Ann", None, "When?"), ("Bob", None, "10:30 works for me")]),
        ("Ann: When?\nBob: 9:00 to 11:00 on Saturday\n", [("Ann", None, "When?"), ("Bob", None, "9:00 to 11:00 on Saturday")]),
        ("**Ann:** When?\n\n**Bob:** 10:30 works for me.\n", [("Ann", None, "When?"), ("Bob", None, "10:30 works for me.")]),
        ("**Ann**: When?\n\n**Bob**: 10:30 am is fine.\n", [("Ann", None, "When?"), ("Bob", None, "10:30 am is fine.")]),
        ("田中：いつ？\n鈴木：10:30 です\n", [("田中", None, "いつ？"), ("鈴木", None, "10:30 です")]),
        ("00:05:00\n\nAnn: 10:30 works\nBob: ok\n", [("Ann", 300.0, "10:30 works"), ("Bob", None, "ok")]),
        # Times that go back are no times of the turns, and two tell nothing.
        ("Ann: 9:00 works\nBob: 8:30 is better\nCid: 10:00 for me\n", [("Ann", None, "9:00 works"), ("Bob", None, "8:30 is better"), ("Cid", None, "10:00 for me")]),
        ("Ann: 9:00 works\nBob: 9:30 is better\n", [("Ann", None, "9:00 works"), ("Bob", None, "9:30 is better")]),
    ],
)  # fmt: skip
def test_a_time_that_opens_a_turn_is_said(raw: str, expected: Said) -> None:
    assert said(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Ann: 0:05 hello\nBob: 0:09 hi\nAnn: 0:12 bye\nBob: bye\n", [("Ann", 5.0, "hello"), ("Bob", 9.0, "hi"), ("Ann", 12.0, "bye"), ("Bob", None, "bye")]),
        ("Host: Ann\nProject: Pier\nDate: 2026-03-02\n\nAnn: 0:05 hello\nBob: 0:09 hi\nAnn: 0:09 bye\n", [("Ann", 5.0, "hello"), ("Bob", 9.0, "hi"), ("Ann", 9.0, "bye")]),
        ("Ann: [0:05] hello\nBob: (0:09) hi\n", [("Ann", 5.0, "hello"), ("Bob", 9.0, "hi")]),
        ("Ann: 0:05\nhello\nBob: 0:09\nhi\n", [("Ann", 5.0, "hello"), ("Bob", 9.0, "hi")]),
    ],
)  # fmt: skip
def test_a_time_that_a_file_tells_is_no_speech(raw: str, expected: Said) -> None:
    assert said(raw) == expected
