"""What answers tell browsers: whom to show them, and what to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
from keyed import keyed

from cofio.http.headers import SECURITY_HEADERS

QUERY: Final = "/api/v2/query"


async def test_every_answer_has_the_headers_of_security(tmp_path: Path) -> None:
    async with keyed(tmp_path, query_rate="3/hour") as (asked, _, headers):
        key = headers["query"]
        answers = {
            "miss": await asked.post(QUERY, json={"query": "roof"}, headers=key),
            "hit": await asked.post(QUERY, json={"query": "roof"}, headers=key),
            "invalid": await asked.post(QUERY, json={"query": ""}, headers=key),
            "limited": await asked.post(QUERY, json={"query": "roof"}, headers=key),
            "no key": await asked.post(QUERY, json={"query": "roof"}),
            "no scope": await asked.get("/metrics", headers=key),
            "nothing": await asked.get("/nothing", headers=headers["admin"]),
            "too large": await asked.post(QUERY, content=b" " * 2**21, headers=headers["admin"]),
            "health": await asked.get("/health/live"),
        }
        statuses = [answer.status_code for answer in answers.values()]
        assert statuses == [200, 200, 422, 429, 401, 403, 404, 413, 200]
        assert answers["hit"].headers["x-cofio-cache"] == "hit"
        for name, answer in answers.items():
            told = {each: answer.headers.get_list(each) for each in SECURITY_HEADERS}
            assert told == {each: [value] for each, value in SECURITY_HEADERS.items()}, name
            assert "strict-transport-security" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers
            assert "server" not in answer.headers


async def test_the_pages_may_load_what_they_are_made_of_and_no_more(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (asked, _, _):
        for path in ("/docs", "/redoc"):
            page = await asked.get(path)
            (policy,) = page.headers.get_list("content-security-policy")
            rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
            assert rules["frame-ancestors"] == rules["default-src"] == "'none'"
            for source in ("https://cdn.jsdelivr.net",):
                assert source in page.text
                assert source in rules["script-src"]
        document = await asked.get("/openapi.json")
        assert document.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]


async def test_over_tls_a_browser_is_told_to_stay_there(tmp_path: Path) -> None:
    async with keyed(tmp_path, trusted_proxies=("127.0.0.1",)) as (asked, _, _):
        for proto, told in (("https", True), ("http", False), ("httpsx", False)):
            answer = await asked.get("/health/live", headers={"X-Forwarded-Proto": proto})
            assert ("strict-transport-security" in answer.headers) == told
    async with keyed(tmp_path / "untrusted") as (asked, _, _):
        answer = await asked.get("/health/live", headers={"X-Forwarded-Proto": "https"})
        assert "strict-transport-security" not in answer.headers


async def test_listed_origins_alone_may_read_answers(tmp_path: Path) -> None:
    async with keyed(tmp_path, cors_origins=("https://app.example",)) as (asked, _, headers):

        async def preflight(origin: str) -> httpx.Response:
            wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
            return await asked.options(QUERY, headers={"Origin": origin, **wanted})

        listed = await preflight("https://app.example")
        assert listed.status_code == 200
        assert listed.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in listed.headers
        for origin in ("https://evil.example", "https://app.example.evil", "http://app.example", "null"):
            assert "access-control-allow-origin" not in (await preflight(origin)).headers
        for key in (headers["query"], {}):
            answer = await asked.post(
                QUERY, json={"query": "roof"}, headers={**key, "Origin": "https://app.example"}
            )
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
