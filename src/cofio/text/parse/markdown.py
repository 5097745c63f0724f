"""Markdown transcripts: `**Name** [00:12:03] text`, `**Name:** text`, `### Name`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from cofio.text.parse.named import read_plain
from cofio.text.parse.names import capitalised, could_name, tidy_name
from cofio.text.parse.reading import Reading
from cofio.text.parse.times import CLOCK, seconds

BOLD_START: Final = re.compile(
    r"[>\s]{0,4}(?:[-*+]\s+)?(?:\*\*|__)(?P<inner>[^*_\n][^*\n]{0,79}?)(?:\*\*|__)(?P<rest>.*)"
)
_HEADING: Final = re.compile(r"(?P<level>#{1,6})\s+(?P<text>\S.{0,79})")
_EMPHASISED_TIME: Final = re.compile(rf"(?<![\w*_])[*_]{{1,2}}([\[(]?{CLOCK}[\])]?)[*_]{{1,2}}(?![\w*_])")
_BOLD: Final = re.compile(r"(?<![\w*])\*{1,3}(?=\S)([^*\n]{1,300})(?<=\S)\*{1,3}(?!\w)")
_ITALIC: Final = re.compile(r"(?<![\w_])_{1,2}(?=\S)([^_\n]{1,300})(?<=\S)_{1,2}(?!\w)")
_LINK: Final = re.compile(r"!?\[([^\[\]\n]{1,200})\]\([^()\s]{1,500}\)")
_TIME: Final = re.compile(rf"[\[(<]?{CLOCK}[\])>]?")


def read_markdown(text: str) -> Reading:
    """The turns of a Markdown transcript, its emphasis and links reduced to their text."""
    lines = text.split("\n")
    headings = name_headings(lines)
    marked = {number for number, line in enumerate(lines) if BOLD_START.match(line[:200])}
    return read_plain("\n".join(_plain_line(line.strip(), headings) for line in lines), marked=marked)


def name_headings(lines: Sequence[str]) -> frozenset[str]:
    """The names that stand as headings over what they say: headings that recur, and others that look alike."""
    found = Counter(
        (match["level"], tidy_name(match["text"]))
        for line in lines
        if (match := _HEADING.fullmatch(line.strip()))
    )
    levels = {level for (level, name), count in found.items() if count > 1 and could_name(name)}
    return frozenset(
        name
        for (level, name), count in found.items()
        if level in levels and could_name(name) and (count > 1 or capitalised(name))
    )


def without_emphasis(text: str) -> str:
    """`text` without Markdown's marks for bold, italic and links."""
    return _LINK.sub(r"\1", _ITALIC.sub(r"\1", _BOLD.sub(r"\1", text)))


def _plain_line(line: str, headings: Collection[str]) -> str:
    """`line` as plain text would write it."""
    heading = _HEADING.fullmatch(line)
    if heading is not None:
        name = tidy_name(heading["text"])
        if name in headings:
            return f"{name}:"
        return without_emphasis(heading["text"]) if _TIME.search(heading["text"]) else line
    line = _EMPHASISED_TIME.sub(r"\1", line)
    match = BOLD_START.fullmatch(line)
    if match is None:
        return without_emphasis(line)
    inner, rest = match["inner"].strip(), without_emphasis(match["rest"].strip())
    name = tidy_name(inner.rstrip(":").strip())
    if seconds(name) is not None or inner.endswith(":") or rest[:1] == ":" or _TIME.match(rest):
        return f"{inner} {rest.removeprefix(': ')}" if inner.endswith(":") else f"{inner}{_gap(rest)}{rest}"
    if could_name(name) and rest and not _TIME.search(inner):
        dashed = rest.lstrip("-–— ")
        return f"{name}: {dashed}" if dashed != rest or rest[0].isupper() else f"{inner} {rest}"
    return f"{inner} {rest}".strip()


def _gap(rest: str) -> str:
    return "" if rest.startswith(":") else " "
