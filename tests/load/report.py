"""What a load found: figures, a table and courses over time from the answers; kept as JSON, told in docs/load.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from drills.figures import ROOT, Circumstances, Figure, Found, Table, found_of, tell
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Chart

from cofio.bench.charts import OTHERS, OURS, style, svg_of

PAGE: Final = ROOT / "docs" / "load.md"
RECORDS: Final = ROOT / "docs" / "load"
BENCHMARKS: Final = ROOT / "docs" / "benchmarks.md"
# In the order of the page.
DESCRIPTIONS: Final[Mapping[str, str]] = {
    "users": "A hundred users, each of whom waits from 1 to 3 s after each answer.",
    "steady": "1,000 requests a minute.",
    "spike": "5,000 requests a minute for two minutes, out of 1,000 a minute and back.",
    "stress": "10,000 requests a minute, more than the machine can answer, out of 1,000 a minute and back: what is "
    "too much has to be refused with 429 or 503 and `Retry-After`, and afterwards all has to be as before.",
    "soak": "1,000 requests a minute for half an hour and more.",
}
OVERLOADED: Final = frozenset({"spike", "stress"})
REFUSALS: Final = (429, 503)
QUERY: Final = "/api/v2/query"
BINS: Final = 120
SHORTEST_BIN_S: Final = 2.0
# An answer after the load that takes longer than this is not yet as before.
SLOW_MS: Final = 1_000.0
OBJECTIVE_MS: Final = 200.0  # docs/objectives.md
OBJECTIVE: Final = 99  # % of the questions
LONGEST_LAG_MS: Final = 50  # of the event loop, beside a hundred users
COLOURS: Final = {"answered": OURS, "refused": "#d9a441", "failed": "#b3261e"}
QUANTILES: Final = {"p50": OURS, "p95": "#d9a441", "p99": "#b3261e"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What locust noted, as columns: row i of each belongs to answer i.

    `start_s` counts from the beginning of the run; `status` is 0 where there was no answer; `told` says whether it said
    when to come again.
    """

    start_s: np.ndarray[Any, np.dtype[np.float64]]
    path: np.ndarray[Any, np.dtype[np.str_]]
    status: np.ndarray[Any, np.dtype[np.int64]]
    ms: np.ndarray[Any, np.dtype[np.float64]]
    told: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def answered(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which are what was asked for."""
        return (self.status >= 200) & (self.status < 300)

    @property
    def refused(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which turn the client away for now, cleanly."""
        return np.isin(self.status, REFUSALS) & self.told

    @property
    def failed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which are neither."""
        return ~(self.answered | self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the service's own metrics said so many seconds after the beginning; None for what they did not say."""

    at_s: float
    resident_mb: float | None
    lag_ms: float | None


def answers_of(rows: Sequence[Sequence[Any]]) -> Answers:
    """The rows that locust noted, as columns."""
    start, path, status, ms, told = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Answers(
        start_s=np.array(start, np.float64),
        path=np.array(path, np.str_),
        status=np.array(status, np.int64),
        ms=np.array(ms, np.float64),
        told=np.array(told, np.bool_),
    )


def figures_of(
    name: str, answers: Answers, phases: Sequence[Mapping[str, Any]], samples: Sequence[Sample]
) -> list[Figure]:
    """What the load found, and what must be."""
    main = next(phase for phase in phases if phase["name"] == name)
    during = (answers.start_s >= main["start_s"]) & (answers.start_s < main["end_s"])
    minutes = (main["end_s"] - main["start_s"]) / 60
    wanted = None if main["rate"] is None else f"≥ {0.95 * main['rate']:g}"
    found = [
        Figure(name="requests", value=len(answers.status)),
        Figure(name="requests a minute under the load", value=round(during.sum() / minutes), must=wanted),
        Figure(
            name="answered under the load",
            value=round(100 * float(answers.answered[during].mean()), 2),
            unit="%",
        ),
        Figure(
            name="refused with 429 or 503 and `Retry-After`",
            value=int(answers.refused.sum()),
            must=None if name in OVERLOADED else "= 0",
        ),
        Figure(name="other failures", value=int(answers.failed.sum()), must="= 0"),
    ]
    asked = during & answers.answered & (answers.path == QUERY)
    for quantile, ms in _quantiles(answers.ms[asked]).items():
        found.append(Figure(name=f"answered questions under the load, {quantile}", value=ms, unit="ms"))
    if name == "users":
        p95 = float(np.percentile(answers.ms[during & answers.answered], 95))
        found.append(
            Figure(name="all answers, p95", value=round(p95, 1), unit="ms", must=f"≤ {OBJECTIVE_MS:g}")
        )
    if name in OVERLOADED:
        after = answers.start_s >= main["end_s"]
        unwell = after & (~answers.answered | (answers.ms > SLOW_MS))
        last = float(answers.start_s[unwell].max()) - main["end_s"] if unwell.any() else 0.0
        found.append(
            Figure(
                name="after the load, until all was answered within 1 s",
                value=round(last, 1),
                unit="s",
                must="≤ 10",
            )
        )
    elif asked.any():
        within = 100 * float((answers.ms[asked] <= OBJECTIVE_MS).mean())
        found.append(
            Figure(
                name=f"of them within {OBJECTIVE_MS:g} ms",
                value=round(within, 2),
                unit="%",
                must=f"≥ {OBJECTIVE}",
            )
        )
    resident = [sample.resident_mb for sample in samples if sample.resident_mb is not None]
    if resident:
        found.append(Figure(name="resident memory at the beginning", value=round(resident[0]), unit="MB"))
        found.append(Figure(name="resident memory at the end", value=round(resident[-1]), unit="MB"))
    lags = [sample.lag_ms for sample in samples if sample.lag_ms is not None]
    if lags:
        found.append(
            Figure(
                name="longest lag of the event loop",
                value=round(max(lags)),
                unit="ms",
                must=f"≤ {LONGEST_LAG_MS}" if name == "users" else None,
            )
        )
    return found


def table_of(answers: Answers) -> Table:
    """What became of each kind of request."""
    rows = []
    for path in sorted(set(answers.path.tolist())):
        of = answers.path == path
        quantiles = _quantiles(answers.ms[of & answers.answered])
        counts = [int((of & which).sum()) for which in (answers.answered, answers.refused, answers.failed)]
        rows.append(
            [f"`{path}`", *(f"{count:,}" for count in counts), *(f"{ms:,g}" for ms in quantiles.values())]
        )
    header = ("request", "answered", "refused", "failed", *(f"{quantile}, ms" for quantile in QUANTILES))
    return Table(title="By what was asked; times are of what was answered", header=header, rows=rows)


def courses_of(
    answers: Answers, phases: Sequence[Mapping[str, Any]], samples: Sequence[Sample]
) -> dict[str, Any]:
    """The run over time in at most `BINS` bins: counts a second by outcome, quantiles of questions in ms, samples."""
    end = max(phases[-1]["end_s"], SHORTEST_BIN_S)
    width = max(SHORTEST_BIN_S, end / BINS)
    edges = np.arange(0, end, width)
    outcomes = {"answered": answers.answered, "refused": answers.refused, "failed": answers.failed}
    asked = answers.answered & (answers.path == QUERY)
    binned = np.digitize(answers.start_s, edges) - 1
    by_bin = [answers.ms[asked & (binned == number)] for number in range(len(edges))]
    return {
        "bin_s": round(width, 3),
        "phases": [dict(phase) for phase in phases],
        "a_second": {
            name: [round(float((binned[which] == number).sum()) / width, 2) for number in range(len(edges))]
            for name, which in outcomes.items()
        },
        "question_ms": {
            quantile: [_quantiles(times)[quantile] if times.size else None for times in by_bin]
            for quantile in QUANTILES
        },
        "samples": [asdict(sample) for sample in samples],
    }


def record(at: Circumstances, found: Found, courses: Mapping[str, Any], folder: Path = RECORDS) -> Path:
    """The run is kept under the scenario's name, in place of the one that was kept before."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{at.drill}.json"
    kept = {"circumstances": asdict(at), "found": asdict(found), "courses": courses}
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")
    return path


def page(folder: Path = RECORDS) -> str:
    """The page of all kept runs."""
    lines = [
        "# Load",
        "",
        "`scripts/load NAME` starts a service of its own with the sample meetings and without rate limits, and brings one of "
        "these loads by locust (`tests/load/locustfile.py`): of five requests three are questions, mostly new ones, one is "
        "an ingest, one asks whether the service is ready. `--record` keeps the figures and writes this page. Locust runs on "
        "the same machine, and takes its share of it.",
    ]
    for name, kept in records(folder).items():
        at = Circumstances(**kept["circumstances"])
        lines += ["", f"## {name}", "", DESCRIPTIONS[name], "", f"![{name}]({folder.name}/{name}.svg)", ""]
        lines += tell(at, found_of(kept["found"]))
    return "\n".join(lines) + "\n"


def records(folder: Path = RECORDS) -> Mapping[str, Any]:
    """The kept runs by their names, in the order of the page."""
    paths = {name: folder / f"{name}.json" for name in DESCRIPTIONS}
    return {name: orjson.loads(path.read_bytes()) for name, path in paths.items() if path.exists()}


def draw(folder: Path = RECORDS) -> Iterator[tuple[Path, str]]:
    """The chart of each kept run: where it belongs, and its SVG, the same for the same figures."""
    for path in sorted(folder.glob("*.json")):
        kept = orjson.loads(path.read_bytes())
        yield path.with_suffix(".svg"), _svg(kept["courses"])


def _svg(courses: Mapping[str, Any]) -> str:
    with style():
        chart = Chart(figsize=(8, 7), layout="constrained")
        requests, times, memory, lag = chart.subplots(4, 1, sharex=True, height_ratios=[3, 3, 2, 2])
        width = courses["bin_s"]
        at = [number * width for number in range(len(courses["a_second"]["answered"]))]
        requests.stackplot(
            at, *courses["a_second"].values(), labels=list(COLOURS), colors=COLOURS.values(), step="post"
        )
        _titled(requests, "requests a second", legend=True)
        for quantile, colour in QUANTILES.items():
            known = [
                (t, ms) for t, ms in zip(at, courses["question_ms"][quantile], strict=True) if ms is not None
            ]
            times.plot(*_columns(known), color=colour, label=quantile, linewidth=1)
        times.set_yscale("log")
        _titled(times, "answered questions, ms (logarithmic)", legend=True)
        for place, name, title in (
            (memory, "resident_mb", "resident memory, MB"),
            (lag, "lag_ms", "longest lag of the event loop in the last minute, ms"),
        ):
            known = [(s["at_s"], s[name]) for s in courses["samples"] if s[name] is not None]
            place.plot(*_columns(known), color=OURS, linewidth=1)
            place.set_ylim(bottom=0)
            _titled(place, title, legend=False)
        for phase in courses["phases"][:-1]:
            for place in (requests, times, memory, lag):
                place.axvline(phase["end_s"], color=OTHERS, linewidth=0.8, linestyle=":")
        lag.set_xlabel("seconds")
        lag.set_xlim(0, courses["phases"][-1]["end_s"])
        return svg_of(chart)


def _columns(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    listed = list(pairs)
    return [x for x, _ in listed], [y for _, y in listed]


def _titled(place: Axes, title: str, *, legend: bool) -> None:
    place.set_title(title, loc="left", fontsize=9, fontweight="bold")
    if legend:
        place.legend(loc="upper right", fontsize=8, frameon=False, ncols=3)


def _quantiles(ms: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    if not ms.size:
        return dict.fromkeys(QUANTILES, 0.0)
    found = np.quantile(ms, [0.5, 0.95, 0.99])
    return {name: round(float(value), 1) for name, value in zip(QUANTILES, found, strict=True)}
