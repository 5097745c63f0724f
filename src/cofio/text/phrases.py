"""The phrases of a meeting that can name a thing: names, identifiers, and nouns of one to three words.

There is no tagger here. A word counts as a noun where the meeting uses it as one: after an article more often
than after a pronoun or an auxiliary, and before a function word more often than before another content word.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from cofio.text.fillers import (
    BLOCKED_STEMS,
    CALENDAR_WORDS,
    NOUN_BEFORE,
    PAUSES,
    QUALITY_BEFORE,
    VERB_BEFORE,
    WEAK_STEMS,
    is_adverb,
)
from cofio.text.terms import WORD, name_words, stem

LONGEST_TERM: Final = 3
LONGEST_NAME: Final = 5

_SENTENCE_END: Final = re.compile(r"[.!?…:\n\"“”]|--|—")
_QUALITY_ENDINGS: Final = ("ous", "ful", "able", "ible", "ish", "less", "est")
_NAME_JOINTS: Final = frozenset(["of", "de", "la", "van", "von"])
# A participant's name as speech recognition spells it: "Barnabus" for "Barnabas".
_SAME_NAME: Final = 0.8


@dataclass(frozen=True, slots=True)
class Token:
    """One word: whether it `opens` a sentence, and is `joined` to the one before by space or hyphen only."""

    text: str
    lower: str
    stem: str
    opens: bool
    joined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A phrase and where it is said: `key` holds its stems, `counts[i]` its mentions in `episodes[i]`."""

    key: tuple[str, ...]
    label: str
    named: bool
    episodes: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How a meeting uses its words: counts by lower-case word (capitals) and by stem (the rest)."""

    capitals: Counter[str]  # written with a capital inside a sentence
    openings: Counter[str]  # written with a capital at the beginning of one
    lowers: Counter[str]
    total: Counter[str]
    as_noun: Counter[str]
    as_verb: Counter[str]
    as_quality: Counter[str]
    closing: Counter[str]  # followed by a function word or a pause
    size: int


def tokens(text: str) -> list[Token]:
    """The words of `text`, without hesitations and immediate repetitions."""
    found: list[Token] = []
    end, gap = 0, ""
    for match in WORD.finditer(text):
        gap += text[end : match.start()]
        end = match.end()
        word = match[0]
        lower = word.lower().replace("’", "'")
        if lower in PAUSES or (found and found[-1].lower == lower and gap.strip(" ,-") == ""):
            continue
        opens = not found or _SENTENCE_END.search(gap) is not None
        joined = bool(found) and gap.strip(" \t-#_") == ""
        found.append(Token(word, lower, stem(lower), opens, joined))
        gap = ""
    return found


def usage(texts: Iterable[Sequence[Token]]) -> Usage:
    """The counts of a meeting's words that tell names, nouns and verbs apart."""
    capitals: Counter[str] = Counter()
    openings: Counter[str] = Counter()
    lowers: Counter[str] = Counter()
    total: Counter[str] = Counter()
    as_noun: Counter[str] = Counter()
    as_verb: Counter[str] = Counter()
    as_quality: Counter[str] = Counter()
    closing: Counter[str] = Counter()
    size = 0
    for words in texts:
        size += len(words)
        for i, word in enumerate(words):
            plain = _plain(word.lower)
            if word.lower == word.text.replace("’", "'"):
                lowers[plain] += 1
            elif word.opens:
                openings[plain] += 1
            else:
                capitals[plain] += 1
            if not word.stem:
                continue
            total[word.stem] += 1
            if word.joined:
                as_noun[word.stem] += words[i - 1].lower in NOUN_BEFORE
                as_verb[word.stem] += words[i - 1].lower in VERB_BEFORE
                # Before a plural stands "are" too: "these are digits".
                as_quality[word.stem] += words[i - 1].lower in QUALITY_BEFORE and not plain.endswith("s")
            follower = words[i + 1] if i + 1 < len(words) else None
            closing[word.stem] += follower is None or not follower.joined or not follower.stem
    return Usage(
        capitals=capitals,
        openings=openings,
        lowers=lowers,
        total=total,
        as_noun=as_noun,
        as_verb=as_verb,
        as_quality=as_quality,
        closing=closing,
        size=size,
    )


def phrases(texts: Sequence[str], participants: Sequence[str] = ()) -> tuple[Phrase, ...]:
    """Every phrase of a meeting that can name a thing, in order of first mention.

    Names are spans of capitalised words, acronyms and identifiers; terms are runs of one to three content
    words inside a clause that end in a noun. Participants are left out, also where they are misspelt.
    Position i of `texts` is episode i.
    """
    read = [tokens(text) for text in texts]
    use = usage(read)
    people = name_words(participants)
    whole_names = {tuple(s for w in WORD.findall(name.lower()) if (s := stem(w))) for name in participants}
    surfaces: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    places: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
    names: set[tuple[str, ...]] = set()
    is_person = {word: _is_person(word, people) for word in {*use.capitals, *use.openings}}
    for position, words in enumerate(read):
        for first, last in _name_spans(words, use, is_person):
            key = tuple(w.stem for w in words[first:last] if w.stem)
            if key and key not in whole_names:
                names.add(key)
                surfaces[key][_surface(words[first:last])] += 4  # the written name is the best label
                places[key][position] += 1
    for position, words in enumerate(read):
        for first, last in _term_spans(words, use):
            key = tuple(w.stem for w in words[first:last])
            if key in whole_names or any(is_person.get(_plain(w.lower), False) for w in words[first:last]):
                continue
            surfaces[key][_surface(words[first:last], use)] += 1
            places[key][position] += key not in names or not words[first].text[0].isupper()
    return tuple(
        Phrase(
            key=key,
            label=max(surfaces[key].items(), key=lambda item: (item[1], -len(item[0]), item[0]))[0],
            named=key in names,
            episodes=tuple(sorted(p for p, n in where.items() if n)),
            counts=tuple(where[p] for p in sorted(where) if where[p]),
        )
        for key, where in places.items()
        if any(where.values())
    )


def is_noun(word_stem: str, use: Usage) -> bool:
    """Whether the meeting uses the word as a noun more than otherwise, and ends phrases with it."""
    noun = use.as_noun[word_stem]
    other = use.as_verb[word_stem] + use.as_quality[word_stem]
    return noun >= other and 2 * use.closing[word_stem] >= use.total[word_stem]


def _plain(lower: str) -> str:
    return lower[:-2] if lower.endswith("'s") else lower


def _surface(words: Sequence[Token], use: Usage | None = None) -> str:
    """The words as written; with `use`, in small letters but for names and acronyms."""
    parts = [w.text if use is None or _is_name(w, use) else w.lower for w in words]
    if parts[-1].lower().replace("’", "'").endswith("'s"):
        parts[-1] = parts[-1][:-2]
    return " ".join(parts)


def _acronym(word: Token) -> bool:
    """Capitals inside the word, or figures beside letters: "EIP", "DevNet", "iPhone", "H200"."""
    return len(word.text) > 1 and any(c.isupper() for c in word.text[1:]) and "'" not in word.lower


def _is_person(word: str, people: frozenset[str]) -> bool:
    if word in people:
        return True
    if len(word) < 3:
        return False
    for name in people:
        if len(name) >= 4 and (
            (name.startswith(word) and len(word) >= 3)
            or (word[0] == name[0] and SequenceMatcher(None, word, name).ratio() >= _SAME_NAME)
        ):
            return True
    return False


def _is_name(word: Token, use: Usage) -> bool:
    """Whether a word is written as a name, and not only because it begins a sentence."""
    plain = _plain(word.lower)
    if plain in CALENDAR_WORDS or "'" in plain or plain.isdigit():
        return False
    if not (word.text[0].isupper() or _acronym(word)):
        return False
    inside, lower = use.capitals[plain], use.lowers[plain]
    if _acronym(word):
        return inside + use.openings[plain] > lower and (bool(word.stem) or lower == 0)
    if not word.stem or len(plain) < 2 or is_adverb(plain):
        return False
    # A word that fills speech is a name only where it is hardly ever written small.
    needed = 0.9 if word.stem in BLOCKED_STEMS else 0.5
    return inside > 0 and inside >= needed * (inside + lower)


def _name_spans(words: Sequence[Token], use: Usage, is_person: dict[str, bool]) -> Iterator[tuple[int, int]]:
    i = 0
    while i < len(words):
        if not _is_name(words[i], use) or is_person.get(_plain(words[i].lower), False):
            i += 1
            continue
        j = i + 1
        while (
            j < len(words)
            and j - i < LONGEST_NAME
            and words[j].joined
            and not words[j - 1].lower.endswith("'s")
        ):
            number = words[j].text.isdigit() and not _followed_by_noun(words, j)
            if number or (_is_name(words[j], use) and not is_person.get(_plain(words[j].lower), False)):
                j += 1
            elif (
                words[j].lower in _NAME_JOINTS
                and j + 1 < len(words)
                and words[j + 1].joined
                and _is_name(words[j + 1], use)
                and not is_person.get(_plain(words[j + 1].lower), False)
            ):
                j += 2
            else:
                break
        blocked = all(w.stem in BLOCKED_STEMS or not w.stem for w in words[i:j])
        if not (blocked and j - i == 1 and not _acronym(words[i])):
            yield i, j
        i = j


def _followed_by_noun(words: Sequence[Token], j: int) -> bool:
    """Whether the figure at j counts what comes after it: "Lido 3 times", but not "DevNet 3 starts"."""
    after = words[j + 1] if j + 1 < len(words) else None
    return (
        len(words[j].text) < 2
        and after is not None
        and after.joined
        and after.lower.endswith("s")
        and bool(after.stem)
        and after.stem not in BLOCKED_STEMS
    )


def _term_spans(words: Sequence[Token], use: Usage) -> Iterator[tuple[int, int]]:
    for last in range(1, len(words) + 1):
        end = words[last - 1]
        if not _is_content(end) or not is_noun(end.stem, use) or end.lower.endswith("ed"):
            continue
        proven = use.as_noun[end.stem] > 0
        if end.lower.endswith(_QUALITY_ENDINGS) or (end.lower.endswith("ing") and not proven):
            continue
        for first in range(last - 1, max(-1, last - 1 - LONGEST_TERM), -1):
            if first < last - 1 and (not words[first + 1].joined or words[first].lower.endswith("'s")):
                break
            if not _is_content(words[first]):
                break
            run = words[first:last]
            if len(run) == 1 and (5 * use.as_noun[end.stem] < use.total[end.stem] or end.stem in WEAK_STEMS):
                continue
            if len({w.stem for w in run}) < len(run):
                continue
            if first < last - 1 and use.as_verb[words[first].stem] > use.as_noun[words[first].stem]:
                continue
            yield first, last


def _is_content(word: Token) -> bool:
    return (
        bool(word.stem)
        and word.stem not in BLOCKED_STEMS
        and len(word.lower) > 2 - _acronym(word)
        and not word.lower.isdigit()
        and word.lower not in CALENDAR_WORDS
        and not is_adverb(word.lower)
        and ("'" not in word.lower or word.lower.endswith("'s"))
    )
