"""The context spread in NumPy and SciPy, written from its formulas (DESIGN §3 points 2 and 3).

The terms of the turns are one sparse matrix; the spread along time is a product with a banded matrix that joins no
two meetings; the dense channel is one product with all vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cofio.bench.corpus import Stored
from cofio.bench.timing import Float64s
from cofio.records import SEMANTIC_DIMENSIONS, Float32s
from cofio.text.terms import stems

K1, B = 1.2, 0.5
SHORTEST_TURN = 5  # words
KERNELS = {
    "m": [1.0] + [0.7 * 0.7 ** (d - 1) for d in range(1, 7)],
    "l": [1.0] + [0.8 * 0.85 ** (d - 1) for d in range(1, 13)],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The evidence for every row (bm25, dense) and every turn (the others)."""

    bm25: Float64s
    dense: Float32s
    terms_m: Float64s
    terms_l: Float64s
    context_m: Float32s
    context_l: Float32s


class PlainContexts:
    """Everything that does not depend on the question, computed once."""

    def __init__(self, stored: Stored) -> None:
        self.turn_rows = np.flatnonzero(stored.words >= SHORTEST_TURN)
        self.row_vectors = np.ascontiguousarray(stored.vectors[:, :SEMANTIC_DIMENSIONS])
        self._terms: dict[str, int] = {}
        rows, columns, counts = [], [], []
        for row, (speaker, text) in enumerate(zip(stored.speakers, stored.texts, strict=True)):
            found = Counter(stems(f"{speaker}: {text}" if speaker else text))
            for stem, count in found.items():
                rows.append(row)
                columns.append(self._terms.setdefault(stem, len(self._terms)))
                counts.append(count)
        shape = (len(stored.ids), len(self._terms))
        self._rows = sparse.csc_array((np.array(counts, np.float64), (rows, columns)), shape=shape)
        self._turns = sparse.csc_array(sparse.csr_array(self._rows)[self.turn_rows])
        n = self.turn_rows.size
        df = np.diff(self._turns.indptr)
        self._idf = np.log(1.0 + (n - df + 0.5) / (df + 0.5))
        self._row_length = np.asarray(self._rows.sum(axis=1)).ravel()
        turn_length = self._row_length[self.turn_rows]
        self._mean = turn_length.mean()
        meeting = stored.meetings[self.turn_rows]
        gain = np.minimum(1.0, stored.words[self.turn_rows] / 20.0).astype(np.float32)
        vectors = self.row_vectors[self.turn_rows] * gain[:, None]
        self._gain = gain
        self._bands = {name: _band(kernel, meeting) for name, kernel in KERNELS.items()}
        self._lengths = {name: band @ turn_length for name, band in self._bands.items()}
        self._norms = {name: np.linalg.norm(band @ vectors, axis=1) for name, band in self._bands.items()}

    def spread(self, query: Sequence[str], vector: Float32s) -> Spread:
        """The evidence for a question with these stems and this unit vector (384,)."""
        known = [self._terms[stem] for stem in query if stem in self._terms]
        idf = self._idf[known]
        own = _saturated(self._rows[:, known], idf, self._row_length, self._mean)
        turns = sparse.csr_array(self._turns[:, known])
        dense = self.row_vectors @ vector
        gained = dense[self.turn_rows] * self._gain
        terms, contexts = {}, {}
        for name, band in self._bands.items():
            lengths = self._lengths[name]
            terms[name] = _saturated(sparse.csc_array(band @ turns), idf, lengths, lengths.mean())
            contexts[name] = (band @ gained) / self._norms[name]
        return Spread(
            bm25=own,
            dense=dense,
            terms_m=terms["m"],
            terms_l=terms["l"],
            context_m=contexts["m"],
            context_l=contexts["l"],
        )


def _band(kernel: Sequence[float], meeting: np.ndarray[tuple[int], np.dtype[np.int32]]) -> sparse.csr_array:
    """band[i, j] = kernel[|i − j|] where i and j are turns of one meeting."""
    n = meeting.size
    offsets = [d for d in range(-len(kernel) + 1, len(kernel)) if abs(d) < n]
    diagonals = []
    for d in offsets:
        a, b = (meeting[: n - d], meeting[d:]) if d >= 0 else (meeting[-d:], meeting[: n + d])
        diagonals.append(np.where(a == b, kernel[abs(d)], 0.0).astype(np.float32))
    band = sparse.csr_array(sparse.diags_array(diagonals, offsets=offsets, shape=(n, n)))
    band.eliminate_zeros()
    return band


def _saturated(tf: sparse.csc_array, idf: Float64s, length: Float64s, mean: float) -> Float64s:
    """Σ_t idf_t · tf(k1+1) / (tf + k1(1 − b + b·length/mean)), a number a row."""
    share = K1 * (1.0 - B + B * length[tf.indices] / mean)
    scores = np.repeat(idf, np.diff(tf.indptr)) * tf.data * (K1 + 1.0) / (tf.data + share)
    return np.bincount(tf.indices, scores, minlength=tf.shape[0]).astype(np.float64)
