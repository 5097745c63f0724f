from __future__ import annotations

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
