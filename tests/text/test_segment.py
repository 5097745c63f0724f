"""Topic segmentation: the exact optimum, the length limits, the cues, and the cost on a long meeting."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from cofio.records import Float32s, Int32s
from cofio.text.segment import best_cuts, cue, segments


def topical(lengths: list[int], *, noise: float = 0.5, seed: int = 0) -> Float32s:
    """Unit vectors of utterances that stay near one direction a topic."""
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((len(lengths), 384)) / np.sqrt(384)
    rows = np.repeat(topics, lengths, axis=0)
    rows = rows + noise * rng.standard_normal(rows.shape) / np.sqrt(384)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def counts(n: int, value: int = 12) -> Int32s:
    return np.full(n, value, dtype=np.int32)


def objective(
    vectors: Float32s,
    words: Int32s,
    cues: NDArray[np.float64],
    cuts: tuple[int, ...],
    cost: float,
    gain: float,
) -> float:
    """The formula of DESIGN §3 point 9, written as plainly as it stands there."""
    length = np.minimum(1.0, words / 20.0)
    e = vectors.astype(np.float64)
    mean = (length[:, None] * e).sum(axis=0) / length.sum()
    z = e - mean
    e1 = (length[:, None] * z**2).sum() / length.sum()
    s = np.sqrt(len(words) / 400.0)
    total = 0.0
    for a, b in pairwise([0, *cuts, len(words)]):
        pulled = (np.sqrt(length[a:b])[:, None] * z[a:b]).sum(axis=0)
        total += float((pulled**2).sum() / length[a:b].sum()) - cost * s * e1
    return total + float(sum(gain * s * e1 * cues[j] for j in cuts))


def every_cutting(n: int, shortest: int, longest: int) -> list[tuple[int, ...]]:
    def rest(start: int) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = [()] if shortest <= n - start <= longest else []
        for cut in range(start + shortest, min(start + longest, n - shortest) + 1):
            found.extend((cut, *more) for more in rest(cut))
        return found

    return rest(0)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("cost", [0.3, 1.0, 3.5])
def test_cuts_are_the_best_of_all(seed: int, cost: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 15))
    rows = rng.standard_normal((n, 6))
    vectors = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
    words = rng.integers(5, 40, n).astype(np.int32)
    cues = rng.choice([0.0, 0.5, 1.0, 1.5], n)
    cuts = best_cuts(vectors, words, cues, segment_cost=cost, cue_gain=1.0, shortest=2, longest=7)
    allowed = every_cutting(n, 2, 7)
    assert cuts in allowed
    scores = [objective(vectors, words, cues, c, cost, 1.0) for c in allowed]
    assert objective(vectors, words, cues, cuts, cost, 1.0) == pytest.approx(max(scores), abs=1e-9)


def test_cuts_are_the_best_across_blocks() -> None:
    """Several blocks of ends at once give what one end at a time gives."""
    vectors, words = topical([130, 90, 200, 60, 170], noise=2.0), counts(650)
    cues = np.zeros(650)
    cuts = best_cuts(vectors, words, cues)
    score = objective(vectors, words, cues, cuts, 3.5, 1.0)
    edges = [0, *cuts, 650]
    for k, cut in enumerate(cuts):
        for moved in (cut - 1, cut + 1):
            if moved - edges[k] >= 8 and edges[k + 2] - moved >= 8:
                other = (*cuts[:k], moved, *cuts[k + 1 :])
                assert objective(vectors, words, cues, other, 3.5, 1.0) <= score + 1e-9


def test_topics_are_found() -> None:
    lengths = [30, 45, 25, 60]
    found = segments(topical(lengths), counts(160), ["we talk about it here"] * 160)
    assert found == ((0, 30), (30, 75), (75, 100), (100, 160))


def test_segments_cover_everything_in_order() -> None:
    rng = np.random.default_rng(4)
    vectors = topical([100, 150, 80], noise=3.0)
    words = rng.integers(0, 30, 330).astype(np.int32)
    found = segments(vectors, words, ["moving on"] * 330)
    assert found[0][0] == 0
    assert found[-1][1] == 330
    assert all(left[1] == right[0] for left, right in pairwise(found))
    long = words >= 5
    assert all(8 <= int(long[a:b].sum()) <= 400 for a, b in found)
    assert all(long[a] for a, _ in found[1:])


def test_short_utterances_do_not_count() -> None:
    """Backchannels between long utterances change no cut but its position."""
    vectors = topical([30, 40])
    plain = segments(vectors, counts(70), ["we talk about it here"] * 70)
    spread = np.repeat(vectors, 2, axis=0)
    words = np.tile(np.array([12, 1], dtype=np.int32), 70)
    doubled = segments(spread, words, ["we talk about it here", "yeah"] * 70)
    assert doubled == tuple((2 * a, 2 * b) for a, b in plain)


def test_cues_pull_the_cut() -> None:
    vectors, words = topical([40, 40], noise=6.0, seed=3), counts(80)
    at = [0.0] * 80
    without = best_cuts(vectors, words, np.array(at))
    at[33] = 1.5
    assert 33 in best_cuts(vectors, words, np.array(at), cue_gain=4.0)
    assert 33 not in without


def test_long_topic_is_split_at_the_limit() -> None:
    found = segments(topical([900], noise=0.1), counts(900), ["we talk about it here"] * 900)
    assert len(found) >= 3
    assert max(b - a for a, b in found) <= 400


@pytest.mark.parametrize(("n", "expected"), [(0, ()), (1, ((0, 1),)), (15, ((0, 15),))])
def test_short_meeting_is_one_segment(n: int, expected: tuple[tuple[int, int], ...]) -> None:
    vectors = topical([7, 8])[:n] if n else np.zeros((0, 384), dtype=np.float32)
    assert segments(vectors, counts(n), ["let's move on to the budget"] * n) == expected


def test_identical_vectors_are_one_segment() -> None:
    vectors = np.repeat(topical([1]), 40, axis=0)
    assert segments(vectors, counts(40), ["we talk about it here"] * 40) == ((0, 40),)


def test_mismatched_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 vectors, 3 word counts and 2 texts"):
        segments(topical([3]), counts(3), ["a", "b"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Okay, next item on the agenda.", 1.5),
        ("Um, so let's move on to the budget", 1.0),
        ("The next thing is the battery", 1.0),
        ("What about the case material?", 1.0),
        ("Right, back to the remote.", 1.5),
        ("Thank you, Maria.", 1.0),
        ("Okay, I see what you mean by that", 0.5),
        ("Anyway I had a nice day", 0.5),
        ("I think the battery is next to the case", 0.0),
        ("Nextcloud is down", 0.0),
        ("Firstborn child", 0.0),
        ("", 0.0),
    ],
)
def test_cue(text: str, value: float) -> None:
    assert cue(text) == value


def test_three_thousand_utterances_cost_little() -> None:
    rng = np.random.default_rng(1)
    vectors = topical([int(x) for x in rng.integers(20, 120, 42)], noise=3.0)
    n = len(vectors)
    texts = ["we talk about it here"] * n
    segments(vectors, counts(n), texts)
    began = time.process_time()
    found = segments(vectors, counts(n), texts)
    assert time.process_time() - began < 1.5  # about .2 s on a quiet core
    assert n > 2500
    assert len(found) > 5


def test_memory_does_not_grow_with_the_square() -> None:
    vectors = topical([1000] * 5, noise=3.0)
    tracemalloc.start()
    segments(vectors, counts(5000), ["we talk about it here"] * 5000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 5000 * 384 * 8  # a few copies of the vectors; a full n × n table alone is 200 MB
