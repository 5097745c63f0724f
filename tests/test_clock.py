"""A clock that is set back, under a real service: nothing is lost, refused for longer, or told in another order."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from served import Service, service

FAKETIME: Final = sorted(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"))
RATE: Final = 3
QUESTION: Final = {"query": "Who mends the lantern?"}


def _said(number: int) -> dict[str, str]:
    return {"title": f"Lighthouse {number}", "transcript": f"Ann: I mend the lantern number {number}."}


def _found(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [memory["content"] for memory in answer.json()["direct_results"]["L2"]]


def _in_a_batch(running: Service, *meetings: dict[str, str]) -> dict[str, Any]:
    accepted = running.post("/ingest", {"meetings": list(meetings)}).json()
    with httpx.stream("GET", f"{running.url}{accepted['status_url']}/events", timeout=60) as events:
        list(events.iter_lines())  # it ends with the batch
    done: dict[str, Any] = httpx.get(f"{running.url}{accepted['status_url']}", timeout=30).json()
    return done


def _backup(running: Service) -> str:
    made = running.post("/admin/backups", {})
    assert made.status_code == 201, made.text
    return str(made.json()["manifest"]["created_at"])


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed")
def test_a_clock_set_back_by_a_year_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # With it, waits by the monotonic clock end at once or never, and threads fight for the interpreter's lock.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }.items():
        monkeypatch.setenv(name, value)
    with service(tmp_path, query_rate=f"{RATE}/minute") as running:
        running.post("/ingest", _said(1))
        assert _in_a_batch(running, _said(2), _said(3))["finished_at"] is not None
        before = _backup(running)
        for _ in range(RATE):
            found = _found(running.post("/api/v2/query", QUESTION))
        assert running.post("/api/v2/query", QUESTION).status_code == 429

        clock.write_text("-365d")
        assert _backup(running) < before, "the clock was not set back"
        # A window that was full does not stay full for a year.
        assert _found(running.post("/api/v2/query", QUESTION)) == found
        for _ in range(RATE):
            refused = running.post("/api/v2/query", QUESTION)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        running.post("/ingest", _said(4))
        done = _in_a_batch(running, _said(5))
        assert done["finished_at"] is not None
        assert [each["status"] for each in done["results"]] == ["succeeded"]
        running.process.kill()
        running.process.wait()
    with service(tmp_path) as again:
        assert set(again.meetings()) == {f"Lighthouse {number}" for number in range(1, 6)}
        for number in range(1, 6):
            answer = again.post("/api/v2/query", {"query": f"lantern number {number}"})
            assert _found(answer)[0] == f"I mend the lantern number {number}."
