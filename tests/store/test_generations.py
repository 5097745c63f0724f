"""One generation is current, whatever was interrupted."""

import os
from pathlib import Path

import pytest

from cofio.store import generations
from cofio.store.durable import sync_all

ONE, TWO = f"{generations.FORMAT}-000001", f"{generations.FORMAT}-000002"


@pytest.mark.parametrize("written", ["", "v2-", "../outside", "v1-000001", TWO])
def test_a_pointer_to_nothing_of_ours_points_to_nothing(tmp_path: Path, written: str) -> None:
    (tmp_path / ONE).mkdir()
    (tmp_path / "v1-000001").mkdir()
    (tmp_path / generations.POINTER).write_text(written)
    assert generations.current(tmp_path) is None


def test_the_pointer_moves_in_one_step(tmp_path: Path) -> None:
    assert generations.current(tmp_path) is None
    assert generations.following(tmp_path) == ONE
    (tmp_path / ONE).mkdir()
    generations.make_current(tmp_path, ONE)
    assert generations.following(tmp_path) == TWO
    (tmp_path / TWO).mkdir()
    (tmp_path / f"{generations.POINTER}.new").write_text("half")
    assert generations.current(tmp_path) == ONE
    generations.make_current(tmp_path, TWO)
    assert generations.current(tmp_path) == TWO


def test_only_what_is_ours_and_old_is_removed(tmp_path: Path) -> None:
    for name in (ONE, TWO, "v1-000003", "cofio_l0_concepts", "somebody"):
        (tmp_path / name).mkdir()
    generations.remove_leftovers(tmp_path, TWO, ["cofio_l0_concepts"])
    assert {path.name for path in tmp_path.iterdir()} == {TWO, "somebody"}


def test_a_copy_is_equal_keeps_holes_and_leaves_the_lock(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "segment").mkdir(parents=True)
    (source / generations.LOCK).write_text("")
    (source / "segment" / "matrix.dat").write_bytes(os.urandom(5000))
    with (source / "segment" / "page_0.dat").open("wb") as file:
        file.truncate(1 << 24)
        file.seek(1 << 20)
        file.write(b"in the middle")
    (source / "empty").touch()
    generations.copy(source, target)
    sync_all(target)
    for path in ("segment/matrix.dat", "segment/page_0.dat", "empty"):
        assert (target / path).read_bytes() == (source / path).read_bytes()
    assert not (target / generations.LOCK).exists()
    assert (target / "segment" / "page_0.dat").stat().st_blocks * 512 < 1 << 22
    with (target / "segment" / "page_0.dat").open("r+b") as file:
        file.write(b"changed")
    assert (source / "segment" / "page_0.dat").read_bytes()[:7] == bytes(7)
