"""One meeting as arrays: what the memory graph is assembled from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.graph.ids import Ids, packed
from cofio.graph.sketches import Sketches, sketched
from cofio.records import (
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Bools,
    ConceptKind,
    Float32s,
    Int32s,
    Int64s,
    MemoryType,
)
from cofio.text.terms import stems
from cofio.text.titles import names, title_key
from cofio.vector_rules import read_vectors

# Utterances of fewer words ("Yeah, right.") neither send nor carry activation (lab 1 §1).
TURN_WORDS: Final = 5
# An utterance's weight in its context grows with its words up to this many (lab 1 §1).
FULL_WEIGHT_WORDS: Final = 20
# The two kernels of the spread along time, symmetric, kernel[0] = 1 (lab 1 §1, flat within ±.005):
# M ranks episodes, L ranks contexts.
KERNEL_M: Final[Float32s] = np.array([1.0] + [0.7 * 0.7 ** (d - 1) for d in range(1, 7)], np.float32)
KERNEL_L: Final[Float32s] = np.array([1.0] + [0.8 * 0.85 ** (d - 1) for d in range(1, 13)], np.float32)

_FIRST_PERSON: Final = re.compile(
    r"\b(?:i|i['’]\w+|me|my|mine|myself|we|we['’]\w+|us|our|ours)\b", re.IGNORECASE
)
_SECOND_PERSON: Final = re.compile(r"\b(?:you|you['’]\w+|your|yours|yourself)\b", re.IGNORECASE)

# Vectors are kept as fixed-point numbers of 16 bits, half the room of floats: every number of a vector is in
# [−1, 1], the rounding is below 2e-5, and an inner product is off by some 1e-5.
VECTOR_SCALE: Final = 32767.0
Int16s = NDArray[np.int16]

TYPE_CODES: Final = {kind: code for code, kind in enumerate(MemoryType)}
KIND_CODES: Final = {kind: code for code, kind in enumerate(ConceptKind)}
# The code of the type of each kind's concepts, by the kind's own.
TYPE_OF_KIND: Final = np.array([TYPE_CODES[kind.memory_type] for kind in KIND_CODES], np.int8)


class Lexicon:
    """An append-only numbering of strings. Graphs of any version share it, so numbers never change."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._word = list(words)
        self._number = {word: number for number, word in enumerate(self._word)}

    def __len__(self) -> int:
        return len(self._word)

    def __getitem__(self, number: int) -> str:
        return self._word[number]

    def add(self, word: str) -> int:
        """The number of `word`, given to it now if it had none."""
        number = self._number.setdefault(word, len(self._word))
        if number == len(self._word):
            self._word.append(word)
        return number

    def find(self, word: str) -> int:
        """The number of `word`, or −1."""
        return self._number.get(word, -1)

    def words(self) -> tuple[str, ...]:
        """All words in the order of their numbers."""
        return tuple(self._word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicons:
    """The numberings that all blocks share."""

    terms: Lexicon
    speakers: Lexicon
    projects: Lexicon
    series: Lexicon

    @classmethod
    def empty(cls) -> Lexicons:
        """Four numberings without entries."""
        return cls(terms=Lexicon(), speakers=Lexicon(), projects=Lexicon(), series=Lexicon())


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRow:
    """What the graph reads of a stored episode."""

    node: int
    memory_id: str
    memory_type: MemoryType
    content: str
    words: int
    speaker: str | None
    pure_question: bool
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRow:
    """What the graph reads of a stored context; it covers episodes `first` to `last`, exclusive."""

    memory_id: str
    first: int
    last: int
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingHead:
    """A meeting as the graph knows it. `key` is its row id in the truth; `day` the date's ordinal, 0 if undated."""

    key: int
    meeting_id: str
    title: str
    project: str
    series: str | None
    day: int
    document: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingBlock:
    """The arrays of one meeting. Row i is its i-th episode, turn k its k-th episode of ≥ 5 words.

    Numbers of terms, speakers, projects and series are those of the shared lexicons; −1 stands for none. A *pair*
    is a term that the meeting says; its postings lie together, in the order of the rows.
    """

    head: MeetingHead
    project: int
    series: int
    nodes: Int64s  # (n,) row ids in the truth
    ids: Ids  # (n, 2)
    words: Int32s  # (n,)
    types: NDArray[np.int8]  # (n,) numbers of TYPE_CODES
    speakers: Int32s  # (n,)
    pure_question: Bools  # (n,)
    first_person: Bools  # (n,) says "I", "my", "we" ...
    second_person: Bools  # (n,) says "you", "your" ...
    length: Int32s  # (n,) stems of "speaker: text"
    vectors: Int16s  # (n, 400) fixed point
    sketches: Sketches  # (n, 6)
    centroid: Int16s  # (400,) mean of the turns' vectors, semantic part of unit norm
    said_terms: Int32s  # (p,) terms of row 0, then of row 1 ...
    said_end: Int64s  # (n,) where the terms of each row end
    pairs: Int32s  # (t, 6) see `PAIR_*`
    posting_row: Int32s  # (p,) postings in the order of the pairs
    posting_count: NDArray[np.uint16]  # (p,)
    row_of_turn: Int32s  # (k,)
    turn_of_row: Int32s  # (n,) −1 for an utterance of fewer than five words
    gain: Float32s  # (k,) min(1, words / 20)
    norm_m: Float32s  # (k,) norm of the kernel-averaged vector, kernel M
    norm_l: Float32s  # (k,)
    smooth_m: Float32s  # (k,) kernel-smoothed length
    smooth_l: Float32s  # (k,)
    context_ids: Ids  # (c, 2)
    context_first: Int32s  # (c,)
    context_last: Int32s  # (c,) exclusive
    context_vectors: Int16s  # (c, 400) fixed point
    context_sketches: Sketches  # (c, 6)
    answer_row: Int32s  # (a,)
    answer_target: Int64s  # (a,) row id of the question in the truth, perhaps of another meeting
    title_key: int  # of a document; 0 in a meeting
    name_row: Int32s  # (t,) of a document: rows with the keys of what they may name (`cofio.text.titles`)
    name_key: Int64s  # (t,)


# The columns of `pairs`: the term; where its postings begin among the meeting's, and how many there are; the sum of
# its counts; the turns that say it; its greatest count in one row. In the graph the first column is the meeting.
PAIR_TERM, PAIR_START, PAIR_SIZE, PAIR_COUNT, PAIR_TURNS, PAIR_MOST = range(6)


def build_block(
    head: MeetingHead,
    episodes: Sequence[EpisodeRow],
    contexts: Sequence[ContextRow],
    answers: Iterable[tuple[int, int]],
    lexicons: Lexicons,
) -> MeetingBlock:
    """The arrays of a meeting, from its rows in the order of their positions.

    `answers` holds (row id of the answer, row id of the question). Terms and names not met before are added to the
    lexicons. Raises `InvalidVector` for a vector that no memory may have. Cost: the words of the meeting, and turns × 25 × 384 for the norms.
    """
    n = len(episodes)
    vectors = read_vectors([e.memory_id for e in episodes], [e.vector for e in episodes])
    words = np.fromiter((episode.words for episode in episodes), np.int32, n)
    title = head.title if head.document else None
    said_terms, said_row, said_count, length = _said(episodes, title, lexicons.terms)
    named = [sorted(names(head.project, e.content)) if head.document else [] for e in episodes]
    row_of_turn = np.flatnonzero(words >= TURN_WORDS).astype(np.int32)
    turn_of_row = np.full(n, -1, np.int32)
    turn_of_row[row_of_turn] = np.arange(row_of_turn.size, dtype=np.int32)
    pairs, posting_row, posting_count = _pairs(said_terms, said_row, said_count, turn_of_row)
    gain = np.minimum(1.0, words[row_of_turn] / FULL_WEIGHT_WORDS).astype(np.float32)
    turn_vectors = np.ascontiguousarray(vectors[row_of_turn, :SEMANTIC_DIMENSIONS])
    turn_length = length[row_of_turn].astype(np.float32)
    norms: dict[str, Float32s] = {}
    smooth: dict[str, Float32s] = {}
    for name, kernel in (("m", KERNEL_M), ("l", KERNEL_L)):
        norms[name] = np.empty(row_of_turn.size, np.float32)
        kernels.context_norms(turn_vectors, gain, kernel, SEMANTIC_DIMENSIONS, norms[name])
        smooth[name] = np.empty(row_of_turn.size, np.float32)
        kernels.smooth_lengths(turn_length, kernel, smooth[name])
    fixed = fixed_point(vectors)
    context_vectors = fixed_point(read_vectors([c.memory_id for c in contexts], [c.vector for c in contexts]))
    nodes = np.fromiter((episode.node for episode in episodes), np.int64, n)
    row_of_node = {int(node): row for row, node in enumerate(nodes)}
    answer_list = [(row_of_node[source], target) for source, target in answers]
    return MeetingBlock(
        head=head,
        project=lexicons.projects.add(head.project),
        series=lexicons.series.add(head.series) if head.series is not None else -1,
        nodes=nodes,
        ids=packed([episode.memory_id for episode in episodes]),
        words=words,
        types=np.fromiter((TYPE_CODES[episode.memory_type] for episode in episodes), np.int8, n),
        speakers=np.fromiter(
            (
                -1 if episode.speaker is None else lexicons.speakers.add(episode.speaker)
                for episode in episodes
            ),
            np.int32,
            n,
        ),
        pure_question=np.fromiter((episode.pure_question for episode in episodes), np.bool_, n),
        first_person=np.fromiter((bool(_FIRST_PERSON.search(e.content)) for e in episodes), np.bool_, n),
        second_person=np.fromiter((bool(_SECOND_PERSON.search(e.content)) for e in episodes), np.bool_, n),
        length=length,
        vectors=fixed,
        sketches=sketched(fixed),
        centroid=fixed_point(_centroid(gain, vectors[row_of_turn])),
        said_terms=said_terms,
        said_end=np.searchsorted(said_row, np.arange(n), "right"),
        pairs=pairs,
        posting_row=posting_row,
        posting_count=posting_count,
        row_of_turn=row_of_turn,
        turn_of_row=turn_of_row,
        gain=gain,
        norm_m=norms["m"],
        norm_l=norms["l"],
        smooth_m=smooth["m"],
        smooth_l=smooth["l"],
        context_ids=packed([context.memory_id for context in contexts]),
        context_first=np.fromiter((context.first for context in contexts), np.int32, len(contexts)),
        context_last=np.fromiter((context.last for context in contexts), np.int32, len(contexts)),
        context_vectors=context_vectors,
        context_sketches=sketched(context_vectors),
        answer_row=np.array([row for row, _ in answer_list], np.int32),
        answer_target=np.array([target for _, target in answer_list], np.int64),
        title_key=title_key(head.project, head.title) if head.document else 0,
        name_row=np.repeat(np.arange(n, dtype=np.int32), [len(keys) for keys in named]),
        name_key=np.array([key for keys in named for key in keys], np.int64),
    )


def fixed_point(vectors: Float32s) -> Int16s:
    """Vectors of numbers in [−1, 1] as the graph keeps them."""
    return np.asarray(np.rint(np.clip(vectors, -1.0, 1.0) * VECTOR_SCALE), np.int16)


def _said(
    episodes: Sequence[EpisodeRow], title: str | None, terms: Lexicon
) -> tuple[Int32s, Int32s, Int32s, Int32s]:
    """(terms, rows, counts) of what each row says, row by row, and how many stems each row has."""
    term: list[int] = []
    row_of: list[int] = []
    count: list[int] = []
    length = np.zeros(len(episodes), np.int32)
    for row, episode in enumerate(episodes):
        named = episode.speaker or title
        spoken = f"{named}: {episode.content}" if named else episode.content
        counts: dict[int, int] = {}
        for stem in stems(spoken):
            number = terms.add(stem)
            counts[number] = counts.get(number, 0) + 1
        length[row] = sum(counts.values())
        term += counts.keys()
        count += counts.values()
        row_of += [row] * len(counts)
    return np.array(term, np.int32), np.array(row_of, np.int32), np.array(count, np.int32), length


def _pairs(
    terms: Int32s, rows: Int32s, counts: Int32s, turn_of_row: Int32s
) -> tuple[Int32s, Int32s, NDArray[np.uint16]]:
    """The pairs of a meeting, ascending by term, and its postings in their order."""
    order = np.argsort(terms, kind="stable")
    rows, counts = rows[order], counts[order]
    found, start, size = np.unique(terms[order], return_index=True, return_counts=True)
    pairs = np.empty((found.size, 6), np.int32)
    pairs[:, PAIR_TERM], pairs[:, PAIR_START], pairs[:, PAIR_SIZE] = found, start, size
    if found.size:
        pairs[:, PAIR_COUNT] = np.add.reduceat(counts, start)
        pairs[:, PAIR_TURNS] = np.add.reduceat((turn_of_row[rows] >= 0).astype(np.int32), start)
        pairs[:, PAIR_MOST] = np.maximum.reduceat(counts, start)
    return pairs, rows, np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)


def _centroid(gain: Float32s, vectors: Float32s) -> Float32s:
    total = gain @ vectors if gain.size else np.zeros(VECTOR_DIMENSIONS, np.float32)
    return np.asarray(total / max(float(np.linalg.norm(total[:SEMANTIC_DIMENSIONS])), 1e-9), np.float32)
