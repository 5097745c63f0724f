"""Answers are given again as long as they are true, and take no more room than they may."""

from __future__ import annotations

import time

from cofio.cache import AnswerCache
from cofio.records import Filters, Question


def _cache(*, entries: int = 100, max_bytes: int = 100, ttl_s: float = 60.0) -> AnswerCache:
    return AnswerCache(entries=entries, max_bytes=max_bytes, ttl_s=ttl_s)


def _question(number: int) -> Question:
    return Question(query=f"question {number}")


def test_an_answer_is_found_under_its_whole_question_and_version() -> None:
    cache = _cache()
    cache.put(_question(1), 7, b"one")
    assert cache.get(_question(1), 7) == b"one"
    assert cache.get(Question(query="question 1", filters=Filters(project=("x",))), 7) is None
    assert cache.get(_question(1), 8) is None
    assert cache.get(_question(1), 6) is None
    figures = cache.figures()
    assert (figures.hits, figures.misses, figures.entries) == (1, 3, 1)


def test_a_newer_version_drops_all_and_an_older_one_is_not_taken() -> None:
    cache = _cache()
    cache.put(_question(1), 7, b"one")
    cache.put(_question(2), 8, b"two")
    cache.put(_question(3), 7, b"late")
    assert cache.get(_question(1), 7) is cache.get(_question(3), 8) is None
    assert cache.get(_question(2), 8) == b"two"
    assert cache.figures().evictions == 0


def test_a_look_that_finds_nothing_is_not_a_miss() -> None:
    cache = _cache()
    assert cache.get_if_there(_question(1), 7) is None
    cache.put(_question(1), 7, b"one")
    assert cache.get_if_there(_question(1), 7) == b"one"
    assert (cache.figures().hits, cache.figures().misses) == (1, 0)


def test_the_least_recently_used_gives_way_beyond_the_number() -> None:
    cache = _cache(entries=2)
    cache.put(_question(1), 7, b"one")
    cache.put(_question(2), 7, b"two")
    cache.get(_question(1), 7)
    cache.put(_question(1), 7, b"one")
    cache.put(_question(3), 7, b"three")
    assert cache.get(_question(2), 7) is None
    assert cache.get(_question(1), 7) == b"one"
    assert cache.get(_question(3), 7) == b"three"
    assert (cache.figures().entries, cache.figures().evictions) == (2, 1)


def test_the_bytes_are_bounded() -> None:
    cache = _cache(max_bytes=10)
    cache.put(_question(1), 7, b"12345")
    cache.put(_question(2), 7, b"12345")
    assert cache.figures().content_bytes == 10
    cache.put(_question(3), 7, b"1")
    assert (cache.figures().content_bytes, cache.figures().evictions) == (6, 1)
    cache.put(_question(4), 7, b"larger than all")
    assert cache.get(_question(4), 7) is None
    assert cache.get(_question(3), 7) == b"1"


def test_an_answer_whose_time_is_up_is_gone() -> None:
    cache = _cache(ttl_s=0.01)
    cache.put(_question(1), 7, b"one")
    time.sleep(0.02)
    assert cache.get(_question(1), 7) is None
    assert cache.figures().entries == 0
    assert cache.figures().evictions == 0
