"""Who speaks in a cue: voice tags, `Name: text`, or a name on the first line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cofio.text.clean import clean_text
from cofio.text.parse.cues import Cue
from cofio.text.parse.join import Piece
from cofio.text.parse.names import (
    Candidate,
    capitalised,
    choose_speakers,
    could_name,
    split_prefix,
    tidy_name,
)
from cofio.text.sentences import ends_sentence

_VOICE: Final = re.compile(r"<v(?:\.[^\s<>]{0,100})?(?:\s{1,8}([^<>]{0,200}))?>|</v>", re.IGNORECASE)
# A dash or two angle brackets before the text show a change of speaker in subtitles.
_TURN: Final = re.compile(r"(?:>{2,3}|[-–—])\s{0,4}(?=\S)")
# A cue without a name goes on with the speaker of the one before it, but not across such a pause.
_SAME_SPEAKER_GAP_S: Final = 10.0
# Subtitles wrap at 32 to 42 characters.
_WRAPPED: Final = 28
# Names on a line of their own, as Teams writes documents, must recur at least so often on average.
_NAME_LINE_RECURS: Final = 2


def voiced(cues: Sequence[Cue]) -> list[Piece]:
    """The pieces of `cues` with their speakers.

    With voice tags, only they name speakers: text outside them has none. With `Name: text` cues, as Zoom
    writes, a cue without a name goes on with the speaker before it if that one spoke within the last ten
    seconds, else it has none; before the first name there is none. Without any names every speaker is None.
    """
    if any("<v" in line or "<V" in line for cue in cues for line in cue.lines) and any(
        _VOICE.search(line) for cue in cues for line in cue.lines
    ):
        return [piece for cue in cues for piece in _tagged(cue)]
    headed = _name_lines(cues)
    if headed:
        return [
            _piece(" ".join(cue.lines[1:]), tidy_name(cue.lines[0]), cue)
            if cue.lines and tidy_name(cue.lines[0]) in headed
            else _piece(" ".join(cue.lines), None, cue)
            for cue in cues
        ]
    return _prefixed(cues)


def _piece(text: str, speaker: str | None, cue: Cue, *, opens: bool = False) -> Piece:
    return Piece(text=clean_text(text), speaker=speaker, start_s=cue.start_s, end_s=cue.end_s, opens=opens)


def _tagged(cue: Cue) -> list[Piece]:
    raw = "\n".join(cue.lines)
    spans: list[tuple[str | None, str]] = []
    speaker: str | None = None
    position = 0
    for match in _VOICE.finditer(raw):
        spans.append((speaker, raw[position : match.start()]))
        # Teams writes `<v >` where it does not know who spoke.
        speaker = None if match[0].startswith("</") else tidy_name(match[1] or "") or None
        position = match.end()
    spans.append((speaker, raw[position:]))
    groups: list[tuple[str | None, list[str]]] = []
    for speaker, span in spans:
        # White space and punctuation between two voices are nobody's.
        if speaker is None and groups and not any(character.isalnum() for character in span):
            continue
        if groups and groups[-1][0] == speaker:
            groups[-1][1].append(span)
        else:
            groups.append((speaker, [span]))
    pieces = (_piece(" ".join(texts), speaker, cue) for speaker, texts in groups)
    return [piece for piece in pieces if piece.text]


def _name_lines(cues: Sequence[Cue]) -> frozenset[str]:
    """The names of a file in which every cue has a speaker's name as its first line, else nothing."""
    firsts = [tidy_name(cue.lines[0]) for cue in cues if len(cue.lines) > 1]
    if len(firsts) < max(2, len(cues)):
        return frozenset()
    names = frozenset(firsts)
    if len(names) * _NAME_LINE_RECURS > len(firsts) and len(names) > 2:
        return frozenset()
    if all(could_name(name) and capitalised(name) and name[-1:] not in ".!?,…" for name in names):
        return names
    return frozenset()


def _prefixed(cues: Sequence[Cue]) -> list[Piece]:
    units = [[_marked(line) for line in cue.lines] for cue in cues]
    splits = [[split_prefix(text) for _, text in unit] for unit in units]
    # The unit of the judgement is the cue, so that wrapped second lines do not thin out the names.
    candidates = [
        Candidate(name=pair[0], weak=at > 0 and _wrapped(unit[at - 1][1]))
        for unit, split in zip(units, splits, strict=True)
        for at, pair in enumerate(split)
        if pair is not None
    ]
    named = sum(any(pair is not None for pair in split) for split in splits)
    speakers = choose_speakers(candidates, units=len(cues), every=named == len(cues))
    pieces: list[Piece] = []
    speaker: str | None = None
    last_end: float | None = None
    for cue, unit, split in zip(cues, units, splits, strict=True):
        if speaker is not None and (
            cue.start_s is None or last_end is None or cue.start_s - last_end > _SAME_SPEAKER_GAP_S
        ):
            speaker = None
        text: list[str] = []
        opens = False
        for (marked, line), pair in zip(unit, split, strict=True):
            opener = pair if pair is not None and pair[0] in speakers else None
            if opener or marked:
                pieces.append(_piece(" ".join(text), speaker, cue, opens=opens))
                text, opens = [], marked
                speaker = opener[0] if opener else None
            text.append(opener[1] if opener else line)
        pieces.append(_piece(" ".join(text), speaker, cue, opens=opens))
        last_end = cue.end_s if cue.end_s is not None else cue.start_s
    return [piece for piece in pieces if piece.text]


def _wrapped(line: str) -> bool:
    """True if `line` was probably broken for its length, so that the next one goes on with it."""
    return len(line) >= _WRAPPED and not ends_sentence(line)


def _marked(line: str) -> tuple[bool, str]:
    """Whether a dash or `>>` announces another speaker, and the line without it."""
    match = _TURN.match(line)
    if match is None or line[match.end() : match.end() + 1].isdigit():
        return False, line
    return True, line[match.end() :]
