"""Which format a text is in, by what it holds and never by a file's name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cofio.text.parse.headers import header_key, read_header
from cofio.text.parse.markdown import BOLD_START, name_headings
from cofio.text.parse.names import capitalised, could_name, tidy_name
from cofio.text.parse.otter import NAME_AND_TIME
from cofio.text.parse.subtitles import timing
from cofio.text.parse.turns import begins_turn, read_turns
from cofio.text.parse.zoom_chat import is_message
from cofio.text.terms import count_words

# The head of a file shows its format; a long preamble is not searched for ever.
_HEAD_LINES: Final = 400
_HEAD_CHARACTERS: Final = 100_000
# Fewer words without a speaker or a time are no transcript.
_PROSE_WORDS: Final = 20


def detect(text: str) -> str | None:
    """The format of `text`: a name of `FORMATS`, `json` for any JSON, or None if nothing fits."""
    stripped = text.lstrip()
    if stripped.startswith("WEBVTT"):
        return "webvtt"
    if is_json(stripped):
        return "json"
    lines = [line.strip() for line in stripped[:_HEAD_CHARACTERS].split("\n")[:_HEAD_LINES]]
    return _subtitles(lines) or _text(lines, stripped)


def is_json(text: str) -> bool:
    """Whether `text`, without white space before it, begins as JSON that may hold a transcript."""
    if text.startswith("{"):
        return True
    # "[00:12:03] Ann: hello" begins with a bracket too.
    return text.startswith("[") and text[1:100].lstrip()[:1] in ("{", "[", '"', "]")


def _subtitles(lines: Sequence[str]) -> str | None:
    arrows = [line for line in lines if "->" in line and timing(line) is not None]
    commas = [line for line in lines if "->" not in line and timing(line, "sbv") is not None]
    if len(commas) > len(arrows):
        return "sbv"
    if not arrows:
        return None
    if any(line == "WEBVTT" or line.startswith("WEBVTT ") for line in lines):
        return "webvtt"
    with_comma = sum("," in line.split("-->")[0] for line in arrows)
    return "srt" if 2 * with_comma >= len(arrows) else "webvtt"


def _text(lines: Sequence[str], text: str) -> str | None:
    shown = [line for line in lines if line]
    if _is_chat(lines):
        return "zoom_chat"
    name_lines = bold = 0
    for line in shown:
        match = NAME_AND_TIME.fullmatch(line[:200])
        name = tidy_name(match["name"]) if match is not None else ""
        if could_name(name) and capitalised(name):
            name_lines += 1
        elif (found := BOLD_START.fullmatch(line[:200])) is not None and found["rest"].strip():
            bold += 1
    if name_lines > bold:
        return "otter"
    if bold and could_name(tidy_name(_first_bold(shown).rstrip(":"))):
        return "speaker_markdown"
    if name_headings(lines):
        return "speaker_markdown"
    turns = read_turns(lines)
    if turns.named or any(utterance.start_s is not None for utterance in turns.utterances):
        return "speaker_markdown" if any(line.startswith("#") for line in shown) else "plain"
    return "plain" if count_words(text[:_HEAD_CHARACTERS]) >= _PROSE_WORDS else None


def _is_chat(lines: Sequence[str]) -> bool:
    """True if messages outnumber the other turns, or only a header stands above them.

    The chat's reader skips what stands above the first message, so one message in a transcript makes no chat.
    """
    messages = [number for number, line in enumerate(lines) if _is_chat_line(line)]
    if not messages:
        return False
    names = name_headings(lines)
    turns = [
        number
        for number, line in enumerate(lines)
        if header_key(line) is None and not _is_chat_line(line) and _begins_turn(line, names)
    ]
    if len(messages) > len(turns):
        return True
    first = messages[0]
    return (not turns or turns[0] > first) and not read_header(lines[:first]).rest


def _is_chat_line(line: str) -> bool:
    return is_message(line) and ("From " in line[:24] or "\t" in line[:12])


def _begins_turn(line: str, names: Collection[str]) -> bool:
    return (
        begins_turn(line)
        or BOLD_START.fullmatch(line[:200]) is not None
        or (line.startswith("#") and tidy_name(line.lstrip("#")) in names)
    )


def _first_bold(lines: Sequence[str]) -> str:
    return next((match["inner"] for line in lines if (match := BOLD_START.fullmatch(line[:200]))), "")
