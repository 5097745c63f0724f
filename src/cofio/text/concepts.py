"""Candidates for L0 concepts: what one meeting talks about, and the rule that makes them concepts."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cofio.records import ConceptKind, Episode
from cofio.text.fillers import WEAK_STEMS
from cofio.text.phrases import LONGEST_NAME, Phrase
from cofio.text.terms import stem, stems, words

_MIN_PMI: Final = 3.0
# "Mr." alone names nobody.
_TITLES: Final = frozenset({"mr", "mrs", "ms", "dr", "prof"})
_EXPLAINING_WORDS: Final = 10
# A shorter phrase that hardly occurs outside a longer one is a part of it, not a thing of its own.
_PART_SHARE: Final = 0.7
# Below this many episodes a meeting is a chat session, where little is said three times.
_SHORT_MEETING: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A thing that a meeting mentions.

    `key` is what makes two mentions the same: its stems, joined by a space. `episodes` are the positions that
    mention it, ascending; `definition` is the one that explains it best. `salience` orders candidates of one
    meeting.
    """

    key: str
    label: str
    kind: ConceptKind
    salience: float
    episodes: tuple[int, ...]
    definition: int | None


def possible_keys(episodes: Sequence[Episode]) -> frozenset[str]:
    """The keys of every run of at most five stems: what the meeting could mention of what is known already."""
    keys: set[str] = set()
    for episode in episodes:
        line = stems(episode.text)
        for length in range(1, LONGEST_NAME + 1):
            keys.update(" ".join(line[i : i + length]) for i in range(len(line) - length + 1))
    return frozenset(keys)


def candidates(
    episodes: Sequence[Episode],
    said: Sequence[Phrase],
    *,
    known_keys: frozenset[str] = frozenset(),
    limit: int = 80,
) -> tuple[Candidate, ...]:
    """What the meeting talks about, the most salient first: at most `limit` new things, and all known ones.

    `said` are the phrases of the meeting, without its participants, who are no candidates.
    Entities are capitalised names, acronyms and identifiers; terms are recurring noun phrases whose words
    attract each other (PMI > 3) and salient single nouns. `known_keys` are matched wherever their stems
    follow each other, in any spelling.
    """
    texts = [episode.text for episode in episodes]
    stem_lists = [stems(text) for text in texts]
    found = {" ".join(p.key): p for p in _worthy(said, stem_lists)}
    where = _mentions(stem_lists, {**dict.fromkeys(found), **dict.fromkeys(sorted(known_keys))})
    ranked: list[tuple[float, str]] = []
    for key, phrase in found.items():
        positions = where.get(key) or phrase.episodes
        where[key] = positions
        ranked.append((_salience(phrase, len(positions)), key))
    ranked.sort(key=lambda item: (-item[0], item[1]))
    chosen = [(score, key) for score, key in ranked if key not in known_keys][:limit]
    scores = {key: score for score, key in ranked}
    chosen += [(scores.get(key, _known_salience(key, where[key])), key) for key in known_keys if key in where]
    chosen.sort(key=lambda item: (-item[0], item[1]))
    result = []
    for score, key in chosen:
        known = found.get(key)
        label = known.label if known else _spelling(key, texts, where[key])
        named = known.named if known else label[:1].isupper()
        result.append(
            Candidate(
                key=key,
                label=label,
                kind=ConceptKind.ENTITY if named else ConceptKind.TERM,
                salience=score,
                episodes=where[key],
                definition=_definition(label, where[key], episodes),
            )
        )
    return tuple(result)


def promoted(meeting_counts: int, contexts: int, episodes: int, kind: ConceptKind) -> bool:
    """Whether a candidate becomes an L0 concept.

    It must recur: in at least 2 meetings, or in at least 3 episodes across at least 2 contexts of one.
    A person is one from the first word, a title by being one, an open question by being open.
    """
    if kind in (ConceptKind.PERSON, ConceptKind.TITLE, ConceptKind.QUESTION):
        return True
    return meeting_counts >= 2 or (episodes >= 3 and contexts >= 2)


def _worthy(found: Sequence[Phrase], stem_lists: Sequence[Sequence[str]]) -> list[Phrase]:
    """The phrases that can stand as a concept, without parts of longer ones."""
    single = Counter(s for line in stem_lists for s in line)
    total = sum(single.values())
    few = len(stem_lists) < _SHORT_MEETING
    kept: list[Phrase] = []
    for phrase in found:
        if _TITLES.issuperset(phrase.key):
            continue
        said = sum(phrase.counts)
        if phrase.named:
            kept.append(phrase)
        elif len(phrase.key) == 1:
            if len(phrase.episodes) >= (1 if few else 3) and len(phrase.label) > 2:
                kept.append(phrase)
        elif few or (len(phrase.episodes) >= 2 and said >= 2):
            chance = math.prod(single[s] / total for s in phrase.key)
            if chance > 0 and math.log2(said / total / chance) > _MIN_PMI * (len(phrase.key) - 1):
                kept.append(phrase)
    return _without_parts(kept)


def _without_parts(found: Sequence[Phrase]) -> list[Phrase]:
    totals = {p.key: sum(p.counts) for p in found}
    inside: Counter[tuple[str, ...]] = Counter()
    for phrase in found:
        size = len(phrase.key)
        for length in range(1, size):
            for start in range(size - length + 1):
                part = phrase.key[start : start + length]
                if part in totals:
                    inside[part] = max(inside[part], totals[phrase.key])
    return [p for p in found if inside[p.key] < _PART_SHARE * totals[p.key]]


def _salience(phrase: Phrase, said_in: int) -> float:
    """log2(1 + episodes), weighted by how sharply the form of a phrase names one thing."""
    if any(part.isdigit() for part in phrase.key) and phrase.named:
        form = 1.4
    elif phrase.named:
        form = 1.2
    else:
        form = (0.7, 1.1, 1.2)[len(phrase.key) - 1]
        if len(phrase.key) > 1:
            form -= 0.1 * sum(part in WEAK_STEMS for part in phrase.key)
    return form * math.log2(1 + said_in)


def _known_salience(key: str, positions: Sequence[int]) -> float:
    return math.log2(1 + len(positions)) * (0.7 if " " not in key else 1.1)


def _mentions(stem_lists: Sequence[Sequence[str]], keys: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Where the stems of each key follow each other."""
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for key in keys:
        parts = tuple(key.split())
        if parts:
            by_first[parts[0]].append((parts, key))
    places: dict[str, list[int]] = {}
    for position, line in enumerate(stem_lists):
        for i, first in enumerate(line):
            for parts, key in by_first.get(first, ()):
                if tuple(line[i : i + len(parts)]) == parts:
                    seen = places.setdefault(key, [])
                    if not seen or seen[-1] != position:
                        seen.append(position)
    return {key: tuple(seen) for key, seen in places.items()}


def _spelling(key: str, texts: Sequence[str], positions: Sequence[int]) -> str:
    """How the meeting most often writes a known key."""
    parts = key.split()
    seen: Counter[str] = Counter()
    for position in positions:
        line = [(word, s) for word in words(texts[position]) if (s := stem(word.lower()))]
        for i in range(len(line) - len(parts) + 1):
            if [s for _, s in line[i : i + len(parts)]] == parts:
                seen[" ".join(word for word, _ in line[i : i + len(parts)])] += 1
    return max(seen.items(), key=lambda item: (item[1], item[0]))[0] if seen else key


_EXPLAINS_AFTER: Final = re.compile(
    r"""(?:['’]s)?\s*(?:\([^)]*\)\s*|,\s*)?(?:(?:is|are|was|were|means|stands\s+for|refers\s+to|consists|works|lets|allows
    |does|will\s+be|would\s+be|(?:i|we)\s+mean)\b|(?:which|that)\s+(?:is|are|was|means|will|would|can|lets|allows)\b|['’]s\s+(?:a|an|the)\b)""",
    re.VERBOSE | re.IGNORECASE,
)
_EXPLAINS_BEFORE: Final = re.compile(
    r"\b(?:called|named|known\s+as|introduc(?:e|es|ing|ed)|this\s+is|that\s+is|that['’]s)"
    r"\s+(?:(?:the|a|an|our|my|this|new)\s+)*$",
    re.IGNORECASE,
)


def _definition(label: str, positions: Sequence[int], episodes: Sequence[Episode]) -> int | None:
    """The first mention of at least 10 words that explains the thing, else of 10 words, else the first."""
    if not positions:
        return None
    long = [p for p in positions if episodes[p].words >= _EXPLAINING_WORDS]
    if not long:
        return positions[0]
    spoken = _spoken(label)
    for position in long:
        text = episodes[position].text
        for match in spoken.finditer(text):
            asks = "?" in text[match.end() :][:80]
            if not asks and (
                _EXPLAINS_AFTER.match(text, match.end()) or _EXPLAINS_BEFORE.search(text[: match.start()])
            ):
                return position
    return long[0]


# The meetings of a series say the same things; to read a pattern takes longer than to search for it.
@lru_cache(maxsize=4096)
def _spoken(label: str) -> re.Pattern[str]:
    body = r"[\W_]+(?:of\s+)?".join(re.escape(part) for part in label.split())
    return re.compile(rf"(?<!\w){body}(?:s|es)?(?!\w)", re.IGNORECASE)
