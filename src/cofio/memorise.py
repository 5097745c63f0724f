"""What a meeting becomes: episodes with types and features, contexts, edges, mentions. Pure computation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np

from cofio.memories import Edge, MeetingMemories, Memory, Mention, named_id
from cofio.records import (
    SEMANTIC_DIMENSIONS,
    ConceptKind,
    EdgeKind,
    Episode,
    Float32s,
    Level,
    MeetingInput,
    MemoryType,
)
from cofio.store.meetings import OpenQuestion
from cofio.text.concepts import candidates
from cofio.text.deadlines import due_date
from cofio.text.features import features, meeting_contexts
from cofio.text.keyphrases import keyphrases
from cofio.text.owners import Company, company, owners
from cofio.text.phrases import Phrase, phrases
from cofio.text.questions import answers, open_questions
from cofio.text.segment import segments
from cofio.text.terms import count_words, stems
from cofio.text.titles import bare_title
from cofio.text.types import TypedAs, classify

# A context shows its most central utterances: so many, and of at least so many words.
CENTRAL_EPISODES: Final = 3
CENTRAL_WORDS: Final = 8
# A statement of a later meeting answers an open question if its vector is this near and it says at least this
# share of the question's stems. Chosen on the sample meetings' late answers: strict, because a wrong answer
# does more harm than a missed one.
ANSWER_COSINE: Final = 0.55
ANSWER_SHARE: Final = 0.3
ANSWER_WORDS: Final = 6


def memorise(
    meeting: MeetingInput,
    meeting_id: str,
    ids: Sequence[str],
    episodes: Sequence[Episode],
    vectors: Float32s,
    known_concepts: frozenset[str],
    questions: Sequence[OpenQuestion],
) -> MeetingMemories:
    """Everything that the meeting becomes, from its episodes and their unit vectors (n, 384).

    `ids[i]` is the memory id of episode i. `known_concepts` are the concept keys of the project, `questions`
    what its other meetings left open. Equal arguments give equal memories.
    """
    typed = classify(episodes, vectors)
    due = [due_date(episode.text, meeting.date) for episode in episodes]
    contexts_of = meeting_contexts(
        episodes,
        participants=meeting.participants,
        meeting_date=meeting.date,
        due_dates=[(day,) if day is not None else () for day in due],
    )
    full = np.concatenate((vectors, features(contexts_of)), axis=1).astype(np.float32)
    words = np.array([episode.words for episode in episodes], np.int32)
    bounds = segments(vectors, words, [episode.text for episode in episodes])
    asked = [one.memory_type is MemoryType.QUESTION for one in typed]
    present = company(episodes, typed, meeting.participants)
    replies = answers(episodes, asked)
    late = _late_answers(meeting, episodes, typed, vectors, questions)
    said = phrases([episode.text for episode in episodes], meeting.participants)
    contexts = _contexts(meeting_id, ids, episodes, full, words, bounds, said)
    context_of = np.repeat(np.arange(len(bounds)), [last - first for first, last in bounds])
    return MeetingMemories(
        episodes=tuple(
            _episode(i, ids, episodes, typed, full, due[i], present) for i in range(len(episodes))
        ),
        contexts=contexts,
        edges=(
            *(Edge(source=a, target=b, kind=EdgeKind.NEXT, weight=1.0) for a, b in pairwise(ids)),
            *(
                Edge(source=ids[i], target=contexts[c].memory_id, kind=EdgeKind.PART_OF, weight=1.0)
                for i, c in enumerate(context_of)
            ),
            *(Edge(source=ids[a], target=ids[q], kind=EdgeKind.ANSWERS, weight=w) for a, q, w in replies),
            *(Edge(source=ids[a], target=q.memory_id, kind=EdgeKind.ANSWERS, weight=w) for a, q, w in late),
        ),
        mentions=(
            *_subject(episodes, full, context_of),
            *_things(episodes, full, context_of, known_concepts, said),
            *_people(episodes, full, context_of),
            *_left_open(ids, episodes, full, asked, {question for _, question, _ in replies}),
            *_answered(full, late),
        ),
    )


def _episode(
    i: int,
    ids: Sequence[str],
    episodes: Sequence[Episode],
    typed: Sequence[TypedAs],
    full: Float32s,
    due: date | None,
    present: Company,
) -> Memory:
    episode, memory_type = episodes[i], typed[i].memory_type
    details: dict[str, object] = {}
    committed = typed[i].score(MemoryType.COMMITMENT) > 0
    if memory_type is MemoryType.COMMITMENT and due is not None:
        # Somebody took it on and said until when: nothing is more of an action.
        memory_type = MemoryType.ACTION
    if memory_type in (MemoryType.ACTION, MemoryType.COMMITMENT):
        voted = owners(i, episodes, typed, present)
        # Who says "I will" owns it; the vote names who else may.
        first = (episode.speaker,) if committed and episode.speaker else ()
        details["owners"] = list(dict.fromkeys((*first, *voted)))[:2]
        details["due"] = due.isoformat() if due is not None else None
    return Memory(
        memory_id=ids[i],
        level=Level.EPISODE,
        position=i,
        memory_type=memory_type,
        content=episode.text,
        words=episode.words,
        speaker=episode.speaker,
        start_s=episode.start_s,
        end_s=episode.end_s,
        pure_question=typed[i].pure_question,
        details=details,
        vector=full[i],
    )


def _contexts(
    meeting_id: str,
    ids: Sequence[str],
    episodes: Sequence[Episode],
    full: Float32s,
    words: np.ndarray[tuple[int], np.dtype[np.int32]],
    bounds: Sequence[tuple[int, int]],
    said: Sequence[Phrase],
) -> tuple[Memory, ...]:
    """One context a segment: its kernel mean, its keyphrases, and its most central utterances as its content."""
    labels = keyphrases(said, [episode.words for episode in episodes], bounds)
    contexts = []
    for place, ((first, last), label) in enumerate(zip(bounds, labels, strict=True)):
        gain = np.minimum(1.0, words[first:last] / 20.0).astype(np.float32)
        if not gain.any():  # nothing but "!!!" and smiles
            gain[:] = 1.0
        vector = gain @ full[first:last] / max(float(gain.sum()), 1e-6)
        norm = float(np.linalg.norm(vector[:SEMANTIC_DIMENSIONS]))
        vector[:SEMANTIC_DIMENSIONS] /= max(norm, 1e-9)
        vector[SEMANTIC_DIMENSIONS:] = np.clip(vector[SEMANTIC_DIMENSIONS:], 0.0, 1.0)
        central = _central(
            first, last, words, full @ np.append(vector[:SEMANTIC_DIMENSIONS], np.zeros(16, np.float32))
        )
        lines = [f"{e.speaker}: {e.text}" if e.speaker else e.text for e in (episodes[i] for i in central)]
        title = ", ".join(label)
        content = "\n".join([title, *lines]) if title else "\n".join(lines)
        segment = episodes[first:last]
        starts = [e.start_s for e in segment if e.start_s is not None]
        ends = [t for e in segment for t in (e.end_s, e.start_s) if t is not None]
        contexts.append(
            Memory(
                memory_id=named_id("context", meeting_id, ids[first]),
                level=Level.CONTEXT,
                position=place,
                memory_type=MemoryType.CONTEXT,
                content=content,
                words=count_words(content),
                start_s=min(starts, default=None),
                end_s=max(ends, default=None),
                details={
                    "label": title,
                    "speakers": list(dict.fromkeys(e.speaker for e in segment if e.speaker)),
                    "first_position": first,
                    "last_position": last - 1,
                },
                vector=vector.astype(np.float32),
            )
        )
    return tuple(contexts)


def _central(
    first: int, last: int, words: np.ndarray[tuple[int], np.dtype[np.int32]], nearness: Float32s
) -> list[int]:
    """The positions nearest to the context's vector, in the order in which they were said."""
    long_enough = [i for i in range(first, last) if words[i] >= CENTRAL_WORDS] or list(range(first, last))
    return sorted(sorted(long_enough, key=lambda i: (-float(nearness[i]), i))[:CENTRAL_EPISODES])


def _things(
    episodes: Sequence[Episode],
    full: Float32s,
    context_of: np.ndarray[tuple[int], np.dtype[np.int64]],
    known: frozenset[str],
    said: Sequence[Phrase],
) -> list[Mention]:
    found = candidates(episodes, said, known_keys=known)
    return [
        Mention(
            key=one.key,
            kind=one.kind,
            label=one.label,
            salience=round(one.salience, 4),
            contexts=len(set(context_of[list(one.episodes)].tolist())),
            episodes=one.episodes,
            definition=one.definition,
            vector_sum=full[list(one.episodes)].sum(axis=0),
        )
        for one in found
        if one.episodes
    ]


def _subject(
    episodes: Sequence[Episode], full: Float32s, context_of: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> list[Mention]:
    """What a document is about: its title, which its first paragraph defines."""
    title = episodes[0].title if episodes else None
    key = " ".join(stems(bare_title(title))) if title is not None else ""
    if title is None or not key:
        return []
    return [
        Mention(
            key=f"title:{key}",
            kind=ConceptKind.TITLE,
            label=bare_title(title),
            salience=1.0,
            contexts=len(set(context_of.tolist())),
            episodes=tuple(range(len(episodes))),
            definition=0,
            vector_sum=full.sum(axis=0),
        )
    ]


def _people(
    episodes: Sequence[Episode], full: Float32s, context_of: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> list[Mention]:
    """Every speaker is a concept, mentioned by what he says himself, however his name is capitalised."""
    spoken: dict[str, list[int]] = {}
    for i, episode in enumerate(episodes):
        if episode.speaker:
            spoken.setdefault(episode.speaker.casefold(), []).append(i)
    return [
        Mention(
            key=f"person:{name}",
            kind=ConceptKind.PERSON,
            label=episodes[positions[0]].speaker or name,
            salience=1.0,
            contexts=len(set(context_of[positions].tolist())),
            episodes=tuple(positions),
            definition=None,
            vector_sum=full[positions].sum(axis=0),
        )
        for name, positions in spoken.items()
    ]


def _left_open(
    ids: Sequence[str], episodes: Sequence[Episode], full: Float32s, asked: Sequence[bool], answered: set[int]
) -> list[Mention]:
    """The questions worth remembering that nobody answered here: each is a concept until a meeting answers it."""
    left = open_questions(episodes, asked, [i in answered for i in range(len(episodes))])
    return [
        Mention(
            key=f"question:{ids[i]}",
            kind=ConceptKind.QUESTION,
            label=episodes[i].text,
            salience=1.0,
            contexts=1,
            episodes=(i,),
            definition=i,
            vector_sum=full[i],
        )
        for i in left
    ]


def _late_answers(
    meeting: MeetingInput,
    episodes: Sequence[Episode],
    typed: Sequence[TypedAs],
    vectors: Float32s,
    questions: Sequence[OpenQuestion],
) -> list[tuple[int, OpenQuestion, float]]:
    """(position, question, weight): the best statement of this meeting for each question that it answers."""
    statements = [
        i
        for i, e in enumerate(episodes)
        if e.words >= ANSWER_WORDS and typed[i].memory_type is not MemoryType.QUESTION
    ]
    found: list[tuple[int, OpenQuestion, float]] = []
    if not statements:
        return found
    spoken = vectors[statements]
    for question in questions:
        if meeting.date is not None and question.date is not None and meeting.date < question.date:
            continue
        cosines = spoken @ question.vector[:SEMANTIC_DIMENSIONS]
        for place in np.argsort(-cosines, kind="stable")[:5]:
            i, cosine = statements[int(place)], float(cosines[place])
            if cosine < ANSWER_COSINE:
                break
            asked, said = frozenset(stems(question.content)), frozenset(stems(episodes[i].text))
            if asked and len(said & asked) / len(asked) >= ANSWER_SHARE:
                found.append((i, question, round(cosine, 4)))
                break
    return found


def _answered(full: Float32s, late: Sequence[tuple[int, OpenQuestion, float]]) -> list[Mention]:
    return [
        Mention(
            key=question.concept_key,
            kind=ConceptKind.QUESTION,
            label=question.content,
            salience=weight,
            contexts=1,
            episodes=(i,),
            definition=None,
            vector_sum=full[i],
        )
        for i, question, weight in late
    ]
