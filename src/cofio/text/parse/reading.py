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


def unreadable(detail: str) -> UnreadableTranscript:
    """The refusal of a transcript, with the field that names it."""
    return UnreadableTranscript(detail, field="transcript")


def limited(warnings: list[str]) -> tuple[str, ...]:
    """The warnings, the first twenty in full and the rest as a number."""
    if len(warnings) <= _MAX_WARNINGS:
        return tuple(warnings)
    return (*warnings[:_MAX_WARNINGS], f"{len(warnings) - _MAX_WARNINGS} more places were mended or skipped")


def quoted(text: str) -> str:
    """`text` in quotation marks, shortened for a message."""
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")
