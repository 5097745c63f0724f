from __future__ import annotations

from datetime import date

import pytest

from cofio.text.parse.times import find_date, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:12", 12.0), ("75:30", 4530.0), ("1:02:03", 3723.0), ("00:00:01,250", 1.25), ("00:01.5", 1.5),
        ("1:75:00", None), ("0:61", None), ("12", None), ("0:00:13.f89", None), ("", None),
    ],
)  # fmt: skip
def test_seconds(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02", "2026/3/2 10:00 CET", "March 2, 2026, 3:00PM", "Mon, Mar 02, 2026 10:02AM • 34:12", "2 March 2026",
        "2nd of March 2026", "2-Mar-2026", "Sync-20260302_100000", "2.3.2026", "2026-03-02T10:00:00Z",
    ],
)  # fmt: skip
def test_dates(text: str) -> None:
    assert find_date(text) == date(2026, 3, 2)


def test_ambiguous_and_impossible_dates_are_none() -> None:
    assert find_date("02/03/2026") is None
    assert find_date("13/03/2026") == find_date("03/13/2026") == date(2026, 3, 13)
    assert find_date("2026-02-30") is None
    assert find_date("at 10:30 on Monday") is None
