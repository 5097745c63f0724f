"""WebVTT, SRT and SBV, the whole ones by webvtt-py and the broken ones leniently."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from cofio.text.clean import clean_text
from cofio.text.parse.cues import Cue, mend_ends, without_repeats
from cofio.text.parse.headers import read_header
from cofio.text.parse.join import join_pieces
from cofio.text.parse.reading import Reading, Warnings, quoted, unreadable
from cofio.text.parse.times import CLOCK, seconds
from cofio.text.parse.voices import voiced

_ARROW: Final = re.compile(rf"\s*({CLOCK})\s*(?:-{{1,3}}>|[–—→]>?|=>)\s*({CLOCK})(?:\s.*)?")
_COMMA: Final = re.compile(r"\s*(\d{1,3}:\d{1,2}:\d{1,2}[.,]\d{1,6}),(\d{1,3}:\d{1,2}:\d{1,2}[.,]\d{1,6})\s*")
# A line that was meant as a timing line: two halves, the first of them beginning like a time.
_BROKEN: Final = re.compile(r"\s*([\d:.,;\w]{1,16}?)\s*(?:-->|,(?=\d+:\d))\s*([\d:.,;\w]{0,16})(?:\s.*)?")
_SETTINGS: Final = ("NOTE", "STYLE", "REGION")


def read_webvtt(text: str) -> Reading:
    """The utterances of a WebVTT file: Zoom's, Teams', generic or automatic captions."""
    return _read(text, "webvtt")


def read_srt(text: str) -> Reading:
    """The utterances of an SRT file."""
    return _read(text, "srt")


def read_sbv(text: str) -> Reading:
    """The utterances of an SBV file."""
    return _read(text, "sbv")


def timing(line: str, kind: str | None = None) -> tuple[float | None, float | None] | None:
    """Start and end of a timing line, None for a time that cannot be read; None if it is no timing line."""
    if "-" not in line and "," not in line and "→" not in line and ">" not in line:
        return None
    short = line[:200]
    match = (_ARROW.fullmatch(short) if kind != "sbv" else None) or _COMMA.fullmatch(short)
    if match is not None:
        return seconds(match[1]), seconds(match[2])
    match = _BROKEN.fullmatch(short)
    if match is not None and match[1][:1].isdigit() and (":" in match[1] or ":" in match[2]):
        return seconds(match[1]), seconds(match[2])
    return None


def _read(text: str, kind: str) -> Reading:
    lines = text.split("\n")
    warnings = Warnings()
    cues = _strict(lines, kind)
    if cues is None:
        cues = _lenient(lines, kind, warnings)
    pieces = voiced(without_repeats(mend_ends(cues, warnings)))
    notes = _notes(lines) if kind == "webvtt" else []
    header = read_header([line for line in notes if ":" in line])
    title = header.title
    if title is None and lines[0].startswith("WEBVTT"):
        title = clean_text(lines[0][6:].lstrip(" \t-–—:")) or None
    return Reading(
        utterances=join_pieces(pieces),
        title=title,
        date=header.date,
        participants=header.participants,
        warnings=warnings.told(),
    )


def _strict(lines: Sequence[str], kind: str) -> list[Cue] | None:
    """The cues as webvtt-py reads them, or None if the file is broken or a line of it would be lost."""
    arrows = sum(("-->" in line) if kind != "sbv" else (timing(line, kind) is not None) for line in lines)
    if _has_stray_text(lines, kind):
        return None
    try:
        if kind == "webvtt":
            captions = webvtt.from_string("\n".join(lines), strict=True).captions
        else:
            captions = webvtt.from_buffer(lines, format=kind).captions
    except (MalformedFileError, MalformedCaptionError):
        return None
    if len(captions) != arrows or any(not caption.raw_text.strip() for caption in captions):
        return None
    cues = []
    for caption in captions:
        start, end = caption.start_time, caption.end_time
        cues.append(
            Cue(
                lines=tuple(caption.lines),
                start_s=_in_seconds(start.to_tuple()),
                end_s=_in_seconds(end.to_tuple()),
            )
        )
    return cues


def _in_seconds(parts: tuple[int, int, int, int]) -> float:
    hours, minutes, secs, milliseconds = parts
    return round(hours * 3600 + minutes * 60 + secs + milliseconds / 1000, 3)


def _has_stray_text(lines: Sequence[str], kind: str) -> bool:
    """True if a block of lines has no timing line and is no comment: webvtt-py would drop or misplace it."""
    block: list[str] = []
    first = kind == "webvtt"
    for line in (*lines, ""):
        # In WebVTT only an empty line ends a block; automatic captions begin with a line of one space.
        if line if kind == "webvtt" else line.strip():
            block.append(line)
        elif block:
            timed = any(timing(line, kind) is not None or "-->" in line for line in block)
            if not timed and not first and not block[0].startswith(_SETTINGS):
                return True
            first = False
            block = []
    return False


def _notes(lines: Sequence[str]) -> list[str]:
    """The lines of the comments above the first cue."""
    notes: list[str] = []
    inside = False
    for line in lines:
        if "-->" in line:
            break
        if line.startswith("NOTE"):
            inside = True
            notes.append(line[4:].strip())
        elif not line.strip():
            inside = False
        elif inside:
            notes.append(line.strip())
    return notes


# The lines of a cue to which more may come, its start and its end.
_OpenCue = tuple[list[str], float | None, float | None]


def _lenient(lines: Sequence[str], kind: str, warnings: Warnings) -> list[Cue]:
    """The cues of a broken file: what has a timing line, and text that lost its own, without times."""
    if kind == "webvtt" and not lines[0].startswith("WEBVTT"):
        warnings.add("line 1: the WEBVTT header is missing")
    cues: list[_OpenCue] = []
    timed = 0
    for number, block in _blocks(lines, kind):
        at = next((i for i, line in enumerate(block) if timing(line, kind) is not None), None)
        if at is None:
            _take_untimed(number, block, cues, warnings)
            continue
        timed += 1
        start_s, end_s = timing(block[at], kind) or (None, None)
        body = [line for line in block[at + 1 :] if line.strip()]
        where = f"line {number + at}"
        if start_s is None or end_s is None:
            which = "start" if start_s is None else "end"
            warnings.add(f"{where}: unreadable time in {quoted(block[at].strip())}; kept without its {which}")
        if not body:
            warnings.add(f"{where}: a caption without text was skipped")
            continue
        cues.append((body, start_s, end_s))
    if not timed:
        example = "0:00:01.000,0:00:04.000" if kind == "sbv" else "00:00:01.000 --> 00:00:04.000"
        if any(line.strip() for line in lines if not line.startswith("WEBVTT")):
            raise unreadable(
                f"No caption times were found in {len(lines)} lines read as {kind}; a caption needs a line such as "
                f"{example} above its text. If this is another format, name it in `format` or leave `format` out."
            )
    return [Cue(lines=tuple(body), start_s=start_s, end_s=end_s) for body, start_s, end_s in cues]


def _blocks(lines: Sequence[str], kind: str) -> list[tuple[int, list[str]]]:
    """Blocks of lines with the number of their first line. A timing line begins one, blank line or not."""
    blocks: list[tuple[int, list[str]]] = []
    block: list[str] = []
    skipping = False
    for number, line in enumerate((*lines, ""), 1):
        if not line.strip():
            if line and block and timing(block[-1], kind) is not None:
                continue  # a line of one space, with which automatic captions begin
            if block:
                blocks.append((number - len(block), block))
            block, skipping = [], False
            continue
        if not block and (line.startswith("WEBVTT") or (kind == "webvtt" and line.startswith(_SETTINGS))):
            skipping = True
        if timing(line, kind) is not None:
            skipping = False
            if any(timing(earlier, kind) is not None for earlier in block):
                # The index of the cue that begins here may stand at the end of the one before.
                index = [block.pop()] if block[-1].strip().isdigit() else []
                blocks.append((number - len(block) - len(index), block))
                block = index
        if not skipping:
            block.append(line)
    return blocks


def _take_untimed(number: int, block: list[str], cues: list[_OpenCue], warnings: Warnings) -> None:
    """Keep text without times: under an index it is a caption of its own, else it goes on with the last."""
    indexed = block[0].strip().isdigit()
    body = block[1:] if indexed else block
    if not body:
        warnings.add(f"line {number}: a caption number without a caption was skipped")
    elif indexed or not cues:
        warnings.add(f"line {number}: no times above {quoted(body[0].strip())}; kept without times")
        cues.append((body, None, None))
    else:
        warnings.add(
            f"line {number}: {quoted(body[0].strip())} follows a blank line; taken as part of the caption"
        )
        cues[-1][0].extend(body)
