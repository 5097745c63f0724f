"""The one fake of the tests: a deterministic encoder, so that fast tests need no model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from cofio.records import SEMANTIC_DIMENSIONS, Float32s
from cofio.text.terms import stems


class HashEncoder:
    """Sums one pseudo-random direction a stem, so that texts that share words are similar."""

    dimension = SEMANTIC_DIMENSIONS
    provider = "hash"
    precision = "fp32"
    fingerprint = "hash"
    earlier: frozenset[str] = frozenset()
    questions = 8
    piece_texts = 4

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Longer ones first, so that nobody relies on the order."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        return [order[at : at + self.piece_texts] for at in range(0, len(texts), self.piece_texts)]

    def encode(self, texts: Sequence[str]) -> Float32s:
        vectors = np.zeros((len(texts), SEMANTIC_DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            for stem in stems(text) or [text]:
                seed = int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8])
                vectors[row] += np.random.default_rng(seed).standard_normal(SEMANTIC_DIMENSIONS, np.float32)
            vectors[row] /= max(float(np.linalg.norm(vectors[row])), 1e-9)
        return vectors
