"""Topic segments: where one subject of a meeting ends and the next begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cofio.records import Float32s, Int32s

# Utterances below this many words carry no topic; they join the segment they stand in.
MIN_WORDS: Final = 5
MIN_UTTERANCES: Final = 8
MAX_UTTERANCES: Final = 400

# Measured on the topic gold of QMSum (DESIGN §3 point 9): a segment costs as much as 3.5 average utterances
# explain, a cue gives one back.
SEGMENT_COST: Final = 3.5
CUE_GAIN: Final = 1.0
_USUAL_LENGTH: Final = 400.0
_FULL_WORDS: Final = 20.0
# Ends handled by one matrix product: wide enough for BLAS, small enough that the block stays near 1 MB.
_BLOCK: Final = 256

# A cue stands at the beginning: what comes later in a long utterance does not open a topic.
_CUE_CHARACTERS: Final = 140
_OPENING: Final = re.compile(
    r"""(?:(?:okay|ok|so|alright|all\s+right|right|well|anyway|now|and|then|um|uh|yeah|great|cool)\b[\s,.\-!]*)*
    (?:next\b
      |let['’]?s\s+(?:move|go|start|talk|get|begin|turn|continue|jump|switch)\b
      |let\s+(?:us|me)\s+(?:move|start|turn)\b
      |moving\s+on\b|move\s+on\b
      |first\b|second\b|third\b|finally\b|lastly\b
      |another\s+(?:thing|issue|question|topic|point|item)\b
      |the\s+(?:next|other|last|first|second|final)\s+(?:thing|item|issue|question|topic|point|one|agenda|part)\b
      |(?:on\s+(?:the|our)\s+)?agenda\b
      |what\s+about\b|how\s+about\b
      |(?:i|we)(?:['’]ll|\s+will|\s+would\s+like\s+to|['’]d\s+like\s+to)?\s+(?:now\s+)?turn\s+to\b|turn(?:ing)?\s+to\b
      |(?:my|the|your|his|her)\s+presentation\b|presentation\b
      |(?:go(?:ing)?|get(?:ting)?|come|coming)?\s*back\s+to\b
      |any(?:thing)?\s+else\b|any\s+other\s+(?:business|questions|topics|items)\b
      |thank\s+you\b|thanks\b)""",
    re.VERBOSE | re.IGNORECASE,
)
_PARTICLE: Final = re.compile(r"(?:okay|ok|alright|all\s+right|right|anyway)\b", re.IGNORECASE)


def cue(text: str) -> float:
    """How much the opening of `text` sounds like a change of subject: 0, .5, 1 or 1.5.

    1 for phrases such as "next", "moving on", "let's go", "the last item"; .5 for a leading "okay", "right",
    "alright" or "anyway".
    """
    head = text.lstrip(" \t\n-–—\"'“")[:_CUE_CHARACTERS]
    return (1.0 if _OPENING.match(head) else 0.0) + (0.5 if _PARTICLE.match(head) else 0.0)


def segments(vectors: Float32s, words: Int32s, texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The topic segments of one meeting: half-open ranges of positions that cover all utterances in order.

    `vectors` (n, 384) are unit rows, `words` (n,) and `texts` (n) belong to the same utterances. Over those
    of at least 5 words the cuts maximise (DESIGN §3 point 9)

        Σ over segments of ‖Σ √l z‖² / Σ l  −  3.5 · s · e1 per segment  +  1.0 · s · e1 · cue(j) per cut j

    with l = min(1, words/20), z = e − length-weighted mean of e, e1 = Σ l‖z‖² / Σ l and
    s = √(n/400). A segment holds 8 to 400 of them; a meeting with fewer than 16 is one segment.
    """
    count = len(texts)
    if not len(vectors) == len(words) == count:
        raise ValueError(f"{len(vectors)} vectors, {len(words)} word counts and {count} texts do not match")
    if count == 0:
        return ()
    long = np.flatnonzero(np.asarray(words) >= MIN_WORDS)
    if long.size < 2 * MIN_UTTERANCES:
        return ((0, count),)
    cues = np.fromiter((cue(texts[i]) for i in long.tolist()), dtype=np.float64, count=long.size)
    cuts = best_cuts(np.asarray(vectors)[long], np.asarray(words)[long], cues)
    edges = [0, *(int(long[j]) for j in cuts), count]
    return tuple(pairwise(edges))


def best_cuts(
    vectors: Float32s,
    words: Int32s,
    cues: NDArray[np.float64],
    *,
    segment_cost: float = SEGMENT_COST,
    cue_gain: float = CUE_GAIN,
    shortest: int = MIN_UTTERANCES,
    longest: int = MAX_UTTERANCES,
) -> tuple[int, ...]:
    """The inner boundaries, ascending, that maximise the sum of `segments` under the length limits.

    Exact, by dynamic programming over prefix sums; O(n · longest · d) time in blocks of matrix products and
    O(n · d) memory. Of equally good cuts the earliest start of the last segment wins.
    """
    n = len(words)
    if n < 2 * shortest:
        return ()
    length = np.minimum(1.0, np.asarray(words, dtype=np.float64) / _FULL_WORDS)
    e = np.asarray(vectors, dtype=np.float64)
    z = e - (length @ e) / length.sum()
    unit_gain = float(length @ np.einsum("ij,ij->i", z, z)) / float(length.sum())
    scale = float(np.sqrt(n / _USUAL_LENGTH)) * unit_gain

    sums = np.zeros((n + 1, z.shape[1]))
    np.cumsum(z * np.sqrt(length)[:, None], axis=0, out=sums[1:])
    weights = np.concatenate(([0.0], np.cumsum(length)))
    squares = np.einsum("ij,ij->i", sums, sums)
    # What opening a segment at a adds: its cost and, but for the first, its cue.
    opening = np.full(n, -segment_cost * scale)
    opening[1:] += cue_gain * scale * np.asarray(cues, dtype=np.float64)[1:]

    best = np.full(n + 1, -np.inf)
    best[0] = 0.0
    start = np.zeros(n + 1, dtype=np.int64)
    for first in range(shortest, n + 1, _BLOCK):
        last = min(first + _BLOCK, n + 1)
        low = max(0, first - longest)
        products = sums[first:last] @ sums[low : last - shortest].T
        for b in range(first, last):
            a0, a1 = max(0, b - longest), b - shortest + 1
            dot = products[b - first, a0 - low : a1 - low]
            gain = (squares[b] + squares[a0:a1] - 2.0 * dot) / (weights[b] - weights[a0:a1])
            value = best[a0:a1] + opening[a0:a1] + gain
            pick = int(np.argmax(value))
            best[b] = value[pick]
            start[b] = a0 + pick
    cuts: list[int] = []
    b = int(start[n])
    while b > 0:
        cuts.append(b)
        b = int(start[b])
    return tuple(reversed(cuts))
