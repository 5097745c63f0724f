"""Who may pass: every route asks for a key with the right scope, however the request is dressed up."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hash_encoder import HashEncoder
from in_process import client
from keyed import header, keyed

from cofio.access.callers import Permission
from cofio.access.gate import open_gate
from cofio.access.keys import PREFIX, REFRESH_S, create_key, keys_path, read_keys, revoke_key
from cofio.errors import InvalidSettings
from cofio.http.guard import NEEDED, OPEN, needed_for
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store.exports import CHUNK_BYTES

QUERY: Final = "/api/v2/query"
NO_ID: Final = "00000000-0000-0000-0000-000000000000"
MEETING: Final = {"title": "Hangar", "transcript": "Nora: The zeppelin hangar needs a new roof."}


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", NO_ID, path)


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code
    return True


async def test_every_route_needs_a_key_with_its_scope(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (asked, _, headers):
        document = (await asked.get("/openapi.json")).json()
        routes = [(m.upper(), path) for path, methods in document["paths"].items() for m in methods]
        assert {("POST", QUERY), ("POST", "/ingest"), ("GET", "/metrics")} <= set(routes)
        assert set(NEEDED) <= set(routes), "a scope is listed for a route that there is not"
        for method, path in routes:
            needed = needed_for(method, path)
            operation = document["paths"][path][method.lower()]
            if needed is None:
                assert path in OPEN
                assert "security" not in operation
                assert (await asked.request(method, path)).status_code == 200
                continue
            assert operation["security"] == [{"key": [needed.value]}, {"bearer": [needed.value]}]
            assert {"401", "403"} <= operation["responses"].keys()
            url = filled(path)
            refused = await asked.request(method, url)
            assert is_problem(refused, 401, "unauthenticated")
            assert refused.headers["www-authenticate"] == 'Bearer realm="cofio"'
            for permission in Permission:
                answer = await asked.request(method, url, headers=headers[permission.value])
                if permission in (needed, Permission.ADMIN):
                    assert answer.status_code not in (401, 403), (method, path, permission)
                else:
                    assert is_problem(answer, 403, "forbidden")
                    assert f"scope {needed}" in answer.json()["detail"]


async def test_a_route_that_is_not_listed_is_for_admins(tmp_path: Path) -> None:
    assert needed_for("GET", "/admin/whatever") is Permission.ADMIN
    assert needed_for("POST", "/health") is Permission.ADMIN
    assert needed_for("PUT", QUERY) is Permission.ADMIN
    async with keyed(tmp_path) as (asked, _, headers):
        for path in ("/nothing", "/api/v2/query/", "//api/v2/query", "/api/v2/meetings/a/b", "/INGEST"):
            assert is_problem(await asked.get(path), 401, "unauthenticated")
            assert is_problem(await asked.get(path, headers=headers["query"]), 404, "no_such_route")
        assert is_problem(await asked.get("/nothing", headers=headers["admin"]), 404, "no_such_route")
        assert is_problem(await asked.put(QUERY, headers=headers["query"]), 403, "forbidden")


async def test_a_cached_answer_needs_a_key_too(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (asked, _, headers):
        body = {"query": "zeppelin"}
        for way in ("miss", "hit"):
            answer = await asked.post(QUERY, json=body, headers=headers["query"])
            assert answer.headers["x-cofio-cache"] == way
        assert is_problem(await asked.post(QUERY, json=body), 401, "unauthenticated")
        assert is_problem(await asked.post(QUERY, json=body, headers=headers["ingest"]), 403, "forbidden")


ATTACKS: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    "empty": [(b"x-api-key", b"")],
    "of another kind": [(b"x-api-key", b"sk-1234")],
    "of nobody": [(b"x-api-key", b"cofio_000000000000_" + b"A" * 43)],
    "huge": [(b"x-api-key", b"cofio_" + b"a" * 60_000)],
    "huge token": [(b"authorization", b"Bearer " + b"a." * 30_000)],
    "of underscores": [(b"x-api-key", b"_" * 8000)],
    "in latin-1": [(b"x-api-key", "cofio_schlüssel".encode("latin-1"))],
    "in utf-8": [(b"x-api-key", "cofio_ключ_鍵".encode())],
    "of no encoding": [(b"authorization", b"Bearer \xff\xfe\x80")],
    "with a line feed": [(b"x-api-key", b"cofio_a_b\nX-API-Key: {key}")],
    "with a null": [(b"x-api-key", b"{key}\x00")],
    "with a space inside": [(b"authorization", b"Bearer {key} {key}")],
    "basic": [(b"authorization", b"Basic Y29maW86Y29maW8=")],
    "basic with the key": [(b"authorization", b"Basic {key}")],
    "without a scheme": [(b"authorization", b"{key}")],
    "digest": [(b"authorization", b'Digest username="admin"')],
    "twice": [(b"x-api-key", b"{key}"), (b"x-api-key", b"{key}")],
    "in both headers": [(b"x-api-key", b"{key}"), (b"authorization", b"Bearer {key}")],
    "behind one of nobody": [(b"x-api-key", b"cofio_a_b"), (b"x-api-key", b"{key}")],
    "quoted": [(b"x-api-key", b'"{key}"')],
    "like sql": [(b"x-api-key", b"' OR 1=1 --")],
    "its hash": [(b"x-api-key", b"{hash}")],
    "in a cookie": [(b"cookie", b"X-API-Key={key}")],
    "under another name": [(b"x-api-token", b"{key}"), (b"api-key", b"{key}")],
    "unsigned token": [
        (b"authorization", b"Bearer eyJhbGciOiJub25lIn0.eyJzY29wZSI6ImFkbWluIn0.")  # pragma: allowlist secret
    ],
    "as if from here": [(b"x-forwarded-for", b"127.0.0.1"), (b"x-original-url", b"/health/live")],
    "as another method": [(b"x-http-method-override", b"GET")],
}


@pytest.fixture(params=["/metrics", QUERY])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_dressed_up_credentials_are_refused(tmp_path: Path, path: str) -> None:
    async with keyed(tmp_path) as (asked, chosen, headers):
        key = headers["admin"]["X-API-Key"]
        (admin,) = (made for made in read_keys(keys_path(chosen)) if made.key_id in key)
        await asked.post(QUERY, json={"query": "roof"}, headers=headers["admin"])
        method = "POST" if path == QUERY else "GET"
        for name, sent in ATTACKS.items():
            stored = b"cofio_%b_%b" % (admin.key_id.encode(), admin.secret_hash.hex().encode())
            dressed = [(n, v.replace(b"{key}", key.encode()).replace(b"{hash}", stored)) for n, v in sent]
            answer = await asked.request(
                method,
                path,
                headers=[*dressed, (b"content-type", b"application/json")],
                content=b'{"query":"roof"}',
            )
            assert is_problem(answer, 401, "unauthenticated"), name
            assert key not in answer.text
            assert answer.headers.get("x-cofio-cache") is None
        assert (await asked.request(method, f"{path}?api_key={key}&X-API-Key={key}")).status_code == 401
        for scheme in ("Bearer", "bearer", "BEARER  "):
            answer = await asked.request(
                method, path, headers={"authorization": f"{scheme} {key}"}, json={"query": "roof"}
            )
            assert answer.status_code == 200


async def test_expired_and_revoked_keys_are_refused_alike(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path / "store")
    keys = keys_path(chosen)
    over = header(chosen, Permission.QUERY, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    key, text = create_key(keys, name="", permissions=frozenset({Permission.QUERY}))
    revoke_key(keys, key.key_id)
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        told = []
        for dressed in (over, {"X-API-Key": text}, {"X-API-Key": "cofio_0_0"}):
            refused = await asked.post(QUERY, json={"query": "roof"}, headers=dressed)
            assert is_problem(refused, 401, "unauthenticated")
            told.append(refused.json()["detail"])
        assert len(set(told)) == 1


async def test_a_stream_of_events_ends_when_its_key_is_revoked(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path / "store", ingest_rate="")
    key, text = create_key(keys_path(chosen), name="", permissions=frozenset({Permission.INGEST}))
    other = header(chosen, Permission.INGEST)
    many = [{**MEETING, "title": f"Hangar {i}"} for i in range(100)]
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        accepted = await asked.post("/ingest", json={"meetings": many}, headers={"X-API-Key": text})
        assert accepted.status_code == 202, accepted.text
        url = accepted.json()["status_url"]
        events = asyncio.create_task(asked.get(f"{url}/events", headers={"X-API-Key": text}))
        revoke_key(keys_path(chosen), key.key_id)
        told = (await events).text
        left = (await asked.get(url, headers=other)).json()
    assert "event: finished" not in told
    assert left["finished_at"] is None, "the batch was done before the stream could end"


async def test_an_export_ends_without_its_last_line_when_its_key_is_revoked(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (asked, chosen, headers):
        said = "\n".join(f"Nora: Hangar {i} needs roof number {i}." for i in range(300))
        stored = await asked.post("/ingest", json={**MEETING, "transcript": said}, headers=headers["ingest"])
        assert stored.status_code == 200, stored.text
        whole = (await asked.get("/admin/export", headers=headers["admin"])).content
        assert json.loads(whole.splitlines()[-1])["kind"] == "end"
        assert len(whole) > 4 * CHUNK_BYTES
        transport = asked._transport
        assert isinstance(transport, httpx.ASGITransport)
        key_id = headers["admin"]["X-API-Key"].removeprefix(PREFIX).partition("_")[0]

        async def revoking(scope: Any, receive: Any, send: Any) -> None:
            async def send_and_revoke(message: Any) -> None:
                await send(message)
                if message["type"] == "http.response.start":
                    revoke_key(keys_path(chosen), key_id)
                    await asyncio.sleep(4 * REFRESH_S)

            await transport.app(scope, receive, send_and_revoke)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(revoking), base_url="http://127.0.0.1"
        ) as slow:
            cut = await slow.get("/admin/export", headers=headers["admin"])
        assert cut.status_code == 200
        assert len(cut.content) < CHUNK_BYTES
        assert b'"kind":"end"' not in cut.content


async def test_a_large_body_is_not_read_before_the_key(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (asked, _, _):

        async def endless() -> Any:
            raise AssertionError("the body was read")
            yield b""

        assert is_problem(await asked.post("/ingest", content=endless()), 401, "unauthenticated")


async def test_without_keys_this_machine_alone_is_answered(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path / "store", cors_origins=("https://app.example",))
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        document = (await asked.get("/openapi.json")).json()
        assert "securitySchemes" not in document["components"]
        for dressed in (
            {},
            {"host": "localhost:8000"},
            {"host": "[::1]:8000"},
            {"origin": "http://127.0.0.1"},
            {"origin": "https://app.example"},
            {"X-API-Key": "cofio_whatever_here"},
        ):
            answer = await asked.post(QUERY, json={"query": "roof"}, headers=dressed)
            assert answer.status_code == 200, (dressed, answer.text)
        for dressed in (
            {"host": "rebound.example:8000"},
            {"host": "127.0.0.1.rebound.example"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://["},
            {"origin": "http://[127.0.0.1]"},
            {"host": "["},
            {"host": "127.0.0.1]"},
            {"host": "[1::2::3]:80"},
            {"x-forwarded-for": "203.0.113.9"},
            {"forwarded": "for=203.0.113.9"},
            {"x-real-ip": "127.0.0.1"},
        ):
            for path in (QUERY, "/ingest"):
                answer = await asked.post(path, json={"query": "roof"}, headers=dressed)
                assert is_problem(answer, 403, "forbidden")
                assert "cofio keys create" in answer.json()["detail"]


async def test_the_first_key_closes_an_open_service(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path / "store", query_rate="")
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        assert (await asked.post(QUERY, json={"query": "roof"})).status_code == 200
        key = header(chosen, Permission.QUERY)
        while (await asked.post(QUERY, json={"query": "roof"})).status_code == 200:
            await asyncio.sleep(0.01)
        assert (await asked.post(QUERY, json={"query": "roof"}, headers=key)).status_code == 200
        assert "securitySchemes" in (await asked.get("/openapi.json")).json()["components"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cofio.example", ""])
def test_other_addresses_need_a_key_or_a_word(tmp_path: Path, host: str) -> None:
    chosen = Settings(data_dir=tmp_path, host=host or "*")
    with pytest.raises(InvalidSettings, match=r"cofio keys create.*allow_anonymous"):
        open_gate(chosen)
    assert not open_gate(chosen.model_copy(update={"allow_anonymous": True})).closed
    header(chosen, Permission.QUERY)
    assert open_gate(chosen).closed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(tmp_path: Path, host: str) -> None:
    assert not open_gate(Settings(data_dir=tmp_path, host=host)).closed


async def test_a_key_in_the_question_is_only_a_question(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (asked, _, headers):
        key = headers["query"]["X-API-Key"]
        refused = await asked.post(QUERY, content=json.dumps({"query": "roof", "X-API-Key": key}))
        assert is_problem(refused, 401, "unauthenticated")
