"""Questions of a meeting: who answered them, and which stayed open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cofio.records import Episode, Float32s
from cofio.text.terms import stems

# An answer comes soon: so many utterances after the question are looked at.
REACH: Final = 6
_SHORTEST_ANSWER: Final = 4
_YES_NO: Final = re.compile(
    r"^\W*(?:(?:um|uh|well|so|oh)\W+)*(?:yes|yeah|yep|no|nope|sure|exactly|correct|right|definitely|absolutely|"
    r"of course|not yet|i think so|i don['’]t (?:think so|know))\b",
    re.IGNORECASE,
)
# Who says this leaves the question open.
_NO_ANSWER: Final = re.compile(
    r"\b(?:no idea|(?:i|we) (?:really |honestly |also )?(?:don['’]t|do not|didn['’]t) (?:really |actually )?know|i have no idea|"
    r"let['’]s find out|(?:that['’]s a )?good question|(?:leave|leaving|keep) (?:that|this|it) open|"
    r"(?:have|will have|need) to (?:check|find out|ask|look (?:it|that) up)|(?:he|she|they) did(?:n['’]t| not) say|"
    r"(?:i|we) (?:can['’]t|cannot) (?:say|tell)|not (?:yet )?(?:clear|decided|known))\b",
    re.IGNORECASE,
)
# Questions about the call itself, and those that ask for nothing in particular.
_PROCEDURAL: Final = re.compile(
    r"\b(?:can|could) (?:you|everyone|everybody|anyone|people) (?:hear|see)\b|\b(?:see|share|sharing) (?:my|the|your) screen\b|"
    r"\bany(?:one|body|thing)?(?: other| more| further)? (?:questions?|comments?|thoughts?|else|feedback|objections?)\b|"
    r"\b(?:how are you|how['’]s everyone|what['’]s up|you know what i mean|does that make sense|make sense|sound good|"
    r"shall we (?:start|begin|move on)|are you (?:there|muted)|who['’]s (?:next|missing)|ready to start)\b",
    re.IGNORECASE,
)
_LEAST_STEMS: Final = 4


def answers(
    episodes: Sequence[Episode], vectors: Float32s, questions: Sequence[bool]
) -> tuple[tuple[int, int, float], ...]:
    """(answer, question, weight) for every question that somebody else answers within a few utterances.

    The reply is the first utterance of another speaker after the question that is no question itself and has
    four words or says yes or no; one that says "no idea" ends the search, and the question stays open. A nearer and more similar one weighs more: weight = (½ + ½ cosine) · .85^gap,
    in (0, 1]. Row i of `vectors` (n, 384) is the unit embedding of episode i.
    """
    found: list[tuple[int, int, float]] = []
    for q, asked in enumerate(questions):
        if not asked:
            continue
        for gap, a in enumerate(range(q + 1, min(len(episodes), q + 1 + REACH))):
            reply = episodes[a]
            if reply.speaker is not None and reply.speaker == episodes[q].speaker:
                continue
            if questions[a]:
                continue
            if _NO_ANSWER.search(reply.text):
                break
            if reply.words >= _SHORTEST_ANSWER or _YES_NO.match(reply.text):
                cosine = max(0.0, float(vectors[a] @ vectors[q]))
                found.append((a, q, round((0.5 + 0.5 * min(1.0, cosine)) * 0.85**gap, 4)))
                break
    return tuple(found)


def open_questions(
    episodes: Sequence[Episode], questions: Sequence[bool], answered: Sequence[bool], limit: int = 5
) -> tuple[int, ...]:
    """The positions of at most `limit` questions worth remembering as open, those with most to say first.

    Unanswered, with at least four distinct stems, and not about the call itself.
    """
    worth = []
    for i, episode in enumerate(episodes):
        if not questions[i] or answered[i] or _PROCEDURAL.search(episode.text):
            continue
        held = len(set(stems(episode.text)))
        if held >= _LEAST_STEMS:
            worth.append((-min(held, 12), i))
    return tuple(sorted(i for _, i in sorted(worth)[:limit]))
