"""The peers, one module a kind. They are optional (dependency group `peers`), so they are loaded by name on demand."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cofio.errors import InvalidInput


def load(name: str) -> Any:
    """The module `name` of this package. Raises InvalidInput if a library that it takes is not installed."""
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"the peers need {error.name}, which is not installed: "
            "`pip install -c config/constraints.txt --group peers`, or leave --peers out",
            field="peers",
        ) from error
