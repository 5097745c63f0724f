"""Many patterns searched at once: one pass of RE2 over a text says which of them occur in it.

Python's `re` tries one pattern after the other at every place of the text; RE2 reads the text once for all of
them. On printable ASCII both know the same words, digits and spaces, so that they find the same; any other text
is left to `re`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import re2

# An automaton that outgrows this starts anew; it never grows to more than a few MB here.
_MAX_BYTES: Final = 64 << 20


# Marks that are neither word nor space, and so are all one to a pattern that does not name them.
_MARKS: Final = "…–—“”„‘•"


class PatternSet:
    """Compiled patterns; what RE2 cannot do, looking around, is asked of `re` where the rest of it occurs."""

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        self._patterns: Final = tuple(patterns)
        options = re2.Options()
        options.max_mem = _MAX_BYTES
        options.log_errors = False
        self._set: Final = re2.Set.SearchSet(options)
        looks_around = set()
        for place, pattern in enumerate(patterns):
            plain = _without_space(pattern)
            loose = without_lookarounds(plain)
            if loose != plain:
                looks_around.add(place)
            self._set.Add(f"(?{'i' if pattern.flags & re.IGNORECASE else '-i'}:{loose})")
        self._set.Compile()
        self._marks: Final = {
            ord(mark): "~"
            for mark in _MARKS
            if not any(mark in p.pattern or "~" in p.pattern for p in patterns)
        }
        self._looks_around: Final = frozenset(looks_around)

    def matching(self, text: str) -> frozenset[int]:
        """The places of the patterns that `re.search` finds in `text`."""
        plain = text if text.isascii() else text.translate(self._marks)
        if not (plain.isascii() and plain.isprintable()):
            return frozenset([i for i, pattern in enumerate(self._patterns) if pattern.search(text)])
        found = frozenset(self._set.Match(plain) or ())
        doubted = found & self._looks_around
        return found - {i for i in doubted if not self._patterns[i].search(text)} if doubted else found


def without_lookarounds(pattern: str) -> str:
    """`pattern` without its assertions on what stands before and behind: it matches at least where that did."""
    kept: list[str] = []
    depth = inside = 0  # open brackets, and how many of them were open when the assertion began
    in_class = False
    for piece in _PIECES.findall(pattern):
        if not in_class and piece.startswith("("):
            depth += 1
            if not inside and piece in _LOOKAROUNDS:
                inside = depth
        if not inside:
            kept.append(piece)
        if in_class:
            in_class = piece != "]"
        elif piece == ")":
            inside = 0 if inside == depth else inside
            depth -= 1
        else:
            in_class = piece.startswith("[")
    return "".join(kept)


_LOOKAROUNDS: Final = frozenset(["(?=", "(?!", "(?<=", "(?<!"])
# A pattern piece by piece; a bracket that closes nothing belongs to the opening of its class.
_PIECES: Final = re.compile(r"\\.|\(\?<?[=!]|\[\^?\]?|.", re.DOTALL)


def _without_space(pattern: re.Pattern[str]) -> str:
    """The pattern as RE2 reads it, which knows no spaces and comments for the eye."""
    if not pattern.flags & re.VERBOSE:
        return pattern.pattern
    if "#" in pattern.pattern or r"\ " in pattern.pattern:
        raise ValueError(f"Spaces and comments of {pattern.pattern!r} cannot be told from the pattern.")
    return "".join(pattern.pattern.split())
