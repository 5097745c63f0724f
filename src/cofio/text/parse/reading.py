"""What the readers of the formats hand back, and what they share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from cofio.errors import UnreadableTranscript
from cofio.records import Utterance

_MAX_WARNINGS: Final = 20
_QUOTED: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reader found. `participants` are those that a header lists, not the speakers."""

    utterances: tuple[Utterance, ...]
    title: str | None = None
    date: date | None = None
    participants: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def unreadable(detail: str, *, kept: str | None = None) -> UnreadableTranscript:
    """The refusal of a transcript, with the field that names it. A `detail` that quotes is `kept` without the quote."""
    return UnreadableTranscript(detail, field="transcript", kept=kept)


class Warnings:
    """What was mended or skipped: the first twenty in full, and how many more."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._more = 0

    def add(self, warning: str) -> None:
        """The warning is kept, or counted where there are twenty."""
        if len(self._first) < _MAX_WARNINGS:
            self._first.append(warning)
        else:
            self._more += 1

    def told(self) -> tuple[str, ...]:
        """The first twenty, and the number of the others if there are any."""
        more = (f"{self._more} more places were mended or skipped",) if self._more else ()
        return (*self._first, *more)


def quoted(text: str) -> str:
    """`text` in quotation marks, shortened for a message."""
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")
