"""Dates as people write and say them: the patterns, and what dateparser reads in one expression."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime
from functools import lru_cache
from typing import Final

from dateparser.date import DateDataParser

from cofio.text.pattern_set import PatternSet

MONTHS: Final = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
FULL_MONTHS: Final = "january|february|march|april|may|june|july|august|september|october|november|december"
WEEKDAYS: Final = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
YEAR: Final = r"(?:19|20)\d\d"
COUNT: Final = r"(?:a\s+couple\s+of|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|\d{1,3})"

_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_OF_YEAR: Final = rf"(?:(?:\s*,\s*|\s+)(?:of\s+|in\s+)?(?P<year{{n}}>{YEAR}))?"

# A whole date in figures, or as a day and a month in either order, with or without the year.
WHOLE_DATE: Final = re.compile(
    rf"""\b(?:
        (?P<iso>{YEAR}[-/](?:0?[1-9]|1[0-2])[-/]{_DAY})
      | (?P<dotted>{_DAY}\.(?:0?[1-9]|1[0-2])\.{YEAR})
      | (?P<slashed>\d{{1,2}}/\d{{1,2}}/{YEAR})
      | (?P<day1>{_DAY})(?P<nth1>st|nd|rd|th)?\s+(?:of\s+)?(?P<month1>{MONTHS})\b\.?{_OF_YEAR.format(n=1)}
      | (?P<month2>{MONTHS})\b\.?\s+(?:the\s+)?(?P<day2>{_DAY})(?P<nth2>st|nd|rd|th)?{_OF_YEAR.format(n=2)}
    )\b(?![-/.:%]?\d)""",
    re.VERBOSE | re.IGNORECASE,
)
_TIME_WORD: Final = re.compile(
    r"\b(?:on|by|before|until|till|since|after|from|of|due|for|around|at|to|between)\s+(?:the\s+)?$",
    re.IGNORECASE,
)


def has_year(match: re.Match[str]) -> bool:
    """Whether a match of `WHOLE_DATE` gives its year."""
    return any(match[group] for group in ("iso", "dotted", "slashed", "year1", "year2"))


def whole_date(match: re.Match[str], before: str, year: int) -> date | None:
    """The day that a match of `WHOLE_DATE` names, in `year` where it gives none.

    `before` is the text in front of the match. None for a day that does not exist and for "may" or "march"
    used as a verb ("the 2 may differ").
    """
    if match["iso"]:
        return parsed(match["iso"].replace("/", "-"), None)
    if match["slashed"]:
        return parsed(match["slashed"], None)
    if match["dotted"]:
        day, month, own_year = match["dotted"].split(".")
        return parsed(f"{own_year}-{month:0>2}-{day:0>2}", None)
    name, nth = match["month1"] or match["month2"], match["nth1"] or match["nth2"]
    day, own_year = match["day1"] or match["day2"], match["year1"] or match["year2"]
    if name in ("may", "march", "mar") and not (nth or own_year or _TIME_WORD.search(before)):
        return None
    # The year always goes along: the day of a month without one is ambiguous, and newer Pythons warn of it.
    return parsed(f"{int(day)} {name} {own_year or year}", None)


@lru_cache(maxsize=4096)
def parsed(expression: str, base: date | None) -> date | None:
    """What dateparser reads in one English date expression, counted from `base` where it is relative."""
    origin = datetime(2024, 1, 1) if base is None else datetime(base.year, base.month, base.day)
    parser = DateDataParser(languages=["en"], settings={"RELATIVE_BASE": origin})
    moment = parser.get_date_data(expression).date_obj
    return None if moment is None else moment.date()


def month_number(name: str) -> int:
    """1 to 12 for the English name of a month or its first three letters."""
    short = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
    return short.index(name[:3].lower()) + 1


def weekday_number(name: str) -> int:
    """0 (Monday) to 6 for the English name of a weekday or its first three letters."""
    return ("mon", "tue", "wed", "thu", "fri", "sat", "sun").index(name[:3].lower())


def month_end(day: date) -> date:
    """The last day of the month of `day`."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def in_year(day: date, year: int) -> date:
    """The same day of another year; 28 February for a leap day that the year lacks."""
    return date(year, day.month, min(day.day, calendar.monthrange(year, day.month)[1]))


_UNITS: Final = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
_TEENS: Final = [
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
]
_SPELLED: Final = {
    **{word: day for day, word in enumerate([*_UNITS, *_TEENS, "twentieth"], 1)},
    **{f"twenty-{word}": day for day, word in enumerate(_UNITS, 21)},
    "thirtieth": 30,
    "thirty-first": 31,
}
_SPELLED_DAY: Final = re.compile(
    r"\b(" + "|".join(sorted(_SPELLED, key=len, reverse=True)).replace("-", "[- ]") + r")(?=\s+(?:of\s+)?"
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december)\b)",
    re.IGNORECASE,
)
_ANY_SPELLED_DAY: Final = PatternSet([_SPELLED_DAY])


def with_digits(text: str) -> str:
    """`text` with spelled days of a month as digits: "the tenth of April" becomes "the 10th of April"."""

    def digits(match: re.Match[str]) -> str:
        day = _SPELLED[match[1].lower().replace(" ", "-")]
        ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        return f"{day}{ending}"

    return _SPELLED_DAY.sub(digits, text) if _ANY_SPELLED_DAY.matching(text) else text
