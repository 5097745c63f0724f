"""Turns in running text: `Name: text`, `[00:12:03] Name: text`, `Name (00:12): text`, `Name 00:12` above its text.

One grammar for all text formats. First every line is looked at alone: could a turn begin here? Then the whole
file decides which of the prefixes are people (`names.choose_speakers`), and what is none stays in the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cofio.records import Utterance
from cofio.text.clean import clean_text
from cofio.text.parse.headers import Header, header_key, read_header
from cofio.text.parse.names import (
    Candidate,
    capitalised,
    choose_speakers,
    could_name,
    split_prefix,
    tidy_name,
)
from cofio.text.parse.times import CLOCK, find_date, seconds
from cofio.text.sentences import ends_sentence

_SPAN: Final = rf"(?P<start>{CLOCK})\s?(?P<half>[AaPp]\.?[Mm]\.?)?(?:\s?(?:-->|[-–—]|to)\s?(?P<end>{CLOCK}))?"
_LEAD: Final = re.compile(
    rf"(?P<open>[\[(<{{])?\s?{_SPAN}\s?(?P<close>[\])>}}])?(?:\s{{0,4}}[-–—|:•](?=\s|$))?(?:\s+|$)(?P<rest>.*)"
)
_NAME_TIME: Final = re.compile(
    rf"(?P<name>[^:：\n]{{1,64}}?)(?:\s{{0,8}}(?P<parted>[,:：|–—-]))?\s{{0,8}}(?P<open>[\[(<])?(?<![\w.:]){_SPAN}"
    rf"(?P<close>[\])>])?\s{{0,4}}(?P<colon>:)?(?:\s+|$)(?P<rest>.*)"
)
_WINDOW: Final = 200
# A line this long that ends no sentence was probably wrapped, so the next one goes on.
_WRAPPED: Final = 45
_NAME_LINE_SHARE: Final = 0.8
# Above this share of lines, those that begin with a time are the turns of a text without names.
_TIMED_SHARE: Final = 0.3
# Fewer turns such as `Bob: 10:30 works for me` tell nothing about how a file tells its times.
_FEWEST_COLON_TIMES: Final = 3
# What Meet, Teams and Otter write between and below the turns.
_NOBODY_SAID: Final = re.compile(
    rf"meeting ended after {CLOCK}.{{0,8}}|this editable transcript was computer generated.*|transcription ended.*"
    r"|transcribed by\s+\S*otter\.ai\S*|[^.!?:]{1,64} (?:started|stopped) transcription",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """A line on which a turn may begin."""

    line: int
    text: str  # what follows the name and the time
    whole: str  # what is said if the name proves to be none
    name: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    weak: bool = False
    firm: bool = False  # the time alone is enough to begin a turn here
    heading: bool = False  # a name and a time, the text below
    colon_time: bool = False  # `Bob: 10:30 works for me`, whose time may be said


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """The turns of a text, what stands above them, and how many of them have a speaker."""

    header: Header
    utterances: tuple[Utterance, ...]
    named: int


def read_turns(lines: Sequence[str], *, marked: Collection[int] = ()) -> Turns:
    """The turns in `lines`. Lines between two openings go on with the turn before, over blank lines too.

    A clock time on a line of its own is the start of the turn that follows it. A turn with a time but without
    a name has no speaker: nothing says whose it is. The time in `Bob: 10:30 works for me` is said, unless most
    turns have one there, at least three, and these times do not decrease. `marked` are the numbers of lines, from 0, whose prefix is
    set apart as a name, in bold for example.
    """
    stripped = ["" if _NOBODY_SAID.fullmatch(line.strip()[:_WINDOW]) else line.strip() for line in lines]
    openings = _under_headings(_openings(stripped), marked)
    listed = read_header(stripped[: openings[0].line]).participants if openings else ()
    speakers = _speakers(stripped, openings, listed)
    kept = _kept(stripped, openings, speakers)
    # A prefix above the first real turn may have been a key: "Title: Weekly".
    first = kept[0].line if kept else len(stripped)
    header = read_header(stripped[:first])
    utterances = [Utterance(text=text) for text in (clean_text(line) for line in header.rest) if text]
    for opening, stop in zip(kept, [*(later.line for later in kept[1:]), len(stripped)], strict=False):
        text = clean_text(" ".join([opening.text, *stripped[opening.line + 1 : stop]]))
        if text:
            utterances.append(
                Utterance(text=text, speaker=opening.name, start_s=opening.start_s, end_s=_end(opening))
            )
    return Turns(
        header=header,
        utterances=tuple(utterances),
        named=sum(utterance.speaker is not None for utterance in utterances),
    )


def begins_turn(line: str) -> bool:
    """True if a turn could begin on `line`, looked at alone: with what could be a name, or with a time."""
    opening = _opening(0, line.strip())
    return opening is not None and _begins(opening)


def _end(opening: _Opening) -> float | None:
    if opening.end_s is None or opening.start_s is None or opening.end_s < opening.start_s:
        return None
    return opening.end_s


def _openings(lines: list[str]) -> list[_Opening]:
    found: list[_Opening] = []
    clock: _Opening | None = None
    begun = False
    before = ""
    read = [_opening(number, line) if line else None for number, line in enumerate(lines)]
    said = not _tells_colon_times(lines, read)
    for number, line in enumerate(lines):
        if not line:
            before = ""
            continue
        opening = read[number]
        if opening is not None and opening.colon_time and said:
            opening = _untimed(number, line)
        # Keys count as header only above the first turn; "Present: ..." may be somebody's name below.
        if opening is not None and not begun and header_key(line) is not None and opening.start_s is None:
            opening = None
        if opening is not None and opening.name is not None:
            begun = True
            weak = len(before) >= _WRAPPED and not ends_sentence(before)
            opening = replace(opening, weak=opening.weak or weak)
            if clock is not None and opening.start_s is None and found and found[-1] is clock:
                found.pop()
                lines[clock.line] = ""
                opening = replace(opening, start_s=clock.start_s, firm=True, whole=line)
        clock = opening if opening is not None and opening.firm and not opening.whole else None
        if opening is not None:
            found.append(opening)
        elif found and found[-1].firm and not found[-1].whole:
            clock = None
        before = line
    return _with_name_lines(lines, found)


def _opening(number: int, line: str) -> _Opening | None:
    window, tail = line[:_WINDOW], line[_WINDOW:]
    match = _LEAD.fullmatch(window)
    if match is not None and (start := _start(match)) is not None:
        rest = (match["rest"] + tail).strip()
        bracketed = match["open"] is not None or match["close"] is not None
        firm = bracketed or not rest or match["start"].count(":") == 2
        pair = split_prefix(rest)
        return _Opening(
            line=number,
            name=pair[0] if pair else None,
            text=pair[1] if pair else rest,
            whole=rest if firm else line,
            start_s=start,
            end_s=seconds(match["end"]) if match["end"] else None,
            firm=firm,
        )
    match = _NAME_TIME.fullmatch(window)
    if match is not None and (start := _start(match)) is not None:
        rest = (match["rest"] + tail).strip()
        name = tidy_name(match["name"])
        marked = match["open"] is not None or match["colon"] is not None or not rest
        if could_name(name) and find_date(line) is None and (marked or capitalised(name)):
            return _Opening(
                line=number,
                name=name,
                text=rest,
                whole=line,
                start_s=start,
                end_s=seconds(match["end"]) if match["end"] else None,
                weak=not marked,
                heading=not rest,
                colon_time=match["parted"] in (":", "：") and match["open"] is None and bool(rest),
            )
    return _untimed(number, line)


def _untimed(number: int, line: str) -> _Opening | None:
    pair = split_prefix(line)
    return _Opening(line=number, name=pair[0], text=pair[1], whole=line) if pair else None


def _tells_colon_times(lines: Sequence[str], read: Sequence[_Opening | None]) -> bool:
    """True if `Ann: 0:05 text` is how the file tells its times, so that nobody says them."""
    starts = [opening.start_s for opening in read if opening is not None and opening.colon_time]
    if len(starts) < _FEWEST_COLON_TIMES:
        return False
    turns = sum(
        opening.colon_time or (_begins(opening) and header_key(lines[opening.line]) is None)
        for opening in read
        if opening is not None
    )
    known = [start for start in starts if start is not None]
    return 2 * len(starts) > turns and known == sorted(known)


def _begins(opening: _Opening) -> bool:
    return opening.name is not None or opening.firm


def _start(match: re.Match[str]) -> float | None:
    """Seconds of the time; `10:02 AM` is a clock time of hours and minutes."""
    text, half = match["start"], match["half"]
    if not half:
        return seconds(text)
    value = seconds(text if text.count(":") == 2 else f"{text}:00")
    if value is None or not 0 < int(text.split(":")[0]) <= 12:
        return None
    return value % 43200 + (43200 if half[0] in "Pp" else 0)


def _under_headings(openings: list[_Opening], marked: Collection[int]) -> list[_Opening]:
    """The openings without prefixes in the text under `Name 0:12` headings: "Hi: there" is said by Name.

    A prefix that is itself the name in some heading, or is set apart as a name, still opens a turn.
    """
    headings = {opening.name for opening in openings if opening.heading}
    inline = sum(opening.name is not None and not opening.heading for opening in openings)
    if not headings or sum(opening.heading for opening in openings) < min(3, inline):
        return openings
    return [
        opening
        for opening in openings
        if opening.start_s is not None or opening.name in headings or opening.line in marked
    ]


def _with_name_lines(lines: Sequence[str], openings: list[_Opening]) -> list[_Opening]:
    """The openings, `00:00:03 - Ann Lee` read as a name if all timed lines without a colon look like one."""
    taken = {opening.line for opening in openings}
    timed = [opening for opening in openings if opening.firm and opening.name is None and opening.text]
    headed = [
        opening
        for opening in timed
        if opening.line + 1 < len(lines)
        and lines[opening.line + 1]
        and opening.line + 1 not in taken
        and opening.text[-1] not in ".!?,…"
        and could_name(tidy_name(opening.text))
        and capitalised(tidy_name(opening.text))
    ]
    if not headed or len(headed) < _NAME_LINE_SHARE * len(timed):
        return openings
    chosen = {opening.line for opening in headed}
    return [
        replace(opening, name=tidy_name(opening.text), text="") if opening.line in chosen else opening
        for opening in openings
    ]


def _speakers(lines: Sequence[str], openings: Sequence[_Opening], listed: Sequence[str]) -> frozenset[str]:
    taken = {opening.line for opening in openings if opening.name is not None}
    first = min(taken, default=0)
    paragraphs = wraps = 0
    for number in range(first, len(lines)):
        if lines[number] and number not in taken:
            if number and not lines[number - 1]:
                paragraphs += 1
            else:
                wraps += 1
    candidates = [
        Candidate(name=opening.name, weak=opening.weak and bool(wraps))
        for opening in openings
        if opening.name is not None
    ]
    return choose_speakers(
        candidates,
        units=len(candidates) + paragraphs,
        every=not paragraphs and not wraps,
        listed=listed,
    )


def _kept(lines: Sequence[str], openings: Sequence[_Opening], speakers: frozenset[str]) -> list[_Opening]:
    """The openings that do begin a turn: with a speaker, or with a time that can be nothing else.

    "10:30 is fine" is a turn without a name only in a text that has many such lines and no names.
    """
    shown = sum(line != "" for line in lines)
    bare = sum(
        opening.start_s is not None and opening.name is None and not opening.firm for opening in openings
    )
    timed = bare >= max(2, _TIMED_SHARE * shown) and not any(opening.name in speakers for opening in openings)
    kept = []
    for opening in openings:
        if opening.name in speakers:
            kept.append(opening)
        elif opening.start_s is not None and opening.firm:
            kept.append(replace(opening, name=None, text=opening.whole))
        elif timed and opening.start_s is not None and opening.name is None:
            kept.append(opening)
    return kept
