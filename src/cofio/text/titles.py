"""Titles of documents, and the names in running text that may be one."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from cofio.text.terms import WORD

# The longest title that is looked for in running text.
TITLE_WORDS: Final = 8
_BRACKETS: Final = re.compile(r"\s*\([^)]*\)\s*$")


def bare_title(title: str) -> str:
    """The title without a qualification in brackets at its end: "Mercury (planet)" names Mercury."""
    return _BRACKETS.sub("", title).strip() or title


def title_key(project: str, title: str) -> int:
    """What a name in a text of the project must hash to if it names this title; 63 bits."""
    return _key(project, _words(bare_title(title)))


def names(project: str, text: str) -> dict[int, str]:
    """Every run of at most eight words of `text` that could be a title, by its key.

    A run could be one if its first and its last word begin with a capital or a digit and no sentence ends in it.
    """
    found: dict[int, str] = {}
    for sentence in re.split(r"[.!?;:]\s+|[()\"“”]", text):
        words = _words(sentence)
        sharp = [word[0].isupper() or word[0].isdigit() for word in words]
        for first in range(len(words)):
            for last in range(first, min(len(words), first + TITLE_WORDS)):
                if sharp[first] and sharp[last]:
                    run = words[first : last + 1]
                    found.setdefault(_key(project, run), " ".join(run))
    return found


def _words(text: str) -> list[str]:
    return [match.group().replace("’", "'").removesuffix("'s") or "'" for match in WORD.finditer(text)]


def _key(project: str, words: list[str]) -> int:
    named = "\x1f".join((project, *words)).encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest()) >> 1
