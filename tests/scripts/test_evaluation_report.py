"""The page of figures says what the measured files say, and what was not measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from cofio.eval.command import as_json, evaluate
from cofio.eval.datasets import read_dataset
from cofio.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_of_what_was_measured(labelled: Path, tmp_path: Path) -> None:
    evaluation = evaluate(
        read_dataset(labelled, "locomo"),
        Settings(),
        asked_of="meeting",
        limit=None,
        ablation=True,
        cache=tmp_path,
        console=Console(stderr=True),
    )
    (tmp_path / "locomo-meeting.json").write_bytes(as_json(evaluation))
    page = subprocess.run(
        [sys.executable, ROOT / "scripts" / "evaluation_report.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = evaluation.systems["activation_on"].metrics["recall@10"]
    assert found.mean == 1
    lines = page.splitlines()
    assert "| `locomo-meeting` | 4 | int8 |" in page
    assert any(
        line.startswith("| LoCoMo recall@10, within a conversation | 1.000 | **1.000**") for line in lines
    )
    assert "| 2Wiki recall@5 | | not measured | .900 | .970 | |" in lines
    assert "## What was tried where an aim is not reached" in lines
    assert any(line.startswith("| without the spread (F) |") for line in lines)


def test_the_committed_page_reaches_what_must_be_reached() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert "**no**" not in page
    assert "not measured" not in page


def test_json_of_an_empty_figure_is_null(labelled: Path, tmp_path: Path) -> None:
    evaluation = evaluate(
        read_dataset(labelled, "musique"),
        Settings(),
        asked_of="meeting",
        limit=None,
        ablation=False,
        cache=tmp_path,
        console=Console(stderr=True),
    )
    assert evaluation.scope == "pooled"
    told = json.loads(as_json(evaluation))
    assert told["figures"]["bridges_beside_activation_share_of_missed"]["mean"] is None
