"""Answers that were given before, for as long as the memory they came from has not changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cachetools import TTLCache

from cofio.records import Answer, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """How full the cache is, and what happened in it since it was opened."""

    entries: int
    capacity: int
    hits: int
    misses: int
    evictions: int


class _Counted(TTLCache[Question, Answer]):
    """A TTL cache that counts what it pushes out for want of room."""

    evictions = 0

    def popitem(self) -> tuple[Question, Answer]:
        self.evictions += 1
        return super().popitem()


class AnswerCache:
    """Least recently used answers give way first; all do when the graph's version moves on or their time is up.

    The key is the whole question with its filters and steering, so nothing that affects an answer is left out.
    """

    def __init__(self, *, entries: int, ttl_s: float) -> None:
        self._answers = _Counted(maxsize=entries, ttl=ttl_s)
        self._version = -1
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def get(self, question: Question, version: int) -> Answer | None:
        """The answer that was put for this question at this version of the graph, or None."""
        with self._lock:
            answer = self._answers.get(question) if version == self._version else None
            if answer is None:
                self._misses += 1
            else:
                self._hits += 1
            return answer

    def put(self, question: Question, version: int, answer: Answer) -> None:
        """The answer is remembered, unless a newer version of the graph was seen meanwhile."""
        with self._lock:
            if version > self._version:
                self._answers.clear()
                self._version = version
            if version == self._version:
                self._answers[question] = answer

    def figures(self) -> CacheFigures:
        """What the cache holds and did."""
        with self._lock:
            self._answers.expire()
            return CacheFigures(
                entries=len(self._answers),
                capacity=int(self._answers.maxsize),
                hits=self._hits,
                misses=self._misses,
                evictions=self._answers.evictions,
            )
