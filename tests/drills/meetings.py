"""The meetings of a drill: by number and edition, each with a word that nobody else says."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from cofio.memories import named_id
from cofio.records import MeetingInput

EDITIONS: Final = (1, 2, 3)  # the first, one that has grown, one that begins otherwise
ABSENT: Final = 0  # stands for a meeting that is not stored

_PROJECT: Final = "drill"
_SYLLABLES: Final = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu")
_LONG_EVERY: Final = 20  # one meeting in so many is long: its points go to the index in several requests


def external_id(number: int) -> str:
    """What the meeting is known by in every edition."""
    return f"drill-{number}"


def meeting_id(number: int) -> str:
    """The id that cofio gives it."""
    return named_id("meeting", _PROJECT, external_id(number))


def word(number: int) -> str:
    """The word that only this meeting says, in every edition."""
    return "zor" + "".join(_SYLLABLES[int(digit)] for digit in f"{number:04}")


def edition_word(number: int, edition: int) -> str:
    """The word that only this edition of this meeting says."""
    return f"{word(number)}{_SYLLABLES[edition]}x"


def meeting(number: int, edition: int) -> MeetingInput:
    """The edition of the meeting, the same at each call."""
    return MeetingInput(
        title=f"Drill {number}",
        transcript="\n".join(_lines(number, edition)),
        date=date(2026, 1, 5) + timedelta(days=number),
        series=f"series {number % 3}",
        project=_PROJECT,
        external_id=external_id(number),
    )


def _lines(number: int, edition: int) -> list[str]:
    name = word(number)
    first = [
        f"Ann: We talked about the Aurora gateway and its {name} battery cover for a while.",
        f"Ben: The supplier of {name} is late again, so the enclosure waits for the gasket number {number}.",
        f"Ann: I will call the supplier of lot {number} and ask for a new date by Friday.",
        f"Cleo: What does marketing say about the new date of the gateway {number}?",
        f"Ben: Marketing wants the Aurora gateway {number} in the shops before the winter.",
        f"Ann: Then we decide today that lot {number} ships without the gasket.",
    ]
    if number % _LONG_EVERY == 0:
        first += [
            f"{'Ben' if i % 2 else 'Ann'}: Item {i} of lot {number} weighs {i * 7 + number} grams and goes to shelf {i % 9}."
            for i in range(135)
        ]
    told = f"the {edition_word(number, edition)} review"
    if edition == 1:
        return [*first, f"Cleo: I write the minutes of {told}."]
    if edition == 2:
        return [
            *first,
            f"Cleo: I write the minutes of {told}.",
            f"Ann: Please add that the antenna of lot {number} was measured twice.",
            f"Ben: Both times it was {number} decibels too weak.",
        ]
    return [f"Cleo: This is {told}, so we begin with the antenna.", *first[1:]]
