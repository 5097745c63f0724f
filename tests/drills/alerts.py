"""Breaks a watched service in every way that can be brought about within minutes: does the alert arrive, and does it end?

Two workers on a vector server (the stand-in of the tests) and a Redis for the rates are watched by Prometheus and Alertmanager
with this repository's rules and routes. Everything is looked at every other second, windows are twenty times shorter than they
are written, and alerts wait a sixtieth of their time; expressions, severities, routes and inhibitions are those of `config/`. Of the alerts that nothing here brings about, `config/prometheus/tests/` plays the series.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
from conftest import ROOT
from monitored import (
    Prometheus,
    Webhook,
    alertmanager,
    alerts,
    happens,
    prometheus,
    quick_alertmanager,
    quick_prometheus,
)
from ports import free_port
from served import Service

from drills.figures import Figure, Found, Table

TIMES_SHORTER: Final = 20
RECEIVERS: Final = {"page": "pager", "ticket": "tickets"}
INGESTS_A_MINUTE: Final = 60
AT_ONCE: Final = 24
STARVED_S: Final = (
    0.25  # longer than the 200 ms that an answer may take: one that is interrupted once is late
)
QUERY: Final = "/api/v2/query"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this drill."""
    parser.add_argument(
        "--patience", type=float, default=180, metavar="SECONDS", help="wait so long for one message"
    )


class Place:
    """The service, and what it stands on; each part can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vectors = free_port()
        self.redis = free_port()
        self.port = free_port()
        self.start_vector_server()
        self.start_rate_storage()
        self.start_service()

    def start_vector_server(self) -> None:
        """It runs, and is empty."""
        command: list[str | Path] = [sys.executable, ROOT / "tests" / "vector_server.py", str(self.vectors)]
        self.vector_server = subprocess.Popen(command)

    def start_rate_storage(self) -> None:
        """It runs, and is empty."""
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.redis), "--save", ""]
        self.rate_storage = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)

    def start_service(self) -> None:
        """It is ready, on the port where it was."""
        self.service = Service(
            self.folder,
            port=self.port,
            workers=2,
            qdrant_url=f"http://127.0.0.1:{self.vectors}",
            rate_storage_url=f"redis://127.0.0.1:{self.redis}",
            ingest_rate=f"{INGESTS_A_MINUTE}/minute",
            encoder_threads=1,
            max_pending_queries=2,
        )

    def post(self, path: str, **body: object) -> int | None:
        """The status of the answer; None where nobody answers."""
        try:
            return self.service.post(path, body).status_code
        except httpx.TransportError:
            return None

    def ask(self) -> int | None:
        """A question that no cache has the answer to."""
        return self.post(QUERY, query=f"When does the crane come? {time.monotonic_ns()}")

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        parent = self.service.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [
            int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def stop_service(self) -> None:
        """Nothing of it is left."""
        self.service.process.kill()
        self.service.process.wait()
        assert happens(lambda: self.service.ready() is None), "the workers go on"

    def close(self) -> None:
        """Nothing runs any more."""
        for process in (self.service.process, self.vector_server, self.rate_storage):
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def repeating(
        self, work: Callable[[], object], *, at_once: int = 1, every_s: float = 0.1
    ) -> Iterator[None]:
        """The work is done again and again while the block runs."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(every_s):
                work()

        with ThreadPoolExecutor(at_once) as pool:
            running = [pool.submit(repeat) for _ in range(at_once)]
            try:
                yield
            finally:
                over.set()
        for each in running:
            each.result()


@contextlib.contextmanager
def no_backup(place: Place) -> Iterator[None]:
    """It never had one."""
    yield
    assert place.post("/admin/backups") == 201


@contextlib.contextmanager
def killed(place: Place) -> Iterator[None]:
    """All of it, at once."""
    place.stop_service()
    yield
    place.start_service()


@contextlib.contextmanager
def hangs_twice(place: Place) -> Iterator[None]:
    """All of it stands still for some seconds, which looks from outside as if it had started anew."""
    for _ in range(2):
        standing = [place.service.process.pid, *place.workers()]
        for process in standing:
            os.kill(process, signal.SIGSTOP)
        time.sleep(6)
        for process in standing:
            os.kill(process, signal.SIGCONT)
        assert happens(lambda: place.service.ready() == 200)
        time.sleep(4)
    yield


@contextlib.contextmanager
def worker_lost(place: Place) -> Iterator[None]:
    """One of the two, again and again."""

    def kill_one() -> None:
        workers = place.workers()
        if len(workers) == 2:
            os.kill(workers[0], signal.SIGKILL)

    with place.repeating(kill_one, every_s=1):
        yield
    assert happens(lambda: place.service.ready() == 200)


@contextlib.contextmanager
def vector_server_hangs(place: Place) -> Iterator[None]:
    """It takes connections and does not answer; so small a memory is asked without it."""
    os.kill(place.vector_server.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: place.ask(), range(6))) == [200] * 6
    yield
    os.kill(place.vector_server.pid, signal.SIGCONT)


@contextlib.contextmanager
def vector_server_gone(place: Place) -> Iterator[None]:
    """It was killed, while questions and meetings go on."""
    place.vector_server.kill()
    place.vector_server.wait()

    def go_on() -> None:
        place.ask()
        place.post(
            "/ingest", title=f"Pier {time.monotonic_ns()}", transcript="Ann: The crane comes on Monday."
        )

    with place.repeating(go_on, every_s=0.5):
        yield
    place.start_vector_server()


@contextlib.contextmanager
def rates_not_shared(place: Place) -> Iterator[None]:
    """Redis was killed."""
    place.rate_storage.kill()
    place.rate_storage.wait()
    with place.repeating(lambda: place.post("/ingest", title="")):
        yield
    place.start_rate_storage()


@contextlib.contextmanager
def too_many_questions(place: Place) -> Iterator[None]:
    """More at once than may wait for the encoder."""
    with place.repeating(place.ask, at_once=AT_ONCE, every_s=0):
        yield


@contextlib.contextmanager
def starved(place: Place) -> Iterator[None]:
    """Its workers get a fiftieth of the time, as on a machine that others use up; every question is answered, and late."""

    def stand() -> None:
        standing = place.workers()
        for process in standing:
            os.kill(process, signal.SIGSTOP)
        time.sleep(STARVED_S)
        for process in standing:
            os.kill(process, signal.SIGCONT)

    with place.repeating(stand, every_s=STARVED_S / 50), place.repeating(place.ask):
        yield


@contextlib.contextmanager
def broken_transcripts(place: Place) -> Iterator[None]:
    """Nothing is in them."""
    with place.repeating(lambda: place.post("/ingest", title="Nothing", transcript="  \n"), every_s=0.5):
        yield


@contextlib.contextmanager
def wild_client(place: Place) -> Iterator[None]:
    """It sends far more than its rate."""
    with place.repeating(lambda: place.post("/ingest", title=""), every_s=0):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """A way to break it, the alerts that must arrive while it is broken and end when it is mended, and those kept back."""

    broken: str
    how: Callable[[Place], contextlib.AbstractContextManager[None]]
    arrive: tuple[str, ...]
    kept_back: tuple[str, ...] = ()


BREAKAGES: Final = (
    Breakage(broken="no backup was made", how=no_backup, arrive=("CofioBackupTooOld",)),
    Breakage(broken="transcripts without text", how=broken_transcripts, arrive=("CofioIngestFails",)),
    Breakage(
        broken="vector server hangs",
        how=vector_server_hangs,
        arrive=("CofioVectorStoreAway",),
    ),
    Breakage(
        broken="vector server killed",
        how=vector_server_gone,
        arrive=("CofioVectorStoreAway",),
        kept_back=("CofioIndexDebtNotPaid",),
    ),
    Breakage(broken="storage of rates killed", how=rates_not_shared, arrive=("CofioRatesNotShared",)),
    Breakage(
        broken="too many questions at once",
        how=too_many_questions,
        arrive=("CofioOverloaded", "CofioErrorBudgetBurnsFast", "CofioRouteFails"),
    ),
    Breakage(broken="workers starved of time", how=starved, arrive=("CofioLatencyBudgetBurnsFast",)),
    Breakage(broken="a worker killed again and again", how=worker_lost, arrive=("CofioWorkersMissing",)),
    Breakage(broken="service killed", how=killed, arrive=("CofioDown",)),
    Breakage(broken="service away twice", how=hangs_twice, arrive=("CofioRestarts",)),
    Breakage(broken="a client over its rate", how=wild_client, arrive=("CofioManyRateLimited",)),
)


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What was told of one alert of a breakage, in seconds after it was broken and after it was mended."""

    alert: str
    receiver: str = ""
    told_s: float | None = None
    over_s: float | None = None
    wrong: str | None = None


def run(options: argparse.Namespace) -> Found:
    """Whether each breakage was told of, to whom, after how long, and whether it was told when it was over."""
    seen: list[tuple[Breakage, _Seen]] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cofio-alerts-")))
        (folder / "key").write_text("none is needed on loopback")
        webhook = stack.enter_context(Webhook().listening())
        ports = {"prometheus": free_port(), "alertmanager": free_port()}
        config = quick_alertmanager(folder / "alertmanager", webhook.url)
        stack.enter_context(alertmanager(folder, ports["alertmanager"], config))
        place = Place(folder)
        stack.callback(place.close)
        config = quick_prometheus(
            folder / "prometheus",
            cofio=place.service.port,
            key=folder / "key",
            times_shorter=TIMES_SHORTER,
            **ports,
        )
        watching = stack.enter_context(prometheus(folder, ports["prometheus"], config))
        # A counter that was never seen before has no rate: the first questions are asked while nothing is broken.
        asked = f'api_request_duration_seconds_count{{endpoint="{QUERY}"}} > 4'
        assert happens(lambda: place.ask() == 200 and watching.ask(asked))
        for breakage in BREAKAGES:
            print(f"{breakage.broken} …", file=sys.stderr, flush=True)
            seen += [
                (breakage, each)
                for each in _brought_about(breakage, place, watching, webhook, options.patience)
            ]
    wrong = [f"{breakage.broken}: {each.alert} {each.wrong}" for breakage, each in seen if each.wrong]
    return Found(
        settings={"times_shorter": TIMES_SHORTER},
        figures=[
            Figure(name="ways to break it", value=len(BREAKAGES)),
            Figure(name="alerts that must arrive or be kept back", value=len(seen)),
            Figure(name="of them otherwise", value=len(wrong), must="= 0"),
            Figure(name="different alerts among them", value=len({each.alert for _, each in seen})),
            Figure(name="alerts that there are", value=len(alerts())),
        ],
        tables=[
            Table(
                title="Seconds",
                header=("broken", "alert", "arrived at", "after", "ended after"),
                rows=[
                    (breakage.broken, each.alert, each.receiver, _seconds(each.told_s), _seconds(each.over_s))
                    for breakage, each in seen
                ],
            )
        ],
        failures=wrong,
    )


def _brought_about(
    breakage: Breakage, place: Place, watching: Prometheus, webhook: Webhook, patience_s: float
) -> list[_Seen]:
    arriving = [_Seen(alert=name) for name in breakage.arrive]
    back = [_Seen(alert=name, receiver="kept back") for name in breakage.kept_back]
    began = time.monotonic()
    with breakage.how(place):
        for each in arriving:
            if (told := webhook.alert(each.alert, since=began, timeout_s=patience_s)) is None:
                each.wrong = "did not arrive"
                continue
            each.receiver, each.told_s = told.receiver, told.at - began
            if told.receiver != RECEIVERS[alerts()[each.alert]["labels"]["severity"]]:
                each.wrong = f"arrived at {told.receiver}"
        for each in back:
            firing = f'ALERTS{{alertname="{each.alert}", alertstate="firing"}}'
            if not happens(partial(watching.ask, firing), patience_s):
                each.wrong = "did not fire"
    mended = time.monotonic()
    for each in arriving:
        told = webhook.alert(each.alert, status="resolved", since=mended, timeout_s=patience_s)
        if told is None:
            each.wrong = each.wrong or "did not end"
        else:
            each.over_s = told.at - mended
    for each in back:
        if webhook.alert(each.alert, since=began, timeout_s=0) is not None:
            each.wrong = "was not kept back"
    return arriving + back


def _seconds(found: float | None) -> str:
    return "" if found is None else f"{found:.0f}"
