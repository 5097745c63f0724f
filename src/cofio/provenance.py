"""Which code a measured figure is of."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str:
    """The commit that runs, `-dirty` where files differ from it, `unknown` outside a repository."""
    try:
        said = subprocess.run(  # nosec B603 B607
            ["git", "describe", "--always", "--dirty"],  # noqa: S607  the git that runs this checkout
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
