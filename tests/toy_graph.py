"""Small graphs of random meetings, for tests of what is made of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np

from cofio.graph.blocks import ContextRow, EpisodeRow, Lexicons, MeetingBlock, MeetingHead, build_block
from cofio.graph.ledger import ConceptRow, Ledger
from cofio.records import VECTOR_DIMENSIONS, ConceptKind, Float32s, MemoryType

WORDS = [
    "kiln",
    "glaze",
    "pallet",
    "harbour",
    "crane",
    "gasket",
    "invoice",
    "ledger",
    "ferry",
    "anchor",
    "turbine",
    "boiler",
    "valve",
    "gauge",
]
SPEAKERS = ("Ann Lee", "Ben Ortiz", "Cleo Marsh")
# Utterances of the meetings of `toy_ledger`.
SIZES = (40, 3, 25, 1, 60, 33)


def vectors(rng: np.random.Generator, n: int) -> Float32s:
    """(n, 400): unit semantic parts, features in [0, 1]."""
    made = rng.standard_normal((n, VECTOR_DIMENSIONS)).astype(np.float32)
    made[:, :384] /= np.linalg.norm(made[:, :384], axis=1, keepdims=True)
    made[:, 384:] = rng.random((n, 16))
    return made


def meeting(key: int, size: int, lexicons: Lexicons) -> MeetingBlock:
    """A meeting of `size` utterances, one in five of fewer than five words, always the same for its key."""
    rng = np.random.default_rng(key)
    said = [
        " ".join(rng.choice(WORDS, 3 if rng.random() < 0.2 else rng.integers(5, 12))) for _ in range(size)
    ]
    episodes = [
        EpisodeRow(
            node=1000 * key + i,
            memory_id=_id("episode", key, i),
            memory_type=MemoryType.CONTEXT if i % 3 else MemoryType.DECISION,
            content=text,
            words=len(text.split()),
            speaker=SPEAKERS[int(rng.integers(3))],
            pure_question=False,
            vector=vector.tobytes(),
        )
        for i, (text, vector) in enumerate(zip(said, vectors(rng, size), strict=True))
    ]
    half = size // 2
    contexts = [
        ContextRow(memory_id=_id("context", key, i), first=a, last=b, vector=vector.tobytes())
        for i, ((a, b), vector) in enumerate(zip(((0, half), (half, size)), vectors(rng, 2), strict=True))
    ]
    head = MeetingHead(
        key=key, meeting_id=meeting_id(key), title=f"Meeting {key}", project="p", series=None, day=0
    )
    return build_block(head, episodes, contexts, _answers(key, size), lexicons)


def concept(number: int, kind: ConceptKind, mentions: Sequence[tuple[int, int]]) -> ConceptRow:
    """A concept of the meetings' project, always with the same vector for its number."""
    return ConceptRow(
        memory_id=_id("concept", number, 0),
        project="p",
        label=f"concept {number}",
        kind=kind,
        mentions=tuple(mentions),
        vector=vectors(np.random.default_rng(9000 + number), 1)[0].tobytes(),
    )


def toy_ledger() -> Ledger:
    """A ledger of six meetings, of which the third is dead."""
    ledger = Ledger()
    for key, size in enumerate(SIZES):
        ledger.add_meeting(meeting(key, size, ledger.lexicons))
    ledger.drop_meetings([2])
    return ledger


def meeting_id(key: int) -> str:
    """The id of the meeting of this key."""
    return _id("meeting", key, 0)


def _answers(key: int, size: int) -> Sequence[tuple[int, int]]:
    """The last utterance answers the first of this meeting and of the one before."""
    return [(1000 * key + size - 1, 1000 * key), (1000 * key + size - 1, 1000 * (key - 1))]


def _id(kind: str, key: int, i: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {key} {i}"))
