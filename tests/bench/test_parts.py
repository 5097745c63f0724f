"""Every part runs, without peers and in no time, and says what it left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cofio.bench import encode, ingest, kernels, peers, query, scale, search, serve
from cofio.bench.bench import Bench
from cofio.bench.command import PARTS
from cofio.bench.corpus import drawn_store, read_source, read_stored
from cofio.bench.results import Findings
from cofio.cli import app
from cofio.errors import InvalidInput
from cofio.records import Level

ROOT = Path(__file__).parents[2]


def _agrees(findings: Findings) -> None:
    assert [check.detail for check in findings.checks.values() if not check.agrees] == []


async def test_kernels(small_bench: Bench) -> None:
    findings = await kernels.measure(small_bench)
    assert {"spreading: cofio", "spreading with hubs: cofio", "context spread: cofio"} == set(
        findings.timings
    )
    assert "networkx PageRank" in findings.left_out


def test_the_kernel_spreads_to_the_nearest_along_a_line() -> None:
    start, target, weight = kernels.made_graph(600, 1198, hubs=False)
    spread = kernels.best_first((start, target, weight))
    seed, full = np.array([300], np.int32), np.ones(1, np.float32)
    for _ in range(2):  # the second call finds its scratch clean
        nodes, values = spread(seed, full)
        np.testing.assert_allclose(values[:5], [1.0, 0.7, 0.7, 0.49, 0.49], rtol=1e-6)
        assert set(nodes[:5].tolist()) == {300, 299, 301, 298, 302}


async def test_both_kernels_find_what_scipy_and_python_find(small_bench: Bench) -> None:
    pytest.importorskip("scipy")
    start, target, weight = kernels.made_graph(500, 5000, hubs=True)
    spreading = peers.load("spreading")
    seeds = np.array([3, 250], np.int32)
    nodes, values = kernels.best_first((start, target, weight))(seeds, np.array([0.9, 0.5], np.float32))
    theirs = spreading.best_first(
        spreading.adjacency(start, target, weight), {3: 0.9, 250: 0.5}, kernels.FLOOR, kernels.WOKEN
    )
    assert set(nodes.tolist()) == set(theirs)
    np.testing.assert_allclose(values, [theirs[node] for node in nodes.tolist()], atol=1e-6)

    restart = np.zeros(500)
    restart[[3, 250]] = 0.5
    power = spreading.power_iteration(spreading.transitions(start, target, weight), restart)
    exact = spreading.igraph_pagerank(spreading.igraph_graph(start, target, weight), {3: 0.5, 250: 0.5})
    np.testing.assert_allclose(power, exact, atol=1e-5)


async def test_encode(small_bench: Bench) -> None:
    findings = await encode.measure(small_bench)
    assert {"question: cofio int8", "bulk: cofio fp32"} < set(findings.timings)
    assert findings.figures["bulk: cofio int8"].value > 0
    assert findings.left_out == ["sentence-transformers"]


async def test_search(small_bench: Bench) -> None:
    findings = await search.measure(small_bench)
    assert findings.figures["recall@10 of search: cofio"].value >= 0.98
    assert findings.figures["recall@10 of filtered search: cofio"].value >= 0.98
    assert "hnswlib" in findings.left_out


async def test_numpy_finds_the_nearest_that_pass(small_bench: Bench) -> None:
    folder = await drawn_store(small_bench, read_source(small_bench.data), 150)
    levels = {level: read_stored(folder, level) for level in Level}
    stored = levels[Level.EPISODE]
    exact = search.NumpyExact(levels, "project-0")
    query_vector = np.append(stored.vectors[7, :384], np.zeros(16, np.float32)).astype(np.float32)
    assert exact.search(query_vector, 3, None)[Level.EPISODE][0] == stored.ids[7]
    assert exact.search(query_vector, 3, "project-0")[Level.EPISODE][0] == stored.ids[7]


async def test_ingest(small_bench: Bench, labelled: Path) -> None:
    findings = await ingest.measure(replace(small_bench, data=labelled))
    _agrees(findings)
    assert findings.figures["rate: cofio"].value > 0
    assert findings.left_out == ["Chroma", "txtai hybrid"]


async def test_query(small_bench: Bench) -> None:
    findings = await query.measure(small_bench)
    assert "query: cofio / encoder alone" in findings.ratios
    assert "stage activate, median" in findings.figures


async def test_serve_without_wrk(small_bench: Bench, labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(labelled))  # where no program is
    findings = await serve.measure(replace(small_bench, data=labelled))
    _agrees(findings)
    assert findings.figures["requests, 2 connections: cofio"].value > 0
    assert findings.settings["load by"] == "raw sockets (asyncio)"


async def test_scale(small_bench: Bench) -> None:
    findings = await scale.measure(small_bench)
    assert "p50 of 150 by 50 memories" in findings.ratios
    assert findings.figures["start to ready, 150 memories"].value > 0
    assert "growth over 8 questions and 2 ingests, after the first tenth" in findings.figures


def test_the_command_writes_what_it_measured(tmp_path: Path) -> None:
    file = tmp_path / "encode.json"
    run = subprocess.run(
        [sys.executable, "-m", "cofio", "bench", "encode", "--quick", "--cache", tmp_path, "--json", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert "Left out: sentence-transformers" in run.stdout
    part = json.loads(file.read_bytes())["encode"]
    assert part["measured"]["cores"] >= 1
    assert part["measured"]["versions"]["numpy"]
    assert part["findings"]["settings"]["environment"]["OMP_NUM_THREADS"] == "1"
    assert part["findings"]["timings"]["question: cofio int8"]["n"] == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "there is no part nothing; parts are kernels, encode"),
        (["scale", "--sizes", "many"], "no list of numbers"),
        (["encode", "--json", "/no/such/folder/file"], "there is no folder /no/such/folder"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], says: str) -> None:
    error = CliRunner().invoke(app, ["bench", *arguments]).exception
    assert isinstance(error, InvalidInput)
    assert says in error.detail


def test_help_names_every_part() -> None:
    told = CliRunner().invoke(app, ["bench", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
    assert all(part in told for part in PARTS)
