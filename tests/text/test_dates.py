"""Dates in speech: deadlines counted from the meeting, and the dates that a question names."""

from __future__ import annotations

import time
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofio.text.dates import DateSpan, date_match, due_date, named_dates

WEDNESDAY = date(2024, 3, 6)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("I'll send it by Friday", date(2024, 3, 8)),
        ("by Wed please", date(2024, 3, 13)),
        ("we can finish this Friday", date(2024, 3, 8)),
        ("let's do it next Tuesday", date(2024, 3, 12)),
        ("next Friday", date(2024, 3, 15)),
        ("a week from Friday", date(2024, 3, 15)),
        ("no later than Thursday", date(2024, 3, 7)),
        ("on Monday we should look at it", date(2024, 3, 11)),
        ("I'll do it tomorrow", date(2024, 3, 7)),
        ("the day after tomorrow", date(2024, 3, 8)),
        ("I'll finish it today", WEDNESDAY),
        ("EOD please", WEDNESDAY),
        ("by the end of the day", WEDNESDAY),
        ("by the end of the week", date(2024, 3, 8)),
        ("by the end of next week", date(2024, 3, 15)),
        ("we will do it this week", date(2024, 3, 8)),
        ("PR 4897 by next week", date(2024, 3, 15)),
        ("by the end of the month", date(2024, 3, 31)),
        ("at the start of next month", date(2024, 4, 1)),
        ("until the end of the quarter", date(2024, 3, 31)),
        ("by the end of the year", date(2024, 12, 31)),
        ("in two weeks I will have it", date(2024, 3, 20)),
        ("in a couple of weeks", date(2024, 3, 20)),
        ("within 10 days", date(2024, 3, 16)),
        ("three weeks from now", date(2024, 3, 27)),
        ("we launch on 3 May", date(2024, 5, 3)),
        ("by March 20th", date(2024, 3, 20)),
        ("by the 15th", date(2024, 3, 15)),
        ("the deadline is the 2nd", date(2024, 4, 2)),
        ("due Friday the 15th", date(2024, 3, 15)),
        ("end of March", date(2024, 3, 31)),
        ("mid April", date(2024, 4, 15)),
        ("by January", date(2025, 1, 31)),
        ("by Q3", date(2024, 9, 30)),
        ("in Q1 2025", date(2025, 3, 31)),
        ("due 2024-04-01", date(2024, 4, 1)),
        ("on 5.4.2024", date(2024, 4, 5)),
        ("tomorrow we talk, but it is due by Friday", date(2024, 3, 8)),
    ],
)
def test_due_date(text: str, due: date) -> None:
    assert due_date(text, WEDNESDAY) == due


@pytest.mark.parametrize(
    ("text", "said_on", "due"),
    [
        ("by EOD tomorrow", date(2026, 5, 6), date(2026, 5, 7)),
        ("by EOD", date(2026, 5, 6), date(2026, 5, 6)),
        ("I'll send it by EOD, tomorrow we talk", date(2026, 5, 6), date(2026, 5, 6)),
        ("we talk on Monday, send it by EOD tomorrow", date(2026, 5, 6), date(2026, 5, 7)),
        ("by EOD Friday's fine", date(2026, 5, 6), date(2026, 5, 6)),
        ("by end of day Friday", date(2026, 5, 6), date(2026, 5, 8)),
        ("by end of day next Friday", date(2026, 5, 6), date(2026, 5, 15)),
        ("by COB Thursday", date(2026, 5, 6), date(2026, 5, 7)),
        ("by close of business Monday", date(2026, 5, 6), date(2026, 5, 11)),
        ("by the end of the day on May 20", date(2026, 5, 6), date(2026, 5, 20)),
        ("by EOD on the 15th", date(2026, 5, 6), date(2026, 5, 15)),
        ("by Thursday, May 14", date(2026, 5, 4), date(2026, 5, 14)),
        ("by Thursday the 14th of May", date(2026, 5, 4), date(2026, 5, 14)),
        ("we talk tomorrow, it is due by Thursday, May 14", date(2026, 5, 4), date(2026, 5, 14)),
        ("by Thursday 2 may join", date(2026, 5, 4), date(2026, 5, 7)),
        ("on Friday next week", date(2026, 5, 4), date(2026, 5, 15)),
        ("on Friday of next week", date(2026, 5, 4), date(2026, 5, 15)),
        ("by Tuesday next week", date(2026, 5, 4), date(2026, 5, 12)),
        ("by Tuesday the week after next", date(2026, 5, 4), date(2026, 5, 19)),
        ("by the 5th of next month", date(2026, 5, 4), date(2026, 6, 5)),
        ("by the 31st of next month", date(2026, 5, 4), date(2026, 6, 30)),
        ("I will have it by the 20th of this month", date(2026, 5, 4), date(2026, 5, 20)),
        ("by the end of the week after next", date(2026, 5, 6), date(2026, 5, 22)),
    ],
)
def test_of_words_that_name_one_day_together_none_counts_alone(text: str, said_on: date, due: date) -> None:
    assert due_date(text, said_on) == due


@pytest.mark.parametrize(
    ("text", "said_on", "due"),
    [
        ("by December 15", date(2026, 1, 12), date(2026, 12, 15)),
        ("by Dec 31", date(2026, 1, 2), date(2026, 12, 31)),
        ("on December 15", date(2026, 1, 12), None),
        ("it was due on December 15", date(2026, 1, 12), None),
        ("by May 1", date(2026, 5, 6), None),
        ("by February 29", date(2027, 12, 1), date(2028, 2, 29)),
        ("by February 29", date(2025, 12, 1), None),
    ],
)
def test_a_date_far_ahead_counts_where_it_is_called_a_deadline(
    text: str, said_on: date, due: date | None
) -> None:
    assert due_date(text, said_on) == due


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the 2 options",
        "EIP 7732 and PR 4897",
        "at the end of the day it is fine",
        "last Friday we did it",
        "on Monday we discussed it",
        "every Monday",
        "the great news of this week",
        "since I deployed the fix from Friday",
        "I deployed it on Friday",
        "it was not known until today",
        "we'll see each other in two weeks",
        "today we discuss the budget",
        "I may take 2",
        "on the 5th floor",
        "in 2 minutes",
        "in two weeks of work",
        "see you in two weeks",
        "we launched on 3 March",
        "Monday's call",
        "due 2024-01-01",
        "on 30 February",
    ],
)
def test_no_deadline(text: str) -> None:
    assert due_date(text, WEDNESDAY) is None


def test_without_a_meeting_date_only_full_dates_count() -> None:
    assert due_date("by Friday", None) is None
    assert due_date("by 3 May", None) is None
    assert due_date("by 3 May 2024", None) == date(2024, 5, 3)


def test_weekend_counts_to_the_week_that_comes() -> None:
    assert due_date("by the end of the week", date(2024, 3, 9)) == date(2024, 3, 15)


@given(
    st.dates(date(2000, 1, 1), date(2090, 1, 1)),
    st.sampled_from(
        ["by Friday", "end of the month", "by Q2", "next month", "by the 31st", "in two weeks", "by May"]
    ),
)
def test_a_deadline_lies_ahead(said_on: date, text: str) -> None:
    due = due_date(text, said_on)
    assert due is not None
    assert timedelta(0) <= due - said_on <= timedelta(days=366)


def day(year: int, month: int, number: int) -> DateSpan:
    return DateSpan(start=date(year, month, number), end=date(year, month, number), granularity="day")


@pytest.mark.parametrize(
    ("query", "spans"),
    [
        ("What was said on 21 May, 2023?", [day(2023, 5, 21)]),
        ("on 1st September 2023 and December 1,2023", [day(2023, 9, 1), day(2023, 12, 1)]),
        ("the 3rd of March 2024", [day(2024, 3, 3)]),
        ("on 2023-05-04", [day(2023, 5, 4)]),
        (
            "What did Nate do in April 2022?",
            [DateSpan(start=date(2022, 4, 1), end=date(2022, 4, 30), granularity="month")],
        ),
        ("2023-02 plans", [DateSpan(start=date(2023, 2, 1), end=date(2023, 2, 28), granularity="month")]),
        (
            "What happened in 2023?",
            [DateSpan(start=date(2023, 1, 1), end=date(2023, 12, 31), granularity="year")],
        ),
        (
            "twice in May 2023, in May 2023",
            [DateSpan(start=date(2023, 5, 1), end=date(2023, 5, 31), granularity="month")],
        ),
    ],
)
def test_named_dates(query: str, spans: list[DateSpan]) -> None:
    assert list(named_dates(query)) == spans
    assert list(named_dates(query, WEDNESDAY)) == spans


@pytest.mark.parametrize(
    "query",
    [
        "the 2 options of EIP 7732",
        "what may 2 people do",
        "did they march 3 times",
        "May we begin?",
        "What did April say to June?",
        "version 2.10 and FIFA 23",
        "room 5 may be free",
        "what did we decide yesterday",
        "on 30 February",
    ],
)
def test_nothing_named(query: str) -> None:
    assert named_dates(query) == ()


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("what did we decide yesterday", date(2024, 3, 5), date(2024, 3, 5)),
        ("last week's budget", date(2024, 2, 26), date(2024, 3, 3)),
        ("the plans of last month", date(2024, 2, 1), date(2024, 2, 29)),
        ("what did Bob say on Monday", date(2024, 3, 4), date(2024, 3, 4)),
        ("last Wednesday", date(2024, 2, 28), date(2024, 2, 28)),
    ],
)
def test_the_past_is_read_from_today(query: str, start: date, end: date) -> None:
    (span,) = named_dates(query, WEDNESDAY)
    assert (span.start, span.end) == (start, end)


def test_without_a_year_every_year_matches() -> None:
    (span,) = named_dates("What did Tim get on Aug 15th?")
    assert span.any_year
    assert date_match(date(2021, 8, 16), span) == 1.0
    assert date_match(date(2023, 8, 14), span) == 0.7
    assert date_match(date(2023, 5, 14), span) == 0.0
    (over_new_year,) = named_dates("on 31 December", WEDNESDAY)
    assert over_new_year.start == date(2023, 12, 31)
    assert date_match(date(2020, 1, 1), over_new_year) == 1.0


@pytest.mark.parametrize(
    ("days", "score"),
    [(0, 1.0), (2, 1.0), (3, 0.7), (10, 0.7), (-1, 0.7), (11, 0.2), (30, 0.2), (31, 0.0), (-2, 0.0)],
)
def test_date_match_of_a_day(days: int, score: float) -> None:
    assert date_match(date(2023, 5, 21) + timedelta(days=days), day(2023, 5, 21)) == score


def test_date_match_of_a_month_and_a_year() -> None:
    (month,) = named_dates("in January 2023")
    assert [date_match(date(2023, m, 28), month) for m in (1, 2, 3)] == [1.0, 0.4, 0.0]
    assert date_match(date(2022, 12, 31), month) == 0.0
    (year,) = named_dates("in 2023")
    assert [date_match(date(y, 6, 1), year) for y in (2022, 2023, 2024)] == [0.0, 1.0, 0.0]


def test_a_question_without_a_date_costs_microseconds() -> None:
    query = "what does the user interface designer think about the battery of the remote control"
    assert named_dates(query) == ()
    rounds = 2000
    best = min(_seconds(query, rounds) for _ in range(5))
    assert best / rounds < 60e-6  # about 12 µs on a quiet core


def _seconds(query: str, rounds: int) -> float:
    began = time.process_time()
    for _ in range(rounds):
        named_dates(query)
    return time.process_time() - began


@pytest.mark.parametrize("said_on", [date.min, date(1, 12, 31), date(9999, 1, 1), date.max])
def test_the_calendar_has_ends(said_on: date) -> None:
    for text in (
        "next week",
        "by tomorrow",
        "by Friday",
        "end of next quarter",
        "next year",
        "in 99 years",
        "by the 31st",
    ):
        due_date(text, said_on)
    for question in ("What was said on March 5th?", "in December", "in January"):
        for span in named_dates(question):
            assert 0 <= date_match(said_on, span) <= 1
