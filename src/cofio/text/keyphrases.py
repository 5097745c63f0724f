"""Labels of segments: the phrases that a stretch of a meeting says and the rest of it does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from cofio.text.phrases import Phrase, phrases

# A phrase of several words, or a name, says more than a single word.
_LONGER: Final = 1.5
_NAMED: Final = 1.4


def keyphrases(
    texts: Sequence[str], bounds: Sequence[tuple[int, int]], participants: Sequence[str], *, limit: int = 4
) -> tuple[tuple[str, ...], ...]:
    """At most `limit` phrases for each half-open range of `bounds`, the most telling first, as they are written.

    score = tf · ln((1 + segments) / (segments that say it)) · tf share of the segment, weighted for names and
    phrases of several words: high where the phrase is said here, often, and hardly elsewhere. Participants'
    names are never a label. A phrase that is part of a better one is left out.
    """
    found = phrases(texts, participants)
    place = [c for c, (first, last) in enumerate(bounds) for _ in range(first, last)]
    ranked: list[list[tuple[float, str, Phrase]]] = [[] for _ in bounds]
    for phrase in found:
        said = [0] * len(bounds)
        for episode, count in zip(phrase.episodes, phrase.counts, strict=True):
            said[place[episode]] += count
        total = sum(said)
        spread = sum(count > 0 for count in said)
        form = (_LONGER if len(phrase.key) > 1 else 1.0) * (_NAMED if phrase.named else 1.0)
        for c, count in enumerate(said):
            if count:
                contrast = math.log((1.0 + len(bounds)) / spread) * count / total
                ranked[c].append((form * math.sqrt(count) * contrast, phrase.label, phrase))
    return tuple(_distinct(sorted(items, key=lambda item: (-item[0], item[1])), limit) for items in ranked)


def _distinct(ranked: Sequence[tuple[float, str, Phrase]], limit: int) -> tuple[str, ...]:
    chosen: list[Phrase] = []
    for _, _, phrase in ranked:
        if all(
            not set(phrase.key) <= set(other.key) and not set(other.key) <= set(phrase.key)
            for other in chosen
        ):
            chosen.append(phrase)
        if len(chosen) == limit:
            break
    return tuple(phrase.label for phrase in chosen)
