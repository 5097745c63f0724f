"""A bad vector is refused at every entrance, by the name of its memory, and no score ever sees it."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hash_encoder import HashEncoder
from toy_graph import meeting, vectors

from cofio.embed.batcher import Batcher
from cofio.errors import EncoderUnavailable, InvalidVector
from cofio.graph import snapshot
from cofio.graph.ledger import ConceptRow, Ledger
from cofio.ingest import ingest
from cofio.query import recall
from cofio.records import ConceptKind, Float32s, MeetingInput, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.vector_rules import check_vectors, read_vectors

ID = str(uuid.UUID(int=7))
YARD = MeetingInput(title="Yard", transcript="Ann: The crate left the yard.\nBob: And where is it now?")


def _bad(kind: str) -> Float32s:
    vector: Float32s = vectors(np.random.default_rng(3), 1)[0]
    match kind:
        case "not a number":
            vector[5] = np.nan
        case "infinite":
            vector[5] = np.inf
        case "not unit":
            vector[:384] *= 1.1
        case "zero":
            vector[:384] = 0.0
        case "feature above":
            vector[390] = 1.5
        case "feature below":
            vector[390] = -0.5
        case "short":
            vector = vector[:399]
    return vector


KINDS = ["not a number", "infinite", "not unit", "zero", "feature above", "feature below", "short"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_vector_is_refused_by_its_name(kind: str) -> None:
    good = vectors(np.random.default_rng(4), 1)[0].tobytes()
    assert read_vectors(["good"], [good]).shape == (1, 400)
    with pytest.raises(InvalidVector, match=ID):
        read_vectors(["good", ID], [good, _bad(kind).tobytes()])


def test_vectors_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidVector, match="400"):
        check_vectors([ID], np.zeros((1, 384), np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_takes_no_bad_concept(kind: str) -> None:
    ledger = Ledger()
    ledger.add_meeting(meeting(1, 5, ledger.lexicons))
    row = ConceptRow(
        memory_id=ID,
        project="p",
        label="kiln",
        kind=ConceptKind.TERM,
        mentions=((1, 0),),
        vector=_bad(kind).tobytes(),
    )
    with pytest.raises(InvalidVector, match=ID):
        ledger.set_concepts([row], ())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("vectors", 0),
        ("context_vectors", 0),
        ("norm_m", np.nan),
        ("meeting_totals", np.nan),
        ("gain", np.nan),
    ],
)
def test_a_snapshot_with_a_bad_number_is_not_read(tmp_path: Path, column: str, value: float) -> None:
    ledger = Ledger()
    ledger.add_meeting(meeting(1, 12, ledger.lexicons))
    state = ledger.state()
    path = tmp_path / "graph.npz"
    snapshot.save(state, 1, "stamp", path)
    assert snapshot.load(path) is not None
    harmed = state.columns[column].copy()
    harmed[0] = value
    harmed_state = dataclasses.replace(state, columns={**state.columns, column: harmed})
    snapshot.save(harmed_state, 1, "stamp", path)
    assert snapshot.load(path) is None


class _Broken(HashEncoder):
    """An encoder that gives a vector that is no vector."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def encode(self, texts: Sequence[str]) -> Float32s:
        return np.stack([_bad(self.kind)[:384]] * len(texts))


@pytest.mark.parametrize("kind", ["not a number", "not unit", "zero"])
async def test_what_the_encoder_gives_is_checked(kind: str) -> None:
    batcher = Batcher(_Broken(kind), workers=1, max_wait_s=5)
    try:
        with pytest.raises(EncoderUnavailable) as refusal:
            await batcher.encode(["a text"], urgent=True)
        assert isinstance(refusal.value.__cause__, InvalidVector)
    finally:
        await batcher.aclose()


async def test_a_vector_that_went_bad_in_the_truth_is_named_at_the_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()) as runtime:
        await ingest(runtime, YARD)
        path = runtime.database.path
    for file in settings.data_dir.glob("*.npz"):
        file.unlink()
    with sqlite3.connect(path) as connection:
        (bad,) = connection.execute("select memory_id from memories where level = 2 limit 1").fetchone()
        vector = _bad("not a number").tobytes()
        connection.execute("update memories set vector = ? where memory_id = ?", (vector, bad))
    connection.close()
    with pytest.raises(InvalidVector, match=bad):
        async with open_runtime(settings, HashEncoder()):
            pass


async def test_a_meeting_without_a_word_is_remembered_and_harms_no_other(tmp_path: Path) -> None:
    # Its utterances weigh nothing by their words; its context must be a vector all the same.
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        for said in ("Ann: !!!\nBob: …", "Ann: \U0001f600\U0001f680", '[{"text": "..."}]'):
            await ingest(runtime, MeetingInput(title=said, transcript=said))
        await ingest(runtime, YARD)
        answer = await asyncio.wait_for(recall(runtime, Question(query="Where is the crate?")), 20)
        assert answer.direct_results["L2"][0].content == "The crate left the yard."
        assert await runtime.outbox.owed() == 0
