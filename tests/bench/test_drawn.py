"""Drawn meetings are like real ones, the same each time, and go through the real ingest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cofio.bench.bench import Bench
from cofio.bench.corpus import draw, drawn_store, read_pool, read_source, read_stored
from cofio.errors import InvalidInput
from cofio.records import Level


def test_a_drawn_meeting_is_a_real_one_a_little_changed(small_bench: Bench) -> None:
    pool = read_pool(small_bench, read_source(small_bench.data))
    meeting, texts, vectors = draw(pool, 3)
    again, _, _ = draw(pool, 3)
    assert meeting == again
    assert meeting != draw(pool, 4)[0]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    real = {said.encoded_text for _, spoken in pool.meetings for said in spoken}
    assert 0.3 < np.mean([text not in real for text in texts]) < 1.0
    nearest = (vectors @ pool.vectors.T).max(axis=1)
    assert 0.75 < nearest.mean() < 0.97


async def test_a_store_is_written_once_and_holds_what_was_drawn(small_bench: Bench) -> None:
    source = read_source(small_bench.data)
    pool = read_pool(small_bench, source)
    folder = await drawn_store(small_bench, source, 150)
    stored = read_stored(folder, Level.EPISODE)
    assert len(stored.ids) >= 150
    _, texts, vectors = draw(pool, 0)
    written = [
        f"{speaker}: {text}" if speaker else text
        for speaker, text in zip(stored.speakers, stored.texts, strict=True)
    ]
    assert written[: len(texts)] == texts
    np.testing.assert_allclose(stored.vectors[: len(texts), :384], vectors, atol=1e-6)
    assert 0.0 < stored.vectors[:, 384:].max() <= 1.0
    before = (folder / "complete").stat().st_mtime_ns
    assert await drawn_store(small_bench, source, 150) == folder
    assert (folder / "complete").stat().st_mtime_ns == before


def test_labelled_sets_are_read_and_a_folder_without_any_is_refused(
    small_bench: Bench, labelled: Path, tmp_path: Path
) -> None:
    source = read_source(labelled)
    assert source.name == "locomo"
    assert "What craft did Ann take up?" in source.questions
    with pytest.raises(InvalidInput, match="neither the sample meetings nor"):
        read_source(replace(small_bench, data=tmp_path).data)
