"""What a memory's vector must be: 400 finite float32, the semantic part of norm 1, features in [0, 1].

Checked wherever vectors come in: from the encoder, into the truth and out of it, into the index and the graph. One
that is not finite would spread as NaN through every score it meets, and say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from cofio.errors import InvalidVector
from cofio.records import FEATURE_DIMENSIONS, SEMANTIC_DIMENSIONS, VECTOR_DIMENSIONS, Bools, Float32s

UNIT_TOLERANCE: Final = 1e-3  # how far the norm of the semantic part may be from 1
_BYTES: Final = 4 * VECTOR_DIMENSIONS


def check_vectors(ids: Sequence[str], vectors: Float32s) -> None:
    """Row i of `vectors` (n, 400) is a vector that the memory `ids[i]` may have; raises `InvalidVector`, naming one.

    Cost: one pass over the rows.
    """
    if vectors.shape != (len(ids), VECTOR_DIMENSIONS):
        raise InvalidVector(
            f"The vectors of {len(ids)} memories have the shape {vectors.shape}; ({len(ids)}, {VECTOR_DIMENSIONS}) is "
            "needed.",
            field="vector",
        )
    semantic, features = vectors[:, :SEMANTIC_DIMENSIONS], vectors[:, SEMANTIC_DIMENSIONS:]
    for right, what in (
        (np.isfinite(vectors).all(axis=1), "holds a number that is not finite"),
        (are_unit(semantic), "has a semantic part whose norm is not 1"),
        (
            ((features >= 0.0) & (features <= 1.0)).all(axis=1),
            f"has one of its {FEATURE_DIMENSIONS} features outside [0, 1]",
        ),
    ):
        if not right.all():
            raise InvalidVector(f"The vector of {ids[int(np.argmin(right))]} {what}.", field="vector")


def read_vectors(ids: Sequence[str], stored: Sequence[bytes]) -> Float32s:
    """The vectors that lie in `stored`, one for each id: (n, 400) float32, checked; raises `InvalidVector`."""
    for memory_id, each in zip(ids, stored, strict=True):
        if len(each) != _BYTES:
            raise InvalidVector(
                f"The vector of {memory_id} has {len(each)} bytes; {_BYTES} are needed.", field="vector"
            )
    vectors = np.frombuffer(b"".join(stored), "<f4").reshape(-1, VECTOR_DIMENSIONS).astype(np.float32)
    check_vectors(ids, vectors)
    return vectors


def are_unit(semantic: Float32s) -> Bools:
    """Which rows have norm 1; one that is not finite has not."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", semantic, semantic))
        return np.asarray(np.abs(norms - 1.0) <= UNIT_TOLERANCE)
