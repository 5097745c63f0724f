"""docs/benchmarks.md from what was measured: the goals first, then every part with all it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from cofio.bench.bench import FULL
from cofio.bench.results import number

Run = Mapping[str, Any]  # one part, as `cofio bench --json` wrote it
Runs = Mapping[str, Run]

TITLES: Final = {
    "kernels": "Kernels",
    "encode": "Encoding",
    "search": "Vector search",
    "ingest": "Ingest",
    "query": "Queries",
    "serve": "Serving",
    "scale": "Scale",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A measured value, with its 95 % interval where it is a ratio."""

    value: float
    low: float | None = None
    high: float | None = None


Reader = Callable[[Runs], Found]


def ratio(part: str, name: str) -> Reader:
    """A ratio of a part."""

    def read(runs: Runs) -> Found:
        found = runs[part]["findings"]["ratios"][name]
        return Found(value=found["ratio"], low=found["low"], high=found["high"])

    return read


def median(part: str, name: str) -> Reader:
    """A median time of a part, in milliseconds."""
    return lambda runs: Found(value=runs[part]["findings"]["timings"][name]["median"])


def figure(part: str, name: str) -> Reader:
    """A figure of a part."""
    return lambda runs: Found(value=runs[part]["findings"]["figures"][name]["value"])


def least(*readers: Reader) -> Reader:
    """The smallest of several: the better of several peers."""
    return lambda runs: min((read(runs) for read in readers), key=lambda found: found.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure, what it must be and what it should become; None where only one of them was set."""

    what: str
    found: Reader
    must: float | None = None
    aim: float | None = None
    better: Literal["higher", "lower"] = "higher"
    unit: str = "×"


_SPREAD: Final = "spreading, 500 activations, 100,000 nodes, 1,000,000 edges"
_EITHER: Final = "(fp32 or int8 must)"

GOALS: Final = (
    Goal(
        what=f"{_SPREAD}, by Python's time",
        found=ratio("kernels", "spreading: Python (heapq, dict)"),
        must=15,
    ),
    Goal(
        what="the same, by SciPy's power iteration",
        found=ratio("kernels", "spreading: SciPy PageRank"),
        must=100,
    ),
    Goal(
        what="the same, itself",
        found=median("kernels", "spreading: cofio"),
        aim=0.1,
        better="lower",
        unit=" ms",
    ),
    Goal(
        what="spreading where some nodes are hubs, by Python's time",
        found=ratio("kernels", "spreading with hubs: Python (heapq, dict)"),
        must=15,
    ),
    Goal(
        what="the same, by SciPy's power iteration",
        found=ratio("kernels", "spreading with hubs: SciPy PageRank"),
        must=100,
    ),
    Goal(
        what="context spread of a question over 100,000 memories, by NumPy's and SciPy's time",
        found=ratio("kernels", "context spread: NumPy and SciPy"),
        must=10,
    ),
    Goal(
        what="the same, itself",
        found=median("kernels", "context spread: cofio"),
        aim=0.3,
        better="lower",
        unit=" ms",
    ),
    Goal(
        what=f"encoding a question, by sentence-transformers' time: fp32 {_EITHER}",
        found=ratio("encode", "question: sentence-transformers / cofio fp32"),
        must=2,
        aim=10,
    ),
    Goal(
        what=f"the same: int8 {_EITHER}",
        found=ratio("encode", "question: sentence-transformers / cofio int8"),
        must=5,
        aim=10,
    ),
    Goal(
        what=f"encoding real utterances in bulk, by sentence-transformers' time: fp32 {_EITHER}",
        found=ratio("encode", "bulk: sentence-transformers / cofio fp32"),
        must=1.5,
        aim=5,
    ),
    Goal(
        what=f"the same: int8 {_EITHER}",
        found=ratio("encode", "bulk: sentence-transformers / cofio int8"),
        must=3.5,
        aim=5,
    ),
    Goal(
        what="search of three levels, 100,000 memories, by the time of qdrant-client's local mode",
        found=ratio("search", "search: qdrant-client local mode"),
        must=100,
        aim=400,
    ),
    Goal(
        what="the same with a filter",
        found=ratio("search", "filtered search: qdrant-client local mode"),
        must=100,
        aim=400,
    ),
    Goal(what="recall@10", found=figure("search", "recall@10 of search: cofio"), must=0.98, unit=""),
    Goal(
        what="recall@10 with a filter",
        found=figure("search", "recall@10 of filtered search: cofio"),
        must=0.98,
        unit="",
    ),
    Goal(what="ingest, by Chroma's time", found=ratio("ingest", "meeting: Chroma"), must=10),
    Goal(what="ingest, by txtai's time", found=ratio("ingest", "meeting: txtai hybrid"), must=10),
    Goal(
        what="ingest, as a share of the encoder's own speed",
        found=figure("ingest", "share of the encoder's own speed"),
        aim=0.9,
        unit="",
    ),
    Goal(
        what="a question over 100,000 memories, everything on: its p50 by the encoder's own",
        found=ratio("query", "query: cofio / encoder alone"),
        must=2.5,
        aim=1.5,
        better="lower",
    ),
    Goal(
        what="the same: its p95 by its p50",
        found=figure("query", "p95 / p50 of cofio"),
        must=3,
        better="lower",
    ),
    Goal(
        what="the same, by the time of the better of Chroma and txtai over 20,000",
        found=least(ratio("query", "query: Chroma"), ratio("query", "query: txtai hybrid")),
        must=5,
        aim=10,
    ),
    Goal(
        what="cached questions over HTTP, as a share of the requests/s of an app of constant bytes",
        found=ratio("serve", "requests, 16 connections: cofio / FastAPI, constant bytes"),
        must=0.7,
        aim=0.9,
        unit="",
    ),
    Goal(
        what="p50 of a question at 1,000,000 memories by that at 10,000",
        found=ratio("scale", "p50 of 1,000,000 by 10,000 memories"),
        must=2,
        aim=1.3,
        better="lower",
    ),
    Goal(
        what="resident bytes a memory at 1,000,000, service and vector process",
        found=figure("scale", "bytes a memory after 300 questions, 1,000,000 memories"),
        must=3000,
        aim=1500,
        better="lower",
        unit=" B",
    ),
    Goal(
        what="start to ready at 100,000 memories",
        found=figure("scale", "start to ready, 100,000 memories"),
        must=3,
        aim=1,
        better="lower",
        unit=" s",
    ),
    Goal(
        what="start to ready at 1,000,000 memories",
        found=figure("scale", "start to ready, 1,000,000 memories"),
        must=15,
        aim=4,
        better="lower",
        unit=" s",
    ),
    Goal(
        what="`/health/detailed` at 1,000,000 memories, every part asked",
        found=median("scale", "/health/detailed: 1,000,000 memories"),
        must=10,
        better="lower",
        unit=" ms",
    ),
    Goal(
        what="growth of the resident size over 20,000 questions and 200 ingests, after the first tenth",
        found=figure("scale", "growth over 20,000 questions and 200 ingests, after the first tenth"),
        must=5,
        better="lower",
        unit=" %",
    ),
)


def report(runs: Runs, charts: Mapping[str, str]) -> Iterator[str]:
    """The lines of docs/benchmarks.md; `charts` maps a part to the path of its chart, as the page links it."""
    yield "# Benchmarks"
    yield ""
    yield (
        "Written by `scripts/benchmark DATA`, which runs `cofio bench PART --peers --data DATA --json FILE` for every "
        "part and prints this page from the files. Contenders alternate inside one run, each with one thread; a ratio "
        "is the other's time by cofio's in the same run, with its 95 % interval by a bootstrap over rounds (2,000 "
        "resamples). Peers run as their documentation recommends, with the same weights where they encode. Times depend "
        "on the machine and on what else it does: the loads are told, and what was stolen, which is the share of the "
        "processors' time that the host of a virtual machine gave to others; only ratios within one run compare. What "
        "the whole service does under 1,000 to 10,000 requests a minute is in docs/load.md."
    )
    yield ""
    yield from _circumstances(runs)
    yield "## The figures that must be reached"
    yield ""
    yield "| figure | must | aim | found | reached |"
    yield "|---|---|---|---|---|"
    whole = {name: run for name, run in runs.items() if _is_whole(run)}
    for goal in GOALS:
        yield _goal(whole, goal)
    yield ""
    for name, title in TITLES.items():
        if name in runs:
            yield from _part(title, runs[name], charts.get(name))


UNDER_LOAD: Final = "## Under load"
_OF_A_LOAD: Final = {  # what a column is called, and the figure of a load's record that it shows
    "requests a minute": "requests a minute under the load",
    "answered": "answered under the load",
    "refused": "refused with 429 or 503 and `Retry-After`",
    "other failures": "other failures",
    "questions, p50": "answered questions under the load, p50",
    "p95": "answered questions under the load, p95",
    "well again after": "after the load, until all was answered within 1 s",
    "event loop late by": "longest lag of the event loop",
}


def under_load(records: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The lines of the section on the loads that `scripts/load` has recorded, by their names."""
    yield UNDER_LOAD
    yield ""
    yield "What `scripts/load NAME --record` found of the whole service, locust beside it on the same machine; all of it is in [load.md](load.md)."
    yield ""
    yield "| load | commit | minutes | " + " | ".join(_OF_A_LOAD) + " |"
    yield "|---|---|---|" + "---|" * len(_OF_A_LOAD)
    for name, record in sorted(records.items()):
        at = record["circumstances"]
        found = {figure["name"]: figure for figure in record["found"]["figures"]}
        told = [
            f"{shown['value']:,} {shown['unit']}".strip() if (shown := found.get(wanted)) else ""
            for wanted in _OF_A_LOAD.values()
        ]
        yield f"| {name} | {at['commit']} | {at['seconds'] / 60:.0f} | " + " | ".join(told) + " |"


def _circumstances(runs: Runs) -> Iterator[str]:
    yield "| part | commit | date | machine | load before | load after | stolen | seconds |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in TITLES:
        if name not in runs:
            continue
        at = runs[name]["measured"]
        before, after = (
            ", ".join(f"{value:g}" for value in at[key]) for key in ("load_before", "load_after")
        )
        yield (
            f"| {name} | {at['commit']} | {at['date']} | {at['cpu']}, {at['cores']} cores, {at['system']} | {before} | "
            f"{after} | {_percent(at['stolen_percent'])} | {at['seconds']:.0f} |"
        )
    yield ""
    known = {package: v for run in runs.values() for package, v in run["measured"]["versions"].items()}
    yield "Versions: " + ", ".join(f"{package} {v}" for package, v in known.items()) + "."
    yield ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:g} %"


def _goal(runs: Runs, goal: Goal) -> str:
    must, aim = (
        "" if bound is None else ("≤ " if goal.better == "lower" else "") + f"{number(bound)}{goal.unit}"
        for bound in (goal.must, goal.aim)
    )
    try:
        found = goal.found(runs)
    except KeyError:
        return f"| {goal.what} | {must} | {aim} | not measured | |"
    told = f"**{number(found.value)}{goal.unit}**"
    if found.low is not None and found.high is not None:
        told += f" [{number(found.low)}, {number(found.high)}]"
    return f"| {goal.what} | {must} | {aim} | {told} | {reached(goal, found.value)} |"


def _is_whole(run: Run) -> bool:
    """Whether a part was measured as the goals mean it, and not with --quick."""
    effort = run["findings"]["settings"]["effort"]
    return all(effort.get(name) == value for name, value in asdict(FULL).items() if name not in _TOLD)


# Efforts that the names of the figures tell.
_TOLD: Final = ("stability_queries", "stability_ingests")


def reached(goal: Goal, value: float) -> str:
    """`aim`, `must` (or `yes` where there is no aim), or `no`; compared as shown, to three digits."""
    sign = 1 if goal.better == "higher" else -1
    shown = sign * float(f"{value:.3g}")
    if goal.aim is not None and shown >= sign * goal.aim:
        return "aim"
    if goal.must is None:
        return "not the aim"
    if shown < sign * goal.must:
        return "**no**"
    return "yes" if goal.aim is None else "must"


def _part(title: str, run: Run, chart: str | None) -> Iterator[str]:
    found = run["findings"]
    yield f"## {title}"
    yield ""
    if chart is not None:
        yield f"![{title}]({chart})"
        yield ""
    for note in found["notes"]:
        yield note
        yield ""
    if not _is_whole(run):
        yield "**Measured over little, to show that it works: nothing here can be quoted.**"
        yield ""
    if found["left_out"]:
        yield f"Left out: {', '.join(found['left_out'])}."
        yield ""
    if found["timings"]:
        yield "| ms | median | min | p95 | n | ratio to cofio |"
        yield "|---|---|---|---|---|---|"
        for name, of in found["timings"].items():
            ratio_to = found["ratios"].get(name)
            told = "" if ratio_to is None else _ratio(ratio_to)
            cells = " | ".join(number(of[key]) for key in ("median", "minimum", "p95"))
            yield f"| {name} | {cells} | {of['n']} | {told} |"
        yield ""
    rest = {name: of for name, of in found["ratios"].items() if name not in found["timings"]}
    if rest or found["figures"]:
        yield "| figure | |"
        yield "|---|---|"
        for name, of in rest.items():
            yield f"| {name} | {_ratio(of)} |"
        for name, of in found["figures"].items():
            yield f"| {name} | {number(of['value'])} {of['unit']} |".replace("  |", " |")
        yield ""
    for name, check in found["checks"].items():
        yield f"- {'agrees' if check['agrees'] else '**differs**'}: {name} ({check['detail']})"
    if found["checks"]:
        yield ""
    yield "Settings: " + "; ".join(
        f"{name} {_told(value)}" for name, value in found["settings"].items() if name not in _ELSEWHERE
    )
    yield ""


# Settings that are the same for every part, or that the chart shows.
_ELSEWHERE: Final = ("effort", "environment", "stability: resident MB")


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_told(of)}" for name, of in value.items()) + ")"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ratio(of: Mapping[str, float]) -> str:
    return f"{number(of['ratio'])} [{number(of['low'])}, {number(of['high'])}]"
