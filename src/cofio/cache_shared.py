"""Answers that the workers of one store keep together in Redis: what one was asked, the others need not find again."""

from __future__ import annotations

import hashlib
import time
from typing import Final

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

import cofio
from cofio.errors import InvalidSettings
from cofio.records import Question
from cofio.telemetry.metrics import CACHE_EVENTS

_log = structlog.get_logger(__name__)

# A Redis that does not answer within this is left alone for a while: finding an answer takes some milliseconds.
WAIT_S: Final = 0.1
PAUSE_S: Final = 5.0
_CLEARED_AT_ONCE: Final = 500

_HIT: Final = CACHE_EVENTS.labels("shared_hits")


class SharedCache:
    """Answers by store, version of the truth and question; an answer is never given for another version.

    `store` names the truth that the answers are of. A Redis that does not answer makes every question new, nothing more.
    """

    def __init__(self, url: str, *, store: str, ttl_s: float) -> None:
        """Raises `InvalidSettings` if `url` names no Redis."""
        try:
            self._redis: Redis = Redis.from_url(url, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S)
        except ValueError as error:
            raise InvalidSettings(
                "cache_url names no Redis server; write it like redis://host:6379/0", field="cache_url"
            ) from error
        # Another version of cofio may write answers otherwise.
        self._prefix = f"cofio:answer:{cofio.__version__}:{store}:"
        self._ttl_ms = int(ttl_s * 1000)
        self._retry_at = 0.0

    async def get(self, question: Question, version: int) -> bytes | None:
        """The answer that a worker put for this question at this version of the truth, or None."""
        if time.monotonic() < self._retry_at:
            return None
        try:
            answer: bytes | None = await self._redis.get(self._key(question, version))
        except (RedisError, OSError) as error:
            self._leave_alone(error)
            return None
        if answer is not None:
            _HIT.inc()
        return answer

    async def put(self, question: Question, version: int, answer: bytes) -> None:
        """The answer is there for all workers until its time is up, if Redis answers and has room."""
        if time.monotonic() < self._retry_at:
            return
        try:
            await self._redis.set(self._key(question, version), answer, px=self._ttl_ms)
        except (RedisError, OSError) as error:
            self._leave_alone(error)

    async def clear(self) -> bool:
        """No answer of this store is left. Returns False where Redis does not answer: then each goes when its time is up."""
        try:
            keys: list[bytes] = []
            async for key in self._redis.scan_iter(match=f"{self._prefix}*", count=_CLEARED_AT_ONCE):
                keys.append(key)
                if len(keys) == _CLEARED_AT_ONCE:
                    await self._redis.unlink(*keys)
                    keys.clear()
            if keys:
                await self._redis.unlink(*keys)
        except (RedisError, OSError) as error:
            self._leave_alone(error)
            return False
        return True

    async def aclose(self) -> None:
        """The connections are closed."""
        await self._redis.aclose()

    def _key(self, question: Question, version: int) -> str:
        """The question by its hash: Redis's own log of slow commands holds no word of it."""
        asked = orjson.dumps(question, option=orjson.OPT_SORT_KEYS)
        return f"{self._prefix}{version}:{hashlib.sha256(asked).hexdigest()}"

    def _leave_alone(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + PAUSE_S
        _log.warning("answers_not_shared", reason=type(error).__name__, retry_s=PAUSE_S)
