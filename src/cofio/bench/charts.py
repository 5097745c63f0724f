"""One chart a part, as SVG that is the same for the same figures."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cofio.bench.report import Run

OURS: Final = "#0b6e4f"
OTHERS: Final = "#9aa5b1"
WIDTH: Final = 8.0
TIMES: Final = "ms, median"

Group = tuple[str, Mapping[str, float], str]  # title, value by name, unit


def draw(name: str, run: Run, folder: Path) -> Path | None:
    """The chart of part `name` is in `folder`; None if the part has none, or nothing for it was measured."""
    plan = PLANS.get(name)
    groups = plan(run["findings"]) if plan else []
    groups = [group for group in groups if group[1]]
    if not groups:
        return None
    with style():
        heights = [0.6 + 0.28 * len(values) for _, values, _ in groups]
        chart = Figure(figsize=(WIDTH, sum(heights) + 0.5), layout="constrained")
        places = chart.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
        for place, (title, values, unit) in zip(places, groups, strict=True):
            _bars(place, title, values, unit)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.svg"
        path.write_text(svg_of(chart), "utf-8")
    return path


def style() -> contextlib.AbstractContextManager[None]:
    """Charts that are made and written inside look alike, and are the same for the same figures."""
    return mpl.rc_context(
        {
            "svg.hashsalt": "cofio",
            "svg.fonttype": "none",  # text stays text
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def svg_of(chart: Figure) -> str:
    """The chart as SVG, without a date."""
    drawn = io.StringIO()
    chart.savefig(drawn, format="svg", metadata={"Date": None})
    # Matplotlib ends lines of paths with blanks.
    return "\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n"


def _times(found: Mapping[str, Any]) -> list[Group]:
    groups: dict[str, dict[str, float]] = {}
    for name, of in found["timings"].items():
        what, _, contender = name.partition(": ")
        groups.setdefault(what, {})[contender] = of["median"]
    return [(what, values, TIMES) for what, values in groups.items()]


def _figures(*prefixes: str) -> Callable[[Mapping[str, Any]], list[Group]]:
    """What groups the figures by the beginnings of their names."""

    def plan(found: Mapping[str, Any]) -> list[Group]:
        groups: list[Group] = []
        for prefix in prefixes:
            chosen = {n: of for n, of in found["figures"].items() if n.startswith(prefix)}
            unit = next((of["unit"] for of in chosen.values()), "")
            values = {n.removeprefix(prefix).lstrip(":, "): of["value"] for n, of in chosen.items()}
            groups.append((prefix.rstrip(":, "), values, unit))
        return groups

    return plan


def _scale(found: Mapping[str, Any]) -> list[Group]:
    rest = _figures("start to ready,", "bytes a memory at the start,", "bytes a memory at the start, without")
    chosen = [(title, values, unit) for title, values, unit in rest(found) if "without" not in title]
    plain: list[Group] = [
        (title, {n: v for n, v in values.items() if not n.startswith("without")}, unit)
        for title, values, unit in chosen
    ]
    samples: Sequence[Sequence[float]] = found["settings"].get("stability: resident MB", ())
    tenths = samples[:: max(1, len(samples) // 10)]
    held = {f"after {number:,} questions": value for number, value in tenths}
    return [*_times(found), *plain, ("resident size during the stability run", held, "MB")]


def _encode(found: Mapping[str, Any]) -> list[Group]:
    return [group for group in _times(found) if group[0] != "bulk"] + _figures("bulk:")(found)


PLANS: Final[Mapping[str, Callable[[Mapping[str, Any]], list[Group]]]] = {
    "kernels": _times,
    "encode": _encode,
    "search": _times,
    "ingest": _figures("rate:"),
    "query": lambda found: [*_times(found), *_figures("stage ")(found)],
    "serve": _figures("requests, 1 connection:", "requests, 16 connections:"),
    "scale": _scale,
}


def _bars(place: Axes, title: str, values: Mapping[str, float], unit: str) -> None:
    names = list(values)
    numbers = [values[name] for name in names]
    wide = min(numbers) > 0 and max(numbers) / min(numbers) > 30
    alone = not any("cofio" in name for name in names)  # sizes or stages of cofio
    positions = list(range(len(names)))[::-1]
    place.barh(
        positions,
        numbers,
        color=[OURS if alone or "cofio" in name else OTHERS for name in names],
        height=0.65,
    )
    place.set_yticks(positions, names)
    told = ", ".join(part for part in (unit, "logarithmic" if wide else "") if part)
    place.set_title(f"{title} ({told})" if told else title, loc="left", fontsize=9, fontweight="bold")
    if wide:
        place.set_xscale("log")
    for position, number in zip(positions, numbers, strict=True):
        shown = f" {number:,.0f}" if number >= 1000 else f" {number:.3g}"
        place.text(number, position, shown, va="center", fontsize=8)
    place.margins(x=0.12)
