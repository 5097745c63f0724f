"""How glad or hostile a text sounds: VADER's compound score, without the work that does not change it.

VADER looks at every word, and for each that its lexicon holds again at the whole text, although it heeds no more
than the three words before and the two behind. Here it sees only the words of its lexicon, each in that window.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
    negated,
)

_BEFORE: Final = 3
_BEHIND: Final = 2
# VADER takes what is this short without its punctuation for an emoticon, and leaves it as it is.
_EMOTICON: Final = 2
# The words that VADER's tables and its code compare with, besides its lexicon and its negations. All others are
# one to it, so that its answer to a window is often known already.
_HEEDED: Final = frozenset(
    [word for phrase in (*BOOSTER_DICT, *SPECIAL_CASES) for word in phrase.split()]
    + [
        "no",
        "or",
        "nor",
        "never",
        "so",
        "this",
        "without",
        "doubt",
        "least",
        "at",
        "very",
        "but",
        "kind",
        "of",
    ]
)
_UNHEEDED: Final = "·"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    heard: str  # as written, but for what makes no difference to VADER
    lower: str
    scored: bool
    capitals: bool


@dataclass(frozen=True, slots=True)
class _Window:
    """What VADER asks a text for."""

    words_and_emoticons: tuple[str, ...]
    is_cap_diff: bool


def valence(text: str) -> float:
    """VADER's compound score of `text` in [-1, 1]; exactly 0 without a word of its lexicon."""
    analyser = _analyser()
    if not text.isascii() and not analyser.emojis.keys().isdisjoint(text):
        return float(analyser.polarity_scores(text)["compound"])  # an emoji is read as its description
    words = [_word(token) for token in text.split()]
    places = [i for i, word in enumerate(words) if word.scored]
    if not places:
        return 0.0
    small = len(words) - sum([word.capitals for word in words])
    mixed = 0 < small < len(words)
    heard = [word.heard for word in words]
    scores: list[float] = [0] * len(words)
    for i in places:
        if words[i].lower == "kind" and i + 1 < len(words) and words[i + 1].lower == "of":
            continue
        first = max(0, i - _BEFORE)
        scores[i] = _score(tuple(heard[first : i + _BEHIND + 1]), i - first, mixed)
    if any(word.lower == "but" for word in words):
        scores = analyser._but_check(heard, scores)
    # The zeros count for the shares of glad and hostile words, not for the compound of both.
    return float(analyser.score_valence([score for score in scores if score] or [0], text)["compound"])


@cache
def _analyser() -> SentimentIntensityAnalyzer:
    """VADER with its lexicon read; 7,500 words, so once a process."""
    return SentimentIntensityAnalyzer()


@lru_cache(maxsize=100_000)
def _word(token: str) -> _Word:
    bare = token.strip(string.punctuation)
    spelling = bare if len(bare) > _EMOTICON else token
    lower = spelling.lower()
    known = lower in _analyser().lexicon
    heeded = known or lower in _HEEDED or negated([lower])
    capitals = spelling.isupper()
    return _Word(
        heard=(spelling if capitals else lower) if heeded else _UNHEEDED,
        lower=lower,
        scored=known and lower not in BOOSTER_DICT,
        capitals=capitals,
    )


@lru_cache(maxsize=50_000)
def _score(window: tuple[str, ...], place: int, mixed: bool) -> float:
    """The score of the word at `place`; `mixed` says that the text has words in capitals and others."""
    (score,) = _analyser().sentiment_valence(0, _Window(window, mixed), window[place], place, [])
    return float(score)
