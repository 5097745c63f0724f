"""Clients that stall or hang up, over real connections: they keep nothing from others, and raise no alert."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from hash_encoder import HashEncoder
from keyed import header
from prometheus_client import REGISTRY
from starlette.types import Receive, Scope, Send

from cofio.access.callers import Permission
from cofio.http.app import create_app
from cofio.http.middleware import SLOWEST_BYTES_PER_S
from cofio.http.places import most_of_one
from cofio.http.protocol import BoundedConnection
from cofio.runtime import open_runtime
from cofio.serving import http_config
from cofio.settings import Settings

QUERY = "/api/v2/query"
BODIES: dict[str, dict[str, Any]] = {
    "/ingest": {"title": "Quay", "transcript": "Ann: The crane is painted."},
    QUERY: {"query": "Who paints the crane?"},
    "/admin/backups": {"keep": 3},
}


def _settings(folder: Path, **changed: Any) -> Settings:
    return Settings(data_dir=folder / "store", query_rate="", ingest_rate="", **changed)


@contextlib.asynccontextmanager
async def _running(config: uvicorn.Config) -> AsyncIterator[tuple[str, int]]:
    """The address of a server of this process."""
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            await running


@contextlib.asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[tuple[str, int]]:
    async with (
        open_runtime(settings, HashEncoder()) as runtime,
        _running(http_config(create_app(settings, runtime), settings)) as address,
    ):
        yield address


def _url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"


async def _begin(
    address: tuple[str, int], path: str, *, length: int = 100, more: str = "", body: bytes = b"{"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body has begun."""
    reader, writer = await asyncio.open_connection(*address)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}"
    writer.write(f"{head}Content-Length: {length}\r\n\r\n".encode() + body)
    await writer.drain()
    return reader, writer


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Status, head and body of an answer after which the service hangs up."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    (length,) = re.findall(rb"content-length: (\d+)", head)
    body = await reader.readexactly(int(length))
    with contextlib.suppress(
        ConnectionResetError
    ):  # what was sent after the service hung up is answered by that
        assert not await reader.read()
    return int(head.split()[1]), head, body


def _answered(path: str, status: int) -> float:
    labels = {"method": "POST", "endpoint": path, "status": str(status)}
    return REGISTRY.get_sample_value("api_requests_total", labels) or 0.0


async def test_a_body_that_stalls_is_refused_and_gives_its_place_back(tmp_path: Path) -> None:
    chosen = _settings(tmp_path, body_timeout_s=0.2, max_pending_ingests=1, max_pending_queries=1)
    async with _service(chosen) as address, httpx.AsyncClient(base_url=_url(address)) as asked:
        for path, begun in product(BODIES, (b"{", b"")):
            reader, writer = await _begin(address, path, body=begun)
            status, head, told = await _answer(reader)
            assert (status, orjson.loads(told)["code"]) == (408, "body_too_slow"), path
            assert b"connection: close" in head
            assert b"content-type: application/problem+json" in head
            writer.close()
        for path, body in BODIES.items():
            assert (await asked.post(path, json=body)).is_success


async def test_a_multipart_body_that_stalls_is_refused(tmp_path: Path) -> None:
    async with _service(_settings(tmp_path, body_timeout_s=0.3)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            b"POST /ingest HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b'Content-Length: 900\r\n\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nAnn'
        )
        status, _, told = await _answer(reader)
        assert (status, orjson.loads(told)["code"]) == (408, "body_too_slow")
        writer.close()


async def test_a_body_that_drips_is_refused_and_one_that_is_slow_is_stored(tmp_path: Path) -> None:
    body = orjson.dumps(BODIES["/ingest"] | {"metadata": {}})
    body += b" " * (SLOWEST_BYTES_PER_S * 2 - len(body))
    async with _service(_settings(tmp_path, body_timeout_s=0.4)) as address:
        reader, to_dripping = await _begin(address, "/ingest")
        dripping = asyncio.create_task(_answer(reader))
        slow, to_slow = await _begin(
            address, "/ingest", length=len(body), more="Connection: close\r\n", body=b""
        )
        began = time.monotonic()
        # Each sends every 100 ms, for a second: the one a byte, the other a tenth of 64 KiB.
        for piece in range(10):
            if not dripping.done():
                to_dripping.write(b" ")
            to_slow.write(body[piece * len(body) // 10 : (piece + 1) * len(body) // 10])
            await to_slow.drain()
            await asyncio.sleep(0.1)
        assert time.monotonic() - began > 0.8
        assert (await dripping)[0] == 408
        assert (await _answer(slow))[0] == 200
        to_dripping.close()
        to_slow.close()


async def test_a_client_that_hangs_up_while_it_sends_is_no_error_of_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {(path, status): _answered(path, status) for path in BODIES for status in (400, 500)}
    with caplog.at_level(logging.INFO):
        async with _service(_settings(tmp_path)) as address:
            for path, begun in product(BODIES, (b"{", b"")):
                gone = _answered(path, 499)
                _, writer = await _begin(address, path, body=begun)
                await asyncio.sleep(0.05)
                writer.close()
                async with asyncio.timeout(10):
                    while _answered(path, 499) == gone:
                        await asyncio.sleep(0.01)
    assert {key: _answered(*key) for key in before} == before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


async def test_one_caller_leaves_places_for_others(tmp_path: Path) -> None:
    chosen = _settings(tmp_path, max_pending_ingests=4)
    greedy, other = header(chosen, Permission.INGEST), header(chosen, Permission.INGEST)
    async with (
        _service(chosen) as address,
        httpx.AsyncClient(base_url=_url(address)) as asked,
    ):
        named = f"X-API-Key: {greedy['X-API-Key']}\r\n"
        stalled = [await _begin(address, "/ingest", more=named) for _ in range(most_of_one(4))]
        await asyncio.sleep(0.1)
        refused = await asked.post("/ingest", json=BODIES["/ingest"], headers=greedy)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        let_in = await asked.post("/ingest", json=BODIES["/ingest"], headers=other)
        assert let_in.status_code == 200, let_in.text
        for _, writer in stalled:
            writer.close()
        await asyncio.sleep(0.1)
        again = await asked.post("/ingest", json=BODIES["/ingest"], headers=greedy)
        assert again.status_code == 200, again.text


class _Hasty(BoundedConnection):
    unread_s = 0.3


class _Endless:
    """An app that sends for as long as somebody reads."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sending = asyncio.create_task(self._send(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        sending.cancel()
        self.ended.set()

    async def _send(self, send: Send) -> None:
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0)


async def test_who_does_not_read_an_answer_is_cut_off_and_who_reads_is_not() -> None:
    app = _Endless()
    config = uvicorn.Config(app, http=_Hasty, log_config=None, lifespan="off")
    async with _running(config) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 1:
            assert await reader.read(1 << 20)
        assert not app.ended.is_set()
        async with asyncio.timeout(3):
            await app.ended.wait()
        writer.close()
