"""Questions go first, imports wait their turn, and a failure reaches exactly those whom it concerns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import structlog
from hash_encoder import HashEncoder

from cofio.embed.batcher import PASSES, Batcher
from cofio.embed.onnx import TextEncoder
from cofio.errors import EncoderUnavailable, Overloaded
from cofio.records import Float32s


class _Gated(HashEncoder):
    """Encodes one call at a time, when it is let; keeps what it was asked for."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Float32s:
        self.calls.append(list(texts))
        self.gate.acquire()
        if "bad" in texts:
            raise ValueError("cannot encode")
        return super().encode(texts)


def _batcher(encoder: TextEncoder, *, workers: int = 1, max_wait_s: float = 60.0) -> Batcher:
    return Batcher(encoder, workers=workers, max_wait_s=max_wait_s)


async def test_results_come_in_the_order_of_the_texts() -> None:
    batcher = _batcher(HashEncoder(), workers=2)
    texts = [f"utterance number {i} about the gateway" for i in range(5 * HashEncoder.piece_texts + 3)]
    done: list[int] = []
    vectors = await batcher.encode(texts, urgent=False, on_progress=done.append)
    np.testing.assert_array_equal(vectors, HashEncoder().encode(texts))
    assert sum(done) == len(texts)
    assert (await batcher.encode([], urgent=False)).shape == (0, 384)
    await batcher.aclose()


async def test_questions_overtake_an_import_and_share_a_call() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder, workers=1)
    bulk = asyncio.create_task(
        batcher.encode([f"turn {i}" for i in range(3 * HashEncoder.piece_texts)], urgent=False)
    )
    while not encoder.calls:
        await asyncio.sleep(0.001)
    questions = [asyncio.create_task(batcher.encode([f"question {i}"], urgent=True)) for i in range(3)]
    await asyncio.sleep(0)
    encoder.gate.release(10)
    await asyncio.gather(bulk, *questions)
    assert encoder.calls[1] == ["question 0", "question 1", "question 2"]
    assert len(encoder.calls) == 4
    await batcher.aclose()


async def test_a_failure_reaches_only_those_who_asked() -> None:
    encoder = _Gated()
    encoder.gate.release(10)
    batcher = _batcher(encoder, workers=1)
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(EncoderUnavailable) as caught:
            await batcher.encode(["bad"], urgent=True)
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(["bad"], urgent=True)
        assert isinstance(caught.value.__cause__, ValueError)
        assert (await batcher.encode(["good"], urgent=True)).shape == (1, 384)
    # Once until it works again, and nothing that may have been said.
    assert [(line["event"], line["reason"]) for line in lines] == [("encoder_failed", "ValueError")]
    await batcher.aclose()


async def test_texts_that_cannot_be_cut_into_pieces_are_the_encoder_s_failure() -> None:
    class Uncut(HashEncoder):
        def pieces(self, texts: Sequence[str]) -> list[list[int]]:
            raise ValueError("no such word piece")

    batcher = _batcher(Uncut())
    with pytest.raises(EncoderUnavailable):
        await batcher.encode(["good"], urgent=False)
    assert (await batcher.encode(["good"], urgent=True)).shape == (1, 384)
    await batcher.aclose()


async def test_what_nobody_waits_for_is_not_encoded() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder, workers=1)
    first = asyncio.create_task(batcher.encode(["first"], urgent=True))
    while not encoder.calls:
        await asyncio.sleep(0.001)
    gone = asyncio.create_task(batcher.encode(["gone"], urgent=False))
    await asyncio.sleep(0)
    gone.cancel()
    encoder.gate.release(5)
    await first
    await batcher.encode(["last"], urgent=True)
    assert ["gone"] not in encoder.calls
    await batcher.aclose()


async def test_closing_fails_what_still_waits() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder, workers=1)
    tasks = [asyncio.create_task(batcher.encode([f"t{i}"], urgent=False)) for i in range(3)]
    while not encoder.calls:
        await asyncio.sleep(0.001)
    encoder.gate.release(10)
    await batcher.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, EncoderUnavailable | np.ndarray) for result in results)
    with pytest.raises(EncoderUnavailable):
        await batcher.encode(["late"], urgent=True)


async def _begun(encoder: _Gated) -> None:
    while not encoder.calls:
        await asyncio.sleep(0.001)


async def test_imports_take_turns() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder)
    size = HashEncoder.piece_texts
    long = asyncio.create_task(batcher.encode([f"long {i}" for i in range(5 * size)], urgent=False))
    await _begun(encoder)
    short = asyncio.create_task(batcher.encode(["short"], urgent=False))
    while not batcher.pending_imports:  # all of the other's pieces are taken
        await asyncio.sleep(0.001)
    encoder.gate.release(10)
    await asyncio.gather(long, short)
    assert ["short"] in encoder.calls[1:3]
    await batcher.aclose()


async def test_imports_go_on_in_turn_after_a_question() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder)
    first = asyncio.create_task(batcher.encode(["first"], urgent=True))
    await _begun(encoder)
    size = HashEncoder.piece_texts
    imports = [
        asyncio.create_task(batcher.encode([f"{name} {i}" for i in range(3 * size)], urgent=False))
        for name in ("one", "other")
    ]
    while batcher.pending_imports < 6 * size:
        await asyncio.sleep(0.001)
    encoder.gate.release()
    while len(encoder.calls) < 2:  # a piece of the import that came first, with five behind it
        await asyncio.sleep(0.001)
    question = asyncio.create_task(batcher.encode(["question"], urgent=True))
    await asyncio.sleep(0)
    encoder.gate.release(10)
    await asyncio.gather(first, question, *imports)
    assert encoder.calls[2] == ["question"]
    of = [call[0].split()[0] for call in (encoder.calls[1], *encoder.calls[3:])]
    assert sorted(of[:2]) == ["one", "other"]
    assert of == of[:2] * 3
    await batcher.aclose()


async def test_questions_without_end_do_not_stop_an_import() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder)
    first = asyncio.create_task(batcher.encode(["first"], urgent=True))
    await _begun(encoder)
    bulk = asyncio.create_task(batcher.encode(["turn"], urgent=False))
    many = 2 * PASSES * HashEncoder.questions
    questions = [asyncio.create_task(batcher.encode([f"q{i}"], urgent=True)) for i in range(many)]
    await asyncio.sleep(0)
    encoder.gate.release(many)
    await asyncio.gather(first, bulk, *questions)
    assert encoder.calls.index(["turn"]) == PASSES + 1
    await batcher.aclose()


async def test_workers_share_the_questions() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder, workers=2)
    questions = [asyncio.create_task(batcher.encode([f"q{i}"], urgent=True)) for i in range(6)]
    while len(encoder.calls) < 2:
        await asyncio.sleep(0.001)
    assert max(map(len, encoder.calls)) <= 3
    encoder.gate.release(10)
    await asyncio.gather(*questions)
    await batcher.aclose()


async def test_a_question_waits_no_longer_than_it_may() -> None:
    encoder = _Gated()
    batcher = _batcher(encoder, max_wait_s=0.2)
    running = asyncio.create_task(batcher.encode(["running"], urgent=True))
    await _begun(encoder)
    with pytest.raises(Overloaded):
        await batcher.encode(["waiting"], urgent=True)
    with pytest.raises(Overloaded):
        await running
    assert batcher.pending_questions + batcher.pending_imports == 0, (
        "what nobody waits for takes no place in the queue"
    )
    encoder.gate.release(10)
    await batcher.encode(["later"], urgent=True)
    await batcher.aclose()
