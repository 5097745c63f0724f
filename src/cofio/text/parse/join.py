"""Fragments of one utterance become one utterance again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cofio.records import Utterance
from cofio.text.sentences import ends_sentence
from cofio.text.terms import count_words

# A pause beyond this ends what was being said, finished or not.
_MAX_GAP_S: Final = 2.0
# Longer than this, a joined utterance says more than one vector can hold.
_MAX_WORDS: Final = 60
# Below this share of finished fragments the recogniser does not punctuate at all.
_PUNCTUATED: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A fragment in cleaned text. `opens` says that a turn begins here, whoever speaks."""

    text: str
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    opens: bool = False
    marks: tuple[tuple[int, float], ...] = ()  # offsets in this text


def join_pieces(pieces: Iterable[Piece]) -> tuple[Utterance, ...]:
    """Utterances in which fragments of one are joined, each with a mark where it began.

    A fragment goes on with the one before it if the speaker is the same, the one before does not end a
    sentence, the pause is at most 2 s and both together have at most 60 words. Fragments without a speaker are
    joined only where nobody is named: elsewhere they may be two people's. In text without punctuation the next fragment must also begin in lower case, else captions that are lines of their
    own would run together.
    """
    kept = [piece for piece in pieces if piece.text]
    finished = sum(ends_sentence(piece.text) for piece in kept)
    punctuated = finished >= _PUNCTUATED * len(kept)
    named = any(piece.speaker is not None for piece in kept)
    joined: list[Utterance] = []
    group: list[Piece] = []
    words = 0
    for piece in kept:
        size = count_words(piece.text)
        if group and (
            words + size > _MAX_WORDS
            or not _goes_on(group[-1], piece)
            or (named and piece.speaker is None)
            or (not punctuated and piece.text[:1].isupper())
        ):
            joined.append(_merge(group))
            group, words = [], 0
        group.append(piece)
        words += size
    if group:
        joined.append(_merge(group))
    return tuple(joined)


def _goes_on(before: Piece, after: Piece) -> bool:
    if after.opens or before.speaker != after.speaker:
        return False
    if before.start_s is None or before.end_s is None or after.start_s is None:
        return False
    if after.start_s < before.start_s or after.start_s - before.end_s > _MAX_GAP_S:
        return False
    return not ends_sentence(before.text)


def _merge(group: Sequence[Piece]) -> Utterance:
    marks: list[tuple[int, float]] = []
    offset = 0
    for piece in group:
        if piece.marks:
            marks.extend((offset + at, start_s) for at, start_s in piece.marks)
        elif piece.start_s is not None:
            marks.append((offset, piece.start_s))
        offset += len(piece.text) + 1
    return Utterance(
        text=" ".join(piece.text for piece in group),
        speaker=group[0].speaker,
        start_s=group[0].start_s,
        end_s=group[-1].end_s,
        marks=tuple(marks) if len(marks) > 1 else (),
    )
