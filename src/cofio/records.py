"""The values that flow between modules: frozen (those of an answer for the type checker, see `value`), slotted, keyword-only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

SEMANTIC_DIMENSIONS: Final = 384
FEATURE_DIMENSIONS: Final = 16
VECTOR_DIMENSIONS: Final = SEMANTIC_DIMENSIONS + FEATURE_DIMENSIONS
# Of a meeting that names none.
DEFAULT_PROJECT: Final = "default"

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

_Class = TypeVar("_Class")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def value(record: type[_Class]) -> type[_Class]:
    """A slotted dataclass with named fields that is frozen for whoever checks types, and not when the program runs.

    For records of which an answer has a hundred: Python makes a frozen one field by field through a function, which
    takes three to four times as long.
    """
    return dataclass(slots=True, kw_only=True)(record)


class Level(enum.IntEnum):
    """The three levels of the hierarchy; the value is the number in `L0`, `L1`, `L2`."""

    CONCEPT = 0
    CONTEXT = 1
    EPISODE = 2

    @property
    def label(self) -> str:
        """The name of the level in requests, answers and metrics: `L0`, `L1` or `L2`."""
        return _LABELS[self]


_LABELS: Final = ("L0", "L1", "L2")


class MemoryType(enum.StrEnum):
    """What kind of thing was said. Types are priors and filters, never gates."""

    DECISION = "decision"
    ACTION = "action"
    QUESTION = "question"
    ISSUE = "issue"
    IDEA = "idea"
    COMMITMENT = "commitment"
    CONTEXT = "context"


class EdgeKind(enum.StrEnum):
    """The typed edges of the memory graph, each read from source to target."""

    NEXT = "next"  # episode → the episode said after it; read backwards it is `previous`
    PART_OF = "part_of"  # episode → its context
    SPOKEN_BY = "spoken_by"  # episode → the concept of its speaker
    MENTIONS = "mentions"  # episode → a concept it names
    DEFINES = "defines"  # episode → the concept it explains best
    ANSWERS = "answers"  # episode → the question it answers


# From a document to one whose title it names: not stored, as every new title may add some.
NAMES: Final = "names"


class ConceptKind(enum.StrEnum):
    """What an L0 concept is."""

    PERSON = "person"  # a speaker
    TITLE = "title"  # what a document is about
    ENTITY = "entity"  # a named thing: product, organisation, place, project
    TERM = "term"  # a recurring keyphrase
    QUESTION = "question"  # a question its own meeting left open

    @property
    def memory_type(self) -> MemoryType:
        """The type of the memory that stands for such a concept."""
        return MemoryType.QUESTION if self is ConceptKind.QUESTION else MemoryType.CONTEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One turn as the transcript gives it: fragments joined, speaker and times kept.

    `speaker` is None where the transcript names none. Times are seconds from the start of the recording.
    `marks` are pairs of character offset in `text` and start time, one for each joined fragment, ascending.
    """

    text: str
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    marks: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What a transcript file says. `warnings` tell what a lenient reader had to mend or skip."""

    format: str
    utterances: tuple[Utterance, ...]
    title: str | None = None
    date: date | None = None
    participants: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingInput:
    """One meeting as a caller hands it to ingest; `transcript` is the raw text of any known format."""

    title: str
    transcript: str
    participants: tuple[str, ...] = ()
    date: date | None = None
    series: str | None = None
    project: str = DEFAULT_PROJECT
    format: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One L2 memory before it is stored: an utterance, or one part of a long one.

    `position` counts from 0 inside the meeting. `words` counts word tokens of `text`. `title` is that of the
    document that it is a part of; None in a meeting.
    """

    text: str
    position: int
    words: int
    speaker: str | None = None
    title: str | None = None
    start_s: float | None = None
    end_s: float | None = None

    @property
    def encoded_text(self) -> str:
        """The text that the encoder sees: `speaker: text` (DESIGN §3 point 1), in a document `title: text`."""
        named = self.speaker or self.title
        return f"{named}: {self.text}" if named else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one ingest did.

    `outcome` is `created`, `grown`, `changed` or `unchanged`. `added`, `kept` and `removed` count episodes.
    `memories_by_level` and `memories_by_type` count what the meeting holds now; L0 counts the concepts that
    it mentions. `edges` counts the meeting's edges by kind.
    """

    meeting_id: str
    outcome: str
    title: str
    format: str
    added: int
    kept: int
    removed: int
    memories_by_level: Mapping[str, int]
    memories_by_type: Mapping[str, int]
    edges: Mapping[str, int]
    warnings: tuple[str, ...]
    stages_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a query may look at; an empty tuple or None leaves that side open. Dates are inclusive."""

    project: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    meeting_id: tuple[str, ...] = ()
    speaker: tuple[str, ...] = ()
    memory_type: tuple[MemoryType, ...] = ()
    level: tuple[Level, ...] = ()
    date_from: date | None = None
    date_to: date | None = None

    @property
    def narrow(self) -> bool:
        """Whether they look at what belongs to meetings or speakers, which concepts do not."""
        return bool(self.series or self.meeting_id or self.speaker or self.date_from or self.date_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query. Hashable: equal questions on an equal graph have equal answers.

    `steer` holds pairs of feature name and weight; the weights go into the query's feature dimensions.
    """

    query: str
    limit_per_level: int = 10
    enable_activation: bool = True
    enable_bridges: bool = True
    max_activations: int = 50
    filters: Filters = field(default_factory=Filters)
    steer: tuple[tuple[str, float], ...] = ()


@value
class MemoryMetadata:
    """Where a memory comes from. For an L0 concept `date` is that of its first mention."""

    meeting_id: str | None = None
    title: str | None = None
    date: str | None = None
    project: str | None = None
    series: str | None = None
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    position: int | None = None
    label: str | None = None  # L1: its keyphrases; L0: the thing's name
    speakers: tuple[str, ...] = ()  # L1: who spoke in it
    owners: tuple[str, ...] = ()  # actions: up to two candidates, the likelier first
    due: str | None = None  # actions: ISO date, if one was named
    concept_kind: str | None = None  # L0
    mentions: int | None = None  # L0: how many episodes mention it
    last_date: str | None = None  # L0: date of the last mention
    defined_by: str | None = None  # L0: memory id of the episode that defines it


@value
class Recalled:
    """A memory in an answer. `level` is `L0`, `L1` or `L2`.

    `turns` are the memory ids of the episodes for which a context was found, at most twenty, the best first;
    empty for other memories.
    """

    memory_id: str
    content: str
    memory_type: str
    score: float
    level: str
    metadata: MemoryMetadata
    turns: tuple[str, ...] = ()


@value
class Activated(Recalled):
    """A memory that the spread woke beyond the direct results.

    `activation_strength` is its share of the strongest activation of the query, in (0, 1]. `path` holds the
    memory ids from the seed to this memory, both included; `depth` is its number of steps.
    `classification` is `core` (≥ .7), `contextual` (≥ .4) or `peripheral`.
    """

    activation_strength: float
    depth: int
    path: tuple[str, ...]
    classification: str


@value
class Bridge(Recalled):
    """A memory of another meeting than the direct results', connected to what the query woke.

    `novelty_score` is its distance from the query, `connection_score` the strength of its link, both in
    [0, 1]; `connecting_memories` are the woken memories and concepts that the link runs through.
    """

    novelty_score: float
    connection_score: float
    connecting_memories: tuple[str, ...]
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A part of the service that an answer had to do without: the code of its error, and what that means here."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one question. `confidence` in [0, 1]: does this memory hold an answer at all.

    It is `degraded` where a part of the service did not answer and others stood in for it; `missing` tells which.
    """

    query: str
    direct_results: Mapping[str, tuple[Recalled, ...]]  # keys L0, L1, L2
    activated_memories: tuple[Activated, ...]
    bridge_memories: tuple[Bridge, ...]
    confidence: float
    total_results: int
    query_dimensions: Mapping[str, float]  # the question's own 16 features by name
    degraded: bool
    missing: tuple[Missing, ...]
    processing_time_ms: float
    stages_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One step from a memory: the edge's kind (`previous` is `next` read backwards), direction and end."""

    kind: str
    direction: str  # "out" or "in"
    weight: float
    memory_id: str
    level: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDetail:
    """One stored memory with its features and its neighbours in the graph."""

    memory_id: str
    content: str
    memory_type: str
    level: str
    metadata: MemoryMetadata
    features: Mapping[str, float]
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingSummary:
    """One stored meeting. `memories_by_level` counts its episodes, contexts and mentioned concepts."""

    meeting_id: str
    title: str
    date: str | None
    project: str
    series: str | None
    external_id: str | None
    format: str
    participants: tuple[str, ...]
    duration_s: float | None
    memories_by_level: Mapping[str, int]
    ingested_at: str
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPage:
    """One page of meetings, newest first. `next_cursor` asks for the page after; None on the last."""

    meetings: tuple[MeetingSummary, ...]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a deletion removed."""

    meeting_id: str
    removed_memories: Mapping[str, int]  # by level
    removed_edges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationItem:
    """One meeting of a batch: `pending`, `succeeded` with a receipt, or `failed` with a code and a detail."""

    index: int
    title: str
    status: str
    receipt: Mapping[str, object] | None = None
    error: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A batch: `pending`, `running`, `succeeded` (every meeting stored) or `failed` (at least one was not)."""

    operation_id: str
    status: str
    total: int
    done: int
    failed: int
    created_at: str
    finished_at: str | None
    results: tuple[OperationItem, ...]
