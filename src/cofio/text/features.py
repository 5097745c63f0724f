"""The sixteen cognitive features of an utterance, each in [0, 1], from cue tables and the meeting around it.

They fill the last 16 dimensions of a memory's vector. Questions carry zeros there, so features change no
ranking unless a request steers by them; they also serve as filters and as small priors.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np

from cofio.records import FEATURE_DIMENSIONS, Episode, Float32s
from cofio.text.cues import strengths
from cofio.text.pattern_set import PatternSet
from cofio.text.terms import WORD, count_words, name_words
from cofio.text.valence import valence

SPEECH_WORDS_PER_S: Final = 2.5  # 150 words a minute, where a transcript has no end times
_NUMBER: Final = re.compile(r"[$€£]\s?\d|\d\s?%|\bpercent\b|\b\d{4,}\b|\d[kKmM]\b")
_SHOUTED: Final = re.compile(r"\b[A-Z]{4,}\b")
_SHAPES: Final = PatternSet([_NUMBER, _SHOUTED])


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureContext:
    """What the extractors may see of one utterance.

    `position` is None for text outside a meeting, such as a question. `due_dates` are the dates that the
    utterance names, as read by `cofio.text.dates`. `speaker_share` is the speaker's share of the meeting's
    words, `named` the number of other participants that the utterance names. `follows_other` and
    `answered_by_other` say that the utterance before or after is another speaker's, `follows_question` that
    another speaker has just asked something. Times are seconds from the start of the recording.
    """

    text: str
    words: int
    position: int | None = None
    total: int = 1
    start_s: float | None = None
    end_s: float | None = None
    meeting_duration_s: float | None = None
    meeting_date: date | None = None
    due_dates: tuple[date, ...] = ()
    speaker: str | None = None
    speaker_share: float = 0.0
    speakers: int = 1
    named: int = 0
    follows_other: bool = False
    answered_by_other: bool = False
    follows_question: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One utterance as the extractors see it: its context, the strengths of the cue tables, its valence."""

    context: FeatureContext
    cues: Mapping[str, float]
    valence: float  # VADER's compound score in [-1, 1]
    number: bool  # a sum, a share or a large number
    shouted: bool  # a word in capitals, too long for an acronym

    def cue(self, table: str) -> float:
        return self.cues.get(table, 0.0)


def meeting_contexts(
    episodes: Sequence[Episode],
    *,
    participants: Sequence[str],
    meeting_date: date | None,
    due_dates: Sequence[tuple[date, ...]],
) -> tuple[FeatureContext, ...]:
    """One context for each episode of a meeting, in order.

    `participants` are the people of the meeting besides those who speak in it. `due_dates[i]` are the dates
    that episode i names; ValueError if there is not one tuple for each episode.
    """
    if len(due_dates) != len(episodes):
        raise ValueError(f"{len(episodes)} episodes need as many tuples of due dates, not {len(due_dates)}")
    spoken: Counter[str | None] = Counter()
    for episode in episodes:
        spoken[episode.speaker] += episode.words
    total_words = max(1, sum(spoken.values()))
    speakers = max(1, sum(1 for speaker in spoken if speaker is not None))
    people = list(dict.fromkeys([*participants, *(s for s in spoken if s is not None)]))
    holders_of_word: dict[str, set[str]] = {}
    for person in people:
        for word in name_words([person]):
            holders_of_word.setdefault(word, set()).add(person)
    times = [t for e in episodes for t in (e.start_s, e.end_s) if t is not None]
    duration = max(times) if times else None
    changes = [a.speaker != b.speaker for a, b in pairwise(episodes)]
    contexts = []
    for i, episode in enumerate(episodes):
        after_other = i > 0 and changes[i - 1]
        contexts.append(
            FeatureContext(
                text=episode.text,
                words=episode.words,
                position=i,
                total=len(episodes),
                start_s=episode.start_s,
                end_s=episode.end_s,
                meeting_duration_s=duration,
                meeting_date=meeting_date,
                due_dates=tuple(due_dates[i]),
                speaker=episode.speaker,
                speaker_share=spoken[episode.speaker] / total_words if episode.speaker else 0.0,
                speakers=speakers,
                named=_named(episode, holders_of_word),
                follows_other=after_other,
                answered_by_other=i + 1 < len(episodes) and changes[i],
                follows_question=after_other and episodes[i - 1].text.rstrip().endswith("?"),
            )
        )
    return tuple(contexts)


def features(contexts: Sequence[FeatureContext]) -> Float32s:
    """The features of every context: float32 (n, 16), finite, in [0, 1], columns as in `FEATURES`."""
    rows = np.empty((len(contexts), FEATURE_DIMENSIONS), dtype=np.float32)
    for row, context in zip(rows, contexts, strict=True):
        seen = _see(context)
        row[:] = [extract(seen) for extract in _EXTRACTORS.values()]
    return np.clip(rows, 0.0, 1.0, out=rows)


def query_features(text: str) -> Float32s:
    """The features of a bare question, float32 (16,): the same extractors, with no meeting around it."""
    return features([FeatureContext(text=text, words=count_words(text))]).reshape(FEATURE_DIMENSIONS)


def _urgency(seen: _Seen) -> float:
    """How pressing it is: noisy-or of urgent·(1 − unhurried) and .5·2^(−d/2), d days to the next due date."""
    days = _days_ahead(seen.context)
    near = 0.5 * math.exp2(-days / 2.0) if days is not None else 0.0
    return _either(seen.cue("urgent") * (1.0 - seen.cue("unhurried")), near)


def _deadline_proximity(seen: _Seen) -> float:
    """How near a deadline is: max(deadline cues, 2^(−days/7)) for the next due date; 0 without either.

    A due date wins over the words that name it: where one is known, the cues count half.
    """
    days = _days_ahead(seen.context)
    if days is None:
        return seen.cue("deadline")
    return max(0.5 * seen.cue("deadline"), math.exp2(-days / 7.0))


def _sequence_position(seen: _Seen) -> float:
    """Where in the meeting: start over the meeting's duration, else position/(total − 1).

    Text outside a meeting lies at .5 + .5·(closing − opening) by the part of a meeting that it names.
    """
    c = seen.context
    if c.position is None:
        return 0.5 + 0.5 * (seen.cue("closing") - seen.cue("opening"))
    if c.start_s is not None and c.meeting_duration_s:
        return min(1.0, max(0.0, c.start_s / c.meeting_duration_s))
    return c.position / (c.total - 1) if c.total > 1 else 0.5


def _duration(seen: _Seen) -> float:
    """How long it takes to say: 1 − e^(−seconds/15), saturating; words / 2.5 a second without times."""
    c = seen.context
    if c.start_s is not None and c.end_s is not None and c.end_s > c.start_s:
        seconds = c.end_s - c.start_s
    else:
        seconds = c.words / SPEECH_WORDS_PER_S
    return 1.0 - math.exp(-seconds / 15.0)


def _polarity(seen: _Seen) -> float:
    """How positive: (VADER's compound + 1)/2; 0 is hostile, .5 neutral, 1 glad."""
    return (seen.valence + 1.0) / 2.0


def _intensity(seen: _Seen) -> float:
    """How much feeling, of either sign: noisy-or of |compound|, intensifiers, .15 a `!` and .2 if shouted."""
    text = seen.context.text
    bangs = 0.15 * min(3, text.count("!"))
    shouted = 0.2 if seen.shouted and not text.isupper() else 0.0
    return _either(abs(seen.valence), seen.cue("intensifier"), bangs, shouted)


def _confidence(seen: _Seen) -> float:
    """How sure the speaker sounds: .5 + .5·certain − .5·hedged, less .1 if it asks; .5 is neutral."""
    asks = 0.1 if "?" in seen.context.text else 0.0
    return max(0.0, 0.5 + 0.5 * seen.cue("certain") - 0.5 * seen.cue("hedged") - asks)


def _authority(seen: _Seen) -> float:
    """Whose word weighs: noisy-or of directive·(1 − deferent) and .5·r/(1 + r), r = share·speakers.

    r is the speaker's share of the words over an equal share, so r/(1 + r) is .5 for an average speaker.
    """
    ratio = seen.context.speaker_share * seen.context.speakers
    voice = 0.5 * ratio / (1.0 + ratio)
    return _either(seen.cue("directive"), voice) * (1.0 - 0.7 * seen.cue("deferent"))


def _audience(seen: _Seen) -> float:
    """How many are meant: the larger of `everyone` cues and named people over all other speakers."""
    others = max(1, seen.context.speakers - 1)
    return max(seen.cue("everyone"), min(1.0, seen.context.named / others))


def _interaction(seen: _Seen) -> float:
    """How much it is part of an exchange: noisy-or of exchange cues, .4 asks, .3 names someone, .35 follows a
    question, .15 each for another speaker before and after."""
    c = seen.context
    return _either(
        seen.cue("exchange"),
        0.4 * ("?" in c.text),
        0.3 * (c.named > 0),
        0.35 * c.follows_question,
        0.15 * c.follows_other,
        0.15 * c.answered_by_other,
    )


def _cause_effect(seen: _Seen) -> float:
    """How much it explains why: the strength of the cause table."""
    return seen.cue("cause")


def _dependency(seen: _Seen) -> float:
    """How much it hangs on something else: the strength of the dependency table."""
    return seen.cue("dependency")


def _impact(seen: _Seen) -> float:
    """How much is at stake: noisy-or of impact·(1 − minor) and .3 for a sum, share or large number."""
    sums = 0.3 if seen.number else 0.0
    return _either(seen.cue("impact") * (1.0 - seen.cue("minor")), sums)


def _alignment(seen: _Seen) -> float:
    """How much in line with goals and each other: .5 + .5·aligned − .5·misaligned; .5 is neither."""
    return 0.5 + 0.5 * seen.cue("aligned") - 0.5 * seen.cue("misaligned")


def _horizon(seen: _Seen) -> float:
    """How far ahead it looks: max(far·(1 − near), d/(d + 60)), d days to the latest due date."""
    c = seen.context
    ahead = 0.0
    if c.meeting_date is not None and c.due_dates:
        days = max(0, max((due - c.meeting_date).days for due in c.due_dates))
        ahead = days / (days + 60.0)
    return max(seen.cue("far") * (1.0 - seen.cue("near")), ahead)


def _risk_opportunity(seen: _Seen) -> float:
    """Risk or chance: .5 + .5·opportunity − .5·risk; 0 is all risk, 1 all opportunity, .5 neither."""
    return 0.5 + 0.5 * seen.cue("opportunity") - 0.5 * seen.cue("risk")


_EXTRACTORS: Final[Mapping[str, Callable[[_Seen], float]]] = {
    "urgency": _urgency,
    "deadline_proximity": _deadline_proximity,
    "sequence_position": _sequence_position,
    "duration": _duration,
    "polarity": _polarity,
    "intensity": _intensity,
    "confidence": _confidence,
    "authority": _authority,
    "audience": _audience,
    "interaction": _interaction,
    "cause_effect": _cause_effect,
    "dependency": _dependency,
    "impact": _impact,
    "alignment": _alignment,
    "horizon": _horizon,
    "risk_opportunity": _risk_opportunity,
}

# The names of the features, in the order of the vector's last 16 dimensions.
FEATURES: Final[tuple[str, ...]] = tuple(_EXTRACTORS)


def _see(context: FeatureContext) -> _Seen:
    lowered = WORD.findall(context.text.lower().replace("’", "'"))
    shapes = _SHAPES.matching(context.text)
    return _Seen(
        context=context,
        cues=strengths(lowered),
        valence=valence(context.text),
        number=0 in shapes,
        shouted=1 in shapes,
    )


def _either(*chances: float) -> float:
    """Noisy-or: 1 − Π (1 − chance)."""
    rest = 1.0
    for chance in chances:
        rest *= 1.0 - chance
    return 1.0 - rest


def _days_ahead(context: FeatureContext) -> int | None:
    """Days from the meeting to the next due date that is not past; None without one."""
    if context.meeting_date is None:
        return None
    ahead = [days for due in context.due_dates if (days := (due - context.meeting_date).days) >= 0]
    return min(ahead, default=None)


def _named(episode: Episode, holders_of_word: Mapping[str, set[str]]) -> int:
    """How many other participants the episode names, by capitalised words of their names.

    A word that several people share names one person, not all of them.
    """
    named: set[str] = set()
    for word in WORD.findall(episode.text):
        if word[0].isupper():
            holders = holders_of_word.get(word.lower(), set()) - {episode.speaker}
            if holders and not holders & named:
                named.add(min(holders))
    return len(named)
