"""Rate limits by client address, in memory of this process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final, TypeVar

from limits import parse_many
from slowapi import Limiter
from slowapi.util import get_remote_address
from starlette.requests import Request
from starlette.types import Scope

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


def admission(limiter: Limiter, rate: str) -> Callable[[Scope], bool]:
    """Counts a request of this scope as `limited` counts it, in the same window; tells whether it may pass.

    One that may not pass is counted again where it is refused, which changes nothing: its window is full.
    """
    limits = parse_many(rate) if rate else []

    def admit(scope: Scope) -> bool:
        client = get_remote_address(Request(scope))
        return all(limiter.limiter.hit(limit, client, scope["path"]) for limit in limits)

    return admit if limits else lambda scope: True
