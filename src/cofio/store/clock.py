"""The time as the tables tell it."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This instant in ISO 8601: UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
