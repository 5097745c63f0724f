"""The chat that Zoom saves, old and new."""

from __future__ import annotations

import re
from typing import Final

from cofio.records import Utterance
from cofio.text.clean import clean_text
from cofio.text.parse.names import tidy_name
from cofio.text.parse.reading import Reading, Warnings, unreadable
from cofio.text.parse.times import seconds

_TIME: Final = r"(?P<time>\d{1,2}:\d{2}:\d{2})(?:\s?(?P<half>[AaPp][Mm]))?"
# 14:03:22 From Ann Lee to Everyone:<newline><tab>text   and   14:03:22 From  Ann Lee : text
_FROM: Final = re.compile(
    rf"{_TIME}\s{{1,8}}From\s{{1,8}}(?P<name>\S.{{0,79}}?)"
    rf"(?:\s{{1,8}}[Tt]o\s{{1,8}}(?P<to>\S.{{0,119}}?))?\s{{0,8}}:(?:\s(?P<text>.*))?"
)
# 00:08:15<tab>Ann Lee:<tab>text, as in a cloud recording
_TABBED: Final = re.compile(rf"{_TIME}\t\s?(?P<name>[^\t]{{1,100}}?)\s?:(?:[\t ](?P<text>.*))?")
_PRIVATE: Final = re.compile(r"\((?:direct message|privately)\)", re.IGNORECASE)
_REACTION: Final = re.compile(
    r"(?:reacted to\b.{1,400}\bwith\b.{1,40}|removed an? .{1,40} ?reaction from\b.*)",
    re.IGNORECASE | re.DOTALL,
)
_REPLY: Final = re.compile(r"replying to\s+[\"“]", re.IGNORECASE)
# Times from the start of a recording hardly begin with the seventh hour; times of the day mostly do.
_CLOCK_FROM_S: Final = 6 * 3600.0


def is_message(line: str) -> bool:
    """True if a chat message begins on `line`."""
    return _FROM.fullmatch(line[:400]) is not None or _TABBED.fullmatch(line[:400]) is not None


def read_zoom_chat(text: str) -> Reading:
    """One utterance for each message, with the sender and the time as the file gives it.

    Reactions are left out. A reply keeps what its writer wrote, not what it quotes. Direct messages are kept,
    with a warning that counts them. Chats saved on a computer carry the time of day: it is kept as seconds
    since midnight, with a warning, since the start of the recording is not known.
    """
    messages: list[tuple[str, float | None, bool, list[str]]] = []
    stray = 0
    for line in text.split("\n"):
        head, tail = line[:400], line[400:]
        match = _FROM.fullmatch(head) or _TABBED.fullmatch(head)
        if match is not None:
            private = match.groupdict().get("to") or ""
            name = _PRIVATE.sub("", match["name"])
            messages.append(
                (
                    tidy_name(name),
                    _seconds(match["time"], match["half"]),
                    _PRIVATE.search(private + match["name"]) is not None,
                    [(match["text"] or "") + tail],
                )
            )
        elif messages:
            messages[-1][3].append(line)
        elif line.strip():
            stray += 1
    if not messages:
        raise unreadable(
            f"No chat messages were found in {text.count(chr(10)) + 1} lines; a message begins with a line such as "
            "'00:12:03<tab>Ann Lee:<tab>text' or '14:03:22 From Ann Lee to Everyone:'."
        )
    utterances = []
    reactions = direct = 0
    for name, start_s, private, lines in messages:
        body = "\n".join(lines).strip()
        if _REACTION.fullmatch(body[:1000]):
            reactions += 1
            continue
        said = clean_text(_own_words(body))
        if said:
            direct += private
            utterances.append(Utterance(text=said, speaker=name or None, start_s=start_s))
    warnings = Warnings()
    if stray:
        warnings.add(f"lines above the first message, skipped: {stray}")
    if reactions:
        warnings.add(f"reactions, left out: {reactions}")
    if direct:
        warnings.add(f"direct messages, kept among the others: {direct}; remove them if they are private")
    if messages[0][1] is not None and messages[0][1] >= _CLOCK_FROM_S:
        warnings.add("the times are times of day; they are kept as seconds since midnight")
    return Reading(utterances=tuple(utterances), warnings=warnings.told())


def _seconds(text: str, half: str | None) -> float | None:
    value = seconds(text)
    if value is None or not half:
        return value
    return value % 43200 + (43200 if half[0] in "Pp" else 0)


def _own_words(body: str) -> str:
    """A reply without the message that it quotes."""
    match = _REPLY.match(body)
    if match is None:
        return body
    for closing in ('"\n', "”\n", '" ', "” "):
        at = body.find(closing, match.end())
        if at >= 0:
            return body[at + len(closing) :]
    return "" if body[-1:] in '"”' else body
