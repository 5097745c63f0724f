"""What one meeting becomes before it is stored: memories, edges and mentions, as plain values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cofio.records import ConceptKind, EdgeKind, Float32s, Level, MemoryType

# Ids are uuid5 over what a memory is, so that ingesting the same thing twice names the same memories.
NAMESPACE: Final = uuid.UUID("6f1d5c0e-3c57-5d0c-9a51-0c0f10000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One memory of a meeting. `vector` is (400,) float32: unit semantic part, then features in [0, 1]."""

    memory_id: str
    level: Level
    position: int
    memory_type: MemoryType
    content: str
    words: int
    vector: Float32s
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    pure_question: bool = False
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A typed edge between two memories, by memory id."""

    source: str
    target: str
    kind: EdgeKind
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """What one meeting contributes to one possible concept.

    `episodes` are positions, ascending; `definition` is the position of the one that explains it best;
    `vector_sum` (400,) sums the vectors of the mentioning episodes.
    """

    key: str
    kind: ConceptKind
    label: str
    salience: float
    contexts: int
    episodes: tuple[int, ...]
    definition: int | None
    vector_sum: Float32s


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingMemories:
    """All that one meeting becomes. Edges to concepts follow from the mentions when they are stored."""

    episodes: tuple[Memory, ...]
    contexts: tuple[Memory, ...]
    edges: tuple[Edge, ...]
    mentions: tuple[Mention, ...]


def named_id(*parts: object) -> str:
    """The deterministic id of what `parts` name; nobody, and somebody who is called "None", are two."""
    # No text that was cleaned holds control characters, so these keep the parts and the two kinds of None apart.
    return str(
        uuid.uuid5(NAMESPACE, "\x1f".join("\x1eNone" if part == "None" else str(part) for part in parts))
    )


def concept_id(project: str, key: str) -> str:
    """The memory id of a project's concept."""
    return named_id("concept", project, key)
