"""Who an action belongs to: a vote over the utterances around it.

Half of the actions of real meetings have no owner among the people present, and no test tells them apart, so
the answer is two candidates to show, not an assignment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cofio.records import Episode, MemoryType
from cofio.text.cues import ACCEPTANCE, REQUEST
from cofio.text.terms import STOP_WORDS, WORD
from cofio.text.types import TypedAs

WINDOW: Final = 5  # utterances to each side of the action
CANDIDATES: Final = 2

_PER_WORD: Final = 0.02
_COMMITS: Final = 0.4
_COMMITS_LIKE_AN_ACTION: Final = 1.2
_ACCEPTS: Final = 0.4
_NAMED: Final = 1.0
_NAMED_IN_A_REQUEST: Final = 0.8
_SHORTEST_NAME: Final = 3
_BRACKETS: Final = re.compile(r"\(.*?\)|\[.*?\]|[|/].*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Who may own the actions of a meeting: `called[word]` are the people who answer to a lower-case word.

    `mean` and `deviation` are those of the log-odds, over the meeting, of an utterance being an action; the
    latter is 1 where all are equal.
    """

    called: Mapping[str, tuple[str, ...]]
    mean: float
    deviation: float


def company(episodes: Sequence[Episode], typed: Sequence[TypedAs], participants: Sequence[str]) -> Company:
    """What all votes of one meeting share."""
    people = list(dict.fromkeys([*participants, *(e.speaker for e in episodes if e.speaker)]))
    mean, deviation = _spread(typed)
    return Company(called=_first_names(people), mean=mean, deviation=deviation)


def owners(
    index: int, episodes: Sequence[Episode], typed: Sequence[TypedAs], company: Company
) -> tuple[str, ...]:
    """Up to two people who may own the action at `index`, the likelier first; empty if nobody is in sight.

    Candidates are the speakers within five utterances of the action and the people named there. In that
    window person p gets

        .02 · words + Σ commitments (.4 + 1.2 sigmoid(z)) + .4 · acceptances + Σ namings (1 + .8 in a request)

    where z is the standardised log-odds, over the meeting, of the utterance being an action, an acceptance is
    `yes`, `sure`, `will do`, and only others' naming of p counts (lab report 2, §5). Ties go to the name that
    sorts first.
    """
    window = range(max(0, index - WINDOW), min(len(episodes), index + WINDOW + 1))
    votes: dict[str, float] = {}

    def vote(person: str, weight: float) -> None:
        votes[person] = votes.get(person, 0.0) + weight

    for i in window:
        episode = episodes[i]
        text = episode.text.replace("’", "'")
        if episode.speaker:
            vote(episode.speaker, _PER_WORD * episode.words)
            if typed[i].score(MemoryType.COMMITMENT) > 0:
                z = (_log_odds(typed[i]) - company.mean) / company.deviation
                vote(episode.speaker, _COMMITS + _COMMITS_LIKE_AN_ACTION / (1.0 + math.exp(-z)))
            if ACCEPTANCE.search(text):
                vote(episode.speaker, _ACCEPTS)
        asked = _NAMED_IN_A_REQUEST if REQUEST.search(text) else 0.0
        said = {word.lower() for word in WORD.findall(text)}
        for word in said & company.called.keys():
            for person in company.called[word]:
                if person != episode.speaker:
                    vote(person, _NAMED + asked)
    ranked = sorted(votes, key=lambda person: (-votes[person], person))
    return tuple(ranked[:CANDIDATES])


def _first_names(people: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Who answers to which lower-case word.

    A person answers to the first word of the name (brackets and what follows a bar are a team or a role),
    and to the last where no one else does.
    """
    called: dict[str, list[str]] = {}
    last: dict[str, list[str]] = {}
    for person in people:
        parts = [w for w in WORD.findall(_BRACKETS.sub(" ", person).lower()) if w not in STOP_WORDS]
        if parts and len(parts[0]) >= _SHORTEST_NAME:
            called.setdefault(parts[0], []).append(person)
        if len(parts) > 1 and len(parts[-1]) >= _SHORTEST_NAME:
            last.setdefault(parts[-1], []).append(person)
    for word, persons in last.items():
        if word not in called and len(persons) == 1:
            called[word] = persons
    return {word: tuple(persons) for word, persons in called.items()}


def _log_odds(typed: TypedAs) -> float:
    p = min(1.0 - 1e-6, max(1e-6, typed.score(MemoryType.ACTION)))
    return math.log(p / (1.0 - p))


def _spread(typed: Sequence[TypedAs]) -> tuple[float, float]:
    """Mean and standard deviation of the log-odds of being an action, the latter 1 where all are equal."""
    odds = [_log_odds(t) for t in typed]
    mean = math.fsum(odds) / max(1, len(odds))
    deviation = math.sqrt(math.fsum((o - mean) ** 2 for o in odds) / max(1, len(odds)))
    return mean, deviation if deviation > 1e-9 else 1.0
