"""What a drill found, under what circumstances; printed, kept as JSON, and told in docs/reliability.md."""

from __future__ import annotations

import operator
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from cofio.provenance import stolen_told

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reliability.md"
RECORDS: Final = ROOT / "docs" / "reliability"

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "≤": operator.le,
    "≥": operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number that was found, and what it must be: `must` is `= 0`, `≤ 2` or `≥ 1000`, None where nothing is asked."""

    name: str
    value: float
    unit: str = ""
    must: str | None = None

    @property
    def met(self) -> bool:
        """Whether the number is what it must be."""
        if self.must is None:
            return True
        comparison, bound = self.must.split()
        return _COMPARISONS[comparison](self.value, float(bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures that only make sense beside one another."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one run of a drill found. `settings` repeat it, the seed among them; `failures` are told one by one."""

    settings: Mapping[str, object]
    figures: Sequence[Figure]
    tables: Sequence[Table] = ()
    failures: Sequence[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every figure is what it must be and nothing failed."""
        return not self.failures and all(figure.met for figure in self.figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where, when and from what code the figures were found.

    `stolen_percent` of the processors' time meanwhile the host of a virtual machine gave to others; None if unknown.
    """

    drill: str
    command: str
    commit: str
    date: str
    seconds: float
    machine: str
    stolen_percent: float | None = None  # not in what was kept before it was measured


def machine() -> str:
    """The processor, its cores, the system and Python, in words."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def tell(at: Circumstances, found: Found) -> Iterator[str]:
    """The run as lines of Markdown."""
    yield (
        f"`{at.command}`, commit {at.commit}, {at.date}, {at.seconds:.0f} s on {at.machine}"
        + stolen_told(at.stolen_percent)
        + ". "
        + ", ".join(f"{name} {value}" for name, value in found.settings.items())
        + "."
    )
    yield ""
    yield from _table(
        ("figure", "found", "must", "met"),
        [
            (figure.name, f"{figure.value:,g} {figure.unit}".strip(), figure.must or "", _met(figure))
            for figure in found.figures
        ],
    )
    for table in found.tables:
        yield ""
        yield f"{table.title}:"
        yield ""
        yield from _table(table.header, table.rows)
    if found.failures:
        yield ""
        yield from (f"- **Failed**: {failure}" for failure in found.failures)


def record(at: Circumstances, found: Found, label: str | None, folder: Path = RECORDS) -> Path:
    """The run is kept under the drill's name, in place of the run that was kept under the same name and label."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{at.drill}{f'-{label}' if label else ''}.json"
    kept = {"circumstances": asdict(at), "found": asdict(found)}
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")
    return path


def page(descriptions: Mapping[str, str], folder: Path = RECORDS) -> str:
    """The page of all kept runs, the drills in the order of `descriptions`."""
    kept = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    lines = [
        "# Reliability",
        "",
        "Each of these drills breaks cofio on purpose, again and again, and counts what it did. `scripts/drill NAME` "
        "repeats one, `scripts/drill NAME --record` keeps its figures and writes this page. Seeds repeat what is done; "
        "at which instant it lands depends on the machine.",
    ]
    for name, description in descriptions.items():
        runs = [run for run in kept if run["circumstances"]["drill"] == name]
        if runs:
            lines += ["", f"## {name}", "", description.strip()]
        for run in runs:
            lines += ["", *tell(Circumstances(**run["circumstances"]), found_of(run["found"]))]
    return "\n".join(lines) + "\n"


def found_of(kept: Mapping[str, Any]) -> Found:
    """What was kept as JSON, as it was found."""
    return Found(
        settings=kept["settings"],
        figures=[Figure(**figure) for figure in kept["figures"]],
        tables=[Table(**table) for table in kept["tables"]],
        failures=kept["failures"],
    )


def _met(figure: Figure) -> str:
    return "" if figure.must is None else "yes" if figure.met else "**no**"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
