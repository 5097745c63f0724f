"""What was found under load follows from the answers, and the page and its charts from what was kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT
from drills.figures import Circumstances, Figure, Found

from cofio.bench.report import UNDER_LOAD, under_load
from load.report import (
    BENCHMARKS,
    PAGE,
    QUERY,
    RECORDS,
    Sample,
    answers_of,
    courses_of,
    draw,
    figures_of,
    page,
    record,
    records,
    table_of,
)

PHASES = [
    {"name": "calm", "start_s": 0.0, "end_s": 60.0, "users": 1, "rate": 60},
    {"name": "stress", "start_s": 60.0, "end_s": 120.0, "users": 2, "rate": 120},
    {"name": "after", "start_s": 120.0, "end_s": 180.0, "users": 1, "rate": 60},
]


def rows() -> list[tuple[float, str, int, float, bool]]:
    calm = [(float(second), QUERY, 200, 10.0, False) for second in range(60)]
    stress = [
        (60 + second / 2, QUERY, 200 if second % 2 else 503, 500.0, second % 2 == 0) for second in range(120)
    ]
    after = [(120.0 + second, QUERY, 200, 2_000.0 if second < 7 else 10.0, False) for second in range(60)]
    return [*calm, *stress, *after]


def figures(answered: list[tuple[float, str, int, float, bool]], name: str = "stress") -> dict[str, Figure]:
    samples = [
        Sample(at_s=1.0, resident_mb=300.0, lag_ms=2.0),
        Sample(at_s=2.0, resident_mb=310.0, lag_ms=40.0),
    ]
    found = figures_of(name, answers_of(answered), PHASES, samples)
    return {figure.name: figure for figure in found}


def test_a_refusal_is_clean_and_all_is_as_before_after_a_while() -> None:
    found = figures(rows())
    assert found["requests a minute under the load"].value == 120
    assert found["requests a minute under the load"].met
    assert found["answered under the load"].value == 50
    assert found["refused with 429 or 503 and `Retry-After`"].value == 60
    assert found["other failures"].value == 0
    assert found["answered questions under the load, p50"].value == 500
    assert found["after the load, until all was answered within 1 s"].value == 6
    assert found["resident memory at the end"].value == 310
    assert found["longest lag of the event loop"].value == 40
    assert all(figure.met for figure in found.values())


def test_a_refusal_that_names_no_time_and_a_broken_connection_are_failures() -> None:
    found = figures([*rows(), (61.0, "/ingest", 503, 5.0, False), (62.0, "/ingest", 0, 60_000.0, False)])
    assert found["other failures"].value == 2
    assert not found["other failures"].met


@pytest.mark.parametrize(("slow", "met"), [(0, True), (1, False)])
def test_a_load_that_is_borne_is_borne_in_time(slow: int, met: bool) -> None:
    answered = [
        (60 + second / 2, QUERY, 200, 900.0 if second < slow * 8 else 20.0, False) for second in range(120)
    ]
    phases = [{"name": "users", "start_s": 60.0, "end_s": 120.0, "users": 100, "rate": None}]
    lag = Sample(at_s=1.0, resident_mb=300.0, lag_ms=51.0 if slow else 50.0)
    found = {figure.name: figure for figure in figures_of("users", answers_of(answered), phases, [lag])}
    for name in ("of them within 200 ms", "all answers, p95", "longest lag of the event loop"):
        assert found[name].met is met, found[name]


def test_too_few_requests_are_told() -> None:
    assert not figures(rows()[:100])["requests a minute under the load"].met


def test_the_page_and_its_charts_are_made_of_what_was_kept(tmp_path: Path) -> None:
    answers = answers_of(rows())
    at = Circumstances(
        drill="stress",
        command="scripts/load stress",
        commit="abc",
        date="2026-01-02T03:04",
        seconds=1.0,
        machine="Some CPU",
    )
    samples = [Sample(at_s=1.0, resident_mb=300.0, lag_ms=None)]
    found = Found(
        settings={}, figures=figures_of("stress", answers, PHASES, samples), tables=[table_of(answers)]
    )
    courses = courses_of(answers, PHASES, samples)
    assert courses["a_second"]["answered"][0] == 1
    record(at, found, courses, tmp_path)
    told = page(tmp_path)
    assert "| other failures | 0 | = 0 | yes |" in told
    assert "| `/api/v2/query` | 180 | 60 | 0 | 10 | 500 | 2,000 |" in told
    ((path, svg),) = draw(tmp_path)
    assert path == tmp_path / "stress.svg"
    assert "requests a second" in svg
    assert (path, svg) in list(draw(tmp_path))


def test_the_committed_page_and_charts_are_made_of_the_committed_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    told = BENCHMARKS.read_text(encoding="utf-8")
    assert told[told.index(UNDER_LOAD) :].rstrip("\n").splitlines() == list(under_load(records()))
    assert "| stress |" in told
    for path, svg in draw():
        assert path.read_text(encoding="utf-8") == svg
    assert {path.stem for path in RECORDS.glob("*.svg")} == {path.stem for path in RECORDS.glob("*.json")}


def test_locust_brings_the_load_and_notes_every_answer(service: httpx.Client, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(ROOT / "tests" / "load" / "locustfile.py"),
        "--headless",
    ]
    command += ["--host", str(service.base_url).rstrip("/"), "--scenario", "steady", "--minutes", "0.03"]
    command += ["--users", "5", "--answers", str(answers), "--stop-timeout", "30"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    noted: dict[str, Any] = json.loads(answers.read_text(encoding="utf-8"))
    assert noted["phases"] == [{"name": "steady", "start_s": 0.0, "end_s": 1.8, "users": 5, "rate": 1000}]
    assert noted["answers"]
    assert {status for _, _, status, _, _ in noted["answers"]} == {200}
