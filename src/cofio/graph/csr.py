"""The whole memory graph as arrays: an immutable state of the truth that queries read without locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.graph.blocks import Lexicons, MeetingBlock
from cofio.records import VECTOR_DIMENSIONS, Bools, ConceptKind, Float32s, Int32s, Int64s
from cofio.text.terms import name_words, stems

# Weights of the edges along which best-first activation travels. Steps in time decay as kernel M does;
# the others are set so that a path through a concept of two mentions weighs as much as three steps in time.
NEXT_WEIGHT: Final = 0.7
PART_OF_WEIGHT: Final = 0.5
MENTION_WEIGHT: Final = 0.85
ANSWER_WEIGHT: Final = 0.8
DEFINITION_WEIGHT: Final = 0.85
# A title that more documents share ("Standup", every day) names none of them.
SAME_TITLE: Final = 5
# A name in more rows of documents than this says little about two that share it.
RARE_NAME_ROWS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptRow:
    """What the graph reads of a stored concept: `mentions` holds (meeting key, episode position)."""

    node: int
    memory_id: str
    project: str
    label: str
    kind: ConceptKind
    mentions: tuple[tuple[int, int], ...]
    vector: bytes


@dataclass(frozen=True, kw_only=True)
class MemoryGraph:
    """One version of the memory. n episodes, k turns, c contexts, p concepts, m meetings.

    Nodes are numbered episodes first (0…n−1), then contexts (n…n+c−1), then concepts. Arrays are read-only by
    agreement; a change makes a new graph.
    """

    version: int
    lexicons: Lexicons
    blocks: tuple[MeetingBlock, ...]
    concepts: tuple[ConceptRow, ...]
    # meetings (m,)
    meeting_project: Int32s
    meeting_series: Int32s
    meeting_day: Int32s
    meeting_rows: Int64s  # (m+1,) first row of each meeting
    meeting_length: Float32s  # stems in the meeting
    meeting_centroid: Float32s  # (m, 400) mean of its turns' vectors, semantic part of unit norm
    meeting_speakers: tuple[frozenset[int], ...]
    # episodes (n,)
    memory_ids: tuple[str, ...]
    meeting_of_row: Int32s
    words: Int32s
    types: NDArray[np.int8]
    speakers: Int32s
    pure_question: Bools
    first_person: Bools
    second_person: Bools
    length: Float32s
    vectors: Float32s  # (n, 400)
    turn_of_row: Int32s  # −1 for an utterance of fewer than five words
    context_of_row: Int32s
    # turns (k,)
    row_of_turn: Int32s
    first: Int32s
    last: Int32s
    gain: Float32s
    norm_m: Float32s
    norm_l: Float32s
    smooth_m: Float32s
    smooth_l: Float32s
    # postings: posting_start (terms+1,), the others (postings,)
    posting_start: Int64s
    posting_row: Int32s
    posting_count: Int32s
    # contexts (c,)
    context_ids: tuple[str, ...]
    context_meeting: Int32s
    context_first: Int32s  # rows
    context_last: Int32s
    context_vectors: Float32s
    # concepts (p,)
    concept_vectors: Float32s
    concept_project: Int32s
    concept_start: Int64s  # (p+1,) into concept_rows
    concept_rows: Int32s  # rows that mention each concept
    # edges of best-first activation over all nodes
    edge_start: Int64s
    edge_target: Int32s
    edge_weight: Float32s
    documents: Bools  # (meetings,) which are documents: titles instead of speakers, no course of time
    document_keys: Int64s  # of the documents' titles (`cofio.text.titles`), ascending
    document_rows: Int32s  # the first row of each, in that order
    # from a row of a document to the first row of the document whose title it names
    definition_start: Int64s  # (n+1,) into definition_rows
    definition_rows: Int32s

    @property
    def counts(self) -> Mapping[str, int]:
        """How much the graph holds, by kind."""
        return {
            "meetings": len(self.blocks),
            "episodes": len(self.memory_ids),
            "contexts": len(self.context_ids),
            "concepts": len(self.concepts),
            "terms": len(self.posting_start) - 1,
            "edges": int(self.edge_target.size),
        }

    @property
    def nodes(self) -> int:
        """The number of nodes: episodes, contexts and concepts."""
        return len(self.memory_ids) + len(self.context_ids) + len(self.concepts)

    def memory_id(self, node: int) -> str:
        """The memory id of a node."""
        n, c = len(self.memory_ids), len(self.context_ids)
        if node < n:
            return self.memory_ids[node]
        return self.context_ids[node - n] if node < n + c else self.concepts[node - n - c].memory_id

    @cached_property
    def everything(self) -> tuple[Bools, Bools, Bools]:
        """All meetings, all episodes and all nodes, as masks."""
        ones = np.ones(self.nodes, np.bool_)
        return np.ones(len(self.blocks), np.bool_), ones[: len(self.memory_ids)], ones

    @cached_property
    def turn_totals(self) -> NDArray[np.float64]:
        """(m, 4): turns, Σ smooth_m, Σ smooth_l and Σ length of the turns of each meeting."""
        totals = np.zeros((len(self.blocks), 4))
        for row, block in enumerate(self.blocks):
            length = block.length[block.row_of_turn]
            totals[row] = block.row_of_turn.size, block.smooth_m.sum(), block.smooth_l.sum(), length.sum()
        return totals

    @cached_property
    def meetings_of_speaker(self) -> Mapping[int, Int32s]:
        """The meetings in which each speaker spoke."""
        found: dict[int, list[int]] = {}
        for meeting, speakers in enumerate(self.meeting_speakers):
            for speaker in speakers:
                found.setdefault(speaker, []).append(meeting)
        return {speaker: np.array(meetings, np.int32) for speaker, meetings in found.items()}

    @cached_property
    def speakers_of_word(self) -> Mapping[str, tuple[int, ...]]:
        """The speakers whose name holds each word, lower case, without single letters."""
        found: dict[str, list[int]] = {}
        for speaker in self.meetings_of_speaker:
            for word in name_words([self.lexicons.speakers[speaker]]):
                found.setdefault(word, []).append(speaker)
        return {word: tuple(speakers) for word, speakers in found.items()}

    @cached_property
    def terms_of_speaker(self) -> Mapping[int, frozenset[int]]:
        """The terms of each speaker's own name."""
        find = self.lexicons.terms.find
        return {
            speaker: frozenset(find(stem) for stem in stems(self.lexicons.speakers[speaker])) - {-1}
            for speaker in self.meetings_of_speaker
        }

    @cached_property
    def row_of_memory(self) -> Mapping[str, int]:
        """The row of each episode by memory id."""
        return {memory_id: row for row, memory_id in enumerate(self.memory_ids)}

    @cached_property
    def context_of_memory(self) -> Mapping[str, int]:
        """The number of each context by memory id."""
        return {memory_id: number for number, memory_id in enumerate(self.context_ids)}

    @cached_property
    def concept_of_memory(self) -> Mapping[str, int]:
        """The number of each concept by memory id."""
        return {concept.memory_id: number for number, concept in enumerate(self.concepts)}

    @cached_property
    def concepts_of_stem(self) -> Mapping[str, tuple[int, ...]]:
        """The concepts whose label holds each stem."""
        found: dict[str, list[int]] = {}
        for number, concept in enumerate(self.concepts):
            for stem in set(stems(concept.label)):
                found.setdefault(stem, []).append(number)
        return {stem: tuple(numbers) for stem, numbers in found.items()}

    @cached_property
    def rows_of_name(self) -> tuple[Int64s, Int64s, Int32s]:
        """(keys, start, rows): the rare names of the documents, and the rows that hold each."""
        pairs = np.concatenate(
            [
                np.empty((0, 2), np.int64),
                *(
                    np.stack((block.name_key, block.name_row + first), axis=1)
                    for block, first in zip(self.blocks, self.meeting_rows[:-1], strict=True)
                    if block.name_key.size
                ),
            ]
        )
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        keys, number, held = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
        rare = (held >= 2) & (held <= RARE_NAME_ROWS)
        rows = pairs[rare[number], 1].astype(np.int32)
        return keys[rare], np.concatenate(([0], np.cumsum(held[rare]))), rows

    @cached_property
    def names_of_row(self) -> tuple[Int64s, Int32s]:
        """(start, names): the rare names that each row of a document holds, by their place in `rows_of_name`."""
        _, start, rows = self.rows_of_name
        names = np.repeat(np.arange(start.size - 1, dtype=np.int32), np.diff(start))
        first = np.zeros(len(self.memory_ids) + 1, np.int64)
        order = np.empty(rows.size, np.int64)
        kernels.group_by_key(rows, len(self.memory_ids), first, order)
        return first, names[order]

    @cached_property
    def concepts_of_row(self) -> tuple[Int64s, Int32s]:
        """(start, concepts): the concepts that each row mentions, persons left out."""
        counts = np.diff(self.concept_start)
        concept = np.repeat(np.arange(len(self.concepts), dtype=np.int32), counts)
        person = np.fromiter(
            (c.kind is ConceptKind.PERSON for c in self.concepts), np.bool_, len(self.concepts)
        )
        keep = ~person[concept] if concept.size else np.zeros(0, np.bool_)
        rows, concept = self.concept_rows[keep], concept[keep]
        start = np.zeros(len(self.memory_ids) + 1, np.int64)
        order = np.empty(rows.size, np.int64)
        kernels.group_by_key(rows, len(self.memory_ids), start, order)
        return start, concept[order]


def assemble(
    version: int, blocks: Sequence[MeetingBlock], concepts: Sequence[ConceptRow], lexicons: Lexicons
) -> MemoryGraph:
    """The graph of the given meetings and concepts. Cost: one copy of everything, and a sort of the postings."""
    m = len(blocks)
    rows = np.array([block.words.size for block in blocks], np.int64)
    turns = np.array([block.row_of_turn.size for block in blocks], np.int64)
    contexts = np.array([block.context_first.size for block in blocks], np.int64)
    row_start = np.concatenate(([0], np.cumsum(rows)))
    turn_start = np.concatenate(([0], np.cumsum(turns)))
    n, k = int(row_start[-1]), int(turn_start[-1])
    row_of_turn = _join(blocks, "row_of_turn", np.int32) + np.repeat(row_start[:-1], turns).astype(np.int32)
    turn_of_row = np.full(n, -1, np.int32)
    turn_of_row[row_of_turn] = np.arange(k, dtype=np.int32)
    context_base = np.repeat(row_start[:-1], contexts).astype(np.int32)
    context_first = _join(blocks, "context_first", np.int32) + context_base
    context_last = _join(blocks, "context_last", np.int32) + context_base
    context_of_row = np.repeat(np.arange(context_first.size, dtype=np.int32), context_last - context_first)
    length = _join(blocks, "length", np.int32).astype(np.float32)
    posting_start, posting_row, posting_count = _postings(blocks, row_start, len(lexicons.terms))
    vectors = _join(blocks, "vectors", np.float32, VECTOR_DIMENSIONS)
    concept_start, concept_rows = _concept_rows(concepts, blocks, row_start)
    parts = {
        "next": _time_edges(blocks, row_start),
        "part_of": (np.arange(n, dtype=np.int64), context_of_row.astype(np.int64) + n),
        "mentions": (
            concept_rows.astype(np.int64),
            np.repeat(np.arange(len(concepts)), np.diff(concept_start)) + n + context_first.size,
        ),
    }
    document_keys, document_rows = _titles(blocks, row_start)
    definitions = _definition_edges(blocks, row_start, document_keys, document_rows)
    edge_start, edge_target, edge_weight = _edges(
        parts, _answer_edges(blocks, row_start), definitions, n, context_first.size, concepts
    )
    definition_start = np.zeros(n + 1, np.int64)
    order = np.empty(definitions[0].size, np.int64)
    kernels.group_by_key(definitions[0], n, definition_start, order)
    return MemoryGraph(
        version=version,
        lexicons=lexicons,
        blocks=tuple(blocks),
        concepts=tuple(concepts),
        meeting_project=np.array([block.project for block in blocks], np.int32),
        meeting_series=np.array([block.series for block in blocks], np.int32),
        meeting_day=np.array([block.head.day for block in blocks], np.int32),
        meeting_rows=row_start,
        meeting_length=np.array([block.length.sum() for block in blocks], np.float32),
        meeting_centroid=_centroids(blocks),
        meeting_speakers=tuple(frozenset(np.unique(b.speakers).tolist()) - {-1} for b in blocks),
        memory_ids=tuple(memory_id for block in blocks for memory_id in block.memory_ids),
        meeting_of_row=np.repeat(np.arange(m, dtype=np.int32), rows),
        words=_join(blocks, "words", np.int32),
        types=_join(blocks, "types", np.int8),
        speakers=_join(blocks, "speakers", np.int32),
        pure_question=_join(blocks, "pure_question", np.bool_),
        first_person=_join(blocks, "first_person", np.bool_),
        second_person=_join(blocks, "second_person", np.bool_),
        length=length,
        vectors=vectors,
        turn_of_row=turn_of_row,
        context_of_row=context_of_row,
        row_of_turn=row_of_turn,
        first=np.repeat(turn_start[:-1], turns).astype(np.int32),
        last=np.repeat(turn_start[1:], turns).astype(np.int32),
        gain=_join(blocks, "gain", np.float32),
        norm_m=_join(blocks, "norm_m", np.float32),
        norm_l=_join(blocks, "norm_l", np.float32),
        smooth_m=_join(blocks, "smooth_m", np.float32),
        smooth_l=_join(blocks, "smooth_l", np.float32),
        posting_start=posting_start,
        posting_row=posting_row,
        posting_count=posting_count,
        context_ids=tuple(memory_id for block in blocks for memory_id in block.context_ids),
        context_meeting=np.repeat(np.arange(m, dtype=np.int32), contexts),
        context_first=context_first,
        context_last=context_last,
        context_vectors=_join(blocks, "context_vectors", np.float32, VECTOR_DIMENSIONS),
        concept_vectors=np.frombuffer(b"".join(c.vector for c in concepts), "<f4").reshape(
            -1, VECTOR_DIMENSIONS
        ),
        concept_project=np.array([lexicons.projects.add(c.project) for c in concepts], np.int32),
        concept_start=concept_start,
        concept_rows=concept_rows,
        edge_start=edge_start,
        edge_target=edge_target,
        edge_weight=edge_weight,
        documents=np.array([block.head.document for block in blocks], np.bool_),
        document_keys=document_keys,
        document_rows=document_rows.astype(np.int32),
        definition_start=definition_start,
        definition_rows=definitions[1][order].astype(np.int32),
    )


def _join(blocks: Sequence[MeetingBlock], name: str, dtype: type, *shape: int) -> Any:
    """One field of all blocks in a row; the caller knows its dtype."""
    if not blocks:
        return np.empty((0, *shape), dtype)
    return np.concatenate([getattr(block, name) for block in blocks])


def _postings(
    blocks: Sequence[MeetingBlock], row_start: Int64s, n_terms: int
) -> tuple[Int64s, Int32s, Int32s]:
    sizes = np.array([block.posting_row.size for block in blocks], np.int64)
    rows = _join(blocks, "posting_row", np.int32) + np.repeat(row_start[:-1], sizes).astype(np.int32)
    start = np.zeros(n_terms + 1, np.int64)
    order = np.empty(rows.size, np.int64)
    kernels.group_by_key(_join(blocks, "posting_term", np.int32), n_terms, start, order)
    return start, rows[order], _join(blocks, "posting_count", np.int32)[order]


def _centroids(blocks: Sequence[MeetingBlock]) -> Float32s:
    centroids = np.zeros((len(blocks), VECTOR_DIMENSIONS), np.float32)
    for row, block in enumerate(blocks):
        if block.row_of_turn.size:
            centroids[row] = block.gain @ block.vectors[block.row_of_turn]
            centroids[row] /= max(float(np.linalg.norm(centroids[row, :384])), 1e-9)
    return centroids


def _concept_rows(
    concepts: Sequence[ConceptRow], blocks: Sequence[MeetingBlock], row_start: Int64s
) -> tuple[Int64s, Int32s]:
    base = {block.head.key: int(row_start[i]) for i, block in enumerate(blocks)}
    start = np.zeros(len(concepts) + 1, np.int64)
    rows: list[int] = []
    for number, concept in enumerate(concepts):
        rows += [base[meeting] + position for meeting, position in concept.mentions if meeting in base]
        start[number + 1] = len(rows)
    return start, np.array(rows, np.int32)


def _time_edges(blocks: Sequence[MeetingBlock], row_start: Int64s) -> tuple[Int64s, Int64s]:
    """Each episode to the next of its meeting."""
    n = int(row_start[-1])
    source = np.arange(max(n - 1, 0), dtype=np.int64)
    ends = row_start[1:-1] - 1 if len(blocks) > 1 else np.empty(0, np.int64)
    source = np.setdiff1d(source, ends, assume_unique=False)
    return source, source + 1


def _answer_edges(blocks: Sequence[MeetingBlock], row_start: Int64s) -> tuple[Int64s, Int64s]:
    row_of_node = {
        int(node): int(row_start[i]) + row
        for i, block in enumerate(blocks)
        if block.answer_target.size
        for row, node in enumerate(block.nodes)
    }
    wanted = {int(node) for block in blocks for node in block.answer_target} - row_of_node.keys()
    for i, block in enumerate(blocks):
        for row in np.flatnonzero(np.isin(block.nodes, list(wanted))) if wanted else ():
            row_of_node[int(block.nodes[row])] = int(row_start[i] + row)
    source: list[int] = []
    target: list[int] = []
    for i, block in enumerate(blocks):
        for row, node in zip(block.answer_row, block.answer_target, strict=True):
            if int(node) in row_of_node:
                source.append(int(row_start[i] + row))
                target.append(row_of_node[int(node)])
    return np.array(source, np.int64), np.array(target, np.int64)


def _titles(blocks: Sequence[MeetingBlock], row_start: Int64s) -> tuple[Int64s, Int64s]:
    """The keys of all documents' titles, ascending, and the row with which each document begins."""
    titled = [i for i, block in enumerate(blocks) if block.head.document and block.words.size]
    keys = np.array([blocks[i].title_key for i in titled], np.int64)
    order = np.argsort(keys, kind="stable")
    return keys[order], row_start[np.array(titled, np.int64)[order]]


def _definition_edges(
    blocks: Sequence[MeetingBlock], row_start: Int64s, keys: Int64s, first_rows: Int64s
) -> tuple[Int64s, Int64s]:
    """Each row of a document to the first row of every other document whose title it names.

    Titles that more than five documents share lead nowhere.
    """
    named = np.concatenate([np.empty(0, np.int64), *(block.name_key for block in blocks)])
    source = np.concatenate(
        [
            np.empty(0, np.int64),
            *(block.name_row + start for block, start in zip(blocks, row_start[:-1], strict=True)),
        ]
    )
    first, last = np.searchsorted(keys, named, "left"), np.searchsorted(keys, named, "right")
    found = np.where(last - first <= SAME_TITLE, last - first, 0)
    source = np.repeat(source, found)
    within = np.arange(source.size) - np.repeat(np.cumsum(found) - found, found)
    target = first_rows[np.repeat(first, found) + within]
    meeting = np.searchsorted(row_start, source, "right")
    elsewhere = meeting != np.searchsorted(row_start, target, "right")
    return source[elsewhere], target[elsewhere]


def _edges(
    parts: Mapping[str, tuple[Int64s, Int64s]],
    answers: tuple[Int64s, Int64s],
    definitions: tuple[Int64s, Int64s],
    n: int,
    c: int,
    concepts: Sequence[ConceptRow],
) -> tuple[Int64s, Int32s, Float32s]:
    """CSR of the edges in both directions. A hub passes on less: weights fall with the fan √log₂(2 + degree)."""
    persons = np.fromiter(
        (concept.kind is ConceptKind.PERSON for concept in concepts), np.bool_, len(concepts)
    )
    mention_source, mention_target = parts["mentions"]
    named = ~persons[mention_target - n - c] if mention_target.size else np.zeros(0, np.bool_)
    mention_source, mention_target = mention_source[named], mention_target[named]
    nodes = n + c + len(concepts)
    fan = np.sqrt(np.log2(2.0 + np.bincount(mention_target, minlength=nodes)))
    size = np.bincount(parts["part_of"][1], minlength=nodes)
    groups = [
        (*parts["next"], np.full(parts["next"][0].size, NEXT_WEIGHT)),
        (*parts["part_of"], PART_OF_WEIGHT / np.sqrt(np.log2(2.0 + size[parts["part_of"][1]]))),
        (mention_source, mention_target, MENTION_WEIGHT / fan[mention_target]),
        (*answers, np.full(answers[0].size, ANSWER_WEIGHT)),
        (*definitions, np.full(definitions[0].size, DEFINITION_WEIGHT)),
    ]
    source = np.concatenate([part for s, t, _ in groups for part in (s, t)]).astype(np.int64)
    target = np.concatenate([part for s, t, _ in groups for part in (t, s)]).astype(np.int32)
    weight = np.concatenate([part for _, _, w in groups for part in (w, w)]).astype(np.float32)
    start = np.zeros(nodes + 1, np.int64)
    order = np.empty(source.size, np.int64)
    kernels.group_by_key(source, nodes, start, order)
    return start, target[order], weight[order]
