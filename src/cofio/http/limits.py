"""Rate limits by key, or by address where there is none; in memory of this process, or in Redis for several."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import structlog
from limits import RateLimitItem, parse_many
from limits.errors import ConfigurationError, StorageError
from slowapi import Limiter
from slowapi.util import get_remote_address
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cofio.access.callers import Caller
from cofio.errors import InvalidSettings
from cofio.http.problems import RateLimited, problem
from cofio.http.state import CALLER
from cofio.settings import Settings
from cofio.telemetry.metrics import RATE_LIMITED, RATE_STORAGE_FAILURES

_log: Final = structlog.get_logger(__name__)

# An empty file name keeps slowapi from reading a `.env` of the working directory: settings have one source.
_NO_FILE: Final = ""
# Redis that does not answer within this is left alone for a while, and each process counts for itself.
_REDIS_WAIT_S: Final = 0.5
_REDIS_PAUSE_S: Final = 5.0
# Less than this is no setting back, but the drift of two clocks.
_SET_BACK_S: Final = 1.0
# One machine has a whole network of IPv6 addresses.
_IPV6_BITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a client stands under the tightest of its limits after a request was counted."""

    limit: RateLimitItem
    allowed: bool
    remaining: int
    resets_at: float  # seconds of the epoch

    def headers(self) -> Mapping[str, str]:
        """What every answer under a limit says of it."""
        return {
            "X-RateLimit-Limit": str(self.limit.amount),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(self.resets_at)),
        }


class Rates:
    """Counts requests in windows that several processes share if they name the same Redis."""

    def __init__(self, storage_url: str | None) -> None:
        self._local = _limiter(None)
        self._shared = _limiter(storage_url) if storage_url else None
        self._retry_at = 0.0
        self._clock = _wall_clock()

    async def count(self, limits: Sequence[RateLimitItem], kind: str, client: str) -> Standing:
        """The request is counted under `limits`, up to the first that refuses it; returns that one, else the tightest.

        Where the shared windows cannot be reached, it is counted in those of this process.
        """
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                return await asyncio.to_thread(_count, self._shared, limits, kind, client)
            except StorageError as error:
                RATE_STORAGE_FAILURES.inc()
                self._retry_at = time.monotonic() + _REDIS_PAUSE_S
                reason = type(error.storage_error).__name__
                _log.warning("rates_not_shared", reason=reason, retry_s=_REDIS_PAUSE_S)
        clock = _wall_clock()
        if clock < self._clock - _SET_BACK_S:
            # The windows of this process end by a clock that was set back since: they would last for so much longer.
            self._local.reset()
        self._clock = clock
        return _count(self._local, limits, kind, client)


def limits_of(rate: str) -> list[RateLimitItem]:
    """The limits of a rate, the shortest window first: what it refuses does not count under the longer ones."""
    return sorted(parse_many(rate), key=lambda limit: limit.get_expiry()) if rate else []


class RateLimits:
    """The app inside, for clients within their rates; the others are refused unread, with 429 and `Retry-After`."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        url = settings.rate_storage_url
        self._rates = Rates(url.get_secret_value() if url else None)
        self._limits = {
            "query": limits_of(settings.query_rate),
            "ingest": limits_of(settings.ingest_rate),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _kind(scope["method"], scope["path"]) if scope["type"] == "http" else None
        limits = self._limits[kind] if kind else None
        if not kind or not limits:
            await self.app(scope, receive, send)
            return
        standing = await self._rates.count(limits, kind, client_of(scope))
        headers = standing.headers()
        if not standing.allowed:
            RATE_LIMITED.labels(kind).inc()
            wait_s = max(1, math.ceil(standing.resets_at - time.time()))
            refusal = RateLimited(f"At most {standing.limit} are allowed. Try again in {wait_s} s.")
            response = problem(
                refusal,
                path=scope["path"],
                request_id=scope["request_id"],
                headers={**headers, "Retry-After": str(wait_s)},
            )
            await response(scope, receive, send)
            return

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_standing)


def _kind(method: str, path: str) -> str | None:
    """Under which rate a request counts, if any."""
    if method == "POST":
        return {"/api/v2/query": "query", "/ingest": "ingest"}.get(path)
    return "ingest" if method == "DELETE" and path.startswith("/api/v2/meetings/") else None


def client_of(scope: Scope) -> str:
    """Whom a request counts for: its key or token, or its address without one."""
    caller: Caller = scope[CALLER]
    return caller.name or _address(get_remote_address(Request(scope)))


@lru_cache(maxsize=4096)
def _address(written: str) -> str:
    """What an address counts as: itself, or its network if it is of IPv6."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return written
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address.packed, _IPV6_BITS), strict=False))
    return str(address.ipv4_mapped if address.version == 6 else address)


def _wall_clock() -> float:
    """Where the wall clock stands beside the one that nobody sets."""
    return time.time() - time.monotonic()


def _limiter(storage_url: str | None) -> Limiter:
    options: dict[str, Any] = {
        "wrap_exceptions": True,
        "socket_timeout": _REDIS_WAIT_S,
        "socket_connect_timeout": _REDIS_WAIT_S,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Config file '' not found", category=UserWarning)
        try:
            return Limiter(
                key_func=get_remote_address,
                config_filename=_NO_FILE,
                storage_uri=storage_url,
                storage_options=options if storage_url else {},
            )
        except (ConfigurationError, ValueError) as error:
            raise InvalidSettings(
                "rate_storage_url names no storage; write it like redis://host:6379/0",
                field="rate_storage_url",
            ) from error


def _count(limiter: Limiter, limits: Sequence[RateLimitItem], kind: str, client: str) -> Standing:
    windows = limiter.limiter
    standings = []
    for limit in limits:
        allowed = windows.hit(limit, kind, client)
        window = windows.get_window_stats(limit, kind, client)
        standing = Standing(
            limit=limit, allowed=allowed, remaining=max(0, window.remaining), resets_at=window.reset_time
        )
        if not allowed:
            return standing
        standings.append(standing)
    return min(standings, key=lambda standing: standing.remaining)
