"""Everything that the graph remembers, appended to as meetings come: each version of the graph is a view of it.

Heavy columns (vectors, terms, ids) only grow, so a change costs what it adds; the light indexes over them (the pairs
of each term, edges, ids by number) are made anew for each version, some 50 ns a memory. What is deleted or replaced
stays behind, dead, and is left out of the indexes; `compact` takes it out when it has become too much.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.graph.blocks import (
    KIND_CODES,
    PAIR_TERM,
    Int16s,
    Lexicon,
    Lexicons,
    MeetingBlock,
    MeetingHead,
    fixed_point,
)
from cofio.graph.columns import Column
from cofio.graph.csr import ConceptHead, MemoryGraph
from cofio.graph.ids import IdIndex, packed
from cofio.graph.scratch import ScratchPool
from cofio.graph.sketches import SKETCH_WORDS, sketched
from cofio.records import VECTOR_DIMENSIONS, Bools, ConceptKind, Float32s, Int32s, Int64s
from cofio.text.terms import WORD, bare_word, name_words, stems
from cofio.vector_rules import read_vectors

# Weights of the edges along which best-first activation travels. Steps in time decay as kernel M does;
# the others are set so that a path through a concept of two mentions weighs as much as three steps in time.
NEXT_WEIGHT: Final = 0.7
PART_OF_WEIGHT: Final = 0.5
MENTION_WEIGHT: Final = 0.85
ANSWER_WEIGHT: Final = 0.8
DEFINITION_WEIGHT: Final = 0.85
# A title that more documents share ("Standup", every day) names none of them.
SAME_TITLE: Final = 5
# Compacting copies everything, so it waits until so much of the rows is dead, which take as much room as the living.
DEAD_SHARE: Final = 0.1
DEAD_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptRow:
    """What the graph reads of a stored concept.

    `mentions` holds (meeting key, episode position): all of them for a concept that the graph does not hold yet, else
    those of the meetings that changed.
    """

    memory_id: str
    project: str
    label: str
    kind: ConceptKind
    mentions: tuple[tuple[int, int], ...]
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """All that a ledger holds at one moment; what is appended to the ledger later does not show in it."""

    columns: Mapping[str, NDArray[Any]]
    heads: tuple[MeetingHead, ...]
    concepts: tuple[ConceptHead, ...]
    alive: Bools  # of the meetings
    concept_alive: Bools
    concept_vectors: Int16s
    words: Mapping[str, tuple[str, ...]]  # of each lexicon


class Ledger:
    """The columns behind all versions of one graph. One thread at a time changes it; graphs may be read meanwhile."""

    def __init__(self, lexicons: Lexicons | None = None) -> None:
        self.lexicons: Final = lexicons or Lexicons.empty()
        self.heads: Final[list[MeetingHead]] = []
        self.concepts: Final[list[ConceptHead]] = []
        self.columns: Final[dict[str, Column]] = {
            name: Column(dtype, *shape) for name, (dtype, *shape) in COLUMNS.items()
        }
        # Starts of each meeting's rows, turns and postings: one more than there are meetings.
        for name in _STARTS:
            self.columns[name].append(np.zeros(1, np.int64))
        self._number_of_key: dict[int, int] = {}
        self._meeting_of_id: dict[str, int] = {}
        self._meetings_of_speaker: dict[int, list[int]] = {}
        self._speakers_of_word: dict[str, list[int]] = {}
        self._words_of_speaker: dict[int, tuple[str, ...]] = {}
        self._terms_of_speaker: dict[int, list[int]] = {}
        self._concept_of_memory: dict[str, int] = {}
        self._concepts_of_stem: dict[str, list[int]] = {}
        self._alive = np.zeros(0, np.bool_)
        self._concept_alive = np.zeros(0, np.bool_)
        self._concept_vectors = np.zeros((0, VECTOR_DIMENSIONS), np.int16)
        self._concept_sketches = sketched(self._concept_vectors)
        self._concept_kinds = np.zeros(0, np.int8)
        self._concept_projects = np.zeros(0, np.int32)
        self._concept_stems = np.zeros(0, np.int32)
        self._rows_by_id = IdIndex.empty()
        self._scratch: Final = ScratchPool()

    @classmethod
    def of(cls, state: LedgerState) -> Ledger:
        """A ledger that holds what another held. Its arrays are copied at the first append, not before."""
        ledger = cls(Lexicons(**{name: Lexicon(words) for name, words in state.words.items()}))
        for name, array in state.columns.items():
            ledger.columns[name] = Column.of(array)
        ledger.heads.extend(state.heads)
        ledger.concepts.extend(state.concepts)
        ledger._alive, ledger._concept_alive = state.alive, state.concept_alive
        ledger._concept_vectors = state.concept_vectors
        ledger._concept_sketches = sketched(state.concept_vectors)
        ledger._concept_kinds = np.array([KIND_CODES[head.kind] for head in state.concepts], np.int8)
        ledger._concept_projects = np.array([head.project for head in state.concepts], np.int32)
        ledger._concept_stems = np.array([len(head.stems) for head in state.concepts], np.int32)
        # Meeting and speaker in one number: pairs of numbers take ten times as long to sort.
        each = len(ledger.lexicons.speakers) + 1  # place 0 is for nobody
        spoke = np.unique(
            state.columns["meeting_of_row"].astype(np.int64) * each + state.columns["speakers"] + 1
        )
        start = np.searchsorted(spoke, each * np.arange(len(state.heads) + 1))
        speakers = spoke % each - 1
        for number in np.flatnonzero(state.alive).tolist():
            ledger._enter_meeting(
                number, state.heads[number], speakers[start[number] : start[number + 1]].tolist()
            )
        for number in np.flatnonzero(state.concept_alive).tolist():
            ledger._enter_concept(number, state.concepts[number])
        return ledger

    def state(self) -> LedgerState:
        """What the ledger holds now."""
        return LedgerState(
            columns={name: column.view() for name, column in self.columns.items()},
            heads=tuple(self.heads),
            concepts=tuple(self.concepts),
            alive=self._alive,
            concept_alive=self._concept_alive,
            concept_vectors=self._concept_vectors,
            words={
                field.name: getattr(self.lexicons, field.name).words()
                for field in dataclasses.fields(self.lexicons)
            },
        )

    @property
    def crowded(self) -> bool:
        """So much is dead that compacting is worth its cost."""
        rows = np.diff(self.columns["meeting_rows"].view())
        dead = int(rows[~self._alive].sum())
        return dead > max(DEAD_ROWS, DEAD_SHARE * int(rows.sum()))

    def new_concepts(self, memory_ids: Iterable[str]) -> set[str]:
        """Which of the ids are of no living concept that the ledger holds."""
        return {memory_id for memory_id in memory_ids if memory_id not in self._concept_of_memory}

    def drop_meetings(self, keys: Iterable[int]) -> None:
        """The meetings of these keys, as far as they are held, are dead."""
        alive = self._alive.copy()
        for key in keys:
            number = self._number_of_key.pop(key, None)
            if number is not None:
                alive[number] = False
                self._meeting_of_id.pop(self.heads[number].meeting_id, None)
        self._alive = alive

    def add_meeting(self, block: MeetingBlock) -> None:
        """The meeting is the last one, alive."""
        number = len(self.heads)
        columns = self.columns
        row0, turn0 = len(columns["ids"]), len(columns["row_of_turn"])
        said0, context0 = len(columns["said_terms"]), len(columns["context_ids"])
        n = block.words.size
        turn_length = block.length[block.row_of_turn]
        context_of_row = np.repeat(
            np.arange(block.context_first.size, dtype=np.int32) + context0,
            block.context_last - block.context_first,
        )
        pairs = block.pairs.copy()
        pairs[:, PAIR_TERM] = number
        added: dict[str, object] = {
            "meeting_project": [block.project],
            "meeting_series": [block.series],
            "meeting_day": [block.head.day],
            "meeting_rows": [row0 + n],
            "meeting_turns": [turn0 + block.row_of_turn.size],
            "meeting_postings": [len(columns["posting_row"]) + block.posting_row.size],
            "meeting_length": [block.length.sum()],
            "meeting_totals": [
                (block.row_of_turn.size, block.smooth_m.sum(), block.smooth_l.sum(), turn_length.sum())
            ],
            "meeting_least": [
                (block.smooth_m.min(initial=np.inf), block.length.min(initial=np.iinfo(np.int32).max))
            ],
            "meeting_centroid": block.centroid[None],
            "documents": [block.head.document],
            "title_key": [block.title_key],
            "meeting_of_row": np.full(n, number, np.int32),
            "context_of_row": context_of_row,
            "turn_of_row": np.where(block.turn_of_row >= 0, block.turn_of_row + turn0, -1),
            "said_end": block.said_end + said0,
            "row_of_turn": block.row_of_turn + row0,
            "pairs": pairs,
            "pair_term": block.pairs[:, PAIR_TERM],
            "context_meeting": np.full(block.context_first.size, number, np.int32),
            "context_first": block.context_first + row0,
            "context_last": block.context_last + row0,
            "answer_row": block.answer_row + row0,
            "name_row": block.name_row + row0,
        }
        for name, column in columns.items():
            if name not in _OF_CONCEPTS:
                column.append(np.asarray(added[name] if name in added else getattr(block, name)))
        self.heads.append(block.head)
        self._alive = np.append(self._alive, True)
        self._enter_meeting(number, block.head, np.unique(block.speakers).tolist())

    def _enter_meeting(self, number: int, head: MeetingHead, speakers: Iterable[int]) -> None:
        self._number_of_key[head.key] = number
        self._meeting_of_id[head.meeting_id] = number
        for speaker in speakers:
            if speaker < 0:
                continue
            if speaker not in self._meetings_of_speaker:
                name = self.lexicons.speakers[speaker]
                # "Ann: …" is among what she says, so the terms of her name are known.
                self._terms_of_speaker[speaker] = [self.lexicons.terms.find(stem) for stem in stems(name)]
                self._words_of_speaker[speaker] = tuple(map(bare_word, WORD.findall(name)))
                for word in name_words([name]):
                    self._speakers_of_word.setdefault(word, []).append(speaker)
            self._meetings_of_speaker.setdefault(speaker, []).append(number)

    def set_concepts(self, rows: Sequence[ConceptRow], gone: Iterable[str]) -> None:
        """The concepts are as `rows` say, after the meetings that mention them were added; those `gone` are dead."""
        alive = np.append(self._concept_alive, np.zeros(len(rows), np.bool_))
        kinds, projects, label_stems, vectors, sketches = (
            np.concatenate((array, np.zeros((len(rows), *array.shape[1:]), array.dtype)))
            for array in (
                self._concept_kinds,
                self._concept_projects,
                self._concept_stems,
                self._concept_vectors,
                self._concept_sketches,
            )
        )
        for memory_id in gone:
            number = self._concept_of_memory.pop(memory_id, None)
            if number is not None:
                alive[number] = False
        given = fixed_point(read_vectors([row.memory_id for row in rows], [row.vector for row in rows]))
        starts = self.columns["meeting_rows"].view()
        mentions: list[tuple[int, int]] = []
        for row, vector, sketch in zip(rows, given, sketched(given), strict=True):
            known = self._concept_of_memory.get(row.memory_id)
            head = ConceptHead(
                memory_id=row.memory_id,
                project=self.lexicons.projects.add(row.project),
                label=row.label,
                kind=row.kind,
                stems=frozenset(stems(row.label)),
            )
            if known is None:
                known = len(self.concepts)
                self.concepts.append(head)
                self.columns["concept_ids"].append(packed([row.memory_id]))
                self._enter_concept(known, head)
            elif self.concepts[known] != head:
                # Labels change when a meeting writes a thing more tellingly. Older versions see the new one too, and may
                # be reading the lists.
                for stem in self.concepts[known].stems:
                    self._concepts_of_stem[stem] = [n for n in self._concepts_of_stem[stem] if n != known]
                self.concepts[known] = head
                self._enter_concept(known, head)
            alive[known] = True
            kinds[known], projects[known], label_stems[known] = (
                KIND_CODES[head.kind],
                head.project,
                len(head.stems),
            )
            vectors[known], sketches[known] = vector, sketch
            for key, position in row.mentions:
                meeting = self._number_of_key.get(key)
                if meeting is not None:
                    mentions.append((known, int(starts[meeting]) + position))
        pairs = np.array(mentions, np.int32).reshape(-1, 2)
        self.columns["mention_concept"].append(pairs[:, 0])
        self.columns["mention_row"].append(pairs[:, 1])
        self._concept_alive = alive[: len(self.concepts)]
        self._concept_kinds = kinds[: len(self.concepts)]
        self._concept_projects = projects[: len(self.concepts)]
        self._concept_stems = label_stems[: len(self.concepts)]
        self._concept_vectors = vectors[: len(self.concepts)]
        self._concept_sketches = sketches[: len(self.concepts)]

    def _enter_concept(self, number: int, head: ConceptHead) -> None:
        self._concept_of_memory[head.memory_id] = number
        for stem in head.stems:
            self._concepts_of_stem.setdefault(stem, []).append(number)

    def graph(self, version: int) -> MemoryGraph:
        """The memory as it is now, as the graph of this version. Cost: one pass over rows, pairs and edges."""
        view = {name: column.view() for name, column in self.columns.items()}
        alive, concept_alive = self._alive, self._concept_alive
        n, c, p = view["ids"].shape[0], view["context_ids"].shape[0], concept_alive.size
        rows_alive = alive[view["meeting_of_row"]]
        term_start, term_pair, term_rows = self._terms(view["pairs"], view["pair_term"])
        concept_start, concept_rows, row_concept_start, row_concepts = self._mentions(
            view["mention_concept"], view["mention_row"], rows_alive
        )
        named = rows_alive[view["name_row"]]
        name_rows, name_keys = view["name_row"][named], view["name_key"][named]
        titled = np.flatnonzero(alive & view["documents"] & (np.diff(view["meeting_rows"]) > 0))
        titled = titled[np.argsort(view["title_key"][titled], kind="stable")]
        document_keys = view["title_key"][titled]
        document_rows = view["meeting_rows"][titled].astype(np.int32)
        definitions = _definitions(name_rows, name_keys, document_keys, document_rows, view["meeting_of_row"])
        definition_start = np.zeros(n + 1, np.int64)
        order = np.empty(definitions[0].size, np.int64)
        kernels.group_by_key(definitions[0], n, definition_start, order)
        edge_start, edge_target, edge_weight = self._edges(
            view, rows_alive, (concept_start, row_concept_start, row_concepts), definitions, n, c, p
        )
        self._rows_by_id = self._rows_by_id.grown(view["ids"], rows_alive)
        names = [self._terms_of_speaker.get(speaker, ()) for speaker in range(len(self.lexicons.speakers))]
        graph_fields = {field.name for field in dataclasses.fields(MemoryGraph)}
        return MemoryGraph(
            version=version,
            lexicons=self.lexicons,
            heads=self.heads,
            concepts=self.concepts,
            counts={
                "meetings": int(alive.sum()),
                "episodes": self._rows_by_id.row.size,
                "contexts": int(alive[view["context_meeting"]].sum()),
                "concepts": int(concept_alive.sum()),
                "terms": int((np.diff(term_start) > 0).sum()),
                "edges": edge_target.size,
                "dead": n - self._rows_by_id.row.size,
            },
            alive=alive,
            stored=view["nodes"],
            concept_vectors=self._concept_vectors,
            concept_sketches=self._concept_sketches,
            concept_kinds=self._concept_kinds,
            concept_projects=self._concept_projects,
            concept_stems=self._concept_stems,
            concept_alive=concept_alive,
            term_start=term_start,
            term_pair=term_pair,
            term_rows=term_rows,
            concept_start=concept_start,
            concept_rows=concept_rows,
            row_concept_start=row_concept_start,
            row_concepts=row_concepts,
            edge_start=edge_start,
            edge_target=edge_target,
            edge_weight=edge_weight,
            document_keys=document_keys,
            document_rows=document_rows,
            definition_start=definition_start,
            definition_rows=definitions[1][order].astype(np.int32),
            name_rows=name_rows,
            name_keys=name_keys,
            rows_by_id=self._rows_by_id,
            concept_of_memory=self._concept_of_memory,
            concepts_of_stem=self._concepts_of_stem,
            meeting_of_id=dict(self._meeting_of_id),
            meetings_of_speaker=self._meetings_of_speaker,
            speakers_of_word=self._speakers_of_word,
            words_of_speaker=self._words_of_speaker,
            speaker_term_start=np.cumsum([0, *map(len, names)]),
            speaker_terms=np.fromiter(itertools.chain.from_iterable(names), np.int32),
            scratch=self._scratch,
            **{name: array for name, array in view.items() if name in graph_fields},
        )

    def _terms(self, pairs: Int32s, pair_term: Int32s) -> tuple[Int64s, Int32s, Int64s]:
        """(start, pairs of each term, rows that say each term), of living meetings."""
        start = np.zeros(len(self.lexicons.terms) + 1, np.int64)
        rows = np.zeros(start.size - 1, np.int64)
        of_term = np.empty(pair_term.size, np.int32)
        n = kernels.group_terms(pairs, pair_term, self._alive, start, of_term, rows)
        return start, of_term[:n], rows

    def _mentions(
        self, concept: Int32s, row: Int32s, rows_alive: Bools
    ) -> tuple[Int64s, Int32s, Int64s, Int32s]:
        """The rows of each concept, and the concepts of each row but persons: (start, rows, start, concepts)."""
        start = np.zeros(self._concept_alive.size + 1, np.int64)
        row_start = np.zeros(rows_alive.size + 1, np.int64)
        rows, concepts = np.empty((2, concept.size), np.int32)
        n, things = kernels.group_mentions(
            concept,
            row,
            rows_alive,
            self._concept_alive,
            self._concept_kinds == KIND_CODES[ConceptKind.PERSON],
            start,
            rows,
            row_start,
            concepts,
        )
        return start, rows[:n], row_start, concepts[:things]

    def _edges(
        self,
        view: Mapping[str, np.ndarray],
        rows_alive: Bools,
        mentions: tuple[Int64s, Int64s, Int32s],
        definitions: tuple[Int64s, Int64s],
        n: int,
        c: int,
        p: int,
    ) -> tuple[Int64s, Int32s, Float32s]:
        """CSR of the edges in both directions. A hub passes on less: weights fall with the fan √log₂(2 + degree)."""
        concept_start, row_concept_start, row_concepts = mentions
        fan = np.sqrt(np.log2(2.0 + np.diff(concept_start)))
        answers = _answers(view["answer_row"], view["answer_target"], view["nodes"], rows_alive)
        source, target = (np.concatenate((answers[i], definitions[i])).astype(np.int32) for i in (0, 1))
        weight = np.repeat(
            np.array((ANSWER_WEIGHT, DEFINITION_WEIGHT), np.float32), (answers[0].size, definitions[0].size)
        )
        size = view["context_last"] - view["context_first"]
        room = 4 * n + 2 * row_concepts.size + 2 * source.size
        edge_start = np.zeros(n + c + p + 1, np.int64)
        edge_target, edge_weight = np.empty(room, np.int32), np.empty(room, np.float32)
        used = kernels.link(
            n, view["meeting_of_row"], self._alive, view["context_of_row"],
            (PART_OF_WEIGHT / np.sqrt(np.log2(2.0 + size))).astype(np.float32), np.float32(NEXT_WEIGHT),
            row_concept_start, row_concepts, n + c, (MENTION_WEIGHT / fan).astype(np.float32), source, target, weight,
            edge_start, edge_target, edge_weight,
        )  # fmt: skip
        return edge_start, edge_target[:used], edge_weight[:used]


COLUMNS: Final[Mapping[str, tuple[type, *tuple[int, ...]]]] = {
    # meetings
    "meeting_project": (np.int32,),
    "meeting_series": (np.int32,),
    "meeting_day": (np.int32,),
    "meeting_rows": (np.int64,),
    "meeting_turns": (np.int64,),
    "meeting_postings": (np.int64,),
    "meeting_length": (np.float32,),
    "meeting_totals": (np.float64, 4),
    "meeting_least": (np.float32, 2),
    "meeting_centroid": (np.int16, VECTOR_DIMENSIONS),
    "documents": (np.bool_,),
    "title_key": (np.int64,),
    # episodes
    "ids": (np.uint64, 2),
    "nodes": (np.int64,),
    "meeting_of_row": (np.int32,),
    "words": (np.int32,),
    "types": (np.int8,),
    "speakers": (np.int32,),
    "pure_question": (np.bool_,),
    "first_person": (np.bool_,),
    "second_person": (np.bool_,),
    "length": (np.int32,),
    "vectors": (np.int16, VECTOR_DIMENSIONS),
    "sketches": (np.uint64, SKETCH_WORDS),
    "turn_of_row": (np.int32,),
    "context_of_row": (np.int32,),
    "said_end": (np.int64,),
    "said_terms": (np.int32,),
    # turns
    "row_of_turn": (np.int32,),
    "gain": (np.float32,),
    "norm_m": (np.float32,),
    "norm_l": (np.float32,),
    "smooth_m": (np.float32,),
    "smooth_l": (np.float32,),
    # terms
    "pairs": (np.int32, 6),
    "pair_term": (np.int32,),
    "posting_row": (np.int32,),
    "posting_count": (np.uint16,),
    # contexts
    "context_ids": (np.uint64, 2),
    "context_meeting": (np.int32,),
    "context_first": (np.int32,),
    "context_last": (np.int32,),
    "context_vectors": (np.int16, VECTOR_DIMENSIONS),
    "context_sketches": (np.uint64, SKETCH_WORDS),
    # edges: answers to their questions' row ids in the truth, documents to what they may name, rows to concepts
    "answer_row": (np.int32,),
    "answer_target": (np.int64,),
    "name_row": (np.int32,),
    "name_key": (np.int64,),
    "concept_ids": (np.uint64, 2),
    "mention_concept": (np.int32,),
    "mention_row": (np.int32,),
}
_OF_CONCEPTS: Final = frozenset({"concept_ids", "mention_concept", "mention_row"})


def _answers(
    source: Int32s, nodes_answered: Int64s, nodes: Int64s, rows_alive: Bools
) -> tuple[Int32s, Int32s]:
    """Each answer's row and the row of its question, both alive."""
    kept = rows_alive[source]
    source, nodes_answered = source[kept], nodes_answered[kept]
    questions = np.flatnonzero(np.isin(nodes, nodes_answered) & rows_alive).astype(np.int32)
    questions = questions[np.argsort(nodes[questions])]
    if not questions.size:
        return source[:0], questions
    place = np.minimum(np.searchsorted(nodes[questions], nodes_answered), questions.size - 1)
    found = nodes[questions[place]] == nodes_answered
    return source[found], questions[place[found]]


def _definitions(
    rows: Int32s, named: Int64s, keys: Int64s, first_rows: Int32s, meeting_of_row: Int32s
) -> tuple[Int64s, Int64s]:
    """Each row of a document to the first row of every other document whose title it names.

    Titles that more than five documents share lead nowhere.
    """
    first, last = np.searchsorted(keys, named, "left"), np.searchsorted(keys, named, "right")
    found = np.where(last - first <= SAME_TITLE, last - first, 0)
    source = np.repeat(rows.astype(np.int64), found)
    within = np.arange(source.size) - np.repeat(np.cumsum(found) - found, found)
    target = first_rows[np.repeat(first, found) + within].astype(np.int64)
    elsewhere = meeting_of_row[source] != meeting_of_row[target]
    return source[elsewhere], target[elsewhere]


def compact(state: LedgerState) -> LedgerState:
    """The same without what is dead: no row, no vector and no word of it is left, and numbers begin anew."""
    columns = state.columns
    row_kept = state.alive[columns["meeting_of_row"]]
    said = np.diff(columns["said_end"], prepend=0)
    kept = {
        "meeting": state.alive,
        "row": row_kept,
        "said": np.repeat(row_kept, said),
        "turn": row_kept[columns["row_of_turn"]],
        "pair": state.alive[columns["pairs"][:, 0]],
        "posting": np.repeat(state.alive, np.diff(columns["meeting_postings"])),
        "context": state.alive[columns["context_meeting"]],
        "answer": row_kept[columns["answer_row"]],
        "name": row_kept[columns["name_row"]],
        "concept": state.concept_alive,
        "mention": row_kept[columns["mention_row"]] & state.concept_alive[columns["mention_concept"]],
    }
    made = {name: array[kept[_KIND_OF[name]]] for name, array in columns.items() if name in _KIND_OF}
    for name in _STARTS:
        sizes = np.diff(columns[name])[state.alive]
        made[name] = np.concatenate(([0], np.cumsum(sizes)))
    made["said_end"] = np.cumsum(said[row_kept])
    concepts = [concept for concept, alive in zip(state.concepts, state.concept_alive, strict=True) if alive]
    words, renumbered = {}, {}
    for name, numbers in {
        "terms": np.concatenate((made["said_terms"], made["pair_term"])),
        "speakers": made["speakers"],
        "projects": np.concatenate((made["meeting_project"], [c.project for c in concepts])).astype(np.int64),
        "series": made["meeting_series"],
    }.items():
        used = np.unique(numbers[numbers >= 0])
        words[name] = tuple(state.words[name][number] for number in used.tolist())
        renumbered[name] = np.full(
            len(state.words[name]) + 1, -1, np.int32
        )  # −1 stays −1: it is the last place
        renumbered[name][used] = np.arange(used.size, dtype=np.int32)
    places = {
        kind: np.cumsum(kept[kind], dtype=np.int32) - 1 for kind in ("meeting", "row", "turn", "context")
    }
    places["concept"] = np.cumsum(state.concept_alive, dtype=np.int32) - 1
    for name, kind in _POINTS_AT.items():
        made[name] = places[kind][made[name]]
    made["context_last"] = places["row"][made["context_last"] - 1] + 1
    made["turn_of_row"] = np.where(made["turn_of_row"] >= 0, places["turn"][made["turn_of_row"]], -1)
    made["pairs"][:, 0] = places["meeting"][made["pairs"][:, 0]]
    for name, lexicon in _NUMBERED_BY.items():
        made[name] = renumbered[lexicon][made[name]]
    return LedgerState(
        columns=made,
        heads=tuple(head for head, alive in zip(state.heads, state.alive, strict=True) if alive),
        concepts=tuple(
            dataclasses.replace(concept, project=int(renumbered["projects"][concept.project]))
            for concept in concepts
        ),
        alive=np.ones(int(state.alive.sum()), np.bool_),
        concept_alive=np.ones(len(concepts), np.bool_),
        concept_vectors=state.concept_vectors[state.concept_alive],
        words=words,
    )


# What `compact` needs to know of each column: what its items are of, what they point at, who numbers them.
_STARTS: Final = ("meeting_rows", "meeting_turns", "meeting_postings")
_ITEMS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "meeting": (
        "meeting_project", "meeting_series", "meeting_day", "meeting_length", "meeting_totals",
        "meeting_least", "meeting_centroid", "documents", "title_key",
    ),
    "row": (
        "ids", "nodes", "meeting_of_row", "words", "types", "speakers", "pure_question", "first_person", "second_person",
        "length", "vectors", "sketches", "turn_of_row", "context_of_row",
    ),
    "said": ("said_terms",),
    "turn": ("row_of_turn", "gain", "norm_m", "norm_l", "smooth_m", "smooth_l"),
    "pair": ("pairs", "pair_term"),
    "posting": ("posting_row", "posting_count"),
    "context": (
        "context_ids", "context_meeting", "context_first", "context_last", "context_vectors", "context_sketches",
    ),
    "answer": ("answer_row", "answer_target"),
    "name": ("name_row", "name_key"),
    "concept": ("concept_ids",),
    "mention": ("mention_concept", "mention_row"),
}  # fmt: skip
_KIND_OF: Final = {name: kind for kind, names in _ITEMS_OF.items() for name in names}
_POINTS_AT: Final = {
    "meeting_of_row": "meeting",
    "context_of_row": "context",
    "row_of_turn": "row",
    "context_meeting": "meeting",
    "context_first": "row",
    "answer_row": "row",
    "name_row": "row",
    "mention_concept": "concept",
    "mention_row": "row",
}
_NUMBERED_BY: Final = {
    "meeting_project": "projects",
    "meeting_series": "series",
    "speakers": "speakers",
    "said_terms": "terms",
    "pair_term": "terms",
}
