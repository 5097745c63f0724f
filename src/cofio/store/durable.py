"""What was written survives a power cut. The standard library alone, since the process of the vector engine imports it."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """The file's content, or the directory's list of names, survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(directory: Path) -> None:
    """Every file below `directory` survives a power cut, and so do their names."""
    for path, _, names in os.walk(directory):
        for name in names:
            sync(Path(path, name))
        sync(Path(path))
