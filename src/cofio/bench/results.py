"""What a part of the benchmark found, and where, when and with what it was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cofio.bench.timing import Float64s, Ratio, Timing, ratio, timing

OURS: Final = "cofio"
# Whose versions are told, where they are installed.
PACKAGES: Final = (
    "numpy",
    "numba",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "qdrant-edge-py",
    "qdrant-client",
    "fastapi",
    "uvicorn",
    "networkx",
    "igraph",
    "scipy",
    "sentence-transformers",
    "torch",
    "chromadb",
    "txtai",
    "faiss-cpu",
    "hnswlib",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that is no time of a call."""

    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether two that compute the same thing found the same."""

    agrees: bool
    detail: str


@dataclass(slots=True, kw_only=True)
class Findings:
    """What a part found so far, by name. Names of times and ratios are `what: contender`.

    `settings` holds all that the figures depend on; `left_out` names the peers that did not run; `notes` are
    sentences that a reader of the figures must know.
    """

    settings: dict[str, object] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)
    ratios: dict[str, Ratio] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_times(
        self,
        what: str,
        seconds: Mapping[str, Float64s],
        *,
        ours: str = OURS,
        of: Literal["median", "total"] = "median",
    ) -> None:
        """The times of every contender, and the ratio of every other to `ours`."""
        for name, values in seconds.items():
            self.timings[f"{what}: {name}"] = timing(values)
            if name != ours:
                self.ratios[f"{what}: {name}"] = ratio(seconds[ours], values, of=of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Where, when and from what a part was measured. Loads are the averages over one, five, fifteen minutes.

    `stolen_percent` of the processors' time meanwhile the host of a virtual machine gave to others; None if unknown.
    """

    system: str
    cpu: str
    cores: int
    load_before: Sequence[float]
    load_after: Sequence[float]
    stolen_percent: float | None
    commit: str
    date: str
    seconds: float
    peers: bool
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the benchmark as it was run."""

    part: str
    measured: Measured
    findings: Findings


def close(name: str, ours: Float64s, theirs: Float64s, *, within: float) -> Check:
    """Whether both arrays agree in every place."""
    worst = float(np.abs(ours - theirs).max(initial=0.0))
    return Check(
        agrees=bool(worst <= within),
        detail=f"{name}: {ours.size} values, largest difference {worst:.2g}, allowed {within:.0e}",
    )


def cpu_model() -> str:
    """The processor's name as the kernel tells it, with the instruction sets that int8 arithmetic depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(told.get("flags", "").split())
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if name in flags]
    return f"{told.get('model name', 'unknown')} ({', '.join(sets) or 'no vector sets told'})"


def load() -> tuple[float, ...]:
    """The load averages."""
    return tuple(round(value, 2) for value in os.getloadavg())


def versions() -> Mapping[str, str]:
    """The versions of `PACKAGES` and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
