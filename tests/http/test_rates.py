"""Rates: counted by key, else by address, in memory or in Redis, and told in headers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
from hash_encoder import HashEncoder
from in_process import client
from keyed import header, keyed
from ports import free_port
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis_server import redis_server

from cofio.access.callers import Permission
from cofio.errors import InvalidSettings
from cofio.http import limits
from cofio.http.app import create_app
from cofio.http.limits import Rates, limits_of
from cofio.runtime import open_runtime
from cofio.settings import Settings

QUERY: Final = "/api/v2/query"


async def ask(asked: httpx.AsyncClient, headers: dict[str, str] | None = None) -> httpx.Response:
    return await asked.post(QUERY, json={"query": "roof"}, headers=headers)


@contextlib.asynccontextmanager
async def opened(folder: Path, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    chosen = Settings(data_dir=folder / "store", **changed)
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        yield asked


async def test_each_key_has_its_own_rate(tmp_path: Path) -> None:
    async with keyed(tmp_path, projects=("pxone", "pxtwo"), query_rate="2/hour") as (asked, _, headers):
        for name in ("pxone", "pxtwo", "query"):
            answers = [await ask(asked, headers[name]) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
        # Whoever is refused for want of a key takes nothing from anybody, and other routes are not queries.
        for _ in range(5):
            assert (await ask(asked)).status_code == 401
            assert (await asked.get("/api/v2/meetings", headers=headers["query"])).status_code == 200
        assert (await ask(asked, headers["admin"])).status_code == 200


async def test_several_limits_hold_together_and_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path, query_rate="3/hour;2/day") as asked:
        answers = [await ask(asked) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        told = [
            (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"])
            for answer in answers
        ]
        assert told == [("2", "1"), ("2", "0"), ("2", "0")]
        assert answers[2].json()["code"] == "rate_limited"
        assert 86_000 < int(answers[2].headers["retry-after"]) <= 86_400
        assert 86_000 < int(answers[2].headers["x-ratelimit-reset"]) - time.time() <= 86_402


async def test_what_the_short_window_refused_is_not_counted_in_the_long_one() -> None:
    rates, (short, long) = Rates(None), limits_of("3/day;2/hour")
    allowed = [(await rates.count([short, long], "query", "ann")).allowed for _ in range(6)]
    assert allowed == [True, True, False, False, False, False]
    standing = await rates.count([long], "query", "ann")
    assert (standing.allowed, standing.remaining) == (True, 0)


async def test_ingests_and_deletions_share_a_rate_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path, query_rate="1/hour", ingest_rate="2/hour") as asked:
        meeting = {"title": "Roof", "transcript": "Ann: Leaking."}
        receipt = (await asked.post("/ingest", json=meeting)).json()
        path = f"/api/v2/meetings/{receipt['meeting_id']}"
        assert [(await asked.delete(path)).status_code for _ in range(2)] == [200, 429]
        assert (await asked.post("/ingest", json=meeting)).status_code == 429
        assert [(await ask(asked)).status_code for _ in range(2)] == [200, 429]


async def test_the_rates_that_nobody_set(tmp_path: Path) -> None:
    async with opened(tmp_path) as asked:
        answers = [await ask(asked) for _ in range(61)]
        statuses = [answer.status_code for answer in answers]
        # Sixty a minute; a new minute may have begun meanwhile.
        assert statuses[:60] == [200] * 60
        assert answers[0].headers["x-ratelimit-limit"] == "60"


def over_proxies(asked: httpx.AsyncClient, peer: str) -> httpx.AsyncClient:
    """The same app, asked from another address."""
    transport = asked._transport
    assert isinstance(transport, httpx.ASGITransport)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(transport.app, client=(peer, 1)), base_url="http://127.0.0.1"
    )


async def statuses(asked: httpx.AsyncClient, *forwarded: str) -> list[int]:
    return [(await ask(asked, {"X-Forwarded-For": each} if each else None)).status_code for each in forwarded]


async def test_addresses_are_taken_from_trusted_proxies_alone(tmp_path: Path) -> None:
    rates: dict[str, Any] = {"query_rate": "1/hour", "allow_anonymous": True}
    async with opened(tmp_path, **rates, trusted_proxies=("192.0.2.1", "10.0.0.0/8")) as asked:
        proxy = over_proxies(asked, "192.0.2.1")
        assert await statuses(proxy, "203.0.113.1", "203.0.113.1", "203.0.113.2") == [200, 429, 200]
        # What a client wrote itself stands before what the proxy saw.
        spoofed = ["198.51.100.7, 203.0.113.1", "127.0.0.1, 203.0.113.2", "1.2.3.4, 203.0.113.1, 10.1.2.3"]
        assert await statuses(proxy, *spoofed) == [429] * 3
        # Somebody else's header counts for nothing.
        other = over_proxies(asked, "198.51.100.1")
        assert await statuses(other, "", "203.0.113.8", "203.0.113.9", "10.0.0.1") == [200, 429, 429, 429]
    async with opened(tmp_path / "none", **rates) as asked:
        assert await statuses(asked, "", "203.0.113.8", "127.0.0.2") == [200, 429, 429]


async def test_one_network_of_ipv6_counts_as_one_address(tmp_path: Path) -> None:
    async with opened(tmp_path, query_rate="1/hour") as asked:
        told = [
            (await ask(over_proxies(asked, peer))).status_code
            for peer in (
                "2001:db8::1",
                "2001:db8::ffff:1",
                "2001:db8:0:1::1",
                "198.51.100.1",
                "::ffff:198.51.100.1",
            )
        ]
        assert told == [200, 429, 200, 200, 429]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


async def test_processes_count_together_in_redis(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine at its limit half a second passes for nothing, and then each process counts for itself.
    monkeypatch.setattr(limits, "_REDIS_WAIT_S", 30.0)
    chosen = Settings(
        data_dir=tmp_path / "store", query_rate="3/hour;5/day", rate_storage_url=SecretStr(redis_url)
    )
    key = header(chosen, Permission.QUERY)
    async with (
        open_runtime(chosen, HashEncoder()) as runtime,
        client(chosen, runtime) as one,
        client(chosen, runtime) as other,
    ):
        answers = [await ask(asked, key) for asked in (one, other, one, other, one)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    with contextlib.closing(redis.Redis.from_url(redis_url)) as server:
        kept = b" ".join(server.scan_iter())
    assert key["X-API-Key"].split("_", 2)[2].encode() not in kept


async def test_without_redis_each_process_counts_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://:sesame@127.0.0.1:{free_port()}/0"
    async with opened(tmp_path, query_rate="2/hour", rate_storage_url=url) as asked:
        assert [(await ask(asked)).status_code for _ in range(3)] == [200, 200, 429]
    assert "sesame" not in caplog.text


async def test_redis_that_goes_away_is_told_and_each_process_counts_for_itself(tmp_path: Path) -> None:
    def told() -> float:
        return REGISTRY.get_sample_value("cofio_rate_storage_failures_total") or 0.0

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(redis_server(tmp_path))
        async with opened(tmp_path, query_rate="2/hour", rate_storage_url=url) as asked:
            before = told()
            assert [(await ask(asked)).status_code for _ in range(3)] == [200, 200, 429]
            assert told() == before
            stack.close()
            # Its own windows begin anew, and refuse as the shared ones did.
            assert [(await ask(asked)).status_code for _ in range(3)] == [200, 200, 429]
            assert told() > before


def test_a_storage_that_there_is_not_is_refused(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path, rate_storage_url=SecretStr("carrier-pigeon://coop"))
    with pytest.raises(InvalidSettings, match="redis://"):
        # The app is put together when it is first asked, or starts.
        create_app(chosen, runtime=None).build_middleware_stack()
