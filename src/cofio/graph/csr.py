"""The whole memory graph as arrays: an immutable state of the truth that queries read without locks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.graph.blocks import Int16s, Lexicons, MeetingHead
from cofio.graph.ids import IdIndex, Ids, written
from cofio.graph.scratch import ScratchPool
from cofio.graph.sketches import Sketches
from cofio.records import SEMANTIC_DIMENSIONS, Bools, ConceptKind, Float32s, Int32s, Int64s

# A name in more rows of documents than this says little about two that share it.
RARE_NAME_ROWS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptHead:
    """A concept as the graph knows it."""

    memory_id: str
    project: int
    label: str
    kind: ConceptKind
    stems: frozenset[str]  # of the label


@dataclass(frozen=True, kw_only=True)
class MemoryGraph:
    """One version of the memory. n episodes, k turns, c contexts, p concepts, m meetings.

    Nodes are numbered episodes first (0…n−1), then contexts (n…n+c−1), then concepts. Numbers never change from
    version to version: what is deleted or replaced stays in its place, dead, until `cofio.graph.ledger` compacts.
    The dead have no edge, no term and no entry in an index, and their meetings are in no scope. Arrays are read-only
    by agreement; a change makes a new graph.
    """

    version: int
    lexicons: Lexicons
    heads: Sequence[MeetingHead]  # of meetings; perhaps more than m
    concepts: Sequence[ConceptHead]  # perhaps more than p
    counts: Mapping[str, int]  # how much the graph holds alive, by kind
    # meetings (m,)
    alive: Bools
    meeting_project: Int32s
    meeting_series: Int32s
    meeting_day: Int32s
    meeting_rows: Int64s  # (m+1,) first row of each meeting
    meeting_turns: Int64s  # (m+1,)
    meeting_postings: Int64s  # (m+1,)
    meeting_length: Float32s  # stems in the meeting
    meeting_totals: NDArray[np.float64]  # (m, 4): turns, Σ smooth_m, Σ smooth_l and Σ length of its turns
    meeting_least: Float32s  # (m, 2): the least smooth_m of a turn, the least length of a row
    meeting_centroid: Int16s  # (m, 400) mean of its turns' vectors, semantic part of unit norm
    documents: Bools  # which are documents: titles instead of speakers, no course of time
    # episodes (n,)
    ids: Ids
    stored: Int64s  # row ids in the truth
    meeting_of_row: Int32s
    words: Int32s
    types: NDArray[np.int8]
    speakers: Int32s
    pure_question: Bools
    first_person: Bools
    second_person: Bools
    length: Int32s
    vectors: Int16s  # (n, 400) fixed point
    sketches: Sketches  # (n, 6) of `vectors`
    turn_of_row: Int32s  # −1 for an utterance of fewer than five words
    context_of_row: Int32s
    said_end: Int64s  # where the terms of each row end in `said_terms`
    said_terms: Int32s
    # turns (k,)
    row_of_turn: Int32s
    gain: Float32s
    norm_m: Float32s
    norm_l: Float32s
    smooth_m: Float32s
    smooth_l: Float32s
    # terms: pairs of a meeting and a term (`cofio.graph.blocks`), the pairs of each term, and the postings of each pair
    pairs: Int32s  # (pairs, 6)
    term_start: Int64s  # (terms+1,) into term_pair
    term_pair: Int32s
    term_rows: Int64s  # (terms,) rows that say each term
    posting_row: Int32s  # within the meeting
    posting_count: NDArray[np.uint16]
    # contexts (c,)
    context_ids: Ids
    context_meeting: Int32s
    context_first: Int32s  # rows
    context_last: Int32s
    context_vectors: Int16s  # (c, 400) fixed point
    context_sketches: Sketches
    # concepts (p,)
    concept_ids: Ids
    concept_vectors: Int16s  # (p, 400) fixed point
    concept_sketches: Sketches
    concept_kinds: NDArray[np.int8]  # numbers of KIND_CODES
    concept_projects: Int32s
    concept_stems: Int32s  # how many stems each label has
    concept_start: Int64s  # (p+1,) into concept_rows
    concept_rows: Int32s  # rows that mention each concept
    row_concept_start: Int64s  # (n+1,) into row_concepts
    row_concepts: Int32s  # concepts that each row mentions, persons left out
    # edges of best-first activation over all nodes
    edge_start: Int64s
    edge_target: Int32s
    edge_weight: Float32s
    # documents' titles: their keys (`cofio.text.titles`), ascending, and the row with which each document begins
    document_keys: Int64s
    document_rows: Int32s
    # from a row of a document to the first row of the document whose title it names
    definition_start: Int64s  # (n+1,) into definition_rows
    definition_rows: Int32s
    # what documents may name: rows and keys
    name_rows: Int32s
    name_keys: Int64s
    # finding things by what they are called
    rows_by_id: IdIndex
    concept_of_memory: Mapping[str, int]  # perhaps of a later version too
    concepts_of_stem: Mapping[str, Sequence[int]]  # perhaps of a later version, perhaps dead
    meeting_of_id: Mapping[str, int]
    meetings_of_speaker: Mapping[int, Sequence[int]]  # perhaps of a later version, perhaps dead
    speakers_of_word: Mapping[str, Sequence[int]]
    words_of_speaker: Mapping[int, Sequence[str]]  # of the name, as `cofio.text.terms.bare_word` writes them
    speaker_term_start: Int64s  # (speakers+1,) into speaker_terms
    speaker_terms: Int32s  # the terms of each speaker's name
    concept_alive: Bools
    scratch: ScratchPool

    @property
    def episodes(self) -> int:
        """The number of rows, dead ones counted."""
        return int(self.meeting_of_row.size)

    @property
    def first_concept(self) -> int:
        """The node of concept 0."""
        return int(self.meeting_of_row.size + self.context_meeting.size)

    @property
    def nodes(self) -> int:
        """The number of nodes: episodes, contexts and concepts."""
        return self.first_concept + int(self.concept_alive.size)

    def memory_id(self, node: int) -> str:
        """The memory id of a node."""
        return written(self.ids_of(np.array([node], np.int32)))[0]

    def memory_ids(self, nodes: Collection[int]) -> Mapping[int, str]:
        """The memory id of each of `nodes`."""
        return dict(zip(nodes, written(self.ids_of(np.array(list(nodes), np.int32))), strict=True))

    def ids_of(self, nodes: Int32s) -> Ids:
        """The memory ids of nodes, as pairs of numbers."""
        found = np.empty((nodes.size, 2), np.uint64)
        kernels.ids_of(nodes, self.ids, self.context_ids, self.concept_ids, found)
        return found

    @property
    def living(self) -> Mapping[int, MeetingHead]:
        """Every living meeting by its number."""
        return {number: self.heads[number] for number in np.flatnonzero(self.alive).tolist()}

    def semantic(self, rows: Int32s | slice) -> Float32s:
        """The semantic parts of the rows' vectors, (rows, 384), each of unit norm."""
        return np.asarray(self.vectors[rows, :SEMANTIC_DIMENSIONS] * kernels.SCALE)

    def spoke_in(self, speaker: int, meetings: Bools) -> bool:
        """Whether the speaker spoke in one of the meetings."""
        return any(m < meetings.size and meetings[m] for m in self.meetings_of_speaker.get(speaker, ()))

    def living_meetings(self, speaker: int) -> Int32s:
        """The meetings of this version in which a speaker spoke."""
        meetings = np.array(self.meetings_of_speaker.get(speaker, ()), np.int32)
        meetings = meetings[meetings < self.alive.size]
        return meetings[self.alive[meetings]]

    @cached_property
    def meeting_of_node(self) -> Int32s:
        """The meeting of every episode and context, by node."""
        return np.concatenate((self.meeting_of_row, self.context_meeting))

    @cached_property
    def everybody(self) -> Bools:
        """That every speaker counts, as a scope tells it: (speakers+1,) by number + 1."""
        return np.ones(len(self.lexicons.speakers) + 1, np.bool_)

    @cached_property
    def living_contexts(self) -> Bools:
        """Which contexts are of a living meeting: (c,)."""
        return np.asarray(self.alive[self.context_meeting])

    @cached_property
    def mentioned(self) -> Bools:
        """Which concepts are alive, mentioned in some meeting: (p,)."""
        return self.concept_start[1:] > self.concept_start[:-1]

    @cached_property
    def rows_of_name(self) -> tuple[Int64s, Int64s, Int32s]:
        """(keys, start, rows): the rare names of the documents, and the rows that hold each."""
        order = np.lexsort((self.name_rows, self.name_keys))
        sorted_keys, sorted_rows = self.name_keys[order], self.name_rows[order]
        keys, number, held = np.unique(sorted_keys, return_inverse=True, return_counts=True)
        rare = (held >= 2) & (held <= RARE_NAME_ROWS)
        rows = sorted_rows[rare[number]].astype(np.int32)
        return keys[rare], np.concatenate(([0], np.cumsum(held[rare]))), rows

    @cached_property
    def names_of_row(self) -> tuple[Int64s, Int32s]:
        """(start, names): the rare names that each row of a document holds, by their place in `rows_of_name`."""
        _, start, rows = self.rows_of_name
        names = np.repeat(np.arange(start.size - 1, dtype=np.int32), np.diff(start))
        first = np.zeros(self.episodes + 1, np.int64)
        order = np.empty(rows.size, np.int64)
        kernels.group_by_key(rows, self.episodes, first, order)
        return first, names[order]
