"""The dates that a question names, and how well a memory's date fits them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date, timedelta
from typing import Final, Literal

from cofio.text.date_words import (
    FULL_MONTHS,
    MONTHS,
    WEEKDAYS,
    WHOLE_DATE,
    YEAR,
    has_year,
    in_year,
    month_end,
    month_number,
    weekday_number,
    whole_date,
    with_digits,
)
from cofio.text.deadlines import due_date

__all__ = ["DateSpan", "Granularity", "date_match", "due_date", "named_dates"]

Granularity = Literal["day", "month", "year"]

# One search decides whether a question can name a date at all; most end here. It runs on lower case: ignoring
# case would cost it three times as long.
_QUERY_GATE: Final = re.compile(
    rf"\d|\b(?:{FULL_MONTHS}|{WEEKDAYS}|yesterday|today|(?:last|this)\s+(?:week|month|year))\b"
)

_MONTH_YEAR: Final = re.compile(
    rf"\b(?:(?P<month>{MONTHS})\b\.?,?\s+(?:of\s+)?(?P<year>{YEAR})|(?P<iso>{YEAR}-(?:0[1-9]|1[0-2])))"
    r"\b(?![-/]\d)",
    re.IGNORECASE,
)
# A month alone counts only after a word that makes it a time: "may" and "march" are verbs, "April" and
# "June" are people.
_MONTH_ALONE: Final = re.compile(
    r"\b(?:in|during|since|until|till|before|after|around|throughout|early|late|mid|last|next|this"
    r"|(?:end|start|beginning|middle|month)\s+of)[\s-]+"
    rf"(?P<month>{FULL_MONTHS})\b(?!['’]s|\s+(?:madness|also|not|be)\b)",
    re.IGNORECASE,
)
_YEAR_ALONE: Final = re.compile(
    rf"\b(?:in|during|throughout|since|until|of|year)\s+(?:the\s+year\s+)?(?P<year>{YEAR})\b(?![-/.]\d)",
    re.IGNORECASE,
)
_PAST: Final = re.compile(
    rf"\b(?:(?P<day>yesterday|today)|(?P<which>last|this)\s+(?P<unit>week|month|year)"
    rf"|(?:on|last|this|from|since)\s+(?P<weekday>{WEEKDAYS}))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DateSpan:
    """A date that a question names: from `start` to `end`, both included.

    `any_year` is True where the question gives a day or a month without a year; `start` and `end` then lie
    in the year that is nearest before the day of asking, and every year matches.
    """

    start: date
    end: date
    granularity: Granularity
    any_year: bool = False


def named_dates(query: str, today: date | None = None) -> tuple[DateSpan, ...]:
    """The dates that `query` names, in the order it names them, each once.

    Days ("5 May 2023", "May 5th", "2023-05-05"), months ("in May", "May 2023") and years ("in 2023") are
    known without `today`; "yesterday", "last week" and "on Monday" are read only with it, as the latest past.
    Numbers alone, versions and "may" or "march" as verbs name nothing.
    """
    if not _QUERY_GATE.search(query.lower()):
        return ()
    query = with_digits(query)
    found: dict[int, DateSpan] = {}
    taken: list[tuple[int, int]] = []
    for start, end, span in _spans(query, today):
        if all(end <= a or start >= b for a, b in taken):
            taken.append((start, end))
            found[start] = span
    return tuple(dict.fromkeys(found[start] for start in sorted(found)))


def date_match(said_on: date, span: DateSpan) -> float:
    """How well a memory of `said_on` fits a date in the question, in [0, 1] (DESIGN §3 point 5).

    Day: 1 if said 0 to 2 days after it, .7 within −1 to +10 days, .2 within 30 days after. Month: 1 in it,
    .4 in the month after. Year: 1 in it.
    """
    if not span.any_year:
        return _match(said_on, span.start, span.end, span.granularity)
    years = range(max(MINYEAR, said_on.year - 1), min(MAXYEAR, said_on.year + 1) + 1)
    return max(_match(said_on, in_year(span.start, y), in_year(span.end, y), span.granularity) for y in years)


# --- what a question names ---------------------------------------------------------------------------------


def _spans(query: str, today: date | None) -> Iterator[tuple[int, int, DateSpan]]:
    """Candidates with their place in the query, the more explicit kinds first."""
    for match in WHOLE_DATE.finditer(query):
        day = whole_date(match, query[: match.start()], (today or date(2024, 12, 31)).year)
        if day is not None:
            without_year = not has_year(match)
            if without_year and today is not None and day > today:
                day = in_year(day, day.year - 1)
            yield (*match.span(), DateSpan(start=day, end=day, granularity="day", any_year=without_year))
    for match in _MONTH_YEAR.finditer(query):
        if match["iso"]:
            year, month = (int(part) for part in match["iso"].split("-"))
        else:
            year, month = int(match["year"]), month_number(match["month"])
        yield (*match.span(), _month_span(year, month))
    for match in _MONTH_ALONE.finditer(query):
        month = month_number(match["month"])
        year = 2024 if today is None else today.year - (month > today.month)
        yield (*match.span(), _month_span(year, month, any_year=True))
    for match in _YEAR_ALONE.finditer(query):
        year = int(match["year"])
        yield (*match.span(), _year_span(year))
    if today is not None:
        for match in _PAST.finditer(query):
            yield (*match.span(), _past_span(match, today))


def _month_span(year: int, month: int, *, any_year: bool = False) -> DateSpan:
    first = date(year, month, 1)
    return DateSpan(start=first, end=month_end(first), granularity="month", any_year=any_year)


def _year_span(year: int) -> DateSpan:
    return DateSpan(start=date(year, 1, 1), end=date(year, 12, 31), granularity="year")


def _past_span(match: re.Match[str], today: date) -> DateSpan:
    if match["day"]:
        day = today - timedelta(days=match["day"].lower() == "yesterday")
        return DateSpan(start=day, end=day, granularity="day")
    if match["weekday"]:
        back = (today.weekday() - weekday_number(match["weekday"])) % 7
        if back == 0 and match[0].lower().startswith("last"):
            back = 7
        day = today - timedelta(days=back)
        return DateSpan(start=day, end=day, granularity="day")
    last = match["which"].lower() == "last"
    if match["unit"].lower() == "year":
        return _year_span(today.year - last)
    if match["unit"].lower() == "month":
        month = date(today.year, today.month, 1)
        if last:
            month = (month - timedelta(days=1)).replace(day=1)
        return _month_span(month.year, month.month)
    monday = today - timedelta(days=today.weekday() + 7 * last)
    return DateSpan(start=monday, end=monday + timedelta(days=6), granularity="day")


def _match(said_on: date, start: date, end: date, granularity: Granularity) -> float:
    if granularity == "day":
        after = (said_on - end).days if said_on > end else min((said_on - start).days, 0)
        if 0 <= after <= 2:
            return 1.0
        if -1 <= after <= 10:
            return 0.7
        return 0.2 if 0 <= after <= 30 else 0.0
    if start <= said_on <= end:
        return 1.0
    if granularity == "month" and end < said_on <= month_end(end + timedelta(days=1)):
        return 0.4
    return 0.0
