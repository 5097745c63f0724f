"""Single words with their times become turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from cofio.records import Utterance
from cofio.text.parse.join import Piece

# A pause beyond this ends a turn.
_MAX_GAP_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One recognised word."""

    text: str
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None


def turns_of_words(words: Sequence[Word]) -> tuple[Utterance, ...]:
    """Turns of one speaker each, cut at pauses above 2 s, with a mark at every word."""
    turns: list[list[Word]] = []
    for word in words:
        last = turns[-1][-1] if turns else None
        if last is None or last.speaker != word.speaker or _pause(last, word) > _MAX_GAP_S:
            turns.append([])
        turns[-1].append(word)
    return tuple(_turn(turn) for turn in turns)


def pieces_of_words(words: Sequence[Word]) -> list[Piece]:
    """One piece for each run of words of one speaker, to be joined with its neighbours like a caption."""
    return [
        Piece(
            text=turn.text,
            speaker=turn.speaker,
            start_s=turn.start_s,
            end_s=turn.end_s,
            marks=turn.marks,
        )
        for _, run in groupby(words, key=lambda word: word.speaker)
        for turn in (_turn(list(run)),)
    ]


def _pause(before: Word, after: Word) -> float:
    if before.end_s is None or after.start_s is None:
        return 0.0
    return after.start_s - before.end_s


def _turn(words: Sequence[Word]) -> Utterance:
    marks = []
    offset = 0
    for word in words:
        if word.start_s is not None:
            marks.append((offset, word.start_s))
        offset += len(word.text) + 1
    return Utterance(
        text=" ".join(word.text for word in words),
        speaker=words[0].speaker,
        start_s=next((word.start_s for word in words if word.start_s is not None), None),
        end_s=next((word.end_s for word in reversed(words) if word.end_s is not None), None),
        marks=tuple(marks),
    )
