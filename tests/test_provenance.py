"""What is told of the machine that a figure was measured on."""

from __future__ import annotations

import sys

import pytest

from cofio.provenance import ProcessorTime, stolen_percent


def test_the_stolen_share_is_that_of_the_time_between() -> None:
    before = ProcessorTime(stolen=100, total=1_000)
    assert stolen_percent(before, ProcessorTime(stolen=150, total=1_200)) == 25.0
    assert stolen_percent(before, ProcessorTime(stolen=100, total=1_200)) == 0.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ProcessorTime(stolen=1, total=2)),
        (ProcessorTime(stolen=1, total=2), None),
        (ProcessorTime(stolen=1, total=2), ProcessorTime(stolen=1, total=2)),
    ],
)
def test_nothing_is_told_of_what_is_not_known(
    before: ProcessorTime | None, after: ProcessorTime | None
) -> None:
    assert stolen_percent(before, after) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_this_machine_tells_its_processors_time() -> None:
    before = ProcessorTime.now()
    assert before is not None
    while (after := ProcessorTime.now()) == before:
        pass
    assert after is not None
    assert 0 <= after.stolen < after.total
    share = stolen_percent(before, after)
    assert share is not None
    assert 0.0 <= share <= 100.0
