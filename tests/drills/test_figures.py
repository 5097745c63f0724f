"""What a drill found can be read again, and the page is what the kept runs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.__main__ import descriptions
from drills.figures import PAGE, Circumstances, Figure, Found, Table, page, record

AT = Circumstances(
    drill="kill",
    command="scripts/drill kill --seed 3",
    commit="abc",
    date="2026-01-02T03:04+00:00",
    seconds=12.4,
    machine="Some CPU, 2 cores",
)


@pytest.mark.parametrize(
    ("value", "must", "met"),
    [
        (0, "= 0", True),
        (1, "= 0", False),
        (7, "≥ 7", True),
        (6, "≥ 7", False),
        (2.5, "≤ 2", False),
        (9, None, True),
    ],
)
def test_a_figure_is_held_to_what_it_must_be(value: float, must: str | None, met: bool) -> None:
    figure = Figure(name="lost", value=value, must=must)
    assert figure.met is met
    assert Found(settings={}, figures=[figure]).passed is met


def test_a_failure_fails_a_drill_whose_figures_are_met() -> None:
    assert not Found(settings={}, figures=[], failures=["one meeting is gone"]).passed


def test_what_is_recorded_is_told_on_the_page(tmp_path: Path) -> None:
    found = Found(
        settings={"seed": 3},
        figures=[Figure(name="lost", value=1, unit="meetings", must="= 0"), Figure(name="kills", value=1234)],
        tables=[Table(title="Where it was killed", header=("step", "kills"), rows=[("commit", 7)])],
        failures=["meeting 5 is gone"],
    )
    record(AT, found, "seed-3", tmp_path)
    told = page({"fuzz": "Never run.", "kill": "Kills it."}, tmp_path)
    assert "## fuzz" not in told
    assert "## kill\n\nKills it." in told
    assert (
        "`scripts/drill kill --seed 3`, commit abc, 2026-01-02T03:04+00:00, 12 s on Some CPU, 2 cores. seed 3."
        in told
    )
    assert "| lost | 1 meetings | = 0 | **no** |" in told
    assert "| kills | 1,234 |  |  |" in told
    assert "| commit | 7 |" in told
    assert "- **Failed**: meeting 5 is gone" in told


def test_the_committed_page_is_made_of_the_committed_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(descriptions())
