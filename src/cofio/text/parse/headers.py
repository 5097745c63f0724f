"""Title, date and participants from the lines above the first turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from cofio.text.clean import clean_text
from cofio.text.parse.names import could_name, distinct, tidy_name
from cofio.text.parse.times import find_date

_TITLE: Final = frozenset({"title", "meeting", "meeting title", "meeting name", "topic", "subject", "event"})
_DATE: Final = frozenset(
    {"date", "meeting date", "recorded", "recorded on", "date and time", "when", "datetime"}
)
_PEOPLE: Final = frozenset(
    {
        "participants",
        "attendees",
        "present",
        "speakers",
        "in attendance",
        "invited",
        "people",
        "members",
        "guests",
    }
)
_OTHER: Final = frozenset(
    """time|location|duration|host|organizer|organiser|meeting id|language|kind|project|series|room|length|place
    |recording|start time|end time|start|end|source|url|link|version|id|format|transcribed by|summary keywords
    |keywords|transcript|created|exported|participant count""".replace("\n", "")
    .replace("    ", "")
    .split("|")
)
_KEY: Final = re.compile(r"[#*_\s>-]{0,8}([A-Za-z][A-Za-z ]{1,24}?)\s?[*_]{0,3}\s?:[*_]{0,3}(?:\s+(.*))?")
_SECTION: Final = re.compile(
    r"[#*_\s]{0,8}([A-Za-z][A-Za-z ]{1,24}?)\s?(?:\(\d+\)\s?)?[*_]{0,3}:?[*_]{0,3}\s*"
)
_PERSON_NOTE: Final = re.compile(r"\s*[(<\[][^()<>\[\]]{0,80}[)>\]]\s*$")
_LONGEST_TITLE: Final = 120
# "Sync - 2026/03/02 10:00 CET - Transcript" of Meet, "Sync-20260302_100000-Meeting Recording" of Teams
_TITLE_TAIL: Final = re.compile(
    r"(?:\s+[-–—]\s+(?:\d{4}[-/].{0,40}|transcript|notes|recording)|-\d{8}_\d{6}.{0,30})\s*$", re.IGNORECASE
)
_LENGTH: Final = re.compile(
    r"(?:\d{1,3}\s?(?:hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)[\s,]{0,3}){1,3}", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the lines above the first turn say. `rest` are those that say something else."""

    title: str | None = None
    date: date | None = None
    participants: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


def header_key(line: str) -> str | None:
    """The key of a header line such as `Date: 2026-03-02`, in lower case; None for any other line."""
    match = _KEY.fullmatch(line[:400]) or _SECTION.fullmatch(line[:400])
    key = match[1].strip().lower() if match else ""
    return key if key in _TITLE or key in _DATE or key in _PEOPLE or key in _OTHER else None


def read_header(lines: Sequence[str]) -> Header:
    """The title, date and participants in `lines`, which stand above the first turn.

    Known keys are read (`Title:`, `Date:`, `Participants:` …), as headings with their lists below them too.
    Without a title key, the first short line that ends no sentence is the title, or a Markdown heading.
    """
    title: str | None = None
    day: date | None = None
    people: list[str] = []
    rest: list[str] = []
    section = ""
    for line in lines:
        stripped = line.strip()
        if not stripped:
            section = section if section == "people" and not people else ""
            continue
        key = header_key(stripped)
        if key is not None:
            match = _KEY.fullmatch(stripped)
            value = (match[2] or "").strip() if match else ""
            section = ""
            if key in _TITLE:
                title = title or clean_text(value).strip("*_ ") or None
            elif key in _DATE:
                day = day or find_date(value)
            elif key in _PEOPLE:
                people.extend(split_people(value))
                section = "people"
            else:
                section = "other" if not value else ""
            day = day or find_date(value)
            continue
        if section == "people":
            people.extend(split_people(stripped))
        elif section == "":
            day = day or find_date(stripped)
            if title is None and _is_title(stripped, alone=not rest):
                title = _title(stripped)
            elif len(stripped) > _LONGEST_TITLE or not (find_date(stripped) or _LENGTH.fullmatch(stripped)):
                rest.append(stripped)
    return Header(title=title, date=day, participants=distinct(people), rest=tuple(rest))


def split_people(text: str) -> list[str]:
    """The names in a list such as `Ann Lee (Acme), Bob; Cid`. A `Lee, Ann; Ray, Bob` list keeps its commas."""
    separator = r"[;•\t]" if ";" in text else r"[,•\t]|\s+and\s+"
    names = (
        tidy_name(_PERSON_NOTE.sub("", re.sub(r"^\s*(?:[-*+•]|\d{1,2}[.)])\s+", "", part)))
        for part in re.split(separator, text[:4000])
    )
    return [name for name in names if could_name(name)]


def _is_title(line: str, *, alone: bool) -> bool:
    if line.startswith("#"):
        return True
    plain = line.strip("*_ ")
    return (
        alone
        and 0 < len(plain) <= _LONGEST_TITLE
        and plain[-1] not in ".!?…,;:"
        and _without_date(plain) != ""
    )


def _title(line: str) -> str | None:
    return clean_text(_TITLE_TAIL.sub("", line.strip("#*_ "))) or None


def _without_date(line: str) -> str:
    """`line` if it is more than a date, a time or a length; else nothing."""
    if find_date(line) is None:
        return line if re.search(r"[^\W\d_]{2}", line) else ""
    words = re.findall(r"[^\W\d_]{2,}", line)
    months_and_days = re.compile(
        r"(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*|am|pm|utc|gmt|"
        r"c?est|cet|[ecmp]d?st|st|nd|rd|th|at|on|min|mins|hours?|of",
        re.IGNORECASE,
    )
    return line if any(not months_and_days.fullmatch(word) for word in words) else ""
