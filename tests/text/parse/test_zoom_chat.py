from __future__ import annotations

import pytest

from cofio.text.parse import parse_transcript


def test_new_style() -> None:
    transcript = parse_transcript(
        "00:01:23 From Ann Lee to Everyone:\n\tHello\n\tall: of you\n"
        "00:01:30 From Bob Ray to Ann Lee(Direct Message):\n\tpsst\n"
        '00:02:00 From Bob Ray to Everyone:\n\tReplying to "Hello\nall: of you"\n\t\n\tgm\n'
        '00:02:10 From Bob Ray to Everyone:\n\tReacted to "Hello" with 👍\n'
        '00:02:11 From Bob Ray to Everyone:\n\tRemoved a 👍 reaction from "Hello"\n'
    )
    assert transcript.format == "zoom_chat"
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        ("Ann Lee", 83.0, "Hello all: of you"),
        ("Bob Ray", 90.0, "psst"),
        ("Bob Ray", 120.0, "gm"),
    ]
    assert transcript.warnings == (
        "reactions, left out: 2",
        "direct messages, kept among the others: 1; remove them if they are private",
    )


def test_old_style_and_times_of_day() -> None:
    transcript = parse_transcript(
        "14:03:22\t From  Ann Lee : hi: there\n14:03:30\t From  Bob to Ann Lee (Privately) : ok\n"
    )
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        ("Ann Lee", 50602.0, "hi: there"),
        ("Bob", 50610.0, "ok"),
    ]
    assert transcript.warnings[-1].startswith("the times are times of day")


def test_cloud_recording() -> None:
    transcript = parse_transcript(
        "00:08:15\tjihoon:\tgm!\r\n00:16:42\tAnn | Acme:\tEEST: https://x.org/1\n\nmore: https://x.org/2\r\n"
        '00:17:00\tjihoon:\tReplying to "EEST: https..." \r\n\r\nthanks\r\n'
    )
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        ("jihoon", 495.0, "gm!"),
        ("Ann | Acme", 1002.0, "EEST: https://x.org/1 more: https://x.org/2"),
        ("jihoon", 1020.0, "thanks"),
    ]


TIMED = "".join(f"[00:00:{number:02}] Ann: line {number}\n" for number in range(50))


def test_one_message_makes_no_chat_of_a_transcript() -> None:
    raw = f"{TIMED}00:01:02\tFrom: the chat\n"
    transcript = parse_transcript(raw)
    assert transcript.format == "plain"
    assert [(u.speaker, u.start_s, u.text) for u in transcript.utterances] == [
        *(("Ann", float(number), f"line {number}") for number in range(50)),
        (None, 62.0, "From: the chat"),
    ]
    assert transcript.warnings == ()
    asked = parse_transcript(raw, format="zoom_chat")
    assert [u.text for u in asked.utterances] == ["the chat"]
    assert asked.warnings == ("lines above the first message, skipped: 50",)


@pytest.mark.parametrize(
    ("above", "format"),
    [
        ("**Ann:** hello\n\n**Bob:** hi\n", "speaker_markdown"),
        ("### Ann\nhello\n\n### Bob\nhi\n\n### Ann\nbye\n", "speaker_markdown"),
        ("Ann  0:03\nhello\n\nBob  0:09\nhi\n", "otter"),
        ("Ann: hello\n", "plain"),
    ],
)
def test_turns_above_a_message_are_kept(above: str, format: str) -> None:
    transcript = parse_transcript(f"{above}\n00:01:02 From Ann to Everyone:\n\tsee the link\n")
    assert transcript.format == format
    assert (transcript.utterances[0].speaker, transcript.utterances[0].text) == ("Ann", "hello")
    assert transcript.utterances[-1].text.endswith("see the link")


@pytest.mark.parametrize(
    "above",
    ["", "Meeting chat\nDate: 2026-03-02\nParticipants: Ann, Bob\n\n"],
    ids=["nothing", "a header"],
)
def test_messages_of_many_lines_are_a_chat(above: str) -> None:
    transcript = parse_transcript(
        f"{above}00:01:02 From Ann to Everyone:\n\tBob: the pier\n\tCid: the crane\n"
    )
    assert transcript.format == "zoom_chat"
    assert [(u.speaker, u.text) for u in transcript.utterances] == [("Ann", "Bob: the pier Cid: the crane")]


def test_more_messages_than_turns_are_a_chat() -> None:
    messages = "".join(f"00:01:0{number}\tAnn:\tgm\n" for number in range(3))
    assert parse_transcript(f"Bob: left over\n{messages}").format == "zoom_chat"
