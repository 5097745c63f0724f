"""Several workers on one data directory and one vector server: real processes, and Qdrant's interface over gRPC."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from ports import free_port
from processes import WAIT_S, running, until, vector_server
from prometheus_client.parser import text_string_to_metric_families

from cofio.data_dir import held
from cofio.errors import StoreInUse
from cofio.maintain import doctor
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store.turns import Turns

ROOT: Final = Path(__file__).parents[1]
# One worker of two, on a port of its own, so that a test can ask the one or the other.
WORKER: Final = """
import sys
from pathlib import Path
import uvicorn
from cofio.serving import http_config
from cofio.settings import Settings
from cofio.workers import worker_app
settings = Settings(data_dir=Path(sys.argv[1]), qdrant_url=sys.argv[2], port=int(sys.argv[3]), workers=2,
                    encoder_threads=1, query_rate="", ingest_rate="")
uvicorn.Server(http_config(worker_app(settings), settings)).run()
"""
# Takes the turn of a name, says so, and keeps it until it is killed.
TAKER: Final = """
import sys, time
from pathlib import Path
from cofio.store.turns import Turns
turns = Turns(Path(sys.argv[1]))
print(turns.take(sys.argv[2]), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Two workers, what they share, and a client of each."""

    settings: Settings
    first: httpx.Client
    second: httpx.Client


def ready(client: httpx.Client) -> bool | None:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health/ready").status_code == 200 or None
    return None


@contextlib.contextmanager
def worker(settings: Settings, log: Path) -> Iterator[httpx.Client]:
    port = free_port()
    command = [sys.executable, "-c", WORKER, str(settings.data_dir), str(settings.qdrant_url), str(port)]
    with (
        running(
            command, log, ends_with=-signal.SIGTERM
        ) as process,  # uvicorn raises it again when all is closed
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client,
    ):
        until(lambda: (process.poll() is None and ready(client)) or None, "the worker is not ready")
        yield client
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("group")
    with vector_server(folder) as url, contextlib.ExitStack() as stack:
        settings = Settings(data_dir=folder / "store", qdrant_url=url)
        (folder / "store").mkdir()
        first = stack.enter_context(worker(settings, folder / "first.log"))
        second = stack.enter_context(worker(settings, folder / "second.log"))
        yield Group(settings=settings, first=first, second=second)


def ingest(client: httpx.Client, name: str, *lines: str) -> dict[str, Any]:
    body = {"title": name, "transcript": "\n".join(lines), "external_id": name, "project": name}
    response = client.post("/ingest", json=body)
    assert response.status_code == 200, response.text
    receipt: dict[str, Any] = response.json()
    return receipt


def ask(client: httpx.Client, question: str) -> httpx.Response:
    response = client.post("/api/v2/query", json={"query": question})
    assert response.status_code == 200, response.text
    return response


def test_what_one_worker_ingests_the_other_answers(group: Group) -> None:
    ask(group.second, "Who waters the walnut trees?")
    ingest(
        group.first, "walnut", "Ann: The walnut trees are watered by Yusuf.", "Bob: Only until the autumn."
    )
    answer = ask(group.second, "Who waters the walnut trees?")
    assert "watered by Yusuf" in answer.text
    best = answer.json()["direct_results"]["L2"][0]
    neighbours = group.second.get(f"/api/v2/memories/{best['memory_id']}").json()["neighbours"]
    assert any("until the autumn" in neighbour["content"] for neighbour in neighbours)


def test_what_one_worker_deletes_the_other_never_answers_again(group: Group) -> None:
    questions = [f"What is kept in the granary number {number}?" for number in range(5)]
    receipt = ingest(
        group.first, "granary", "Ann: In the granary we keep oats.", "Bob: The granary has a new door."
    )
    for client in (group.first, group.second):
        for question in questions:
            assert "keep oats" in ask(client, question).text
            again = ask(client, question)
            assert again.headers["X-Cofio-Cache"] == "hit"
            assert "keep oats" in again.text
    deleted = group.first.delete(f"/api/v2/meetings/{receipt['meeting_id']}")
    assert deleted.status_code == 200
    for _ in range(3):
        for client in (group.second, group.first):
            for question in questions:
                assert "keep oats" not in ask(client, question).text
            assert client.get(f"/api/v2/meetings/{receipt['meeting_id']}").status_code == 404


def test_one_meeting_sent_to_both_at_once_is_stored_as_one_of_them_left_it(group: Group) -> None:
    said = {
        client: [f"Ann: The {word} orchard row {i} is pruned." for i in range(6)]
        for client, word in ((group.first, "cherry"), (group.second, "plum"))
    }
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            receipts = list(threads.map(lambda client: ingest(client, "orchard", *said[client]), said))
            assert receipts[0]["meeting_id"] == receipts[1]["meeting_id"]
            answers = {
                ask(client, "Which orchard row is pruned?").text.count("cherry") > 0 for client in said
            }
            assert len(answers) == 1
    held = group.first.get(f"/api/v2/meetings/{receipts[0]['meeting_id']}").json()
    assert held["memories_by_level"]["L2"] == 6


def test_batches_sent_to_both_are_each_done_once(group: Group) -> None:
    def batch(number: int) -> tuple[httpx.Client, str]:
        client = (group.first, group.second)[number % 2]
        meetings = [
            {
                "title": f"Shift {number}-{i}",
                "transcript": f"Ann: Shift {number}-{i} begins at dawn.\nBob: It ends at noon.",
                "external_id": f"shift-{number}-{i}",
            }
            for i in range(4)
        ]
        sent = client.post("/ingest", json={"meetings": meetings})
        assert sent.status_code == 202, sent.text
        return client, sent.json()["operation_id"]

    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(batch, range(6)))

    def finished(client: httpx.Client, operation_id: str) -> dict[str, Any] | None:
        state: dict[str, Any] = client.get(f"/operations/{operation_id}").json()
        return state if state["finished_at"] else None

    for client, operation_id in sent:
        state = until(lambda c=client, o=operation_id: finished(c, o), "a batch is not finished")  # type: ignore[misc]
        assert [item["receipt"]["outcome"] for item in state["results"]] == ["created"] * 4


def test_no_process_holds_alone_what_workers_share(group: Group) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "cofio", "doctor", "--data-dir", str(group.settings.data_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert told.returncode == os.EX_TEMPFAIL
    assert "Another cofio process holds" in told.stderr


async def test_a_worker_is_not_let_in_where_a_process_is_alone(tmp_path: Path) -> None:
    alone = Settings(data_dir=tmp_path / "store")
    async with open_runtime(alone):
        shared = Settings(data_dir=tmp_path / "store", qdrant_url="http://127.0.0.1:9", workers=2)
        with pytest.raises(StoreInUse, match="for itself"):
            async with open_runtime(shared):
                pass


async def test_the_three_stores_agree_after_both_wrote_and_deleted_at_once(tmp_path: Path) -> None:
    def work(client: httpx.Client, seed: int) -> None:
        chosen = random.Random(seed)
        for step in range(8):
            name = f"m{chosen.randrange(4)}"
            receipt = ingest(
                client,
                name,
                *(f"Ann: Point {chosen.randrange(9)} of {name} is {seed}-{step}." for _ in range(5)),
            )
            ask(client, f"What is the point of {name}?")
            if chosen.random() < 0.4:
                gone = client.delete(f"/api/v2/meetings/{receipt['meeting_id']}")
                assert gone.status_code in (200, 404), gone.text

    with vector_server(tmp_path) as url:
        settings = Settings(data_dir=tmp_path / "store", qdrant_url=url)
        settings.data_dir.mkdir()
        with (
            worker(settings, tmp_path / "first.log") as first,
            worker(settings, tmp_path / "second.log") as second,
        ):
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(work, (first, second, first, second), range(4)))
            pages = [client.get("/api/v2/meetings").json() for client in (first, second)]
            assert pages[0] == pages[1]
            for name in ("m0", "m1", "m2", "m3"):
                answers = [ask(client, f"Which point of {name} is it?").json() for client in (first, second)]
                for answer in answers:
                    del answer["processing_time_ms"], answer["stages_ms"]
                assert answers[0] == answers[1]
        async with open_runtime(settings) as runtime:
            diagnosis = await doctor(runtime, repair=False)
            assert diagnosis.problems == ()
            assert diagnosis.truth["L2"] > 0


def scraped(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """The values of /metrics by name and values of labels, these in the order of the labels' names."""
    text = client.get("/metrics").text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def check_with_promtool(client: httpx.Client) -> None:
    """Prometheus' own linter finds nothing wrong with a scrape."""
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=client.get("/metrics").content, capture_output=True
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def workers_of(supervisor: int) -> set[int]:
    """The processes of this one that serve: those that were spawned with the arguments of multiprocessing."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    found = set()
    for child in map(int, children):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_dead_worker_is_replaced_and_none_outlives_the_group(tmp_path: Path) -> None:
    questions = 12
    asked = ("api_requests_total", "/api/v2/query", "POST", "200")
    port = free_port()
    with vector_server(tmp_path) as url:
        command = [sys.executable, "-m", "cofio", "serve", "--workers", "2", "--qdrant-url", url]
        command += ["--port", str(port), "--data-dir", str(tmp_path / "store")]
        log = tmp_path / "log"
        with (
            running(command, log) as supervisor,
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S, headers={"Connection": "close"}
            ) as client,
        ):
            until(lambda: "Ready on" in log.read_text() or None, "the workers are not ready")
            before = workers_of(supervisor.pid)
            assert len(before) == 2
            ingest(client, "kiln", "Ann: The kiln is fired on Mondays.", "Bob: Then Tuesday is for glazing.")
            for number in range(questions):
                ask(client, f"When is kiln number {number} fired?")
            # Each scrape finds one of the two, and all find the same.
            for _ in range(4):
                told = scraped(client)
                assert told[asked] == questions
                assert told["cofio_query_seconds_count",] == questions
                assert told["cofio_cache_events_total", "misses"] == questions
                assert told["cofio_ingested_meetings_total", "plain", "created"] == 1
                assert told["memory_count_by_level", "L2"] == 2
                assert told["api_active_requests",] == 1
            told = until(
                lambda: s if (s := scraped(client))["cofio_ready",] == 1 else None,
                "not every worker says that it is ready",
            )
            assert (told["cofio_workers",], told["cofio_workers_wanted",]) == (2, 2)
            check_with_promtool(client)
            killed = min(before)
            os.kill(killed, signal.SIGKILL)
            after = until(
                lambda: now if len(now := workers_of(supervisor.pid) - {killed}) == 2 else None,
                "the worker is not replaced",
            )
            until(lambda: ready(client), "nobody serves")
            assert before - {killed} < workers_of(supervisor.pid)
            told = until(
                lambda: (
                    s if (s := scraped(client))["cofio_workers",] == 2 and s["cofio_ready",] == 1 else None
                ),
                "the metrics do not tell two workers",
            )
            assert told[asked] == questions, "what the dead worker has counted is lost, or counted twice"
            assert told["api_active_requests",] == 1
            assert told["cofio_cache_entries",] <= questions
            assert "fired on Mondays" in ask(client, "When is the kiln fired?").text
        assert not any(Path(f"/proc/{pid}").exists() for pid in after | before)
        with running(command, tmp_path / "again.log", ends_with=-signal.SIGKILL) as supervisor:
            until(lambda: "Ready on" in (tmp_path / "again.log").read_text() or None, "not ready")
            orphans = workers_of(supervisor.pid)
            supervisor.kill()
            supervisor.wait(WAIT_S)
            until(
                lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans) or None,
                "a worker outlives the process that looked after it",
            )


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_worker_that_cannot_start_again_leaves_the_others_serving(tmp_path: Path) -> None:
    port = free_port()
    models = tmp_path / "models"
    models.symlink_to(ROOT / "models")
    with vector_server(tmp_path) as url:
        command = [sys.executable, "-m", "cofio", "serve", "--workers", "2", "--qdrant-url", url]
        command += ["--port", str(port), "--data-dir", str(tmp_path / "store")]
        log = tmp_path / "log"
        with (
            running(command, log, environment={**os.environ, "COFIO_MODEL_DIR": str(models)}) as supervisor,
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S, headers={"Connection": "close"}
            ) as client,
        ):
            until(lambda: "Ready on" in log.read_text() or None, "the workers are not ready")
            ingest(client, "kiln", "Ann: The kiln is fired on Mondays.", "Bob: Then Tuesday is for glazing.")
            models.unlink()
            killed, survivor = sorted(workers_of(supervisor.pid))
            os.kill(killed, signal.SIGKILL)
            until(
                lambda: log.read_text().count("worker_failed_to_start") >= 2 or None,
                "it was not begun again after its first failure",
            )
            assert survivor in workers_of(supervisor.pid)
            assert "fired on Mondays" in ask(client, "When is the kiln fired?").text
            models.symlink_to(ROOT / "models")
            until(
                lambda: (
                    (len(workers_of(supervisor.pid)) == 2 and scraped(client)["cofio_workers",] == 2) or None
                ),
                "it was not begun again when its model was there",
            )
            assert survivor in workers_of(supervisor.pid)


def test_workers_that_cannot_start_at_all_end_the_service_in_a_sentence(tmp_path: Path) -> None:
    port = free_port()
    store = tmp_path / "store"
    with vector_server(tmp_path) as url, contextlib.ExitStack() as taken:
        command = [sys.executable, "-m", "cofio", "serve", "--workers", "2", "--qdrant-url", url]
        command += ["--port", str(port), "--data-dir", str(store)]
        log = tmp_path / "log"

        def take() -> bool | None:
            with contextlib.suppress(StoreInUse):
                taken.enter_context(held(store))
                return True
            return None

        with running(command, log, ends_with=os.EX_UNAVAILABLE) as supervisor:
            until(lambda: (store / "cofio.sqlite3").exists() or None, "the store is not prepared")
            until(take, "the directory is never free between its preparation and the workers")
            supervisor.wait(WAIT_S)
    assert "A worker could not start; the log says why." in log.read_text()


def test_a_turn_is_one_process_s_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "turns"
    turns = Turns(path)
    command = [sys.executable, "-c", TAKER, str(path), "fell the oak"]

    @contextlib.contextmanager
    def other() -> Iterator[bool]:
        """Whether another process, which lives until the end of the block, has got the turn."""
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline() == b"True\n"
            finally:
                process.kill()

    assert turns.take("fell the oak")
    with other() as got:
        assert not got
    turns.give_back("fell the oak")
    with other() as got:
        assert got
        assert not turns.take("fell the oak")
        assert turns.take("plant an ash")
    assert turns.take("fell the oak")
    turns.close()
