"""Words and stems: the concept nodes that a query wakes and utterances hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import Stemmer

WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

# Function words of English that carry no topic.
STOP_WORDS: Final = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "against",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "aren't",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "can't",
        "cannot",
        "could",
        "couldn't",
        "d",
        "did",
        "didn't",
        "do",
        "does",
        "doesn't",
        "doing",
        "don",
        "don't",
        "down",
        "during",
        "each",
        "few",
        "for",
        "from",
        "further",
        "had",
        "hadn't",
        "has",
        "hasn't",
        "have",
        "haven't",
        "having",
        "he",
        "he'd",
        "he'll",
        "he's",
        "her",
        "here",
        "here's",
        "hers",
        "herself",
        "him",
        "himself",
        "his",
        "how",
        "how's",
        "i",
        "i'd",
        "i'll",
        "i'm",
        "i've",
        "if",
        "in",
        "into",
        "is",
        "isn't",
        "it",
        "it's",
        "its",
        "itself",
        "just",
        "let's",
        "ll",
        "m",
        "me",
        "more",
        "most",
        "mustn't",
        "my",
        "myself",
        "no",
        "nor",
        "not",
        "now",
        "o",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "ought",
        "our",
        "ours",
        "ourselves",
        "out",
        "over",
        "own",
        "re",
        "s",
        "same",
        "shan't",
        "she",
        "she'd",
        "she'll",
        "she's",
        "should",
        "shouldn't",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "that's",
        "the",
        "their",
        "theirs",
        "them",
        "themselves",
        "then",
        "there",
        "there's",
        "these",
        "they",
        "they'd",
        "they'll",
        "they're",
        "they've",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "us",
        "ve",
        "very",
        "was",
        "wasn't",
        "we",
        "we'd",
        "we'll",
        "we're",
        "we've",
        "were",
        "weren't",
        "what",
        "what's",
        "when",
        "when's",
        "where",
        "where's",
        "which",
        "while",
        "who",
        "who's",
        "whom",
        "why",
        "why's",
        "will",
        "with",
        "won't",
        "would",
        "wouldn't",
        "y",
        "you",
        "you'd",
        "you'll",
        "you're",
        "you've",
        "your",
        "yours",
        "yourself",
        "yourselves",
        "um",
        "uh",
        "hmm",
        "mm",
        "yeah",
        "yep",
        "okay",
        "ok",
        "oh",
        "ah",
        "er",
        "mhm",
        "uhhuh",
        "gonna",
        "wanna",
    ]
)

# The scaffold of questions about meetings: words that say what to do with the answer, not what it is about.
# Dropped from the lexical channel unless nothing else is left (DESIGN §3 point 1).
SCAFFOLD_WORDS: Final = frozenset(
    [
        "summarize",
        "summarise",
        "summary",
        "discuss",
        "discussed",
        "discussion",
        "discussions",
        "say",
        "said",
        "says",
        "talk",
        "talked",
        "think",
        "thought",
        "opinion",
        "opinions",
        "mention",
        "mentioned",
        "meeting",
        "meetings",
        "group",
        "team",
        "reason",
        "reasons",
        "describe",
        "explain",
        "tell",
        "regarding",
        "concerning",
        "conclude",
        "conclusion",
        "view",
        "views",
        "member",
        "members",
        "during",
        "whole",
    ]
)

# A thread-local stemmer is not needed: Stemmer.Stemmer is guarded by the GIL, and its own cache is off
# because `stem` below caches by word.
_STEMMER: Final = Stemmer.Stemmer("english", 0)


def words(text: str) -> list[str]:
    """The words of `text` in order, as written. Apostrophes stay inside a word; underscores split."""
    return WORD.findall(text)


def count_words(text: str) -> int:
    """The number of words of `text`."""
    return len(WORD.findall(text))


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Snowball (Porter 2) stem of a lower-case word; empty for a stop word."""
    plain = word.replace("’", "'")
    if plain in STOP_WORDS:
        return ""
    if plain.endswith("'s"):
        plain = plain[:-2]
    return "" if plain in STOP_WORDS else str(_STEMMER.stemWord(plain))


def stems(text: str) -> list[str]:
    """The stems of `text` in order, repeated as often as they occur, stop words left out."""
    return [s for word in WORD.findall(text.lower()) if (s := stem(word))]


def query_stems(text: str) -> list[str]:
    """The distinct stems of a query in order, without the scaffold of questions about meetings.

    Where nothing else is left, the scaffold stays: `summarise the meeting` still asks for something.
    """
    every = list(dict.fromkeys(stems(text)))
    sharp = [s for s in every if s not in _SCAFFOLD_STEMS]
    return sharp or every


def bare_word(word: str) -> str:
    """A word as names are compared: lower case, without a possessive ending."""
    return word.lower().replace("’", "'").removesuffix("'s")


def name_words(names: Iterable[str]) -> frozenset[str]:
    """The lower-case words of people's names, as they are stripped from a query before it is encoded."""
    return frozenset(word for name in names for word in WORD.findall(name.lower()) if len(word) > 1)


_SCAFFOLD_STEMS: Final = frozenset(stem(word) for word in SCAFFOLD_WORDS) - {""}
