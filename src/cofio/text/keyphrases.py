"""Keyphrases: the two to four phrases that tell a topic segment from the rest of its meeting."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from cofio.text.fillers import WEAK_STEMS
from cofio.text.phrases import Phrase

MOST: Final = 4
_FEWEST: Final = 2
# A phrase beyond the second must be worth this share of the first.
_WORTH: Final = 0.4


def keyphrases(
    found: Sequence[Phrase], words: Sequence[int], segments: Sequence[tuple[int, int]]
) -> tuple[tuple[str, ...], ...]:
    """For each half-open segment of a meeting, up to 4 readable phrases, the most telling first.

    `found` are the phrases of the meeting, `words[i]` the number of words of its episode i.

    score = form · log2(1 + n) · (½ + log2(1 + n/N ÷ w/W)) for a phrase said n times in the segment and N
    times in the meeting, with w and W words; form prefers names and phrases to single nouns. No two phrases
    of a segment share a word. A segment that names nothing has none.
    """
    sums = [0, *accumulate(words)]
    return tuple(_of_segment(found, start, end, sums) for start, end in segments)


def label(phrases_of_segment: Sequence[str]) -> str:
    """The keyphrases of a segment as one line: "remote control, battery life, scroll wheel"."""
    return ", ".join(phrases_of_segment)


def _of_segment(found: Sequence[Phrase], start: int, end: int, sums: Sequence[int]) -> tuple[str, ...]:
    part = max(1, sums[end] - sums[start]) / max(1, sums[-1])
    scored: list[tuple[float, Phrase]] = []
    for phrase in found:
        first, last = bisect_left(phrase.episodes, start), bisect_left(phrase.episodes, end)
        said = sum(phrase.counts[first:last])
        if said:
            lift = math.log2(1.0 + said / sum(phrase.counts) / part)
            scored.append((_form(phrase) * math.log2(1 + said) * (0.5 + lift), phrase))
    scored.sort(key=lambda item: (-item[0], item[1].key))
    chosen: list[Phrase] = []
    used: set[str] = set()
    for score, phrase in scored:
        if len(chosen) == MOST or (len(chosen) >= _FEWEST and score < _WORTH * scored[0][0]):
            break
        if used.isdisjoint(phrase.key):
            chosen.append(phrase)
            used.update(phrase.key)
    return tuple(phrase.label for phrase in chosen)


def _form(phrase: Phrase) -> float:
    """How well a form reads as a label: phrases before names before single nouns."""
    weak = sum(part in WEAK_STEMS for part in phrase.key)
    if len(phrase.key) > 1:
        return 1.3 - 0.15 * weak
    return 1.0 if phrase.named else 0.75
