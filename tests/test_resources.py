"""What a service may take of its machine."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hash_encoder import HashEncoder

from cofio import resources
from cofio.backups import create_backup, list_backups
from cofio.data_dir import backup_dir
from cofio.figures import read_figures
from cofio.health import measure_health
from cofio.resources import DiskWatch, measure_disk, processors
from cofio.runtime import open_runtime
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


async def test_a_disk_that_cannot_be_measured_costs_its_own_figures_alone(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as opened:
        gone = DiskWatch(Settings(data_dir=tmp_path / "gone"))
        runtime = dataclasses.replace(opened, disk=gone)
        (disk,) = [part for part in await measure_health(runtime) if part.name == "disk"]
        assert disk.status == "degraded"
        assert "gone" in str(disk.error)
        told = {metric.name for metric in await read_figures(runtime)}
    assert "memory_count_by_level" in told
    assert not any("disk" in name for name in told)


@pytest.mark.parametrize("damage", [b'"created_at":"yesterday', b'"created_at":"9999999999'])
async def test_a_backup_without_a_readable_date_is_no_backup_of_today(tmp_path: Path, damage: bytes) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()):
        made = create_backup(settings.data_dir, backup_dir(settings))
    archive = backup_dir(settings) / made.name
    content = archive.read_bytes()
    start = content.index(b'"created_at":"')
    archive.write_bytes(content[:start] + damage + content[start + len(damage) :])
    assert measure_disk(settings).last_backup is None
