"""Where sentences end, token by token.

Written here because the splitters on offer either give no offsets, so that nothing could prove that the text
is kept, or rescan it for each rule; this is one pass over the words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CLOSERS: Final = "\"'”’»)]}*_"
_ENDS: Final = ".!?。！？؟।"
_OPENERS: Final = "\"'“‘«([{*_-–—"
_ABBREVIATIONS: Final = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "jr",
        "sr",
        "inc",
        "ltd",
        "co",
        "corp",
        "vs",
        "etc",
        "e.g",
        "i.e",
        "eg",
        "ie",
        "cf",
        "approx",
        "dept",
        "est",
        "ed",
        "eds",
        "rev",
        "gen",
        "col",
        "lt",
        "sgt",
        "capt",
        "gov",
        "sen",
        "hon",
        "pres",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "a.m",
        "p.m",
        "ca",
        "viz",
        "resp",
        "ave",
        "blvd",
        "rd",
        "tel",
        "avg",
    ]
)
# Abbreviations after which a capital letter does start a new sentence.
_OFTEN_LAST: Final = frozenset({"etc", "a.m", "p.m", "inc", "ltd", "co", "corp", "jr", "sr"})
# Abbreviations only before a figure: "no. 5" is one, "He said no." is not.
_BEFORE_FIGURES: Final = frozenset(
    {"no", "nos", "fig", "figs", "p", "pp", "vol", "ch", "art", "sec", "min", "max"}
)
_DOTTED: Final = re.compile(r"(?:[^\W\d_]\.){1,6}[^\W\d_]?")


def ends_sentence(text: str) -> bool:
    """True if `text` ends like a finished sentence: not in a comma, an ellipsis or an abbreviation."""
    last = text.rsplit(" ", 1)[-1]
    return _ends(last, None)


def sentence_ends(tokens: Sequence[str]) -> list[int]:
    """The indices one past each sentence's last token; the last of them is `len(tokens)`.

    `e.g.`, `Dr. Smith`, `3.5`, `v2.0` and `U.S.` do not end a sentence.
    """
    ends = [
        index + 1
        for index in range(len(tokens) - 1)
        if tokens[index].rstrip(_CLOSERS)[-1:] in _ENDS + "…" and _ends(tokens[index], tokens[index + 1])
    ]
    if tokens:
        ends.append(len(tokens))
    return ends


def _ends(token: str, following: str | None) -> bool:
    bare = token.rstrip(_CLOSERS)
    last = bare[-1:]
    if last == "…" or bare.endswith(".."):
        # A trailing-off speaker goes on: only a capital letter inside one turn shows a new sentence.
        return following is not None and following.lstrip(_OPENERS)[:1].isupper()
    if not last or last not in _ENDS:
        return False
    if last != ".":
        return True
    head = following.lstrip(_OPENERS)[:1] if following is not None else ""
    if head.islower():
        return False
    word = bare[:-1].lstrip(_OPENERS)
    plain = word.lower()
    if plain in _BEFORE_FIGURES:
        return not head.isdecimal()
    if plain in _ABBREVIATIONS:
        return plain in _OFTEN_LAST and (following is None or head.isupper())
    # "U.S." and initials: "J. Smith", "Z. Victor Zhou". "I." is a word.
    return not (word != "I" and (_DOTTED.fullmatch(word) or (len(word) == 1 and word.isupper())))
