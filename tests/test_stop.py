"""A service that is told to stop answers what it took, and what it put off is done by the next one."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from served import service

from cofio.data_dir import DATABASE_NAME

PATH = "/api/v2/query"


def meeting(name: str, lines: int) -> dict[str, Any]:
    said = [
        f"Ann: In week {line} of {name} we talked about crane {line * 7} and its gear."
        for line in range(lines)
    ]
    return {"title": name, "external_id": name, "transcript": "\n".join(said)}


def test_what_was_taken_is_answered_and_what_was_put_off_is_done_later(tmp_path: Path) -> None:
    with service(tmp_path, stop_grace_s=300) as running, ThreadPoolExecutor(4) as threads:
        batch = running.post("/ingest", {"meetings": [meeting(f"later {i}", 60) for i in range(20)]})
        assert batch.status_code == 202
        stored = [threads.submit(running.post, "/ingest", meeting(f"now {i}", 120)) for i in range(4)]
        while running.busy() < 4 and not all(each.done() for each in stored):
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        assert [each.result().status_code for each in stored] == [200] * 4
        assert running.process.wait(120) == 0, running.log.read_text()
        assert "Traceback" not in running.log.read_text()
        assert running.ready() is None
    with contextlib.closing(sqlite3.connect(tmp_path / "store" / DATABASE_NAME)) as truth:
        ((pending,),) = truth.execute("SELECT count(*) FROM operation_meetings WHERE status = 'pending'")
    assert pending > 0, "the batch was done before the service stopped"
    with service(tmp_path) as again:
        deadline = time.monotonic() + 120
        while (state := httpx.get(f"{again.url}{batch.json()['status_url']}").json())["finished_at"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (state["status"], state["done"]) == ("succeeded", 20)
        assert again.meetings() == {
            **{f"now {i}": 120 for i in range(4)},
            **{f"later {i}": 60 for i in range(20)},
        }


def test_what_takes_too_long_is_cut_off_and_leaves_nothing(tmp_path: Path) -> None:
    with service(tmp_path, stop_grace_s=0.5) as running, ThreadPoolExecutor(1) as threads:
        assert running.post("/ingest", meeting("short", 4)).status_code == 200
        cut_off = threads.submit(running.post, "/ingest", meeting("long", 6000))
        while running.busy() < 1:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0, running.log.read_text()
        assert isinstance(cut_off.exception(), httpx.TransportError) or cut_off.result().status_code == 500
    with service(tmp_path) as again:
        assert again.meetings() == {"short": 4}


def test_while_it_drains_it_answers_but_says_that_it_is_not_ready(tmp_path: Path) -> None:
    turned_away = threading.Event()

    def ask(reader: int) -> int:
        asked = 0
        while not turned_away.is_set():
            answer = running.post(PATH, {"query": f"What about crane {reader} {asked}?"})
            assert answer.status_code == 200, answer.text
            asked += 1
        return asked

    # Longer than the test waits, so that nothing depends on how fast the machine is: the second signal ends it.
    with service(tmp_path, drain_s=600) as running, ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(ask, reader) for reader in range(4)]
        while running.busy() < 2:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        # As a load balancer does: it sends nothing more to who is not ready, and what it has sent is answered.
        while running.ready() == 200:
            time.sleep(0.01)
        assert running.ready() == 503
        late = running.post("/ingest", meeting("late", 4))
        turned_away.set()
        assert late.status_code == 200
        assert sum(reader.result() for reader in readers) > 0
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == -signal.SIGTERM
    with service(tmp_path) as again:
        assert again.meetings() == {"late": 4}


def test_a_second_signal_ends_it_at_once_without_loss(tmp_path: Path) -> None:
    with service(tmp_path, drain_s=600) as running, ThreadPoolExecutor(1) as threads:
        assert running.post("/ingest", meeting("short", 4)).status_code == 200
        threads.submit(running.post, "/ingest", meeting("long", 6000))
        while running.busy() < 1:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        while running.ready() != 503:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == -signal.SIGTERM
    with service(tmp_path) as again:
        assert again.meetings() == {"short": 4}
