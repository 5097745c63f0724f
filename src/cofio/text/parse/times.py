"""Clock times and dates as transcripts write them."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

# Hours may be missing; minutes without hours may exceed 59.
CLOCK: Final = r"\d{1,3}:\d{1,2}(?::\d{1,2})?(?:[.,]\d{1,6})?"
_CLOCK: Final = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2})(?:[.,](\d{1,6}))?")

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        [
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ],
        1,
    )
    for name in names.split()
}
_MONTH: Final = r"(?P<month>[A-Za-z]{3,9})\.?"
_DATES: Final = (
    re.compile(r"(?<!\d)(?P<year>\d{4})[-/.](?P<number>\d{1,2})[-/.](?P<day>\d{1,2})(?!\d)"),
    re.compile(rf"\b{_MONTH} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})(?!\d)"),
    re.compile(
        rf"(?<!\d)(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?[ -](?:of )?{_MONTH},?[ -](?P<year>\d{{4}})(?!\d)"
    ),
    re.compile(r"(?<!\d)(?P<year>\d{4})(?P<number>[01]\d)(?P<day>[0-3]\d)(?!\d)"),
)
_NUMERIC: Final = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?!\d)")


def seconds(text: str) -> float | None:
    """The seconds of `1:02:03.5`, `02:03` or `00:00:01,250`; None if it is no such time."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, secs, fraction = match.groups()
    if int(secs) > 59 or (hours is not None and int(minutes) > 59):
        return None
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(secs)
    return round(whole + (float(f"0.{fraction}") if fraction else 0.0), 6)


def find_date(text: str) -> date | None:
    """The first date in `text`, or None. `03/04/2026` is ambiguous, so it is None; `13/04/2026` is not."""
    text = text[:200]
    for pattern in _DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            number = parts.get("number")
            month = int(number) if number else _MONTHS.get(parts["month"].lower(), 0)
            found = _date(int(parts["year"]), month, int(parts["day"]))
            if found is not None:
                return found
    numeric = _NUMERIC.search(text)
    if numeric is None:
        return None
    first, separator, second, year = int(numeric[1]), numeric[2], int(numeric[3]), int(numeric[4])
    if separator == "." or first > 12 or first == second:  # dots are written day first
        return _date(year, second, first)
    return _date(year, first, second) if second > 12 else None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
