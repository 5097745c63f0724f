"""Plain text: named turns, timed turns, or prose without either."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from cofio.records import Utterance
from cofio.text.clean import clean_text
from cofio.text.parse.headers import Header, header_key, read_header
from cofio.text.parse.reading import Reading
from cofio.text.parse.turns import read_turns
from cofio.text.sentences import ends_sentence

_LONGEST_NAME: Final = 5
_STACKED: Final = re.compile(
    r"(?P<before>\A\s*|\n[^\S\n]*\n)(?P<name>[^\W\d_][^\n:<>\[\]]{0,59})\n"
    r"[^\S\n]*[\[(]?(?P<time>\d{1,2}:\d{2}(?::\d{2})?)[\])]?[^\S\n]*\n(?=[^\S\n]*\S)"
)
_PARAGRAPHS: Final = re.compile(r"\n[^\S\n]*\n\s*")


def read_plain(text: str, *, marked: Collection[int] = ()) -> Reading:
    """The turns of a plain transcript; without any, its paragraphs, with a warning that nobody is named.

    `marked` are the numbers of lines whose prefix is set apart as a name, see `turns.read_turns`.
    """
    turns = read_turns((text if marked else _beside(text)).split("\n"), marked=marked)
    if turns.named or any(utterance.start_s is not None for utterance in turns.utterances):
        return Reading(
            utterances=turns.utterances,
            title=turns.header.title,
            date=turns.header.date,
            participants=turns.header.participants,
        )
    return _prose(text)


def _beside(text: str) -> str:
    """`text` with a time that stands under its speaker's name, above what is said, put beside the name.

    Only the first line of a paragraph is a name there: captions without names have times between lines too.
    """

    def joined(match: re.Match[str]) -> str:
        name = match["name"].strip()
        if len(name.split()) > _LONGEST_NAME or not name[0].isupper() or name[-1] in ".!?…,;":
            return match[0]
        return f"{match['before']}{name} {match['time']}\n"

    return _STACKED.sub(joined, text)


def _prose(text: str) -> Reading:
    blocks = _PARAGRAPHS.split(text.strip())
    if len(blocks) == 1:
        lines = blocks[0].split("\n")
        keys = next((at for at, line in enumerate(lines) if header_key(line) is None), len(lines))
        blocks = ["\n".join(lines[:keys])] if keys else []
        blocks.extend(_sentence_lines(lines[keys:]))
        headed = keys > 0
    else:
        headed = True
    header = read_header(blocks[0].split("\n") if headed else ())
    # A first paragraph that says anything else than title, date and participants was said.
    if header.rest:
        header = Header()
        headed = False
    said = (clean_text(block) for block in (blocks[1:] if headed else blocks))
    utterances = tuple(Utterance(text=block) for block in said if block)
    return Reading(
        utterances=utterances,
        title=header.title,
        date=header.date,
        participants=header.participants,
        warnings=("no speakers and no times were found; each paragraph became one utterance",),
    )


def _sentence_lines(lines: Sequence[str]) -> list[str]:
    """The lines, those that end no sentence put together with the next one."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        blocks[-1].append(line)
        if ends_sentence(line.rstrip()):
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]
