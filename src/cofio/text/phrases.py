"""The phrases of a meeting that can name a thing: names, identifiers, and nouns of one to three words.

There is no tagger here. A word counts as a noun where the meeting uses it as one: after an article more often
than after a pronoun or an auxiliary, and before a function word more often than before another content word.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
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

_WORDS: Final = re.compile(f"({WORD.pattern})")
_SENTENCE_END: Final = re.compile(r"[.!?…:\n\"“”]|--|—")
_QUALITY_ENDINGS: Final = ("ous", "ful", "able", "ible", "ish", "less", "est")
_NAME_JOINTS: Final = frozenset(["of", "de", "la", "van", "von"])
# A participant's name as speech recognition spells it: "Barnabus" for "Barnabas".
_SAME_NAME: Final = 0.8
_NOUN, _VERB, _QUALITY = 1, 2, 4


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One word: whether it `opens` a sentence, and is `joined` to the one before by space or hyphen only.

    What can be known of a word without its meeting is worked out once a spelling, not once a mention.
    """

    text: str
    lower: str
    stem: str
    opens: bool
    joined: bool
    plain: str  # lower case, without a possessive ending
    possessive: bool
    acronym: bool
    content: bool  # may stand in a term
    before: int  # of what it usually stands before: bits of NOUN, VERB and QUALITY


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
    pieces = _WORDS.split(text)  # what stands between the words, and the words, by turns
    gap = last = ""
    for i in range(1, len(pieces), 2):
        gap += pieces[i - 1]
        opens, joined, repeats = _gap(gap)
        token = _token(pieces[i], opens or not found, joined and bool(found))
        if token.lower in PAUSES or (repeats and found and last == token.lower):
            continue
        found.append(token)
        last = token.lower
        gap = ""
    return found


@lru_cache(maxsize=4096)
def _gap(gap: str) -> tuple[bool, bool, bool]:
    """Whether what follows this gap opens a sentence, is joined to the word before, and may be its repetition."""
    return _SENTENCE_END.search(gap) is not None, gap.strip(" \t-#_") == "", gap.strip(" ,-") == ""


@lru_cache(maxsize=100_000)
def _token(text: str, opens: bool, joined: bool) -> Token:
    lower = text.lower().replace("’", "'")
    word_stem = stem(lower)
    acronym = _acronym(text, lower)
    return Token(
        text=text,
        lower=lower,
        stem=word_stem,
        opens=opens,
        joined=joined,
        plain=lower[:-2] if lower.endswith("'s") else lower,
        possessive=lower.endswith("'s"),
        acronym=acronym,
        content=_is_content(lower, word_stem, acronym),
        before=_NOUN * (lower in NOUN_BEFORE)
        | _VERB * (lower in VERB_BEFORE)
        | _QUALITY * (lower in QUALITY_BEFORE),
    )


def usage(texts: Iterable[Sequence[Token]]) -> Usage:
    """The counts of a meeting's words that tell names, nouns and verbs apart."""
    capitals: Counter[str] = Counter()
    openings: Counter[str] = Counter()
    lowers: Counter[str] = Counter()
    total: Counter[str] = Counter()
    said = [word for words in texts for word in words]
    for word, count in Counter(said).items():
        if word.lower == word.text.replace("’", "'"):
            lowers[word.plain] += count
        elif word.opens:
            openings[word.plain] += count
        else:
            capitals[word.plain] += count
        if word.stem:
            total[word.stem] += count
    # The first word of a text is joined to nothing, so the texts may be read as one.
    behind = [(a.before, b) for a, b in pairwise(said) if b.joined and a.before and b.stem]
    goes_on = [*(word.joined and bool(word.stem) for word in said[1:]), False]
    return Usage(
        capitals=capitals,
        openings=openings,
        lowers=lowers,
        total=total,
        as_noun=Counter([word.stem for before, word in behind if before & _NOUN]),
        as_verb=Counter([word.stem for before, word in behind if before & _VERB]),
        # Before a plural stands "are" too: "these are digits".
        as_quality=Counter(
            [word.stem for before, word in behind if before & _QUALITY and not word.plain.endswith("s")]
        ),
        closing=Counter(
            [word.stem for word, followed in zip(said, goes_on, strict=False) if word.stem and not followed]
        ),
        size=len(said),
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
    alike: dict[str, list[str]] = defaultdict(list)  # who is misspelt, the first letter is right
    for name in people:
        if len(name) >= 4:
            alike[name[0]].append(name)
    persons = {
        word
        for word in {*use.capitals, *use.openings}
        if word in people
        or (len(word) >= 3 and any(_same_person(word, name) for name in alike.get(word[0], ())))
    }
    written = {word.text: word for words in read for word in words}
    named = {text for text, word in written.items() if _is_name(word, use)}
    things = {text for text in named if written[text].plain not in persons}
    ends = {text: _ends_alone(word, use) for text, word in written.items() if _ends_term(word, use)}
    for position, words in enumerate(read):
        for first, last in _name_spans(words, things):
            key = tuple(w.stem for w in words[first:last] if w.stem)
            if key and key not in whole_names:
                names.add(key)
                surfaces[key][_surface([w.text for w in words[first:last]])] += (
                    4  # the written name is the best label
                )
                places[key][position] += 1
    for position, words in enumerate(read):
        for first, last in _term_spans(words, use, ends):
            run = words[first:last]
            key = tuple([w.stem for w in run])
            if key in whole_names or not persons.isdisjoint([w.plain for w in run]):
                continue
            surfaces[key][_surface([w.text if w.text in named else w.lower for w in run])] += 1
            places[key][position] += key not in names or not run[0].text[0].isupper()
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


def _surface(parts: list[str]) -> str:
    """The words as one label, without a possessive ending."""
    if parts[-1].lower().replace("’", "'").endswith("'s"):
        parts[-1] = parts[-1][:-2]
    return " ".join(parts)


def _acronym(text: str, lower: str) -> bool:
    """Capitals inside the word, or figures beside letters: "EIP", "DevNet", "iPhone", "H200"."""
    return len(text) > 1 and any(c.isupper() for c in text[1:]) and "'" not in lower


@lru_cache(maxsize=100_000)
def _same_person(word: str, name: str) -> bool:
    """Whether the word begins the name or is spelled much like it."""
    if name.startswith(word):
        return True
    if 2 * min(len(word), len(name)) / (len(word) + len(name)) < _SAME_NAME:
        return False  # words of so different lengths are never so similar
    return SequenceMatcher(None, word, name).ratio() >= _SAME_NAME


def _is_name(word: Token, use: Usage) -> bool:
    """Whether a word is written as a name, and not only because it begins a sentence."""
    plain = word.plain
    if plain in CALENDAR_WORDS or "'" in plain or plain.isdigit():
        return False
    if not (word.text[0].isupper() or word.acronym):
        return False
    inside, lower = use.capitals[plain], use.lowers[plain]
    if word.acronym:
        return inside + use.openings[plain] > lower and (bool(word.stem) or lower == 0)
    if not word.stem or len(plain) < 2 or is_adverb(plain):
        return False
    # A word that fills speech is a name only where it is hardly ever written small.
    needed = 0.9 if word.stem in BLOCKED_STEMS else 0.5
    return inside > 0 and inside >= needed * (inside + lower)


def _name_spans(words: Sequence[Token], things: Set[str]) -> Iterator[tuple[int, int]]:
    """Where names stand; `things` are the spellings that are names, but not of participants."""
    i = 0
    while i < len(words):
        if words[i].text not in things:
            i += 1
            continue
        j = i + 1
        while j < len(words) and j - i < LONGEST_NAME and words[j].joined and not words[j - 1].possessive:
            number = words[j].text.isdigit() and not _followed_by_noun(words, j)
            if number or words[j].text in things:
                j += 1
            elif (
                words[j].lower in _NAME_JOINTS
                and j + 1 < len(words)
                and words[j + 1].joined
                and words[j + 1].text in things
            ):
                j += 2
            else:
                break
        blocked = all(w.stem in BLOCKED_STEMS or not w.stem for w in words[i:j])
        if not (blocked and j - i == 1 and not words[i].acronym):
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


def _ends_term(word: Token, use: Usage) -> bool:
    """Whether a term may end in this word: a noun that is neither a participle nor a quality."""
    if not word.content or not is_noun(word.stem, use) or word.lower.endswith("ed"):
        return False
    proven = use.as_noun[word.stem] > 0
    return not (word.lower.endswith(_QUALITY_ENDINGS) or (word.lower.endswith("ing") and not proven))


def _ends_alone(word: Token, use: Usage) -> bool:
    """Whether the word is a term by itself."""
    return 5 * use.as_noun[word.stem] >= use.total[word.stem] and word.stem not in WEAK_STEMS


def _term_spans(words: Sequence[Token], use: Usage, ends: Mapping[str, bool]) -> Iterator[tuple[int, int]]:
    """Where terms stand; `ends` are the spellings in which one may end, and whether it may be all of it."""
    for end, word in enumerate(words):
        alone = ends.get(word.text)
        if alone is None:
            continue
        if alone:
            yield end, end + 1
        for first in range(end - 1, max(-1, end - LONGEST_TERM), -1):
            opener = words[first]
            if not words[first + 1].joined or opener.possessive or not opener.content:
                break
            run = words[first : end + 1]
            if len({w.stem for w in run}) < len(run) or use.as_verb[opener.stem] > use.as_noun[opener.stem]:
                continue
            yield first, end + 1


def _is_content(lower: str, word_stem: str, acronym: bool) -> bool:
    return (
        bool(word_stem)
        and word_stem not in BLOCKED_STEMS
        and len(lower) > 2 - acronym
        and not lower.isdigit()
        and lower not in CALENDAR_WORDS
        and not is_adverb(lower)
        and ("'" not in lower or lower.endswith("'s"))
    )
