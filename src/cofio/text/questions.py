"""Which utterance answers which question, and which questions a meeting leaves open."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cofio.records import Episode
from cofio.text.fillers import BLOCKED_STEMS, WEAK_STEMS
from cofio.text.terms import query_stems, stems

# A reply is looked for among this many utterances of other people, within this many of anyone.
_REPLIES: Final = 6
_REACH: Final = 13
# At most this many utterances answer one question, each at least this probably.
_MOST_ANSWERS: Final = 2
_LIKELY: Final = 0.3

# Log odds that an utterance answers the question, fitted on the adjacency pairs of AMI: constant, place among
# the utterances of others, and evidence. The cosine to the question adds nothing to shared stems. On all 4,021
# questions there: precision .47 and recall .57 of pairs; the next other speaker has .39 and .47.
_CONSTANT: Final = -2.3
_BY_PLACE: Final = (2.2, 1.0, 0.4, -0.5, -1.0, -1.9)
_IS_QUESTION: Final = -1.5
_YES_OR_NO: Final = 0.65
_ONLY_SOUNDS: Final = -1.9
_SHARED_STEM: Final = 0.6  # for each of at most two
_ASKER_AGAIN: Final = -0.8  # for each of at most three utterances of the asker in between
_SECOND_VOICE: Final = 0.75  # someone else than the first to react

_REPLY: Final = re.compile(
    r"""\W*(?:yes|yeah|yep|yup|no|nope|nah|sure|exactly|correct|right|true|okay|ok|absolutely|definitely|of\s+course
    |probably|maybe|not\s+really|i\s+think\s+so|i\s+guess|i\s+don['’]?t|dunno|mm-hmm|uh-huh|mm)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_SOUNDS: Final = re.compile(
    r"\W*(?:(?:mm|hmm|hm|uh|um|huh|oh|ah|okay|ok|['’]kay|sorry|so|well|and|but|pardon)\b\W*)+", re.IGNORECASE
)

# Who says this leaves the question open.
_NO_ANSWER: Final = re.compile(
    r"""\b(?:no\s+idea|(?:i|we)\s+(?:really\s+|honestly\s+|also\s+)?(?:don['’]t|do\s+not)\s+(?:really\s+|actually\s+)?know
    |let['’]s\s+find\s+out|good\s+question|(?:leave|leaving|keep)\s+(?:that|this|it)\s+open|(?:he|she|they)\s+did(?:n['’]t|\s+not)\s+say
    |(?:have|need)\s+to\s+(?:check|find\s+out|look\s+(?:it|that)\s+up)|(?:i|we)\s+(?:can['’]t|cannot)\s+(?:say|tell))\b""",
    re.VERBOSE | re.IGNORECASE,
)
# Questions that run the meeting, or ask for nothing.
_PROCEDURAL: Final = re.compile(
    r"""\b(?:(?:can|could|do|did)\s+(?:you|everyone|everybody|people|anyone|we|y['’]all)\s+(?:\w+\s+)?(?:hear|see)\b
    |(?:my|your|the)\s+(?:screen|slides?|mic(?:rophone)?|audio|camera|video)\b
    |on\s+mute|unmute|share\s+(?:your|my|the)\s+screen|next\s+slide|recording
    |any(?:one|body|thing)?\s+(?:other\s+|else\s+|more\s+|further\s+)*(?:questions?|comments?|objections?|thoughts|
        remarks?|concerns?|feedback|updates?|opinions?|else|have|want|wants|has|got)\b
    |(?:mak|made)\w*\s+sense|(?:is|are)\s+(?:that|this|you|we|everyone|everybody)\s+(?:\w+\s+)?(?:ok|okay|right|
        correct|clear|fine|good|ready|done|all|finished|there)\b
    |how\s+are\s+you|how['’]s\s+it\s+going|how\s+(?:was|is|are|were)\s+your|what['’]s\s+(?:up|new)|what\s+about\s+you
    |who['’]?s?\s+(?:is\s+)?next|who\s+wants|(?:shall|should|can|may)\s+(?:we|i)\s+(?:start|begin|move|go|continue|proceed)
    |move\s+on|next\s+(?:item|topic|call|meeting|up)|do\s+you\s+(?:want|mind|know)\s+(?:to|if|what\s+i)|want\s+to\s+(?:go|
        add|say|take|speak|start)|would\s+you\s+like\s+to|go\s+ahead|what\s+do\s+you\s+(?:think|mean)\s*\?|say\s+(?:that|it)\s+again
    |minutes?\s+left|what\s+time|you\s+know\s*\?|isn['’]t\s+it\s*\?|don['’]t\s+you\s*\?|see\s+what\s+i|remember\s*\?)""",
    re.VERBOSE | re.IGNORECASE,
)
_TAG: Final = re.compile(r"(?:,|\.|…)\s*(?:right|okay|ok|yeah|no|huh|correct|hey|eh)\s*\?\s*$", re.IGNORECASE)
_ASKS: Final = re.compile(
    r"""\b(?:what|how|why|which|who|when|where|whether|should|shall|could|can|do\s+we|does|is\s+there|are\s+there|will
    |would)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_SHARPLY_ASKS: Final = re.compile(
    r"""\b(?:how\s+(?:do|does|should|would|will|can|could|much|many|long)|why|which|what\s+(?:is|are|if|happens|should|would|
    do|does|kind|about)|when\s+(?:do|does|will|should|can|is)|who\s+(?:will|should|can|is|does)|should\s+(?:we|it|the|i)
    |do\s+we|is\s+there|are\s+there|whether)\b""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Reply:
    position: int
    place: int
    asker_between: int
    second_voice: bool


def answers(episodes: Sequence[Episode], questions: Sequence[bool]) -> tuple[tuple[int, int, float], ...]:
    """Triples (answer, question, weight): which utterance replies to which question, by position.

    For each question at most the two likeliest of the next six utterances by other speakers, where their
    probability, the weight, is at least .3. Log-linear in place among the replies, whether it is itself a
    question, yes/no openings, mere sounds, shared stems, and who spoke in between. "No idea" is no answer.
    Without speakers nothing is known and nothing returned. Ordered by question, then answer.
    """
    stem_sets: dict[int, frozenset[str]] = {}

    def stems_at(position: int) -> frozenset[str]:
        if position not in stem_sets:
            stem_sets[position] = frozenset(stems(episodes[position].text))
        return stem_sets[position]

    found: list[tuple[int, int, float]] = []
    for question, asked in enumerate(questions):
        if not asked or episodes[question].speaker is None:
            continue
        likely: list[tuple[float, int]] = []
        for reply in _replies(episodes, question):
            if _NO_ANSWER.search(episodes[reply.position].text):
                continue
            odds = _log_odds(
                episodes[reply.position].text,
                reply,
                is_question=questions[reply.position],
                shared=len(stems_at(question) & stems_at(reply.position)),
            )
            weight = 1.0 / (1.0 + math.exp(-odds))
            if weight >= _LIKELY:
                likely.append((-weight, reply.position))
        best = sorted(likely)[:_MOST_ANSWERS]
        found.extend((position, question, -weight) for weight, position in sorted(best, key=lambda x: x[1]))
    return tuple(found)


def open_questions(
    episodes: Sequence[Episode], questions: Sequence[bool], answered: Sequence[bool], limit: int = 5
) -> tuple[int, ...]:
    """Positions of the questions worth remembering as open, the best first.

    Unanswered, with at least 3 content stems, one of them sharp enough to name a thing, and neither small
    talk, nor about the running of the meeting, nor a statement with a tag ("…, right?"). The more a question
    names and the more plainly it asks, the better.
    """
    ranked: list[tuple[float, int]] = []
    for position, asked in enumerate(questions):
        if not asked or answered[position]:
            continue
        score = _worth(episodes[position].text)
        if score > 0:
            ranked.append((-score, position))
    return tuple(position for _, position in sorted(ranked)[:limit])


def _replies(episodes: Sequence[Episode], question: int) -> Iterator[_Reply]:
    """The next utterances of others, with what stands between them and the question."""
    asker = episodes[question].speaker
    first: str | None = None
    place = asker_between = 0
    for position in range(question + 1, min(len(episodes), question + 1 + _REACH)):
        speaker = episodes[position].speaker
        if speaker is None or episodes[position].words == 0:
            continue
        if speaker == asker:
            asker_between += 1
            continue
        if place == _REPLIES:
            return
        first = first or speaker
        yield _Reply(position, place, asker_between, speaker != first)
        place += 1


def _log_odds(text: str, reply: _Reply, *, is_question: bool, shared: int) -> float:
    return (
        _CONSTANT
        + _BY_PLACE[reply.place]
        + _IS_QUESTION * is_question
        + _YES_OR_NO * (_REPLY.match(text) is not None)
        + _ONLY_SOUNDS * (_SOUNDS.fullmatch(text) is not None)
        + _SHARED_STEM * min(shared, 2)
        + _ASKER_AGAIN * min(reply.asker_between, 3)
        + _SECOND_VOICE * reply.second_voice
    )


def _worth(text: str) -> float:
    """How much a question is worth keeping: 0 for small talk, else what it names and how it asks."""
    # Only the sentence that asks counts; what leads up to it is told, not asked.
    asking = next(
        (s for s in reversed(re.split(r"(?<=[.?!…])\s+", text.strip())) if s.rstrip().endswith("?")), text
    )
    content = query_stems(asking)
    sharp = [s for s in content if s not in BLOCKED_STEMS and s not in WEAK_STEMS and len(s) > 2]
    if len(content) < 3 or not sharp or _PROCEDURAL.search(asking) or _TAG.search(asking):
        return 0.0
    asks = (1.5 if _SHARPLY_ASKS.search(asking) else 0.0) + (0.5 if _ASKS.search(asking) else 0.0)
    weak = sum(s in WEAK_STEMS for s in content)
    return min(len(sharp), 5) + 0.25 * min(weak, 4) + asks
