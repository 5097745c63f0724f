"""Answers that were given before, for as long as the memory they came from has not changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cachetools import TTLCache

from cofio.records import Question
from cofio.telemetry.metrics import CACHE_EVENTS

# `labels` looks a child up under a lock each time, and a cached answer takes less than .2 ms in all.
_HIT, _MISS, _EVICTED = (CACHE_EVENTS.labels(event) for event in ("hits", "misses", "evictions"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """How full the cache is, and what happened in it since it was opened. `content_bytes` are the answers' own."""

    entries: int
    capacity: int
    content_bytes: int
    capacity_bytes: int
    hits: int
    misses: int
    evictions: int


class _Counted(TTLCache[Question, bytes]):
    """A TTL cache bounded in bytes that counts what it pushes out for want of room."""

    evictions = 0

    def popitem(self) -> tuple[Question, bytes]:
        self.evictions += 1
        _EVICTED.inc()
        return super().popitem()


class AnswerCache:
    """Least recently used answers give way first; all do when the graph's version moves on or their time is up.

    The key is the whole question with its filters and steering, so nothing that affects an answer is left out. An
    answer is kept as the bytes that went out: they are small beside the records they were made from.
    """

    def __init__(self, *, entries: int, max_bytes: int, ttl_s: float) -> None:
        self._answers = _Counted(maxsize=max_bytes, ttl=ttl_s, getsizeof=len)
        self._entries = entries
        self._version = -1
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def get(self, question: Question, version: int) -> bytes | None:
        """The answer that was put for this question at this version of the graph, or None."""
        with self._lock:
            answer = self._find(question, version)
            if answer is None:
                self._misses += 1
                _MISS.inc()
            return answer

    def get_if_there(self, question: Question, version: int) -> bytes | None:
        """Like `get`, but None is not counted as a miss: the caller goes on to one who will ask with `get`."""
        with self._lock:
            return self._find(question, version)

    def put(self, question: Question, version: int, answer: bytes) -> None:
        """The answer is remembered, unless a newer version was seen meanwhile or it is larger than the cache."""
        with self._lock:
            if version > self._version:
                self._answers.clear()
                self._version = version
            if version < self._version or len(answer) > self._answers.maxsize:
                return
            self._answers.expire()
            while len(self._answers) >= self._entries and question not in self._answers:
                self._answers.popitem()
            self._answers[question] = answer

    def clear(self) -> None:
        """No answer is remembered."""
        with self._lock:
            self._answers.clear()

    def figures(self) -> CacheFigures:
        """What the cache holds and did."""
        with self._lock:
            self._answers.expire()
            return CacheFigures(
                entries=len(self._answers),
                capacity=self._entries,
                content_bytes=int(self._answers.currsize),
                capacity_bytes=int(self._answers.maxsize),
                hits=self._hits,
                misses=self._misses,
                evictions=self._answers.evictions,
            )

    def _find(self, question: Question, version: int) -> bytes | None:
        answer = self._answers.get(question) if version == self._version else None
        if answer is not None:
            self._hits += 1
            _HIT.inc()
        return answer
