"""Which hits make the cut when scores are equal: those with the smaller ids, on every engine alike.

Said twice, a sentence has the same vector twice, so ties are common, and an engine cuts them as it likes. So
more hits are asked for than are wanted, until the last of them scores below the cut; then they are sorted by
score and id. Scores are rounded to six decimals first: what comes after is the order of summation of 400
float32 products, which differs between engines and, in one engine, between rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

DECIMALS: Final = 6
SLACK: Final = 8  # hits asked for beyond the limit
GROWTH: Final = 8  # how many times as many are asked for while the cut is not settled
MOST: Final = 8192  # beyond so many equal scores the engine's own order stands


def settled(scores: Sequence[float], limit: int, asked: int) -> bool:
    """Whether no hit beyond the `asked` ones can tie with the last of the first `limit`."""
    if len(scores) < asked or asked >= MOST:
        return True
    ranked = sorted((round(score, DECIMALS) for score in scores), reverse=True)
    return ranked[-1] < ranked[limit - 1]


def cut(hits: Iterable[tuple[str, float]], limit: int) -> list[tuple[str, float]]:
    """The first `limit` pairs of id and rounded score, best first, ties by id."""
    rounded = [(memory_id, round(score, DECIMALS)) for memory_id, score in hits]
    return sorted(rounded, key=lambda hit: (-hit[1], hit[0]))[:limit]
