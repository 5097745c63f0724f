"""Values from JSON that nobody has checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from cofio.text.parse.reading import unreadable
from cofio.text.parse.times import seconds

_TEXT_KEYS: Final = ("text", "content", "transcript", "utterance", "message", "sentence", "body", "caption")


def load(text: str) -> object:
    """The value of the JSON in `text`. Raises UnreadableTranscript with line and column where it is broken.

    The standard library's reader, since recognisers write NaN, which faster readers refuse.
    """
    try:
        # Not strict: lines were told apart by then, and U+2028 in a string has become a bare line feed.
        value: object = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise unreadable(
            f"The JSON is broken at line {error.lineno}, column {error.colno}: {error.msg}. "
            "Check that the file was copied to its end."
        ) from error
    except RecursionError as error:
        raise unreadable("The JSON is nested too deeply to be a transcript.") from error
    except ValueError as error:  # a number of thousands of digits
        raise unreadable(f"The JSON holds a value that cannot be read: {error}.") from error
    return value


def mapping(value: object) -> Mapping[str, object]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Sequence[object]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else ()


def string(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def body(entry: Mapping[str, object]) -> str:
    """What was said, under whichever of the usual keys it stands."""
    return next((found for key in _TEXT_KEYS if (found := string(entry.get(key)).strip())), "")


def number(value: object) -> float | None:
    """`value` as finite seconds that are not negative; also from `"12.5"` and `"00:00:12.5"`; else None."""
    if isinstance(value, str):
        clock = seconds(value)
        if clock is not None:
            return clock
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer of hundreds of digits has no float; no recording lasts 300 years either.
    return round(float(value), 6) if 0 <= value < 1e10 and math.isfinite(value) else None


def first_number(entry: Mapping[str, object], keys: Sequence[str], scale: float = 1.0) -> float | None:
    """The first of `keys` in `entry` that holds a time, in seconds: its value times `scale`."""
    for key in keys:
        found = number(entry.get(key))
        if found is not None:
            return round(found * scale, 6)
    return None


def label(value: object) -> str | None:
    """A speaker's label as text: names as they are, `0` as `Speaker 0`, `A` as `Speaker A`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, dict):
        return label(value.get("name") or value.get("display_name") or value.get("id"))
    if isinstance(value, int):
        return f"Speaker {value}" if 0 <= value < 10_000 else None
    name = string(value).strip()
    if name.isdecimal() and len(name) <= 4:
        return f"Speaker {name}"
    if len(name) == 1 and name.isascii() and name.isalpha():
        return f"Speaker {name.upper()}"
    return name or None
