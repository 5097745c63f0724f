"""Cues before anybody speaks in them: impossible times mended, repeated captions dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cofio.text.parse.reading import Warnings

# Captions roll if this share of neighbours, and at least three, show a line twice.
_ROLLING_SHARE: Final = 0.3
_ROLLING_PAIRS: Final = 3
_WORD_TIME: Final = re.compile(r"<\d{1,3}:[\d:.]{2,12}>")
_CUE_TAG: Final = re.compile(
    r"</?(?:c|lang|ruby|rt)(?:[.\s][^<>]{0,200})?>|<\d{1,3}:[\d:.]{2,12}>", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One caption as the file shows it."""

    lines: tuple[str, ...]
    start_s: float | None = None
    end_s: float | None = None


def mend_ends(cues: Sequence[Cue], warnings: Warnings) -> list[Cue]:
    """The cues, an end before its start dropped with a warning."""
    mended = []
    for cue in cues:
        if cue.start_s is not None and cue.end_s is not None and cue.end_s < cue.start_s:
            warnings.add(f"the caption at {cue.start_s:g} s ends before it starts; kept without its end")
            cue = Cue(lines=cue.lines, start_s=cue.start_s)
        mended.append(cue)
    return mended


def without_repeats(cues: Sequence[Cue]) -> list[Cue]:
    """The cues with each line shown once.

    Automatic captions roll: a cue repeats the last line of the one before it. Only if the file plainly does so
    are repeated lines dropped, for "Okay." said twice is said twice. A cue that stands twice at the same time
    is dropped in any file.
    """
    plain = [
        Cue(
            lines=tuple(line for line in (_CUE_TAG.sub("", line).strip() for line in cue.lines) if line),
            start_s=cue.start_s,
            end_s=cue.end_s,
        )
        for cue in cues
    ]
    rolls = any(_WORD_TIME.search(line) for cue in cues for line in cue.lines)
    pairs = sum(_repeats(before, after) for before, after in pairwise(plain))
    rolling = pairs >= _ROLLING_PAIRS and (rolls or pairs >= _ROLLING_SHARE * len(plain))
    kept: list[Cue] = []
    shown: Cue | None = None
    for cue in plain:
        if not cue.lines:
            continue
        if shown is not None and cue.lines == shown.lines and cue.start_s == shown.start_s:
            continue
        fresh = cue.lines
        if rolling and shown is not None and _touch(shown, cue):
            fresh = _fresh(shown.lines, cue.lines)
        shown = cue
        if fresh:
            kept.append(Cue(lines=fresh, start_s=cue.start_s, end_s=cue.end_s))
        elif kept and cue.end_s is not None:
            last = kept[-1]
            kept[-1] = Cue(lines=last.lines, start_s=last.start_s, end_s=max(last.end_s or 0.0, cue.end_s))
    return kept


def _touch(before: Cue, after: Cue) -> bool:
    if before.end_s is None or after.start_s is None:
        return False
    return after.start_s - before.end_s <= 0.5


def _repeats(before: Cue, after: Cue) -> bool:
    if not before.lines or not after.lines or not _touch(before, after):
        return False
    return after.lines[0] == before.lines[-1] or _grows(before.lines, after.lines)


def _grows(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """True for live captions, where a cue shows the one before it and some words more."""
    old, new = " ".join(before), " ".join(after)
    return len(old.split()) >= 3 and new.startswith(f"{old} ")


def _fresh(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    for size in range(min(len(before), len(after)), 0, -1):
        if before[-size:] == after[:size]:
            return after[size:]
    if _grows(before, after):
        return (" ".join(after)[len(" ".join(before)) + 1 :],)
    return after
