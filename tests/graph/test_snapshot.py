"""A snapshot that was damaged is never taken for the graph, and never stops a start."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
import orjson
import pytest
from toy_graph import meeting

from cofio.graph import snapshot
from cofio.graph.ledger import Ledger, LedgerState

VERSION, STAMP = 7, "of this truth"


@pytest.fixture(scope="module")
def state() -> LedgerState:
    ledger = Ledger()
    for key in (1, 2):
        ledger.add_meeting(meeting(key, 5, ledger.lexicons))
    return ledger.state()


@pytest.fixture
def path(state: LedgerState, tmp_path: Path) -> Path:
    snapshot.save(state, VERSION, STAMP, tmp_path / "graph.npz")
    return tmp_path / "graph.npz"


def same(read: LedgerState, saved: LedgerState) -> bool:
    return (
        all(np.array_equal(read.columns[name], saved.columns[name]) for name in saved.columns)
        and read.heads == saved.heads
        and read.concepts == saved.concepts
        and read.words == saved.words
        and np.array_equal(read.alive, saved.alive)
    )


def test_what_was_saved_is_read(path: Path, state: LedgerState) -> None:
    assert snapshot.saved_version(path) == (VERSION, STAMP)
    read = snapshot.load(path)
    assert read is not None
    assert same(read, state)


def test_a_flipped_bit_is_noticed_wherever_it_matters(path: Path, state: LedgerState) -> None:
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        # The archive's own structure, whose damage looks like anything: encryption, packing, a header that is no Python.
        structure = [*range(archive.start_dir, len(whole))]
        for entry in archive.infolist():
            structure += range(entry.header_offset, entry.header_offset + 160)
    rng = random.Random(3)
    unread = 0
    for at in [*rng.choices(structure, k=600), *rng.choices(range(len(whole)), k=100)]:
        bit = 1 << rng.randrange(8)
        whole[at] ^= bit
        path.write_bytes(whole)
        whole[at] ^= bit
        assert snapshot.saved_version(path) in (None, (VERSION, STAMP))
        read = snapshot.load(path)
        assert read is None or same(read, state)
        unread += read is None
    assert unread > 300


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_not_read(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert snapshot.saved_version(path) is None
    assert snapshot.load(path) is None


@pytest.mark.parametrize("other", [{"layout": snapshot.LAYOUT + 1}, {"cofio": "99.0.0"}])
def test_another_version_of_cofio_is_not_read(path: Path, other: dict[str, object]) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    label = orjson.loads(arrays["label"].tobytes())
    assert snapshot.saved_version(path) == (VERSION, STAMP)
    arrays["label"] = np.frombuffer(orjson.dumps({**label, **other}), np.uint8)
    np.savez(path, allow_pickle=False, **arrays)
    assert snapshot.saved_version(path) is None
