"""What a service may take of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cofio import resources
from cofio.backups import list_backups
from cofio.data_dir import backup_dir
from cofio.resources import measure_disk, processors
from cofio.settings import Settings


def test_without_a_container_all_processors_count() -> None:
    assert 1 <= processors() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("told", "expected"),
    [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("99900000 100000", None), ("", None)],
)
def test_a_container_counts_by_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, expected: int | None
) -> None:
    """The kernel's file of a container is replaced: no test can set the bound of its own."""
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text(f"{told}\n")
    assert processors() == (len(os.sched_getaffinity(0)) if expected is None else expected)


def test_a_backup_that_goes_away_while_the_disk_is_measured_is_left_out(tmp_path: Path) -> None:
    """A name that leads nowhere is what is found of a backup that was removed after the folder was listed."""
    settings = Settings(data_dir=tmp_path)
    folder = backup_dir(settings)
    folder.mkdir()
    (folder / "cofio-20260504T080000.000Z.sqlite3.zst").symlink_to(folder / "gone")
    assert measure_disk(settings).last_backup is None
    assert list_backups(folder) == ()
