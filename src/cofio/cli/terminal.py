"""Where commands print, and what their exit codes say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from rich.console import Console

from cofio.errors import (
    CofioError,
    Forbidden,
    InvalidInput,
    InvalidSettings,
    ModelMissing,
    NotFound,
    Overloaded,
    StoreInUse,
    StoreTooNew,
    Unauthenticated,
    Unavailable,
)

# Exit codes as sysexits.h names them; 1 is for files that failed while others did not. 2 is a usage error.
EXIT_CODES: Final[Mapping[type[CofioError], int]] = {
    CofioError: os.EX_SOFTWARE,
    InvalidInput: os.EX_DATAERR,
    Unauthenticated: os.EX_NOPERM,
    Forbidden: os.EX_NOPERM,
    NotFound: os.EX_NOINPUT,
    Unavailable: os.EX_UNAVAILABLE,
    ModelMissing: os.EX_OSFILE,
    Overloaded: os.EX_TEMPFAIL,
    StoreInUse: os.EX_TEMPFAIL,
    StoreTooNew: os.EX_CONFIG,
    InvalidSettings: os.EX_CONFIG,
}
SOME_FAILED: Final = 1

out: Final = Console()
err: Final = Console(stderr=True)


def exit_code(error: CofioError) -> int:
    """The exit code of the nearest base class of `error` that is listed."""
    return next(EXIT_CODES[base] for base in type(error).__mro__ if base in EXIT_CODES)
