"""Which code a measured figure is of, and how much of the machine it had."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTime:
    """What all processors spent since the machine began, in ticks; `stolen` of it the host of a virtual machine gave to others."""

    stolen: int
    total: int

    @classmethod
    def now(cls) -> Self | None:
        """None where the system does not tell (Linux does: proc(5), `/proc/stat`)."""
        try:
            told = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
        except OSError:
            return None
        # user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user and nice already.
        ticks = [int(value) for value in told[1:9]]
        return cls(stolen=ticks[7], total=sum(ticks))


def stolen_percent(before: ProcessorTime | None, after: ProcessorTime | None) -> float | None:
    """The share of the processors' time between the two that was stolen; None where it is not known."""
    if before is None or after is None or after.total <= before.total:
        return None
    return round(100 * (after.stolen - before.stolen) / (after.total - before.total), 1)


def stolen_told(percent: float | None) -> str:
    """The stolen share as the end of a sentence; empty where it is not known."""
    return "" if percent is None else f", {percent:g} % of the processors' time stolen by others"
