"""Memory types of utterances: rules for questions and commitments, logistic heads for the rest.

A head weighs 813 inputs: the stored vector, 5 rules, 14 signs and 2 lengths, the same averaged over the turns
around, and 3 of the place in the meeting. Its weights are int8 constants beside this module, made by
`scripts/train_type_heads.py` (docs/decisions/0004-memory-types.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from cofio.records import SEMANTIC_DIMENSIONS, Episode, Float32s, MemoryType
from cofio.text.cues import ACCEPTANCE, COMMITMENT, REQUEST
from cofio.text.pattern_set import PatternSet
from cofio.text.terms import WORD

_I: Final = re.IGNORECASE

DECISION_RULE: Final = re.compile(
    r"\b(?:we(?:'ve| have)? (?:all )?(?:decided|agreed|settled|concluded)|decision|decided|"
    r"let's (?:go with|use|keep|leave it|move forward|stick|say|do (?:it|that|this))|(?:we'll|we will|"
    r"we're going to|we're gonna|we are going to) (?:go (?:with|for|ahead)|use|have|keep|stick|include|not|"
    r"move|do|make|ship|schedule|target)|go(?:ing)? with|we're not going to|agreed|approved|consensus|"
    r"settled|final(?:ly)? (?:decision|choice)|postponed?|so it's going to be|rough consensus|"
    r"no objections?|sounds like we|seems like we)\b",
    _I,
)
ACTION_RULE: Final = re.compile(
    r"\b(?:action items?|to[- ]do|next steps?|follow[- ]?up|take care of|your (?:task|job)|assigned?|"
    r"(?:i'll|i will|i'm going to|i'm gonna|let me) (?:send|write|check|prepare|look|make|do|share|post|"
    r"open|create|update|talk|ask|put|add|try|get|set up|work|reach|follow|ping|finish|schedule|review|"
    r"email|e-mail|draft|take|contact|find)|(?:can|could|would|will) (?:you|someone|somebody|"
    r"anyone) (?:please )?(?:\w+)|please|(?:you|you guys|everyone|we|teams|they) (?:need|have|should|will|"
    r"must|ought)(?: to)? (?:\w+ )?(?:send|write|check|prepare|look|make|share|post|open|create|update|"
    r"talk|ask|review|test|implement|work|fix|merge|finish|draft|find|think|bring|come)|by (?:tomorrow|"
    r"monday|tuesday|wednesday|thursday|friday|next|the end|then)|before (?:the )?next (?:meeting|call)|"
    r"for the next meeting|make sure)\b",
    _I,
)
ISSUE_RULE: Final = re.compile(
    r"\b(?:problems?|issues?|concern(?:s|ed)?|trouble|bugs?|fail(?:s|ed|ing|ure|ures)?|broken|breaks?|"
    r"difficult|hard to|tricky|worr(?:y|ied)|risk(?:s|y)?|(?:doesn't|don't|didn't|not|"
    r"isn't) (?:really )?(?:work(?:ing)?|enough|make sense|possible|clear|sure|good)|can't|cannot|"
    r"too (?:expensive|much|many|slow|big|small|long|complicated|difficult|late|hard)|stuck|blocked|"
    r"confus(?:ed|ing)|wrong|unfortunately|error|errors|missing|annoying|the thing is|delay(?:ed|s)?)\b",
    _I,
)
IDEA_RULE: Final = re.compile(
    r"\b(?:what if|how about|what about|maybe (?:we|you|i|it|just|the|a|if)|perhaps|we (?:could|should|"
    r"might|can)|you (?:could|should|might|can)|why (?:don't|not)|suggest(?:ion|s|ed)?|propos(?:e|al|ing|"
    r"ed)|idea|it (?:would|might|could) be|i would (?:say|just|go|like|prefer|suggest)|i'd (?:say|just|go|"
    r"like|prefer|suggest)|i think (?:we|it|you) (?:should|could|need|would)|could (?:just|also|have|be|"
    r"use|do)|should (?:be|have|we)|shall we|let's|we want to|might (?:be|want)|better (?:to|if)|if we|"
    r"recommend|alternative(?:ly)?|or (?:we|you|just))\b",
    _I,
)

# What else the heads see: one input each, 1 if it occurs.
SIGNS: Final[Mapping[str, re.Pattern[str]]] = {
    "commitment": COMMITMENT,
    "acceptance": ACCEPTANCE,
    "request": REQUEST,
    "we_will": re.compile(r"\bwe(?:'ll| will|'re going to|'re gonna| are going to| shall)\b", _I),
    "lets": re.compile(r"\blet(?:'s| us)\b|\bshall we\b", _I),
    "obligation": re.compile(r"\b(?:need|needs|have|has|got|supposed|must|should) ?(?:to)?\b", _I),
    "possibility": re.compile(r"\b(?:could|might|maybe|perhaps|may|would)\b", _I),
    "date": re.compile(
        r"\b(?:today|tomorrow|tonight|(?:mon|tues|wednes|thurs|fri|satur|sun)day|next (?:week|month|time|"
        r"meeting|call|sprint)|this (?:week|afternoon|month)|end of|deadline|january|february|march|april|"
        r"june|july|august|september|october|november|december|o'clock|minutes|hours|weeks?)\b",
        _I,
    ),
    "opinion": re.compile(r"\bi (?:think|feel|believe|guess|mean|don't think)\b|\bin my opinion\b", _I),
    "condition": re.compile(r"\b(?:if|unless|whether|depends|depending)\b", _I),
    "past": re.compile(
        r"\b(?:was|were|did|had|been|last (?:week|time|meeting|call)|yesterday|already)\b", _I
    ),
    "conclusion": re.compile(r"^\W*(?:okay|ok|alright|all right|right|great|cool|perfect|so|yeah)\b", _I),
    "artefact": re.compile(
        r"\b(?:report|document|doc|email|e-mail|mail|slides?|presentation|spec|issue|pr|repo|link|channel|"
        r"discord|ticket|draft|proposal|questionnaire|minutes|agenda|data|test|tests|release|meeting|call)\b",
        _I,
    ),
    "number": re.compile(r"\d|\b(?:one|two|three|four|five|six|ten|twenty|hundred|percent)\b", _I),
}

# The types that have a logistic head, in the order in which they win where several fire.
HEADS: Final = (MemoryType.ACTION, MemoryType.DECISION, MemoryType.ISSUE, MemoryType.IDEA)
_SURFACE: Final = 5 + len(SIGNS) + 2
# Utterances of fewer words are of no type that a head could give.
HEAD_WORDS: Final = 5
# What a turn and its three neighbours on either side count in the average around it.
_AROUND: Final = np.array([0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25], np.float32)
# Brings the components of a unit vector to the size of the other inputs, which are 0 or 1: one ridge fits both.
_VECTOR_SCALE: Final = 4.0
# Where the end of a meeting begins: actions are gathered there.
_ENDS: Final = (0.8, 0.9)

_SENTENCE_END: Final = re.compile(r"(?<=[.?!…])[\s\"')\]]+")
_FILLER: Final = re.compile(
    r"^\W*(?:(?:yeah|yes|yep|no|nope|okay|ok|alright|all right|right|so|well|um|uh|oh|ah|hmm|mm|sure|great|"
    r"cool|and|but|like|sorry|thanks|thank you|hi|hey|hello|now|then|good|nice|perfect|i see|i mean|"
    r"you know|just|quick question|question|one question|i have a question)\b[\s,.!…-]*)+",
    _I,
)
# A question by its form, for transcripts without question marks.
_ASKING: Final = re.compile(
    r"^(?:(?:what|why|how|when|where|who|whom|whose|which)(?:'s|'re|'d)?\s+(?:is|are|was|were|do|does|did|"
    r"can|could|would|will|should|shall|have|has|about|many|much|long|come|if|\w+ (?:is|are|do|does|did|"
    r"can|would|should))\b|(?:what|who|where|when|how)'s\b|(?:is|are|was|were|do|does|did|can|could|would|"
    r"will|should|shall|have|has|isn't|aren't|don't|doesn't|didn't|can't|couldn't|wouldn't|won't|"
    r"shouldn't)\s+(?:you|we|i|they|he|she|it|that|this|there|these|those|the|anyone|anybody|someone|"
    r"somebody|everyone|everybody|people)\b)",
    _I,
)
# A tag at the end asks for a nod, not for an answer.
_TAG: Final = re.compile(r"\b(?:right|okay|ok|yeah|you know|huh|correct|no|see)\s*\?+\W*$", _I)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedAs:
    """What kind of thing an utterance is.

    `scores` holds one pair of type and probability for every head and 0 or 1 for question and commitment.
    `pure_question` says that the utterance is nothing but a question; ranking takes .1 off for it.
    """

    memory_type: MemoryType
    scores: tuple[tuple[MemoryType, float], ...]
    pure_question: bool

    def score(self, memory_type: MemoryType) -> float:
        """The probability of `memory_type`; 0 for `context`, which is what remains when nothing fires."""
        return dict(self.scores).get(memory_type, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeHead:
    """One logistic head: p = sigmoid(scale · weights·x + bias), int8 weights (813,)."""

    memory_type: MemoryType
    weights: np.ndarray[tuple[int], np.dtype[np.int8]]
    scale: float
    bias: float
    threshold: float

    def probabilities(self, inputs: Float32s) -> Float32s:
        """One probability a row of `inputs` (n, 813)."""
        logits = self.scale * (inputs @ self.weights.astype(np.float32)) + self.bias
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))), dtype=np.float32)


def classify(episodes: Sequence[Episode], vectors: Float32s) -> tuple[TypedAs, ...]:
    """The type of every episode of a meeting; row i of `vectors` (n, 384) is the unit embedding of episode i.

    Where several types fire, the more binding one wins: a pure question that asks nobody to do anything is a
    question; else action > decision > commitment > issue > idea > question > context. ValueError if the
    vectors do not fit the episodes.
    """
    if vectors.shape != (len(episodes), SEMANTIC_DIMENSIONS):
        raise ValueError(f"{len(episodes)} episodes need vectors of shape (n, 384), not {vectors.shape}")
    seen = [_see(episode.text) for episode in episodes]
    long = [i for i, episode in enumerate(episodes) if episode.words >= HEAD_WORDS]
    inputs = _head_inputs(
        [seen[i] for i in long],
        [episodes[i].words for i in long],
        [i / max(1, len(episodes) - 1) for i in long],
        vectors[long],
    )
    heads = type_heads()
    by_head = np.zeros((len(heads), len(episodes)), np.float32)
    for column, head in zip(by_head, heads, strict=True):
        column[long] = head.probabilities(inputs)
    typed = []
    for one, chances in zip(seen, by_head.T.tolist(), strict=True):
        scores = {head.memory_type: chance for head, chance in zip(heads, chances, strict=True)}
        if one.pure and not one.requests:
            chosen = MemoryType.QUESTION
        else:
            fired = {head.memory_type for head in heads if scores[head.memory_type] >= head.threshold}
            fired |= {MemoryType.QUESTION} if one.asks else set()
            fired |= {MemoryType.DECISION} if one.decides else set()
            fired |= {MemoryType.COMMITMENT} if one.commits else set()
            chosen = next((t for t in _PRECEDENCE if t in fired), MemoryType.CONTEXT)
        scores[MemoryType.QUESTION] = float(one.asks)
        scores[MemoryType.COMMITMENT] = float(one.commits)
        typed.append(TypedAs(memory_type=chosen, scores=tuple(scores.items()), pure_question=one.pure))
    return tuple(typed)


# What calls itself a decision is one, whatever the heads make of it.
EXPLICIT_DECISION: Final = re.compile(
    r"\b(?:we|we've|we have|they|the (?:team|group|board)(?: has| have)?)(?: all| just| finally| already)? "
    r"(?:decided|agreed) (?:to|on|that|for|against|not)\b|^\W*(?:(?:okay|ok|so|right|good|great|then|and)\W+)*"
    r"(?:(?:it's|it is|that's|that is) )?(?:decided|agreed)\b(?! with)|\bthe decision (?:is|was)\b|\bdecision:|"
    r"\b(?:so|then|okay|ok),? (?:we|we'll|we will) (?:go|stick|stay) with\b|\blet's (?:go|stick) with\b|"
    r"\bwe (?:go|are going|will go) with\b|\bthat settles it\b",
    _I,
)

_PRECEDENCE: Final = (
    MemoryType.ACTION,
    MemoryType.DECISION,
    MemoryType.COMMITMENT,
    MemoryType.ISSUE,
    MemoryType.IDEA,
    MemoryType.QUESTION,
)


def question(text: str) -> tuple[bool, bool]:
    """Whether `text` asks something, and whether it does nothing else.

    A sentence asks if it ends in a question mark that is not a mere tag (`…, right?`), or has the form of a
    question. Fillers (`okay`, `yeah, so`) count as nothing said.
    """
    asked = told = False
    for sentence in _SENTENCE_END.split(text):
        rest = _FILLER.sub("", sentence)
        if not WORD.search(rest):
            asked = asked or (sentence.rstrip().endswith("?") and len(WORD.findall(sentence)) > 1)
            continue
        marked = sentence.rstrip(" \"')]").endswith("?") and not _TAG.search(sentence)
        if marked or (not sentence.rstrip().endswith((".", "!")) and _ASKING.match(rest) is not None):
            asked = True
        else:
            told = True
    return asked, asked and not told


def is_commitment(text: str) -> bool:
    """Whether the speaker takes on future work: `I'll …`, `let me …`, but not `I'll say` or `let me see`."""
    return any(_EMPTY_PROMISE.match(text, found.start()) is None for found in COMMITMENT.finditer(text))


# Talk about the talk itself, which commits to nothing beyond the next breath.
_EMPTY_PROMISE: Final = re.compile(
    r"(?:i'll|i will|i'm going to|i'm gonna|i am going to|i shall|let me)\s+(?:just |also |maybe |"
    r"quickly )*(?:say|be honest|tell you|see|think|guess|admit|know|never|not|stop|start|begin|"
    r"go (?:first|ahead|next)|hand|pass|explain|repeat|rephrase|finish|share my screen|mute|give it (?:to|"
    r"back)|let|assume|ask)\b",
    _I,
)


def head_inputs(
    texts: Sequence[str], words: Sequence[int], places: Sequence[float], vectors: Float32s
) -> Float32s:
    """What the heads weigh, float32 (n, 813), for the utterances of one meeting that have five words or more.

    The vector (× 4), 5 rules (question, decision, action, issue, idea), 14 signs, min(1, words/25),
    ln(1 + words)/5; these again, averaged over the three utterances on either side; and the place in the
    meeting, from 0 to 1, with whether it is beyond .8 and beyond .9.
    """
    return _head_inputs([_see(text) for text in texts], words, places, vectors)


def _head_inputs(
    seen: Sequence[_Seen], words: Sequence[int], places: Sequence[float], vectors: Float32s
) -> Float32s:
    surface = np.zeros((len(seen), _SURFACE), dtype=np.float32)
    surface[:, 0] = [one.asks for one in seen]
    for row, one in zip(surface, seen, strict=True):
        row[list(one.cues)] = 1.0
    surface[:, -2] = [min(1.0, count / 25.0) for count in words]
    surface[:, -1] = np.log1p(words) / 5.0
    own = np.hstack([_VECTOR_SCALE * vectors, surface])
    place = np.array(places, np.float32).reshape(-1, 1)
    return np.hstack([own, _around(own), place, *(place > end for end in _ENDS)]).astype(np.float32)


def _around(rows: Float32s) -> Float32s:
    """The weighted average of each row and the three on either side, where there are any."""
    reach = _AROUND.size // 2
    total = np.zeros_like(rows)
    weight = np.zeros((len(rows), 1), np.float32)
    for offset, share in zip(range(-reach, reach + 1), _AROUND, strict=True):
        first, last = max(0, -offset), min(len(rows), len(rows) - offset)
        if last > first:
            total[first:last] += share * rows[first + offset : last + offset]
            weight[first:last] += share
    return np.asarray(total / np.maximum(weight, 1e-9), dtype=np.float32)


_RULES: Final = (DECISION_RULE, ACTION_RULE, ISSUE_RULE, IDEA_RULE)
# All that is searched for in an utterance; what it says of the rules and signs stands in the heads' inputs from 1.
_ALL: Final = PatternSet([*_RULES, *SIGNS.values(), EXPLICIT_DECISION])
_COMMITMENT, _REQUEST = (1 + len(_RULES) + list(SIGNS).index(name) for name in ("commitment", "request"))
_EXPLICIT: Final = 1 + len(_RULES) + len(SIGNS)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the patterns say of one utterance; `cues` are the inputs of the heads that a rule or a sign sets."""

    asks: bool
    pure: bool
    requests: bool
    commits: bool
    decides: bool
    cues: frozenset[int]


def _see(text: str) -> _Seen:
    plain = _plain(text)
    asks, pure = question(plain)
    found = frozenset([1 + place for place in _ALL.matching(plain)])
    return _Seen(
        asks=asks,
        pure=pure,
        requests=_REQUEST in found,
        commits=_COMMITMENT in found and is_commitment(plain),
        decides=_EXPLICIT in found,
        cues=found - {_EXPLICIT},
    )


@cache
def type_heads() -> tuple[TypeHead, ...]:
    """The shipped heads in the order of `HEADS`."""
    stored = json.loads(files("cofio.text").joinpath("type_heads.json").read_text(encoding="utf-8"))
    return tuple(
        TypeHead(
            memory_type=memory_type,
            weights=np.array(stored["heads"][memory_type]["weights"], dtype=np.int8),
            scale=float(stored["heads"][memory_type]["scale"]),
            bias=float(stored["heads"][memory_type]["bias"]),
            threshold=float(stored["heads"][memory_type]["threshold"]),
        )
        for memory_type in HEADS
    )


def _plain(text: str) -> str:
    return text.replace("’", "'")
