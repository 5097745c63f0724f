"""An answer from the cache is what the normal way would have given, and is given no longer than that holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hash_encoder import HashEncoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import client
from prometheus_client import REGISTRY

from cofio import search
from cofio.graph import nearest
from cofio.http.cached import CACHE_HEADER, MAX_KNOWN_BODY_BYTES, KnownBodies
from cofio.ingest import ingest
from cofio.records import MeetingInput, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings

PATH: Final = "/api/v2/query"
JSON: Final = {"content-type": "application/json"}
MEETING: Final = {
    "title": "Hangar",
    "external_id": "hangar",
    "transcript": "Nora: The zeppelin hangar needs a new roof.\nOtto: I will ask three roofers by Friday.",
}


@contextlib.asynccontextmanager
async def opened(folder: Path, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    chosen = Settings(data_dir=folder / "store", query_rate=changed.pop("query_rate", ""), **changed)
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        yield asked


def said(response: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """All of a response but its id and times, which differ each time, and whether it was cached."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("x-request-id", "content-length", CACHE_HEADER.lower())
    }
    body = response.json() if response.content else {}
    for name in ("processing_time_ms", "stages_ms", "request_id"):
        body.pop(name, None)
    return response.status_code, headers, body


QUESTIONS: Final = st.fixed_dictionaries(
    {"query": st.sampled_from(["roof?", " roof? ", "Who asks?", "", "dach ü", "x" * 1001])},
    optional={
        "limit_per_level": st.sampled_from([1, 10, 0, "3", 2.0, True]),
        "enable_bridges": st.sampled_from([True, False, 1]),
        "filters": st.sampled_from([{}, None, {"speaker": "Nora"}, {"level": "L9"}, {"speaker": ["Nora"]}]),
        "steer": st.sampled_from([{"urgency": 0.5}, {"haste": 1}, None]),
        "unknown": st.just(1),
    },
)
BODIES: Final = st.one_of(
    st.builds(
        lambda value, indent: json.dumps(value, indent=indent).encode(), QUESTIONS, st.sampled_from([None, 1])
    ),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False).encode(), QUESTIONS),
    st.builds(lambda value: json.dumps(value).encode("utf-16"), QUESTIONS),
    st.builds(lambda value: json.dumps(value).encode() + b" " * 9000, QUESTIONS),
    st.sampled_from([b"", b"{", b"[]", b"null", b'{"query": "roof?", "query": "Who asks?"}', b"\xff\xfe{"]),
)
TYPES: Final = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/x+json",
        "text/plain",
        None,
    ]
)
REQUESTS: Final = st.lists(
    st.tuples(
        st.sampled_from(["POST"] * 8 + ["GET", "PUT", "HEAD"]),
        st.sampled_from([PATH] * 8 + [PATH + "?a=1", PATH + "/", "/api/v2//query"]),
        TYPES,
        BODIES,
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[asyncio.Runner, httpx.AsyncClient, httpx.AsyncClient]]:
    """A client of an app with the fast way and one of an app without it, over one runtime."""
    chosen = Settings(data_dir=tmp_path_factory.mktemp("both") / "store", query_rate="")
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()

        async def enter() -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
            runtime = await stack.enter_async_context(open_runtime(chosen, HashEncoder()))
            fast = await stack.enter_async_context(client(chosen, runtime))
            slow = await stack.enter_async_context(client(chosen, runtime, fast=False))
            (await fast.post("/ingest", json=MEETING)).raise_for_status()
            return fast, slow

        yield runner, *runner.run(enter())
        runner.run(stack.aclose())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=REQUESTS)
def test_both_ways_give_the_same(
    both: tuple[asyncio.Runner, httpx.AsyncClient, httpx.AsyncClient],
    requests: list[tuple[str, str, str | None, bytes]],
) -> None:
    runner, fast, slow = both

    async def ask(way: httpx.AsyncClient, method: str, path: str, kind: str | None, body: bytes) -> Any:
        headers = {"content-type": kind} if kind else {}
        response = await way.request(method, path, headers=headers, content=body)
        if method == "HEAD":
            return response.status_code
        return said(response), response.headers.get(CACHE_HEADER)

    for request in requests:
        first, again = runner.run(ask(fast, *request)), runner.run(ask(fast, *request))
        expected = runner.run(ask(slow, *request))
        assert again == expected
        if request[0] != "HEAD":
            assert first[0] == expected[0]


async def test_a_hit_is_the_first_answer_but_for_its_times(tmp_path: Path) -> None:
    async with opened(tmp_path) as asked:
        await asked.post("/ingest", json=MEETING)
        first = await asked.post(PATH, json={"query": "Who asks the roofers?"})
        second = await asked.post(PATH, json={"query": "Who asks the roofers?"})
        spelt = await asked.post(PATH, content=b'{ "query" : "Who asks the roofers?" }', headers=JSON)
        ways = [response.headers[CACHE_HEADER] for response in (first, second, spelt)]
        assert ways == ["miss", "hit", "hit"]
        assert said(first) == said(second) == said(spelt)
        assert list(first.json()) == list(second.json())
        assert first.json()["stages_ms"].keys() > {"encode", "search"}
        assert second.json()["stages_ms"] == {"cache": second.json()["processing_time_ms"]}


async def test_what_was_ingested_or_deleted_is_seen_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as asked:

        async def ask() -> tuple[str, int]:
            response = await asked.post(PATH, json={"query": "zeppelin hangar roof"})
            return response.headers[CACHE_HEADER], response.json()["total_results"]

        assert [await ask(), await ask()] == [("miss", 0), ("hit", 0)]
        receipt = (await asked.post("/ingest", json=MEETING)).json()
        found = await ask()
        assert found[0] == "miss"
        assert found[1] > 0
        assert await ask() == ("hit", found[1])
        await asked.delete(f"/api/v2/meetings/{receipt['meeting_id']}")
        assert [await ask(), await ask()] == [("miss", 0), ("hit", 0)]


async def test_an_answer_that_the_index_has_no_part_in_is_kept_whatever_it_is_owed(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path / "store")
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        await ingest(runtime, MeetingInput(title="Roof", transcript="Ann: I ask the roofers."), settle=False)
        await runtime.live.catch_up()
        assert await runtime.outbox.owed()
        answers = [await asked.post(PATH, json={"query": "Who asks the roofers?"}) for _ in range(2)]
        assert [answer.headers[CACHE_HEADER] for answer in answers] == ["miss", "hit"]
        assert answers[1].json()["direct_results"]["L2"]


async def test_an_answer_without_what_the_index_lacks_yet_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_COMPARED", 0)
    monkeypatch.setattr(nearest, "MOST_COMPARED", 0)
    chosen = Settings(data_dir=tmp_path / "store")
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:

        async def ask() -> str:
            response = await asked.post(PATH, json={"query": "Who asks the roofers?"})
            return response.headers[CACHE_HEADER]

        await ingest(runtime, MeetingInput(title="Roof", transcript="Ann: I ask the roofers."), settle=False)
        await runtime.live.catch_up()
        assert [await ask(), await ask()] == ["miss", "miss"]
        assert await runtime.settle()
        assert [await ask(), await ask()] == ["miss", "hit"]


async def test_an_answer_whose_time_is_up_is_found_anew(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_ttl_s=0.05) as asked:
        await asked.post(PATH, json={"query": "roof"})
        await asyncio.sleep(0.06)
        assert (await asked.post(PATH, json={"query": "roof"})).headers[CACHE_HEADER] == "miss"


async def test_hits_count_under_the_rate_limit_like_all_others(tmp_path: Path) -> None:
    async with opened(tmp_path, query_rate="4/hour") as asked:
        answers = [
            await asked.post(PATH, json={"query": text}) for text in ("a", "a", "b", "a", "a", "b", "c")
        ]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 3
        assert [answer.headers.get(CACHE_HEADER) for answer in answers[:4]] == ["miss", "hit", "miss", "hit"]
        for refused in answers[4:]:
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["code"] == "rate_limited"
            assert 3000 < int(refused.headers["retry-after"]) <= 3600


async def test_hits_are_counted_timed_named_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def sample(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"endpoint": PATH, "method": "POST", **labels}) or 0.0

    caplog.set_level(logging.INFO, "cofio.access")
    async with opened(tmp_path) as asked:
        await asked.post(PATH, json={"query": "roof"})
        counted = sample("api_requests_total", status="200")
        timed = sample("api_request_duration_seconds_count")
        caplog.clear()
        hit = await asked.post(PATH, json={"query": "roof"}, headers={"X-Request-ID": "mine-1"})
        assert hit.headers[CACHE_HEADER] == "hit"
        assert hit.headers["x-request-id"] == "mine-1"
        assert sample("api_requests_total", status="200") == counted + 1
        assert sample("api_request_duration_seconds_count") == timed + 1
        assert REGISTRY.get_sample_value("api_active_requests") == 0
        (line,) = (record.args for record in caplog.records if record.name == "cofio.access")
        assert isinstance(line, dict)
        assert {
            "method": "POST",
            "endpoint": PATH,
            "status": 200,
            "request_id": "mine-1",
        }.items() <= line.items()
        (cache,) = (
            part
            for part in (await asked.get("/health/detailed")).json()["components"]
            if part["name"] == "cache"
        )
        assert (cache["detail"]["hits"], cache["detail"]["misses"], cache["detail"]["entries"]) == (1, 1, 1)


async def test_bodies_that_are_long_streamed_or_too_large_go_the_normal_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as asked:
        body = json.dumps({"query": "roof"}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield body[:5]
            yield body[5:]

        for content in (body, chunks(), body + b" " * MAX_KNOWN_BODY_BYTES):
            assert (await asked.post(PATH, content=content, headers=JSON)).status_code == 200
        refused = await asked.post(PATH, content=body + b" " * 2**20, headers=JSON)
        assert refused.status_code == 413
        assert refused.headers["connection"] == "close"


def test_known_bodies_take_no_more_room_than_they_may() -> None:
    known, question = KnownBodies(), Question(query="q")
    bodies = [b"%08000d" % number for number in range(3000)]
    for body in bodies:
        known.put(None, b"application/json", body, question)
    kept = sum(known.get(None, b"application/json", body) is not None for body in bodies)
    assert 0 < kept * 8000 < 16 * 1024 * 1024
    assert known.get(None, b"text/plain", bodies[-1]) is None
    known.put(None, b"application/json", b" " * (MAX_KNOWN_BODY_BYTES + 1), question)
    assert known.get(None, b"application/json", b" " * (MAX_KNOWN_BODY_BYTES + 1)) is None
