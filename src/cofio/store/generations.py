"""A directory of generations: whole copies of the vector index, of which a small file names the current one.

A new generation is made beside the current one and becomes current by the replacement of that file, which is
one step: whoever is killed before it leaves the old generation current, whoever is killed after it the new one.
What is not current is a leftover, and removed by the next who opens the directory.

Standard library only: the engine's process imports this module, and starts fast.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cofio.store.durable import sync

# The kind of what is stored, and part of every name: 2 since features are stored smaller (see `vectors`). A
# directory of another format counts as empty, and is filled again from the truth.
FORMAT: Final = "v2"
POINTER: Final = "current"
LOCK: Final = "lock"

# What the engine writes once, when it builds a segment, and then only reads or unlinks (0.9.0; a test watches).
# A copy shares these files, which are nine tenths of the whole, and with them the pages in memory.
WRITTEN_ONCE: Final = frozenset({"matrix.dat", "links_compressed.bin", "quantized.data"})

_NAME: Final = re.compile(rf"{FORMAT}-\d{{6,}}")


def current(root: Path) -> str | None:
    """The name of the current generation, None if there is none of this format."""
    try:
        name = (root / POINTER).read_text().strip()
    except FileNotFoundError:
        return None
    return name if _NAME.fullmatch(name) and (root / name).is_dir() else None


def following(root: Path) -> str:
    """A name that no generation in `root` bears, and that comes after them all."""
    numbers = [int(path.name.rpartition("-")[2]) for path in root.iterdir() if _NAME.fullmatch(path.name)]
    return f"{FORMAT}-{max(numbers, default=0) + 1:06d}"


def make_current(root: Path, name: str) -> None:
    """The generation is the current one, and stays so through a kill or a power cut."""
    beside = root / f"{POINTER}.new"
    with beside.open("w") as file:
        file.write(name)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(root / POINTER)
    sync(root)


def remove_leftovers(root: Path, keep: str, legacy: Iterable[str]) -> None:
    """Of all generations only `keep` is left, and none of the `legacy` entries that earlier formats had.

    What cannot be removed now, since a dying process still writes there, is left to the next call.
    """
    old = set(legacy)
    for path in root.iterdir():
        if path.name in old or (path.is_dir() and path.name != keep and re.match(r"v\d+-\d+$", path.name)):
            shutil.rmtree(path, ignore_errors=True)


def copy(source: Path, target: Path) -> None:
    """`target` holds what `source` does; the two may be written to independently, but for `WRITTEN_ONCE`.

    Nobody may write to `source` meanwhile. A failure leaves a part of the copy behind.
    """
    shutil.copytree(source, target, copy_function=_copy_file, ignore=shutil.ignore_patterns(LOCK))


def _copy_file(source: str, target: str) -> None:
    if Path(source).name in WRITTEN_ONCE:
        with contextlib.suppress(OSError):  # a file system without links
            os.link(source, target)
            return
    if not hasattr(os, "copy_file_range"):  # it is Linux's
        shutil.copyfile(source, target)
        return
    with open(source, "rb") as from_, open(target, "wb") as to:
        size = os.fstat(from_.fileno()).st_size
        os.ftruncate(to.fileno(), size)
        _copy_data(from_.fileno(), to.fileno(), size)


def _copy_data(source: int, target: int, size: int) -> None:
    """Copy all but the holes: the engine allocates its log and its pages ahead, 32 MiB each."""
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            copied = os.copy_file_range(source, target, end - at, at, at)
            if not copied:
                return
            at += copied
