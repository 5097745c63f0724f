"""A damaged store is mended, or refused in one sentence; it never answers wrong. `scripts/drill damage` tries hundreds."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from drills import kill
from drills.damage import FAILED, MENDED, REFUSED, Bench, Damage
from hash_encoder import HashEncoder

from cofio.errors import Unavailable
from cofio.runtime import open_runtime
from cofio.settings import Settings


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with kill.lives() as lives:
        yield Bench.of(lives, tmp_path_factory.mktemp("damage"))


def damages(bench: Bench, kind: str) -> list[Damage]:
    every = bench.damages(random.Random(4), flips=2, pages=4, files=10_000)
    return [damage for damage in every if damage.kind == kind]


def test_a_lost_collection_is_made_again_from_the_database(bench: Bench) -> None:
    for damage in damages(bench, "a collection of the index")[-1:]:
        assert bench.try_(damage).kind == MENDED


@pytest.mark.parametrize(
    "file", ["l2_episodes/edge_config.json cut", "mutable_id_tracker.mappings deleted", "wal/first-index cut"]
)
def test_an_index_with_a_lost_or_cut_file_is_mended(bench: Bench, file: str) -> None:
    collection, _, name = file.rpartition("/")
    hurt = next(
        damage
        for damage in damages(bench, "a file of the index")
        if collection in damage.name and name in damage.name
    )
    assert bench.try_(hurt).kind == MENDED


@pytest.mark.parametrize("origin", ["older", "other"])
def test_a_snapshot_of_another_truth_is_not_believed(bench: Bench, origin: str) -> None:
    foreign = next(damage for damage in damages(bench, "snapshot") if origin in damage.name)
    assert bench.try_(foreign).kind == MENDED


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory with a store, in which nothing can be written; root may write wherever it is not mounted so."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("root without the right to mount can write everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_directory_that_cannot_be_written_is_refused(read_only: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written: "):
        async with open_runtime(Settings(data_dir=read_only), HashEncoder()):
            pass


def test_a_cut_database_is_refused_with_what_mends_it(bench: Bench) -> None:
    outcome = bench.try_(damages(bench, "database")[0])
    assert outcome.kind == REFUSED
    assert "cofio.sqlite3" in outcome.detail


def test_an_overwritten_page_is_never_answered_with(bench: Bench) -> None:
    outcomes = [bench.try_(damage) for damage in damages(bench, "a page of the database")]
    assert not [outcome.detail for outcome in outcomes if outcome.kind == FAILED]
    assert any(outcome.kind == REFUSED for outcome in outcomes)
