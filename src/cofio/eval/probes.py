"""What a set's other labels measure: bridges, confidence, segments, types and owners."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from rich.console import Console

from cofio.eval.corpus import Corpus
from cofio.eval.datasets import LabelledItem, LabelledMeeting, LabelledQuestion, TurnKey
from cofio.eval.harness import AskedOf, filters_of, share_of_missed
from cofio.eval.measures import Figure, auroc, average
from cofio.eval.rankings import DIRECT
from cofio.graph.blocks import TURN_WORDS
from cofio.query import recall
from cofio.records import Answer, Episode, Filters, MemoryType, Question
from cofio.show import progress_bar
from cofio.store.meetings import episode_texts
from cofio.text.owners import company, owners
from cofio.text.terms import WORD, stems
from cofio.text.types import classify

# A boundary is found if a cut lies within so many turns of it (lab 2 §2).
BOUNDARY_TURNS: Final = 5
# The share of a meeting's turns that a type may flag (lab 2 §5), and how many turns lie between two flags where the
# gold is a window of time.
QUOTA: Final = 0.02
FLAG_DISTANCE: Final = 3
# An item of one of the next two meetings follows an earlier one up if they share so many stems that at most this
# share of the items holds (lab 2 §3c).
FOLLOW_UP_MEETINGS: Final = 2
FOLLOW_UP_STEMS: Final = 2
RARE_AMONG_ITEMS: Final = 0.02


async def probe(
    corpus: Corpus, asked_of: AskedOf, questions: Sequence[LabelledQuestion], console: Console
) -> Mapping[str, Figure]:
    """Every figure that the labels of the set allow, by name; asked of the whole set, that of bridges alone."""
    figures = dict(await _bridges(corpus, asked_of, questions, console))
    if asked_of == "pooled":
        return figures
    figures |= await _confidence(corpus, questions, console)
    if corpus.dataset.topic_starts:
        figures["segmentation_f1"] = _segmentation(corpus)
    if corpus.dataset.items:
        figures |= await _types(corpus)
        figures |= await _follow_ups(corpus, console)
    return figures


async def _bridges(
    corpus: Corpus, asked_of: AskedOf, questions: Sequence[LabelledQuestion], console: Console
) -> Mapping[str, Figure]:
    """Of the gold that ten direct results miss, what five bridges hold: beside plain hybrid, and beside U."""
    answerable = [question for question in questions if question.answerable]
    figures = {}
    for name, activation in (("hybrid", False), ("activation", True)):
        direct, bridges = [], []
        with progress_bar(console) as progress:
            for question in progress.track(answerable, description=f"Bridges beside {name}"):
                answer = await _answer(
                    corpus, question.text, filters_of(corpus, question, asked_of), activation=activation
                )
                direct.append(
                    corpus.turns([memory.memory_id for memory in answer.direct_results["L2"]])[:DIRECT]
                )
                bridges.append(corpus.turns([memory.memory_id for memory in answer.bridge_memories]))
        golds = [question.gold for question in answerable]
        figures[f"bridges_beside_{name}_share_of_missed"] = share_of_missed(direct, bridges, golds)
    return figures


async def _follow_ups(corpus: Corpus, console: Console) -> Mapping[str, Figure]:
    """An item of one meeting, asked of that meeting: the items of later meetings that follow it up.

    Of the following items of which ten direct results hold no turn, the share of which five bridges hold one.
    """
    shares = []
    with progress_bar(console) as progress:
        wanted = list(_followed_up(corpus.dataset.meetings, corpus.dataset.items))
        for item, following in progress.track(wanted, description="Follow-ups"):
            asked_of = corpus.scope(meeting_id=item.meeting_id)
            answer = await _answer(corpus, item.text, asked_of, activation=False)
            direct = corpus.turns([memory.memory_id for memory in answer.direct_results["L2"]])[:DIRECT]
            bridges = set(corpus.turns([memory.memory_id for memory in answer.bridge_memories]))
            lost = [turns for turns in following if not turns & set(direct)]
            if lost:
                shares.append(sum(bool(turns & bridges) for turns in lost) / len(lost))
    return {"bridges_to_follow_ups_share_of_missed": average(np.array(shares))} if shares else {}


def _followed_up(
    meetings: Sequence[LabelledMeeting], items: Sequence[LabelledItem]
) -> Iterable[tuple[LabelledItem, Sequence[frozenset[TurnKey]]]]:
    series: dict[str, list[LabelledMeeting]] = {}
    for meeting in meetings:
        if meeting.series is not None and meeting.date is not None:
            series.setdefault(meeting.series, []).append(meeting)
    of_meeting: dict[str, list[LabelledItem]] = {}
    held: dict[str, int] = {}
    said = {item.item_id: frozenset(stems(item.text)) for item in items}
    for item in items:
        of_meeting.setdefault(item.meeting_id, []).append(item)
        for stem in said[item.item_id]:
            held[stem] = held.get(stem, 0) + 1
    rare = {stem for stem, count in held.items() if count <= RARE_AMONG_ITEMS * len(items)}
    for members in series.values():
        members.sort(key=lambda meeting: (meeting.date or 0, meeting.meeting_id))
        for place, meeting in enumerate(members):
            later = members[place + 1 : place + 1 + FOLLOW_UP_MEETINGS]
            for item in of_meeting.get(meeting.meeting_id, ()):
                following = [
                    frozenset((other.meeting_id, turn_id) for turn_id in other.turn_ids)
                    for next_one in later
                    for other in of_meeting.get(next_one.meeting_id, ())
                    if len(said[item.item_id] & said[other.item_id] & rare) >= FOLLOW_UP_STEMS
                ]
                if following:
                    yield item, following


async def _confidence(
    corpus: Corpus, questions: Sequence[LabelledQuestion], console: Console
) -> Mapping[str, Figure]:
    """Each question asked of its own meeting and of another of its kin; and answerable against unanswerable ones.

    Participants' names are taken out for the first of the two: a strange name would give a foreign question away.
    """
    meetings = {meeting.meeting_id: meeting for meeting in corpus.dataset.meetings}
    figures: dict[str, Figure] = {}
    own, foreign = [], []
    with progress_bar(console) as progress:
        for question in progress.track(questions, description="Confidence"):
            other = kin_of(corpus, question)
            if not question.answerable or other is None:
                continue
            text = without_names(question, meetings, corpus.dataset.meetings)
            answers = [
                await _answer(corpus, text, filters, activation=True)
                for filters in (filters_of(corpus, question, "meeting"), other)
            ]
            own.append(answers[0].confidence)
            foreign.append(answers[1].confidence)
        if own:
            figures["confidence_auroc"] = auroc(np.array(own), np.array(foreign))
        unanswerable = [question for question in questions if not question.answerable]
        if unanswerable:
            figures["swapped_speaker_auroc"] = auroc(
                *[
                    np.array(
                        [
                            (
                                await _answer(
                                    corpus, q.text, filters_of(corpus, q, "meeting"), activation=True
                                )
                            ).confidence
                            for q in progress.track(asked, description=description)
                        ]
                    )
                    for asked, description in (
                        ([q for q in questions if q.answerable], "Answerable"),
                        (unanswerable, "Unanswerable"),
                    )
                ]
            )
    return figures


def kin_of(corpus: Corpus, question: LabelledQuestion) -> Filters | None:
    """Another meeting (or series) of the same kin as the question's own, drawn by the question's id."""
    meetings = corpus.dataset.meetings
    if question.series is not None:
        name = _drawn({m.series for m in meetings if m.series} - {question.series}, question)
        return corpus.scope(series=name) if name else None
    if question.meeting_id is None:
        return None
    kin = next(meeting.kin for meeting in meetings if meeting.meeting_id == question.meeting_id)
    ids = {meeting.meeting_id for meeting in meetings if meeting.kin == kin} - {question.meeting_id}
    name = _drawn(ids, question)
    return corpus.scope(meeting_id=name) if name else None


def _drawn(names: set[str], question: LabelledQuestion) -> str | None:
    draw = int.from_bytes(hashlib.blake2b(question.question_id.encode(), digest_size=8).digest())
    return sorted(names)[draw % len(names)] if names else None


def without_names(
    question: LabelledQuestion, meetings: Mapping[str, LabelledMeeting], everyone: Sequence[LabelledMeeting]
) -> str:
    """The question without the names of who took part in its meeting or series."""
    if question.series is not None:
        there = [meeting for meeting in everyone if meeting.series == question.series]
    else:
        there = [meetings[question.meeting_id]] if question.meeting_id is not None else []
    names = {
        name for meeting in there for person in meeting.participants for name in (person, *person.split())
    }
    listed = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if len(name) > 1)
    text = re.sub(rf"\b(?:{listed})(?:['’]s)?\b", " ", question.text) if listed else question.text
    return " ".join(text.split()) if WORD.search(text) else question.text


def _segmentation(corpus: Corpus) -> Figure:
    """Mean over meetings of the F1 of context boundaries within five turns of the gold's, each matched once."""
    graph = corpus.runtime.live.current
    scores = []
    for meeting_id, starts in corpus.dataset.topic_starts.items():
        number = graph.meeting_of_id[corpus.meeting_ids[meeting_id]]
        first, last = int(graph.meeting_rows[number]), int(graph.meeting_rows[number + 1])
        # Distances are counted in turns of five words or more.
        before = np.concatenate(([0], np.cumsum(graph.words[first:last] >= TURN_WORDS)))
        row_of = {turn: row for row in range(last - 1, first - 1, -1) for turn in corpus.turns_of[row]}
        gold = sorted(
            {int(before[row_of[key] - first]) for s in starts if (key := (meeting_id, s)) in row_of}
        )
        cuts = sorted(
            {
                int(before[row - first])
                for row, meeting in zip(graph.context_first, graph.context_meeting, strict=True)
                if meeting == number and row != first
            }
        )
        if gold:
            scores.append(_boundary_f1(gold, cuts))
    return average(np.array(scores))


def _boundary_f1(gold: Sequence[int], cuts: Sequence[int]) -> float:
    left = list(gold)
    hits = 0
    for cut in cuts:
        near = [g for g in left if abs(g - cut) <= BOUNDARY_TURNS]
        if near:
            left.remove(min(near, key=lambda g: abs(g - cut)))
            hits += 1
    return 2 * hits / (len(gold) + len(cuts))


async def _types(corpus: Corpus) -> Mapping[str, Figure]:
    """Share of actions and decisions with a flagged turn, 2 % of each meeting flagged; owners of actions."""
    graph = corpus.runtime.live.current
    text_of = await episode_texts(corpus.runtime.database)
    hits: dict[str, list[float]] = {}
    first_right: list[float] = []
    among_two: list[float] = []
    of_meeting: dict[str, list[LabelledItem]] = {}
    for item in corpus.dataset.items:
        of_meeting.setdefault(item.meeting_id, []).append(item)
    for meeting in corpus.dataset.meetings:
        number = graph.meeting_of_id.get(corpus.meeting_ids[meeting.meeting_id])
        if number is None:
            continue
        rows = range(int(graph.meeting_rows[number]), int(graph.meeting_rows[number + 1]))
        episodes = [
            Episode(
                text=text_of[graph.memory_id(row)],
                position=i,
                words=int(graph.words[row]),
                speaker=graph.lexicons.speakers[speaker]
                if (speaker := int(graph.speakers[row])) >= 0
                else None,
            )
            for i, row in enumerate(rows)
        ]
        typed = classify(episodes, graph.semantic(slice(rows.start, rows.stop)))
        positions: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            for _, turn_id in corpus.turns_of[row]:
                positions.setdefault(turn_id, []).append(i)
        items = of_meeting.get(meeting.meeting_id, [])
        apart = FLAG_DISTANCE if any(item.owner is not None for item in items) else 1
        for kind in (MemoryType.ACTION, MemoryType.DECISION):
            flagged = _flagged([one.score(kind) for one in typed], episodes, apart)
            for item in items:
                held = {i for turn_id in item.turn_ids for i in positions.get(turn_id, ())}
                held = {i for i in held if episodes[i].words >= TURN_WORDS}
                if item.kind == kind.value and held:
                    hits.setdefault(kind.value, []).append(float(bool(held & flagged)))
        present = company(episodes, typed, meeting.participants)
        for item in items:
            gold = owned_by(item.owner, meeting.participants)
            window = sorted({i for turn_id in item.turn_ids for i in positions.get(turn_id, ())})
            if item.kind == MemoryType.ACTION.value and gold and window:
                named = owners(window[len(window) // 2], episodes, typed, present)
                first_right.append(float(bool(gold & set(named[:1]))))
                among_two.append(float(bool(gold & set(named[:2]))))
    figures = {f"{kind}_item_hit@2%": average(np.array(found)) for kind, found in hits.items()}
    if first_right:
        figures["owner_first"] = average(np.array(first_right))
        figures["owner_among_two"] = average(np.array(among_two))
    return figures


def _flagged(scores: Sequence[float], episodes: Sequence[Episode], apart: int) -> set[int]:
    """The best-scored 2 % of the episodes of five words or more, `apart` or more from each other."""
    spoken = [i for i, episode in enumerate(episodes) if episode.words >= TURN_WORDS]
    quota = math.ceil(QUOTA * len(spoken))
    flagged: set[int] = set()
    for i in sorted(spoken, key=lambda i: (-scores[i], i)):
        if len(flagged) == quota:
            break
        if all(abs(i - other) >= apart for other in flagged):
            flagged.add(i)
    return flagged


def owned_by(owner: str | None, participants: Sequence[str]) -> set[str]:
    """The participants whose first name the gold owner holds; a team in brackets is no name."""
    named = {word.lower() for word in WORD.findall(owner or "")}
    found = set()
    for person in participants:
        parts = WORD.findall(re.sub(r"\(.*?\)|[|/].*$", " ", person).lower())
        if parts and len(parts[0]) > 2 and parts[0] in named:
            found.add(person)
    return found


async def _answer(corpus: Corpus, text: str, filters: Filters, *, activation: bool) -> Answer:
    question = Question(
        query=text, filters=filters, limit_per_level=DIRECT, max_activations=0, enable_activation=activation
    )
    return await recall(corpus.runtime, question)
