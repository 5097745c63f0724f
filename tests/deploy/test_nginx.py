"""The repository's nginx.conf in Debian's nginx, in front of two workers, of nobody, and of a server that tells what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import dockerfile
import httpx
import orjson
import pytest
import redis
from conftest import ROOT
from fronted import CONFIGURATION, HOST, MISSING, Front, nginx_before
from ports import free_port
from processes import running, until, vector_server
from test_workers import workers_of

from cofio.access.callers import Permission
from cofio.http.app import create_app
from cofio.http.guard import needed_for
from cofio.http.headers import SECURITY_HEADERS
from cofio.http.limits import limits_of
from cofio.http.middleware import SMALL_BODY_BYTES
from cofio.settings import Settings

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.skipif(sys.platform != "linux", reason="clients come from several addresses of loopback"),
]

QUERY: Final = "/api/v2/query"
QUERY_LIMIT: Final = 20
MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two workers behind nginx, the port on which they can be asked directly, and the Redis that they share."""

    front: Front
    port: int
    supervisor: int
    log: Path
    windows: Any  # redis.Redis


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (scripts/setup_servers)")
    folder = tmp_path_factory.mktemp("site")
    port, redis_port = free_port(), free_port()
    store = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", ""]
    store += ["--appendonly", "no", "--dir", str(folder)]
    with (
        running(store, folder / "redis.log"),
        vector_server(folder) as vectors,
        redis.Redis(port=redis_port) as windows,
    ):
        told = {
            "PORT": port,
            "WORKERS": 2,
            "DATA_DIR": folder / "store",
            "QDRANT_URL": vectors,
            "RATE_STORAGE_URL": f"redis://127.0.0.1:{redis_port}/0",
            "QUERY_RATE": f"{QUERY_LIMIT}/hour",
            "TRUSTED_PROXIES": "127.0.0.1",
            # Without keys rates are counted by address, which is what is looked at here.
            "ALLOW_ANONYMOUS": "true",
            "ENCODER_THREADS": 1,
            "LOG_FORMAT": "json",
        }
        environment = {**os.environ, **{f"COFIO_{name}": str(value) for name, value in told.items()}}
        log = folder / "log"
        with (
            running([sys.executable, "-m", "cofio", "serve"], log, environment=environment) as supervisor,
            nginx_before(port, folder / "nginx") as front,
        ):
            until(lambda: "Ready on" in log.read_text() or None, "the workers are not ready")
            yield Site(front=front, port=port, supervisor=supervisor.pid, log=log, windows=windows)
    assert "Traceback" not in log.read_text()


@dataclass(kw_only=True)
class Received:
    """What an upstream got: the headers of each request, and how many connections it came over."""

    headers: list[dict[str, str]] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Received]]:
    """nginx in front of a server that answers every request with 200 and keeps what it got."""
    received = Received()

    class Keeper(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            received.connections.add(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_DELETE = answer  # noqa: N815  the library's names

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeper) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with nginx_before(server.server_port, tmp_path_factory.mktemp("told") / "nginx") as front:
            yield front, received
        server.shutdown()


@pytest.fixture(scope="module")
def deserted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx in front of a port where nobody listens."""
    with nginx_before(free_port(), tmp_path_factory.mktemp("deserted") / "nginx") as front:
        yield front


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that this response is, which nginx told."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:cofio:problem:{code}")
    assert body["request_id"] == response.headers["x-request-id"]
    assert all(body[name] for name in ("title", "detail", "instance"))
    for name, value in {**SECURITY_HEADERS, "Strict-Transport-Security": "max-age=31536000"}.items():
        assert response.headers.get_list(name) == [value]
    return body


def meeting(name: str, *lines: str) -> dict[str, str]:
    return {"title": name, "transcript": "\n".join(lines), "external_id": name}


def test_a_meeting_goes_in_and_a_question_is_answered_over_http_2(site: Site) -> None:
    with site.front.client("127.0.1.1") as client:
        told_over = client.get("/health/ready")
        assert (told_over.status_code, told_over.http_version) == (200, "HTTP/2")
        sent = client.post("/ingest", json=meeting("kiln", "Ann: The kiln is fired on Mondays."))
        assert sent.json()["outcome"] == "created", sent.text
        uploaded = client.post(
            "/ingest",
            files={"file": ("loom.txt", b"Bob: The loom is oiled every Friday.\nAnn: By Yusuf.")},
            data={"series": "workshop"},
        )
        assert uploaded.json()["outcome"] == "created", uploaded.text
        asked = client.post(QUERY, json={"query": "When is the loom oiled?"})
        assert asked.http_version == "HTTP/2"
        assert "every Friday" in asked.text
        assert asked.headers["content-encoding"] == "gzip"
    with site.front.client("127.0.1.1", http2=False) as client:
        assert "on Mondays" in client.post(QUERY, json={"query": "When is the kiln fired?"}).text


def test_headers_of_security_are_there_once_whoever_answers(site: Site) -> None:
    with site.front.client("127.0.1.2") as client:
        answered = client.post(QUERY, json={"query": "kiln"})
        refused = client.post(QUERY, json={"query": ""})
        closed = client.get("/metrics")
    assert [each.status_code for each in (answered, refused, closed)] == [200, 422, 404]
    for response in (answered, refused, closed):
        for name in (*SECURITY_HEADERS, "Strict-Transport-Security", "X-Request-ID"):
            assert len(response.headers.get_list(name)) == 1, name
        assert "server" not in response.headers or response.headers["server"] == "nginx"


def test_events_come_while_the_batch_is_at_work(site: Site) -> None:
    meetings = [meeting(f"shift {i}", f"Ann: Shift {i} begins at dawn.") for i in range(20)]
    with site.front.client("127.0.1.3") as client:
        accepted = client.post("/ingest", json={"meetings": meetings})
        assert accepted.status_code == 202, accepted.text
        pieces = []
        with client.stream("GET", f"{accepted.json()['status_url']}/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            assert "content-encoding" not in events.headers
            pieces = [piece for piece in events.iter_bytes() if b"event: " in piece]
    assert b"event: progress" in pieces[0]
    assert b"event: finished" not in pieces[0]
    assert b"event: finished" in pieces[-1]


def test_rates_are_counted_by_the_real_address_in_one_place_for_all_workers(site: Site) -> None:
    site.windows.flushall()
    forged = {"X-Forwarded-For": "9.9.9.9", "Forwarded": "for=9.9.9.9", "X-Real-IP": "9.9.9.9"}
    body = {"query": "Who oils the loom?"}

    def ask(_: int) -> int:
        # A connection each, so that both workers get some.
        with site.front.client("127.0.1.4", http2=False) as client:
            return client.post(QUERY, json=body, headers=forged).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(ask, range(QUERY_LIMIT + 10)))
    assert sorted(statuses) == [200] * QUERY_LIMIT + [429] * 10
    (key,) = [key.decode() for key in site.windows.scan_iter()]
    assert "127.0.1.4" in key
    assert "9.9.9.9" not in key
    assert limits_of(f"{QUERY_LIMIT}/hour")[0].key_for("query", "127.0.1.4") in key
    with site.front.client("127.0.1.5") as client:
        refused_by_cofio = client.post(QUERY, json=body)
    assert refused_by_cofio.status_code == 200


async def test_a_flood_from_one_address_is_refused_before_it_reaches_a_worker(site: Site) -> None:
    transport = httpx.AsyncHTTPTransport(verify=site.front.trust, http2=True, local_address="127.0.1.6")
    async with httpx.AsyncClient(base_url=site.front.url, transport=transport, timeout=120) as client:
        answers = await asyncio.gather(*(client.get("/health/live") for _ in range(300)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 300
    for answer in refused:
        problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) >= 1
    with site.front.client("127.0.1.7") as client:
        assert client.get("/health/live").status_code == 200


def test_no_request_that_may_be_repeated_is_lost_with_its_worker(site: Site) -> None:
    answered: dict[int, list[int]] = {number: [] for number in range(1, 9)}
    enough = threading.Event()

    def ask(number: int) -> None:
        with site.front.client(f"127.0.2.{number}", http2=number % 2 == 0) as client:
            # The one that the killed worker was answering may count twice: before it was killed, and where nginx repeats it.
            for asked in range(QUERY_LIMIT - 1):
                question = {"query": f"Which shift begins at dawn, {number}-{asked}?"}
                answered[number].append(client.post(QUERY, json=question).status_code)
                answered[number].append(client.get("/api/v2/meetings").status_code)
                enough.wait(0.1)  # nginx takes 20 a second from an address

    before = workers_of(site.supervisor)
    killed = min(before)
    with ThreadPoolExecutor(len(answered)) as threads:
        asking = [threads.submit(ask, number) for number in answered]
        until(lambda: min(map(len, answered.values())) > 4 or None, "the workers are too slow")
        os.kill(killed, signal.SIGKILL)
        for each in asking:
            each.result()
    assert [set(statuses) for statuses in answered.values()] == [{200}] * len(answered)
    until(
        lambda: (len(now := workers_of(site.supervisor)) == 2 and killed not in now) or None,
        "the worker is not replaced",
    )


def test_the_health_check_of_the_image_tells_a_service_that_is_ready_from_none(site: Site) -> None:
    steps = dockerfile.parse_file(str(ROOT / "Dockerfile"))
    (check,) = [step.value for step in steps if step.cmd == "HEALTHCHECK"]
    assert check[:2] == ("CMD", "python")

    def healthy(port: int) -> bool:
        environment = {**os.environ, "COFIO_PORT": str(port)}
        command = [sys.executable, *check[2:]]
        return not subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    assert healthy(site.port)
    assert not healthy(free_port())


def test_ids_of_requests_are_one_in_both_logs(site: Site) -> None:
    with site.front.client("127.0.1.8") as client:
        given = client.get("/api/v2/meetings", headers={"X-Request-ID": "walnut-17"})
        unsafe = client.get("/api/v2/meetings", headers={"X-Request-ID": 'a"b'})
    assert given.headers["x-request-id"] == "walnut-17"
    made = unsafe.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    for name in ("walnut-17", made):

        def logged(name: str = name) -> dict[str, Any] | None:
            lines = [orjson.loads(line) for line in site.front.access_log.read_text().splitlines()]
            return next((line for line in lines if line["request_id"] == name), None)

        line = until(logged, "nginx does not log it")
        assert (line["path"], line["client"]) == ("/api/v2/meetings", "127.0.1.8")
    until(
        lambda: all(f'"{name}"' in site.log.read_text() for name in ("walnut-17", made)) or None, "not logged"
    )


def test_bodies_that_are_too_large_are_refused_by_nginx_as_cofio_would(told: tuple[Front, Received]) -> None:
    front, received = told
    before = len(received.headers)
    with front.client("127.0.3.1", http2=False) as client:
        too_large = client.post(QUERY, content=b"x" * (MIB + 1))
        assert "64 MiB" in problem(too_large, 413, "body_too_large")["detail"]
        assert client.post(QUERY, content=b"x" * MIB).status_code == 200
        assert client.post("/ingest", content=b"x" * (MIB + 1)).status_code == 200
    with front.client("127.0.3.1") as client:
        # Refused by what it declares; httpx would not stop sending a body over HTTP/2.
        declared = client.post("/ingest", headers={"Content-Length": str(64 * MIB + 1)})
        problem(declared, 413, "body_too_large")
    assert len(received.headers) - before == 2


def test_limits_of_bodies_are_those_of_cofio() -> None:
    limits = [int(size) * MIB for size in re.findall(r"client_max_body_size (\d+)m;", CONFIGURATION)]
    assert limits == [SMALL_BODY_BYTES, Settings().max_body_bytes]
    (between,) = re.findall(r"client_body_timeout (\d+)s;", CONFIGURATION)
    assert int(between) == Settings().body_timeout_s


def test_only_what_is_for_everybody_or_for_keys_of_users_is_open(told: tuple[Front, Received]) -> None:
    front, _ = told
    paths: dict[str, dict[str, Any]] = create_app(Settings()).openapi()["paths"]
    assert {"/metrics", "/admin/audit", "/health/detailed", QUERY} <= set(paths)
    with front.client("127.0.3.2") as client:
        for path, methods in paths.items():
            shown = re.sub(r"\{\w+\}", "5ad0", path)
            for method in methods:
                response = client.request(method.upper(), shown)
                if needed_for(method.upper(), path) is Permission.ADMIN:
                    problem(response, 404, "no_such_route")
                else:
                    assert response.status_code == 200, shown
        for page in ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"):
            assert client.get(page).status_code == 200, page


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/api/v2/../../metrics",
        "/api/v2/%2e%2e/%2e%2e/metrics",
        "/api/v2/..%2f..%2fmetrics",
        "/docs/../admin/export",
        "/operations/../admin/events",
        "/admin",
        "/Metrics",
    ],
)
def test_no_other_writing_of_a_closed_path_opens_it(told: tuple[Front, Received], path: str) -> None:
    front, received = told
    before = len(received.headers)
    # As it stands: httpx would tidy it up.
    address = urlsplit(front.url)
    with contextlib.closing(
        HTTPSConnection(HOST, address.port, context=front.trust, source_address=("127.0.3.3", 0), timeout=60)
    ) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, orjson.loads(response.read())["code"]) == (404, "no_such_route")
    assert len(received.headers) == before


def test_what_the_service_is_told_of_a_request(told: tuple[Front, Received]) -> None:
    front, received = told
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
    claimed = {
        "X-Forwarded-For": "9.9.9.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Real-IP": "9.9.9.9",
        "Forwarded": "for=9.9.9.9",
        "X-API-Key": "a-key",
    }
    received.connections.clear()
    with front.client("127.0.3.4") as client:
        for _ in range(10):
            assert client.get("/api/v2/meetings", headers={**trace, **claimed}).status_code == 200
    got = received.headers[-1]
    assert got["x-forwarded-for"] == "127.0.3.4"
    assert got["x-forwarded-proto"] == "https"
    assert not {"x-forwarded-host", "x-real-ip", "forwarded", "connection"} & set(got)
    assert got["x-api-key"] == "a-key"
    assert {name: got[name] for name in trace} == trace
    assert re.fullmatch("[0-9a-f]{32}", got["x-request-id"])
    assert len(received.connections) == 1


def test_who_finds_nobody_is_told_so_and_when_to_come_back(deserted: Front) -> None:
    with deserted.client("127.0.3.5") as client:
        for response in (client.get("/api/v2/meetings"), client.post(QUERY, json={"query": "kiln"})):
            told = problem(response, 502, "upstream_failed")
            assert told["instance"] in ("/api/v2/meetings", QUERY)
            assert int(response.headers["retry-after"]) >= 1
        awkward = client.get('/operations/a"b')
        assert problem(awkward, 502, "upstream_failed")["instance"] == "/"


def test_heads_that_are_too_large_and_requests_without_tls_are_refused(deserted: Front) -> None:
    with deserted.client("127.0.3.6", http2=False) as client:
        problem(client.get("/health", headers={"X-Long": "x" * 20_000}), 431, "head_too_large")
    redirected = httpx.get(f"{deserted.plain_url}/docs?a=b", headers={"Host": "cofio.example"})
    assert redirected.status_code == 308
    assert redirected.headers["location"] == "https://cofio.example/docs?a=b"
    problem(httpx.get(deserted.url.replace("https", "http")), 400, "malformed_request")
