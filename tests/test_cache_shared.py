"""Answers kept in Redis: given again by whoever was not asked before, for as long as they are true, and then gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from hash_encoder import HashEncoder
from in_process import client
from ports import free_port
from pydantic import SecretStr
from redis_server import redis_server

from cofio import cache_shared
from cofio.cache_shared import SharedCache
from cofio.errors import InvalidSettings
from cofio.records import Filters, Level, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store.database import note_restored

QUESTION = {"query": "Who paints the harbour wall?"}
MEETING = {"title": "Harbour", "transcript": "Ann: Ravi paints the harbour wall.\nBob: In blue, I hope."}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is waited for as long as a busy machine needs: what is asked here is not how soon it is given up."""
    monkeypatch.setattr(cache_shared, "WAIT_S", 10.0)


@contextlib.asynccontextmanager
async def _serving(folder: Path, url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(data_dir=folder / "store", query_rate="", ingest_rate="", cache_url=SecretStr(url))
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as asked:
        yield asked


async def _ask(asked: httpx.AsyncClient) -> tuple[str, str]:
    """Where the answer came from, and what it says but for its times."""
    answer = await asked.post("/api/v2/query", json=QUESTION)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Cofio-Cache"], answer.text.rpartition(',"processing_time_ms"')[0]


async def test_an_answer_outlives_its_process_but_not_its_meeting(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url, contextlib.closing(redis.Redis.from_url(url)) as client_:
        server: Any = client_  # typed for both of redis's clients at once
        async with _serving(tmp_path, url) as asked:
            receipt = (await asked.post("/ingest", json=MEETING)).json()
            way, first = await _ask(asked)
            assert way == "miss"
            assert "Ravi paints" in first
        (key,) = server.keys("*")
        assert 0 < server.pttl(key) <= 600_000
        assert b"harbour" not in key
        async with _serving(tmp_path, url) as asked:
            assert await _ask(asked) == ("hit", first)
            metrics = (await asked.get("/metrics")).text
            assert 'cofio_cache_events_total{event="shared_hits"}' in metrics
            await asked.post("/ingest", json={**MEETING, "title": "Harbour again"})
            way, newer = await _ask(asked)
            assert (way, newer != first) == ("miss", True)
            assert len(server.keys("*")) == 2
            assert (await asked.delete(f"/api/v2/meetings/{receipt['meeting_id']}")).status_code == 200
            assert server.keys("*") == []
        note_restored(tmp_path / "store" / "cofio.sqlite3", "a backup")
        async with _serving(tmp_path, url) as asked:
            await _ask(asked)
        async with _serving(tmp_path, url) as asked:
            assert (await _ask(asked))[0] == "hit"
        note_restored(tmp_path / "store" / "cofio.sqlite3", "a backup")
        async with _serving(tmp_path, url) as asked:
            assert (await _ask(asked))[0] == "miss", "an answer of the truth before"


async def test_without_redis_every_question_is_new(tmp_path: Path) -> None:
    async with _serving(tmp_path, f"redis://127.0.0.1:{free_port()}/0") as asked:
        receipt = (await asked.post("/ingest", json=MEETING)).json()
        assert (await _ask(asked))[0] == "miss"
        assert (await _ask(asked))[0] == "hit", "its own cache holds it"
        assert (await asked.delete(f"/api/v2/meetings/{receipt['meeting_id']}")).status_code == 200
        assert "Ravi" not in (await _ask(asked))[1]


async def test_an_answer_is_of_its_whole_question_version_and_store(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        one, other = (SharedCache(url, store=name, ttl_s=60) for name in ("one", "other"))
        question = Question(query="wall", filters=Filters(project=("a",), level=(Level.EPISODE,)))
        await one.put(question, 7, b"answer")
        assert await one.get(question, 7) == b"answer"
        assert await one.get(question, 8) is await one.get(Question(query="wall"), 7) is None
        assert await other.get(question, 7) is None
        await other.put(question, 7, b"other answer")
        for number in range(1200):
            await one.put(Question(query=str(number)), 7, b"x")
        assert await one.clear()
        assert await one.get(question, 7) is await one.get(Question(query="3"), 7) is None
        assert await other.get(question, 7) == b"other answer"
        short = SharedCache(url, store="short", ttl_s=0.05)
        await short.put(question, 7, b"answer")
        await asyncio.sleep(0.1)
        assert await short.get(question, 7) is None
        for cache in (one, other, short):
            await cache.aclose()


def test_what_names_no_redis_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="cache_url"):
        SharedCache("http://redis", store="x", ttl_s=1)
