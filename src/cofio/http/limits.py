"""Rate limits by client address, in memory of this process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final, TypeVar

from slowapi import Limiter
from slowapi.util import get_remote_address

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

# An empty file name keeps slowapi from reading a `.env` of the working directory: settings have one source.
_NO_FILE: Final = ""


def open_limiter() -> Limiter:
    """A limiter without a limit yet; each app has its own, so that two apps in one process do not share."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Config file '' not found", category=UserWarning)
        return Limiter(key_func=get_remote_address, config_filename=_NO_FILE)


def limited(limiter: Limiter, rate: str, endpoint: Endpoint) -> Endpoint:
    """`endpoint`, answering a client beyond `rate` with RateLimitExceeded; unchanged for an empty rate."""
    if not rate:
        return endpoint
    wrapped: Endpoint = limiter.limit(rate)(endpoint)
    return wrapped
