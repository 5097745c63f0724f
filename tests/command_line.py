"""The command line, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cofio(*arguments: str | Path, code: int = 0) -> str:
    """What `cofio` printed; it exited with `code`, and without a traceback."""
    run = subprocess.run(
        [sys.executable, "-m", "cofio", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stdout + run.stderr
