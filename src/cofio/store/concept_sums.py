"""What all mentions of a concept come to: sums that take one more meeting without reading the others again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from cofio.records import SEMANTIC_DIMENSIONS, ConceptKind, Float32s, Int64s

EXPLAINING_WORDS: Final = 10
# Vectors are added as whole numbers, so that no order of meetings coming and going leaves a trace. A million
# meetings of a thousand mentions each stay far below 2^63.
_ONE: Final = 2.0**24
_RANK: Final = {kind: rank for rank, kind in enumerate(ConceptKind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An episode that explains a concept: the `position` in the meeting with row id `meeting`, and what it says."""

    meeting: int
    position: int
    date: str | None
    memory_id: str
    text: str
    speaker: str | None
    words: int

    @property
    def order(self) -> tuple[bool, bool, str, int]:
        """The least is the best: the first mention of at least ten words (best of five rules, lab 2 §1)."""
        return (self.words < EXPLAINING_WORDS, self.date is None, self.date or "", self.meeting)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptSum:
    """Some meetings' mentions of one concept, summed. `vectors` is (400,) int64: fixed point, 24 bits."""

    kind: ConceptKind
    label: str
    salience: float  # of the mention that gave the label
    label_meeting: int
    meetings: int
    episodes: int
    contexts: int  # the most that one meeting has
    first_date: str | None
    last_date: str | None
    definition: Definition | None
    vectors: Int64s

    @property
    def label_order(self) -> tuple[int, float, int]:
        """The least gives the label. What one meeting writes as a name is one, even if another knows it as a term."""
        return (_RANK[self.kind], -self.salience, self.label_meeting)

    def centroid(self) -> Float32s:
        """(400,): the semantic part of unit norm, features their mean over the episodes."""
        total: NDArray[np.float64] = self.vectors / _ONE
        norm = float(np.linalg.norm(total[:SEMANTIC_DIMENSIONS]))
        total[:SEMANTIC_DIMENSIONS] /= norm if norm > 1e-9 else 1.0
        total[SEMANTIC_DIMENSIONS:] = np.clip(total[SEMANTIC_DIMENSIONS:] / max(self.episodes, 1), 0.0, 1.0)
        return total.astype(np.float32)

    def row(self, memory_id: str) -> dict[str, object]:
        """The columns of `concept_sums`."""
        return {
            "memory_id": memory_id,
            "kind": self.kind.value,
            "label": self.label,
            "salience": self.salience,
            "label_meeting": self.label_meeting,
            "meetings": self.meetings,
            "episodes": self.episodes,
            "contexts": self.contexts,
            "first_date": self.first_date,
            "last_date": self.last_date,
            "definition_meeting": self.definition.meeting if self.definition else None,
            "definition": self.definition.position if self.definition else None,
            "vector_sum": self.vectors.astype("<i8").tobytes(),
        }


def share(row: sqlite3.Row) -> ConceptSum:
    """What one meeting contributes, a row of `concept_shares`."""
    return ConceptSum(
        kind=ConceptKind(row["kind"]),
        label=row["label"],
        salience=row["salience"],
        label_meeting=row["meeting"],
        meetings=1,
        episodes=len(orjson.loads(row["episodes"])),
        contexts=row["contexts"],
        first_date=row["date"],
        last_date=row["date"],
        definition=_definition(row, row["meeting"], row["date"]),
        vectors=np.rint(np.frombuffer(row["vector_sum"], "<f4") * _ONE).astype(np.int64),
    )


def stored_sum(row: sqlite3.Row) -> ConceptSum:
    """A row of `concept_sums`, joined with its definition."""
    return ConceptSum(
        kind=ConceptKind(row["kind"]),
        label=row["label"],
        salience=row["salience"],
        label_meeting=row["label_meeting"],
        meetings=row["meetings"],
        episodes=row["episodes"],
        contexts=row["contexts"],
        first_date=row["first_date"],
        last_date=row["last_date"],
        definition=_definition(row, row["definition_meeting"], row["definition_date"]),
        vectors=np.frombuffer(row["vector_sum"], "<i8"),
    )


def total(parts: Sequence[ConceptSum]) -> ConceptSum:
    """The sum of at least one part; the same for every order and grouping."""
    named = min(parts, key=lambda part: part.label_order)
    dates = [day for part in parts for day in (part.first_date, part.last_date) if day is not None]
    definitions = [part.definition for part in parts if part.definition is not None]
    vectors = parts[0].vectors.copy()
    for part in parts[1:]:
        vectors += part.vectors
    return ConceptSum(
        kind=named.kind,
        label=named.label,
        salience=named.salience,
        label_meeting=named.label_meeting,
        meetings=sum(part.meetings for part in parts),
        episodes=sum(part.episodes for part in parts),
        contexts=max(part.contexts for part in parts),
        first_date=min(dates, default=None),
        last_date=max(dates, default=None),
        definition=min(definitions, key=lambda definition: definition.order, default=None),
        vectors=vectors,
    )


def _definition(row: sqlite3.Row, meeting: int, date: str | None) -> Definition | None:
    if row["definition_id"] is None:
        return None
    return Definition(
        meeting=meeting,
        position=row["definition"],
        date=date,
        memory_id=row["definition_id"],
        text=row["definition_text"],
        speaker=row["definition_speaker"],
        words=row["definition_words"],
    )
