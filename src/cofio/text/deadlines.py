"""The day by which something is to be done, as it was said in a meeting."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from cofio.text.date_words import (
    COUNT,
    FULL_MONTHS,
    WHOLE_DATE,
    YEAR,
    has_year,
    month_end,
    month_number,
    parsed,
    weekday_number,
    whole_date,
    with_digits,
)
from cofio.text.pattern_set import PatternSet

# One search ends the work on most texts.
_GATE: Final = re.compile(
    rf"\d|\b(?:{FULL_MONTHS}|(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|satur|sun)(?:day)?|today|tonight|tomorrow"
    r"|this|next|coming|following|end|close|start|beginning|middle|eo[dwmqy]|cob|weeks?|months?|days?|years?)\b"
)
_WEEKDAY: Final = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?-i:Mon|Tues?|Wed|Thurs?|Fri))"
# What makes a date a deadline when it stands right before it, or opens the match itself. The hour or the weekday
# may stand between: "by end of day on May 20", "by Thursday, May 14".
_DEADLINE: Final = re.compile(
    rf"""\b(?:by|before|until|till|no\s+later\s+than|not\s+later\s+than|due(?:\s+(?:on|by|date\s+is))?
    |deadline(?:\s+(?:is|of|on))?)\s+(?:(?:the|like|maybe|around|about|(?:(?:this|next|coming)\s+)?{_WEEKDAY}
    |(?:EOD|COB|(?:end|close)\s+of\s+(?:(?:the\s+)?day|business))(?:\s+on)?)\s*,?\s+)*$""",
    re.VERBOSE | re.IGNORECASE,
)
_OPENS_AS_DEADLINE: Final = re.compile(r"(?:by|before|until|till|due)\b", re.IGNORECASE)
# What makes it a habit, a memory or a farewell.
_BEHIND: Final = re.compile(
    r"""\b(?:last|past|previous|every|each|since|ago|yesterday|earlier|(?<!week\s)(?<!now\s)from
    |(?:see|talk\s+to)\s+(?:you|each\s+other)(?:\s+\w+){0,3}?)
    [,\s]+(?:(?:on|in|the|this)\s+)*$""",
    re.VERBOSE | re.IGNORECASE,
)
_LOOKS_BACK: Final = re.compile(
    r"""\b(?:was|were|did|had|discussed|said|happened|raised|talked|decided|met|went|introduced|launched
    |mentioned|(?:i|we|you|he|she|they)\s+\w+ed)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_LOOKS_AHEAD: Final = re.compile(
    r"""\b(?:will|should|can|could|need|needs|must|have\s+to|has\s+to|going\s+to|gonna|plan|want|would
    |let['’]?s|please|try|aim|target|due|deadline|tomorrow|next)\b|['’](?:ll\b|d\s+like\b)""",
    re.VERBOSE | re.IGNORECASE,
)
_PROMISE: Final = re.compile(
    r"""\b(?:i|we|you|he|she|they)(?:['’]ll|\s+(?:will|can|should|must|need\s+to|have\s+to))\b[^.?!]*$
    |\b(?:can|could|would)\s+you\b|\bplease\b|\blater\s+$""",
    re.VERBOSE | re.IGNORECASE,
)
# A date without a year that lies further ahead than this is one that lies just behind, with one exception (`_whole`).
_FURTHEST: Final = timedelta(days=300)
# After "end of day" and the like: the day whose end it is.
_DAY_FOLLOWS: Final = re.compile(
    rf"""\s+(?:on\s+)?(?:(?:(?:this|next|coming|following)\s+)?{_WEEKDAY}|(?:the\s+day\s+after\s+)?tomorrow
    |the\s+\d{{1,2}}(?:st|nd|rd|th))\b(?!['’]s)""",
    re.VERBOSE | re.IGNORECASE,
)
_BEFORE_WHOLE_DATE: Final = re.compile(r"(?:\s+on\s+|,?\s+)(?:the\s+)?", re.IGNORECASE)
# From a later year on nothing is counted: the calendar ends with the year 9999.
_LAST_YEAR: Final = 9900


def due_date(text: str, said_on: date | None) -> date | None:
    """The day by which `text` says a thing is to be done, or None where it names none.

    Relative words ("by Friday", "in two weeks", "end of the month", "next week", "Q3") count from `said_on`;
    without it only a date with its year is known. "Next Friday" is the Friday of the next calendar week, a
    week ends on its Friday, a month or quarter on its last day. What lies behind ("last Monday", "on Monday
    we discussed") is no deadline. Of several dates the first after "by", "before", "until" or "due" wins,
    then the first.
    """
    if not _MAY_NAME_A_DAY.matching(text.lower()):
        return None
    if said_on is not None and said_on.year > _LAST_YEAR:
        said_on = None
    text = with_digits(text)
    best: tuple[bool, int] | None = None
    due: date | None = None
    looks_back: bool | None = None
    for place in sorted(_ANY_RULE.matching(text)):
        pattern, read = _RULES[place]
        for match in pattern.finditer(text):
            before = text[: match.start()]
            strong = bool(_DEADLINE.search(before) or _OPENS_AS_DEADLINE.match(match[0]))
            rank = (not strong, match.start())
            if not strong and looks_back is None:
                looks_back = _LOOKS_BACK.search(text) is not None and _LOOKS_AHEAD.search(text) is None
            if (looks_back and not strong) or (best is not None and rank >= best) or _BEHIND.search(before):
                continue
            day = read(match, before, said_on)
            if day is not None and (said_on is None or day >= said_on):
                best, due = rank, day
    return due


def _whole(match: re.Match[str], before: str, said_on: date | None) -> date | None:
    if has_year(match):
        return whole_date(match, before, 0)
    if said_on is None:
        return None
    day = whole_date(match, before, said_on.year)
    if day is None or day < said_on:  # a year may lack 29 February
        day = whole_date(match, before, said_on.year + 1)
    if day is None:
        return None
    if day - said_on <= _FURTHEST:
        return day
    # In January, "by December 15" means this year's, and "it was due on December 15" last year's. A day that is
    # just over in this year was missed: nobody means the next year's without saying so.
    explicit = _DEADLINE.search(before) and not _LOOKS_BACK.search(before)
    return day if explicit and day.year == said_on.year else None


def _whole_date_follows(match: re.Match[str]) -> bool:
    """Whether the text goes on with a whole date, which is then the day that is meant."""
    text = match.string
    gap = _BEFORE_WHOLE_DATE.match(text, match.end())
    found = WHOLE_DATE.match(text, gap.end()) if gap else None
    # Any leap year will do: it has every day.
    return found is not None and whole_date(found, text[: found.start()], 2024) is not None


def _day_of_month(match: re.Match[str], _: str, said_on: date | None) -> date | None:
    if said_on is None:
        return None
    number = int(match["number"])
    if match["which"]:
        first, last = _period("month", said_on, int(match["which"].lower() == "next"))
        return first.replace(day=number) if number <= last.day else None
    first = said_on.replace(day=1)
    while True:  # at most two months lack the day or have passed it
        last = month_end(first)
        if number <= last.day and first.replace(day=number) >= said_on:
            return first.replace(day=number)
        first = last + timedelta(days=1)


def _month(match: re.Match[str], _: str, said_on: date | None) -> date | None:
    number = month_number(match["month"])
    year = _year_of(match, number, said_on)
    if year is None:
        return None
    first = date(year, number, 1)
    return _part_of(match["part"], first, month_end(first))


def _quarter(match: re.Match[str], _: str, said_on: date | None) -> date | None:
    last_month = 3 * int(match["number"])
    year = _year_of(match, last_month, said_on)
    if year is None:
        return None
    return _part_of(match["part"], date(year, last_month - 2, 1), month_end(date(year, last_month, 1)))


def _year_of(match: re.Match[str], month: int, said_on: date | None) -> int | None:
    """The year given, or the one in which `month` next comes."""
    if match["year"]:
        return int(match["year"])
    return None if said_on is None else said_on.year + (month < said_on.month)


def _part_of(part: str, first: date, last: date) -> date:
    """The day of a period that "before", "mid", "end of" and the like point to."""
    lowered = part.lower()
    if "mid" in lowered:
        return first + (last - first) // 2
    return first if any(word in lowered for word in ("before", "start", "beginning", "early")) else last


_SHORT_UNITS: Final = {"eod": "day", "eow": "week", "eom": "month", "eoq": "quarter", "eoy": "year"}


def _edge(match: re.Match[str], before: str, said_on: date | None) -> date | None:
    if said_on is None:
        return None
    short = (match["short"] or "").lower()
    unit, which = (match["unit"] or _SHORT_UNITS.get(short, "day")).lower(), (match["which"] or "").lower()
    if unit == "day" and (_DAY_FOLLOWS.match(match.string, match.end()) or _whole_date_follows(match)):
        return None
    if short:
        return _period(unit, said_on, 0)[1]
    # "At the end of the day" weighs things up; only "by the end of the day" names an evening.
    if unit == "day" and match["the"] and not which and not _DEADLINE.search(before):
        return None
    return _part_of(match["edge"], *_period(unit, said_on, 2 if match["after"] else int(which == "next")))


def _this_or_next(match: re.Match[str], before: str, said_on: date | None) -> date | None:
    if said_on is None:
        return None
    ahead = int(match["which"].lower() != "this")
    if not ahead and not match["part"] and not _PROMISE.search(before):
        return None  # "the news of this week"
    return _part_of(match["part"] or "", *_period(match["unit"].lower(), said_on, ahead))


def _period(unit: str, said_on: date, ahead: int) -> tuple[date, date]:
    """First and last working day of a week, or first and last day of a month, quarter or year.

    `ahead` counts periods from the one of `said_on`; a week that is over by `said_on` is the next one.
    """
    if unit == "day":
        return said_on + timedelta(days=ahead), said_on + timedelta(days=ahead)
    if unit == "week":
        over = said_on.weekday() > 4 and ahead == 0
        monday = said_on + timedelta(days=7 * (ahead + over) - said_on.weekday())
        return monday, monday + timedelta(days=4)
    if unit == "year":
        return date(said_on.year + ahead, 1, 1), date(said_on.year + ahead, 12, 31)
    months = 3 if unit == "quarter" else 1
    first = (said_on.month - 1) // months * months + months * ahead
    last = first + months - 1
    return (
        date(said_on.year + first // 12, first % 12 + 1, 1),
        month_end(date(said_on.year + last // 12, last % 12 + 1, 1)),
    )


def _near(match: re.Match[str], before: str, said_on: date | None) -> date | None:
    if said_on is None:
        return None
    word = match[0].lower()
    if word.endswith("tomorrow"):
        return said_on + timedelta(days=2 if word.startswith("day") else 1)
    # "Today" mostly tells when the meeting is; it is a deadline only where the text promises or asks.
    if before.lower().endswith(("until ", "till ")):
        return None
    return said_on if _DEADLINE.search(before) or _PROMISE.search(before) else None


def _weekday(match: re.Match[str], before: str, said_on: date | None) -> date | None:
    if said_on is None or _whole_date_follows(match):
        return None
    weekday = weekday_number(match["weekday"])
    which = (match["which"] or "").lower()
    if which == "next" or match["week"]:
        weeks = 2 if "after" in (match["week"] or "").lower() else 1
        return said_on + timedelta(days=7 * weeks - said_on.weekday() + weekday)
    ahead = (weekday - said_on.weekday()) % 7
    if ahead == 0 and which != "this":
        ahead = 7
    return said_on + timedelta(days=ahead + (7 if _WEEK_AFTER.search(before) else 0))


_WEEK_AFTER: Final = re.compile(r"\b(?:a|one)\s+week\s+(?:from|on|after)\s+$", re.IGNORECASE)


def _in_time(match: re.Match[str], _: str, said_on: date | None) -> date | None:
    if said_on is None:
        return None
    count = " ".join((match["count1"] or match["count2"]).lower().split())
    unit = (match["unit1"] or match["unit2"]).lower()
    return parsed(f"in {'2' if count == 'a couple of' else count} {unit}", said_on)


_Reader = Callable[[re.Match[str], str, date | None], date | None]


def _rule(pattern: str, read: _Reader) -> tuple[re.Pattern[str], _Reader]:
    return re.compile(pattern, re.VERBOSE | re.IGNORECASE), read


_PART: Final = r"""
    (?P<part>(?:by|before|until|till|in|for|due(?:\s+in)?)(?:\s+the)?
        (?:\s+(?:end|start|beginning|middle)\s+of|\s+(?:mid|early|late))?
    |(?:end|start|beginning|middle)\s+of|mid|early|late)[\s-]+"""
_RULES: Final[tuple[tuple[re.Pattern[str], _Reader], ...]] = (
    (WHOLE_DATE, _whole),
    _rule(  # no noun may follow: "on the 5th floor" is a place
        r"""\b(?:by|before|until|till|on|due|deadline\s+is|\w*day)\s+the\s+(?P<number>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)
        (?:\s+(?:of\s+)?(?P<which>this|next)\s+month\b
        |(?=\s*(?:$|[.,;:?!]|(?:at|if|so|and|or|please|latest|then|for|in\s+the\s+(?:morning|afternoon))\b)))""",
        _day_of_month,
    ),
    _rule(
        rf"\b{_PART}(?P<month>{FULL_MONTHS})\b(?!\s+(?:the\s+)?\d{{1,2}}(?!\d))(?:,?\s+(?P<year>{YEAR}))?",
        _month,
    ),
    _rule(rf"\b{_PART}Q(?P<number>[1-4])\b(?:,?\s+(?:of\s+)?(?P<year>{YEAR}))?", _quarter),
    _rule(
        r"""\b(?:(?P<edge>end|close|start|beginning|middle)\s+of\s+(?P<the>the\s+)?(?:(?P<which>this|next)\s+)?
            (?P<unit>day|week|month|quarter|year)\b(?!s|['’])(?P<after>\s+after\s+next\b)?
        |(?P<short>EO[DWMQY]|COB|close\s+of\s+business)\b)""",
        _edge,
    ),
    _rule(
        r"""\b(?P<part>(?:by|before|until|due|early|mid|late)[\s-]+)?(?:the\s+)?(?P<which>this|next|following|coming)\s+
        (?P<unit>week|month|quarter|year)\b(?!['’]?s\b)""",
        _this_or_next,
    ),
    _rule(
        r"\b(?:day\s+after\s+tomorrow|tomorrow|today|tonight|this\s+(?:afternoon|evening))\b(?!['’]s)", _near
    ),
    _rule(
        rf"""\b(?:(?P<which>this|next|coming|following)\s+)?(?P<weekday>{_WEEKDAY})\b(?!['’]s|,?\s+the\s+\d)
        (?:\s+(?:of\s+)?(?P<week>next\s+week|the\s+week\s+after\s+next)\b)?""",
        _weekday,
    ),
    _rule(
        rf"""\b(?:(?:in|within)\s+(?:the\s+next\s+|about\s+|around\s+|like,?\s+|another\s+)?
            (?P<count1>{COUNT})\s+(?P<unit1>days?|weeks?|months?|years?)
        |(?P<count2>{COUNT})\s+(?P<unit2>days?|weeks?|months?|years?)\s+from\s+(?:now|today))
        \b(?!\s+(?:of|ago)\b)""",
        _in_time,
    ),
)
_MAY_NAME_A_DAY: Final = PatternSet([_GATE])
_ANY_RULE: Final = PatternSet([pattern for pattern, _ in _RULES])
