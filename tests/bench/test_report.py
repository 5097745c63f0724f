"""The page says what was measured, what must be, and what was not measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cofio.bench.bench import FULL, QUICK
from cofio.bench.report import GOALS, Goal, figure, reached, report

ROOT = Path(__file__).parents[2]

RUN: dict[str, Any] = {
    "part": "search",
    "measured": {
        "system": "Linux",
        "cpu": "Some CPU",
        "cores": 2,
        "load_before": [0.1, 0.2, 0.3],
        "load_after": [1, 2, 3],
        "stolen_percent": 4.5,
        "commit": "abc",
        "date": "2026-01-02T03:04+00:00",
        "seconds": 12.3,
        "peers": True,
        "versions": {"python": "3.11"},
    },
    "findings": {
        "settings": {"threads": 1, "effort": asdict(FULL)},
        "timings": {
            "search: cofio": {"n": 3, "median": 0.5, "minimum": 0.4, "p95": 0.9},
            "search: qdrant-client local mode": {"n": 3, "median": 150.0, "minimum": 140.0, "p95": 160.0},
        },
        "ratios": {"search: qdrant-client local mode": {"ratio": 300.0, "low": 280.0, "high": 320.0, "n": 3}},
        "figures": {
            "recall@10 of search: cofio": {"value": 0.97, "unit": ""},
            "recall@10 of filtered search: cofio": {"value": 1.0, "unit": ""},
        },
        "checks": {"the same": {"agrees": False, "detail": "they differ by 1"}},
        "left_out": ["hnswlib"],
        "notes": ["A note."],
    },
}


def test_the_page_is_made_of_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text(json.dumps({"search": RUN}))
    docs = tmp_path / "docs"
    command = [
        sys.executable,
        str(ROOT / "scripts" / "benchmark_report.py"),
        str(tmp_path),
        "--docs",
        str(docs),
    ]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = first.splitlines()
    local = next(line for line in lines if "qdrant-client's local mode" in line)
    assert local.endswith("| 100× | 400× | **300×** [280, 320] | must |")
    assert "| recall@10 | 0.98 |  | **0.97** | **no** |" in lines
    assert "| recall@10 with a filter | 0.98 |  | **1** | yes |" in lines
    assert "| ingest, by Chroma's time | 10× |  | not measured | |" in lines
    assert "| search: cofio | 0.5 | 0.4 | 0.9 | 3 |  |" in lines
    assert "- **differs**: the same (they differ by 1)" in lines
    assert "Left out: hnswlib." in lines
    chart = (docs / "benchmarks" / "search.svg").read_bytes()
    assert b"qdrant-client local mode" in chart
    subprocess.run(command, capture_output=True, check=True)
    assert (docs / "benchmarks" / "search.svg").read_bytes() == chart


@pytest.mark.parametrize(
    ("better", "value", "says"),
    [
        ("higher", 12.0, "aim"),
        ("higher", 6.0, "must"),
        ("higher", 4.0, "**no**"),
        ("lower", 4.0, "aim"),
        ("lower", 7.0, "must"),
        ("lower", 11.0, "**no**"),
    ],
)
def test_a_goal_is_reached_from_its_own_side(better: Any, value: float, says: str) -> None:
    must, aim = (5.0, 10.0) if better == "higher" else (10.0, 5.0)
    goal = Goal(what="", found=figure("", ""), must=must, aim=aim, better=better)
    assert reached(goal, value) == says


def test_without_any_file_every_goal_is_told_as_not_measured() -> None:
    page = list(report({}, {}))
    assert sum(line.endswith("| not measured | |") for line in page) == len(GOALS)


def test_what_was_measured_with_quick_reaches_no_goal() -> None:
    settings = {**RUN["findings"]["settings"], "effort": asdict(QUICK)}
    page = list(report({"search": {**RUN, "findings": {**RUN["findings"], "settings": settings}}}, {}))
    assert sum(line.endswith("| not measured | |") for line in page) == len(GOALS)
    assert any("nothing here can be quoted" in line for line in page)
