"""Commands with `--url`, as processes: what they make of the answers of a server on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest
from command_line import cofio
from ports import free_port

# The status and the body of an answer; None hangs up without one.
Answer = tuple[int, bytes] | None
RECEIPT = {"outcome": "created", "added": 1, "kept": 0, "removed": 0, "warnings": []}


def _problem(status: int, code: str, detail: str = "Say so.") -> Answer:
    return status, orjson.dumps({"status": status, "code": code, "detail": detail})


@contextmanager
def _server(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """The URL of a server that says what `answer` makes of a request's path and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = answer(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if told is None:
                return
            status, body = told
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (_problem(503, "model_missing", "No model."), os.EX_OSFILE, "No model."),
        (_problem(503, "store_in_use"), os.EX_TEMPFAIL, "Say so."),
        (_problem(503, "unavailable"), os.EX_UNAVAILABLE, "Say so."),
        (_problem(503, "encoder_unavailable"), os.EX_UNAVAILABLE, "Say so."),
        (_problem(422, "field_too_long"), os.EX_DATAERR, "Say so."),
        (_problem(500, "store_too_new"), os.EX_CONFIG, "Say so."),
        (_problem(502, "upstream_failed"), os.EX_UNAVAILABLE, "Say so."),
        ((503, b"<html>"), os.EX_UNAVAILABLE, "503 without a problem"),
        ((504, b"<html>"), os.EX_UNAVAILABLE, "504 without a problem"),
        ((200, b"<html>"), os.EX_UNAVAILABLE, "no cofio"),
        ((200, b"{}"), os.EX_UNAVAILABLE, "no cofio"),
        (None, os.EX_UNAVAILABLE, "no service answers"),
    ],
)
def test_a_refusal_is_told_at_once_as_what_it_is(answer: Answer, code: int, says: str) -> None:
    asked = []

    def once(path: str, body: bytes) -> Answer:
        asked.append(path)
        return answer

    with _server(once) as url:
        assert says in cofio("query", "Who paints the crane?", "--url", url, code=code)
    assert len(asked) == 1


def test_a_busy_service_is_asked_again() -> None:
    answers = [
        _problem(503, "overloaded"), _problem(503, "store_busy"), _problem(429, "rate_limited"),
        _problem(403, "forbidden"),
    ]  # fmt: skip
    with _server(lambda path, body: answers.pop(0)) as url:
        cofio("query", "Who paints the crane?", "--url", url, code=os.EX_NOPERM)
    assert answers == []


def test_what_fails_of_an_ingest_keeps_no_other_file_back(tmp_path: Path) -> None:
    """Batches are of fifty: in the first one file is refused, the second is lost on its way, the third is stored."""
    for number in range(110):
        said = {7: "REFUSED", 60: "LOST"}.get(number, "paint")
        (tmp_path / f"crane-{number:03}.txt").write_text(f"Ann: The {said} for the crane comes on Monday.\n")
    sizes: dict[str, int] = {}
    away = [None, _problem(502, "upstream_failed")]

    def service(path: str, body: bytes) -> Answer:
        if path == "/ingest":
            if b"REFUSED" in body:
                return _problem(422, "unreadable_transcript", "This one cannot be read.")
            if b"LOST" in body:
                return None
            name = f"op-{len(sizes)}"
            sizes[name] = len(orjson.loads(body)["meetings"])
            return 202, orjson.dumps({"operation_id": name, "status_url": f"/operations/{name}"})
        if away:
            return away.pop()
        name = path.removeprefix("/operations/")
        items = [
            {"index": index, "title": "crane", "status": "succeeded", "receipt": RECEIPT}
            for index in range(sizes[name])
        ]
        times = {"created_at": "2026-05-04T08:00:00+00:00", "finished_at": "2026-05-04T08:00:01+00:00"}
        counts = {"total": sizes[name], "done": sizes[name], "failed": 0}
        return 200, orjson.dumps(
            {"operation_id": name, "status": "succeeded", **counts, **times, "results": items}
        )

    with _server(service) as url:
        told = cofio("ingest", tmp_path, "--url", url, code=1)
    assert "59 of 110 meetings remembered" in told
    assert [line for line in told.splitlines() if "This one cannot be read." in line] == [
        f"failed {tmp_path / 'crane-007.txt'}: This one cannot be read."
    ]
    assert told.count("no service answers") == 50
    assert sorted(sizes.values()) == [*[1] * 49, 10]
    assert away == []
