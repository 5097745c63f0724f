"""`cofio eval` from the outside: figures for a small set, and the quality of the sample meetings."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cofio.eval.command import LEAST, evaluate, shortfalls
from cofio.eval.datasets import read_samples
from cofio.eval.measures import MEASURES
from cofio.settings import Settings

ROOT = Path(__file__).parents[2]
SYSTEMS = {
    "dense",
    "bm25",
    "hybrid",
    "ppr",
    "activation_off",
    "activation_on",
    "activation_on_plus_10",
    "activation_on_contexts",
}


def _eval(*arguments: str | Path, code: int = 0) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "cofio", "eval", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def figures(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("figures")
    told = _eval(
        "--data", labelled, "--set", "locomo", "--json", folder / "f.json", "--cache", folder, "--ablation"
    )
    assert "without the spread" in told
    assert "multi-hop (1)" in told
    assert told.count("nDCG@10") == 1 + 1 + 2  # overall, as differences, and by category
    found: dict[str, Any] = json.loads((folder / "f.json").read_bytes())
    return found


def test_the_figures_of_every_system_are_written_as_json(figures: dict[str, Any]) -> None:
    assert (figures["set"], figures["scope"], figures["n"], figures["skipped"]) == ("locomo", "meeting", 4, 1)
    assert set(figures["systems"]) == SYSTEMS
    for name, system in figures["systems"].items():
        assert set(MEASURES) <= set(system["metrics"])
        assert set(system["by_category"]) == {"single-hop", "multi-hop"}
        for figure in system["metrics"].values():
            assert 0 <= figure["low"] <= figure["mean"] <= figure["high"] <= 1
        assert bool(system["difference_to_hybrid"]) == (name != "hybrid")
    assert set(figures["measured"]) == {"machine", "commit", "date", "precision", "seconds"}


def test_what_is_said_is_found_in_a_small_memory(figures: dict[str, Any]) -> None:
    for name in ("hybrid", "activation_on"):
        assert figures["systems"][name]["metrics"]["recall@10"]["mean"] == 1
    assert figures["systems"]["activation_on"]["metrics"]["mrr"]["mean"] > 0.6


def test_adversarial_questions_measure_abstention_only(figures: dict[str, Any]) -> None:
    assert figures["figures"]["swapped_speaker_auroc"]["n"] == 4 + 2
    assert figures["figures"]["confidence_auroc"]["n"] == 2 * 4


def test_the_ablation_compares_with_all_ingredients(figures: dict[str, Any]) -> None:
    ablation = figures["ablation"]
    assert ablation["all ingredients"]["difference"]["mean"] == 0
    whole = figures["systems"]["activation_on"]["metrics"]["recall@10"]["mean"]
    assert ablation["all ingredients"]["recall"]["mean"] == pytest.approx(whole)
    assert len(ablation) > 10


def test_a_title_leads_from_a_passage_to_what_it_names(labelled: Path, tmp_path: Path) -> None:
    told = tmp_path / "f.json"
    _eval("--data", labelled, "--set", "musique", "--scope", "pooled", "--json", told, "--cache", tmp_path)
    ranked = json.loads(told.read_bytes())["systems"]["activation_on"]["metrics"]
    assert ranked["recall@5"]["mean"] == 1


def test_meetings_with_items_and_topics_are_measured_by_them(labelled: Path, tmp_path: Path) -> None:
    told = tmp_path / "f.json"
    _eval("--data", labelled, "--set", "ami_icsi", "--json", told, "--cache", tmp_path, "--limit", "1")
    found = json.loads(told.read_bytes())
    assert {"segmentation_f1", "action_item_hit@2%", "confidence_auroc"} <= set(found["figures"])
    assert "evidence_recall@10" in found["systems"]["hybrid"]["metrics"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "/nowhere", "--set", "locomo"], "holds no folder locomo"),
        (["--set", "nothing"], "holds no folder nothing; it holds meetings"),
        ([], "either a --set or --quick"),
        (["--quick", "--limit", "3"], "leave --limit out"),
        (["--quick", "--json", "/nowhere/figures.json"], "no folder /nowhere"),
    ],
    ids=["no folder", "no set", "nothing asked", "limit", "nowhere to write"],
)
def test_what_cannot_be_measured_is_one_line(arguments: list[str], says: str) -> None:
    assert says in " ".join(_eval(*arguments, code=os.EX_DATAERR).split())


def test_the_sample_meetings_answer_as_well_as_they_did(tmp_path: Path) -> None:
    told = _eval("--quick", "--cache", tmp_path)
    assert "activation_on" in told


def test_a_drop_in_quality_is_told(tmp_path: Path) -> None:
    samples = read_samples(ROOT / "data")
    evaluation = evaluate(
        samples,
        Settings(),
        asked_of="pooled",
        limit=6,
        ablation=False,
        cache=tmp_path,
        console=Console(stderr=True),
    )
    worse = {
        name: dataclasses.replace(figure, mean=figure.mean / 2)
        for name, figure in evaluation.systems["activation_on"].metrics.items()
    }
    dropped = dataclasses.replace(evaluation.systems["activation_on"], metrics=worse)
    systems = {**evaluation.systems, "activation_on": dropped}
    told = shortfalls(dataclasses.replace(evaluation, systems=systems))
    assert len(told) == len(LEAST)
    assert all("below" in sentence for sentence in told)
