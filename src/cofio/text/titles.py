"""Titles of documents, and the names in running text that may be one."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from cofio.text.terms import STOP_WORDS, WORD

# The longest title that is looked for in running text.
TITLE_WORDS: Final = 8
# Not after an initial or a short title: "J. R. R. Tolkien", "Dr. Strangelove", "St. Louis".
_SENTENCE_END: Final = re.compile(r"(?<!\b[A-Z])(?<!\b[A-Z][a-z])[.!?;]\s+|[()\"“”]")
_BRACKETS: Final = re.compile(r"\s*\([^)]*\)\s*$")


def bare_title(title: str) -> str:
    """The title without a qualification in brackets at its end: "Mercury (planet)" names Mercury."""
    return _BRACKETS.sub("", title).strip() or title


def title_key(project: str, title: str) -> int:
    """What a name in a text of the project must hash to if it names this title; 63 bits."""
    return _key(project, _words(bare_title(title)))


def names(project: str, text: str) -> dict[int, str]:
    """Every run of at most eight words of `text` that could be a title, by its key.

    A run could be one if its first and its last word have a capital or begin with a digit, no sentence ends in it,
    and it is not of stop words alone ("The", "Who").
    """
    found: dict[int, str] = {}
    for sentence in _SENTENCE_END.split(text):
        words = _words(sentence)
        sharp = [word[0].isdigit() or any(map(str.isupper, word)) for word in words]
        empty = [word.lower() in STOP_WORDS for word in words]
        for first in range(len(words)):
            for last in range(first, min(len(words), first + TITLE_WORDS)):
                if sharp[first] and sharp[last] and not all(empty[first : last + 1]):
                    run = words[first : last + 1]
                    found.setdefault(_key(project, run), " ".join(run))
    return found


def _words(text: str) -> list[str]:
    return [match.group().replace("’", "'").removesuffix("'s") or "'" for match in WORD.finditer(text)]


def _key(project: str, words: list[str]) -> int:
    named = "\x1f".join((project, *words)).encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest()) >> 1
