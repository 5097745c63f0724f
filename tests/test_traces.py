"""Traces, as a collector that speaks OTLP over HTTP receives them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
import structlog
from conftest import ROOT
from hash_encoder import HashEncoder
from in_process import client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.telemetry import traces
from cofio.telemetry.logs import configure_logging

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"  # pragma: allowlist secret
PARENT: Final = "b7ad6b7169203331"  # pragma: allowlist secret
TRACEPARENT: Final = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
QUERY_STAGES: Final = {"wait", "prepare", "encode", "search", "activate", "fetch", "assemble"}
INGEST_STAGES: Final = {"parse", "look_up", "encode", "memorise", "store", "index"}


class Collector:
    """What was received, in the order of arrival."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/traces"
        self.bodies: list[bytes] = []

    def spans(self) -> list[Span]:
        """Every span that has come in."""
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        told = Collector(server.server_address[1])
        told.bodies = received
        yield told
        server.shutdown()
        thread.join()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def finished(asked: httpx.AsyncClient, path: str) -> None:
    async with asyncio.timeout(60):
        while not (await asked.get(path)).json()["finished_at"]:
            await asyncio.sleep(0.02)


async def test_requests_stages_and_jobs_are_spans_of_the_trace_that_the_client_began(
    tmp_path: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = Settings(data_dir=tmp_path / "store", otlp_endpoint=collector.url)
    configure_logging("info", "json")
    with contextlib.ExitStack() as stack:
        stack.callback(structlog.reset_defaults)
        async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
            one = {"title": "Quillback sync", "transcript": "Ann: The quillback pump leaks.\nBob: Since May?"}
            stored = await asked.post("/ingest", json=one, headers=TRACEPARENT)
            assert stored.status_code == 200
            for _ in range(2):
                body = {"query": "Which quillback leaks?"}
                assert (await asked.post("/api/v2/query", json=body, headers=TRACEPARENT)).status_code == 200
            assert (await asked.post("/ingest", json={"title": "x"}, headers=TRACEPARENT)).status_code == 422
            many = {"meetings": [{**one, "title": f"Quillback {i}", "external_id": str(i)} for i in range(2)]}
            batch = await asked.post("/ingest", json=many, headers={**TRACEPARENT, "x-request-id": "batch-7"})
            await finished(asked, batch.json()["status_url"])
            await asked.get("/health/live")
    spans = collector.spans()
    ours = [span for span in spans if span.trace_id.hex() == TRACE]
    named = {name: [s for s in ours if s.name == name] for name in {s.name for s in ours}}
    requests = named["POST /ingest"] + named["POST /api/v2/query"]
    assert len(requests) == 5
    assert {span.parent_span_id.hex() for span in requests} == {PARENT}
    assert {span.kind for span in requests} == {Span.SPAN_KIND_SERVER}

    question = next(s for s in named["POST /api/v2/query"] if "cofio.outcome" in attributes(s))
    assert attributes(question) | {"cofio.request_id": "", "cofio.results": 0} == {
        "http.request.method": "POST",
        "http.route": "/api/v2/query",
        "http.response.status_code": 200,
        "cofio.request_id": "",
        "cofio.outcome": "answered",
        "cofio.results": 0,
        "cofio.cached": False,
    }
    inside = {s.name for s in ours if s.parent_span_id == question.span_id}
    assert inside == {f"query {stage}" for stage in QUERY_STAGES}
    assert [attributes(s)["cofio.cached"] for s in named["POST /api/v2/query"]].count(True) == 1

    ingested = next(s for s in named["POST /ingest"] if attributes(s).get("cofio.outcome") == "created")
    inside = {s.name for s in ours if s.parent_span_id == ingested.span_id}
    assert inside == {f"ingest {stage}" for stage in INGEST_STAGES}

    # The meetings of the batch were remembered in the background, for the request that brought them.
    sent = next(s for s in named["POST /ingest"] if attributes(s)["cofio.request_id"] == "batch-7")
    jobs = named["batch meeting"]
    assert [s.parent_span_id for s in jobs] == [sent.span_id] * 2
    assert {attributes(s)["cofio.request_id"] for s in jobs} == {"batch-7"}
    for job in jobs:
        assert {f"ingest {stage}" for stage in INGEST_STAGES} == {
            s.name for s in ours if s.parent_span_id == job.span_id
        }

    # Nobody else's request is in this trace, and nothing that was said or asked is anywhere.
    assert "GET /health/live" in {s.name for s in spans} - named.keys()
    assert b"uillback" not in b"".join(collector.bodies)

    lines = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line for line in lines if line.get("trace_id") == TRACE]
    assert {s.span_id.hex() for s in requests} <= {line["span_id"] for line in told}
    of_batch = [line for line in told if line["event"] == "ingest" and line["request_id"] == "batch-7"]
    assert [line["operation_id"] for line in of_batch] == [batch.json()["operation_id"]] * 2
    assert all(line["stages_ms"].keys() == INGEST_STAGES for line in of_batch)
    (asked_line,) = [line for line in told if line["event"] == "query"]
    assert (asked_line["outcome"], set(asked_line["stages_ms"])) == ("answered", QUERY_STAGES)
    assert "uillback" not in orjson.dumps(lines).decode()


async def test_of_traces_begun_here_a_share_is_sent_and_of_others_what_their_beginner_sends(
    collector: Collector,
) -> None:
    async with traces.traced(Settings(otlp_endpoint=collector.url, trace_share=0.0)):
        with traces.request([]):
            assert traces.span_ids() is None
        with traces.request([(b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())]):
            assert traces.span_ids() is None
        for nonsense in (b"00-xyz", b"\xff\xfe", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"):
            with traces.request([(b"traceparent", nonsense)]):
                assert traces.span_ids() is None
        with traces.request([(b"traceparent", TRACEPARENT["traceparent"].encode())]):
            ids = traces.span_ids()
            with pytest.raises(ValueError, match="what somebody said"), traces.span("query prepare"):
                raise ValueError("what somebody said")
    assert ids is not None
    inner, outer = collector.spans()
    assert (outer.span_id.hex(), inner.parent_span_id) == (ids.span_id, outer.span_id)
    assert inner.status.code == inner.status.STATUS_CODE_ERROR
    assert b"somebody" not in b"".join(collector.bodies)


async def test_without_the_setting_nothing_is_traced() -> None:
    async with traces.traced(Settings()):
        with traces.request([(b"traceparent", TRACEPARENT["traceparent"].encode())]):
            assert traces.span_ids() is None
            assert traces.origin() is None


# As if OpenTelemetry were not installed.
WITHOUT: Final = """
import sys
sys.modules["opentelemetry.sdk"] = None
from cofio.cli import main
sys.argv = ["cofio", "serve", "--data-dir", sys.argv[1]]
main()
"""


def test_a_missing_extra_is_told_in_one_sentence_at_the_start(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "store")],
        cwd=ROOT,
        env={**os.environ, "COFIO_OTLP_ENDPOINT": "http://127.0.0.1:9/v1/traces"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == os.EX_CONFIG
    assert "pip install 'cofio[traces]'" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "store").exists()
