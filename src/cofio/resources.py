"""What a service takes: its folders on disk, its memory and that of its container, and the GPU's."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from cofio.data_dir import DATABASE_NAME, GRAPH_NAME, VECTORS_NAME, backup_dir
from cofio.errors import DamagedBackup, NotFound, Unavailable
from cofio.settings import Settings
from cofio.store.archives import archives_in, read_manifest

_log: Final = structlog.get_logger(__name__)

# Folders are walked through this often, in a thread: it takes a millisecond, with many files more.
DISK_PAUSE_S: Final = 10.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PROC: Final = Path("/proc")
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A file system, in bytes."""

    free: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The stores' bytes on disk, the space where each folder lies, and the backups."""

    stores: Mapping[str, int]
    folders: Mapping[str, Space]
    backups: int
    last_backup: float | None  # seconds of the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory in use and what may be used, in bytes: of the container, or of the machine where nothing limits it."""

    used: int
    limit: int


class DiskWatch:
    """The disk as it was measured last, so that nobody who asks waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._disk: Disk | None = None

    async def last(self) -> Disk:
        """What was measured last: a pause of `keep_measured` ago at most, while that runs.

        Raises `Unavailable` where it could never be measured yet.
        """
        return self._disk or await self._measure()

    async def keep_measured(self, pause_s: float = DISK_PAUSE_S) -> None:
        """Never returns: the disk is measured again after each pause. While it cannot be, the last figures stand."""
        while True:
            try:
                await self._measure()
            except Unavailable as error:
                _log.warning("disk_not_measured", reason=error.detail)
            await asyncio.sleep(pause_s)

    async def _measure(self) -> Disk:
        try:
            self._disk = disk = await asyncio.to_thread(measure_disk, self._settings)
        except OSError as error:
            raise Unavailable(f"The disk cannot be measured: {error}.") from error
        return disk


def measure_disk(settings: Settings) -> Disk:
    """The disk now. A file that goes away meanwhile counts nothing."""
    data, backups = settings.data_dir, backup_dir(settings)
    database = data / DATABASE_NAME
    archives = archives_in(backups)
    return Disk(
        stores={
            "database": _bytes(database),
            "log": _bytes(database.with_name(f"{DATABASE_NAME}-wal")),
            "vectors": _bytes_under(data / VECTORS_NAME),
            "graph": _bytes(data / GRAPH_NAME),
            "backups": sum(map(_bytes, archives)),
        },
        folders={"data": _space(data), "backups": _space(backups if backups.exists() else data)},
        backups=len(archives),
        last_backup=next((at for archive in archives if (at := _made_at(archive)) is not None), None),
    )


def memory() -> Memory | None:
    """The memory now; None where the system does not tell, as on macOS."""
    machine = _machine_memory()
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        # What was read from files and can be dropped at any time is not in the way.
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used -= int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return machine
    return machine if limit == "max" else Memory(used=used, limit=int(limit))


def processors() -> int:
    """How many processors' time this process may use, its container's share rounded up; at least 1."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return mine if quota == "max" else max(1, min(mine, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return mine


def resident_bytes(process_id: int | None = None) -> int | None:
    """Resident memory of a process, this one unless another is named; None where the system does not tell."""
    try:
        pages = (_PROC / str(process_id or os.getpid()) / "statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * _PAGE_BYTES


def _machine_memory() -> Memory | None:
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(used=(kib["MemTotal"] - kib["MemAvailable"]) * 1024, limit=kib["MemTotal"] * 1024)


def _made_at(archive: Path) -> float | None:
    try:
        return datetime.fromisoformat(read_manifest(archive).created_at).timestamp()
    except (
        DamagedBackup,
        NotFound,
        Unavailable,
        ValueError,
    ):  # damaged, or a newer one took its place meanwhile
        return None


def _space(folder: Path) -> Space:
    usage = shutil.disk_usage(folder)
    return Space(free=usage.free, size=usage.total)


def _bytes_under(folder: Path) -> int:
    """Blocks, not lengths: the engine makes its files longer than what it has written."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
