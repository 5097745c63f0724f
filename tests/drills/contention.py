"""Sixteen writers and sixty-four readers at once, beside two other processes that hold the database.

The whole service with the real model and default settings, rate limits off, takes ingests, growing meetings and
deletions from the writers, questions (new and repeated), pages and memories from the readers. Beside it another
connection holds SQLite's write lock for up to a second every three, and one stays in a read transaction for five
seconds every ten, as a backup does. Whatever is not answered as it should be counts as an error: a status other
than the expected one, a connection that breaks, an acknowledged meeting that a question for it does not find at once.
In the end the service is stopped in order, and the stores are compared memory by memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from conftest import ROOT
from served import Service, service

from cofio.data_dir import DATABASE_NAME
from drills.figures import Figure, Found, Table

PATH: Final = "/api/v2/query"
THINGS: Final = (
    "crane",
    "gasket",
    "invoice",
    "turbine",
    "harbour",
    "ledger",
    "battery",
    "antenna",
    "contract",
    "roof",
)
DEEDS: Final = (
    "repair",
    "order",
    "measure",
    "paint",
    "sell",
    "inspect",
    "replace",
    "return",
    "insure",
    "photograph",
)
TOLD_FAILURES: Final = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """The drill's own options."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--readers", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> Found:
    """What was found after that many minutes."""
    with tempfile.TemporaryDirectory(prefix="cofio-contention-") as name:
        folder = Path(name)
        with service(folder, log_level="warning") as served:
            traffic = asyncio.run(_traffic(served, folder / "store", options))
            stored = {each["title"]: each["memories_by_level"]["L2"] for each in _all_meetings(served)}
            served.process.terminate()
            code = served.process.wait(120)
        log = served.log.read_text()
        with contextlib.closing(sqlite3.connect(folder / "store" / DATABASE_NAME)) as truth:
            ((integrity,),) = truth.execute("PRAGMA integrity_check")
        doctor = subprocess.run(
            [sys.executable, "-m", "cofio", "doctor", "--data-dir", str(folder / "store")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    wrong = sum(traffic.kept.get(title) != count for title, count in stored.items())
    lost = len(traffic.kept.keys() - stored.keys())
    failures = traffic.failures[:TOLD_FAILURES]
    if integrity != "ok":
        failures.append(f"integrity_check: {integrity}")
    if doctor.returncode:
        failures.append(f"doctor: {doctor.stdout[-500:]}{doctor.stderr[-500:]}")
    requests = sum(map(len, traffic.seconds.values()))
    return Found(
        settings={
            "minutes": options.minutes,
            "writers": options.writers,
            "readers": options.readers,
            "seed": options.seed,
        },
        figures=[
            Figure(name="requests answered", value=requests),
            Figure(name="errors", value=len(traffic.failures), must="= 0"),
            Figure(name="answers that say “locked”", value=traffic.locked, must="= 0"),
            Figure(name="acknowledged meetings lost or not as acknowledged", value=lost + wrong, must="= 0"),
            Figure(name="meetings in the end", value=len(stored)),
            Figure(name="times the write lock was held elsewhere", value=traffic.held, must="≥ 1"),
            Figure(name="degraded answers", value=traffic.degraded),
            Figure(
                name="largest write-ahead log",
                value=round(traffic.log_bytes / 2**20, 1),
                unit="MB",
                must="≤ 128",
            ),
            Figure(name="tracebacks in the log", value=log.count("Traceback"), must="= 0"),
            Figure(name="exit code of the service", value=code, must="= 0"),
        ],
        tables=[
            Table(
                title="Milliseconds by what was asked",
                header=("request", "answers", "p50", "p95", "p99", "longest"),
                rows=[
                    (kind, f"{len(seconds):,}", *_ms(seconds))
                    for kind, seconds in sorted(traffic.seconds.items())
                ],
            )
        ],
        failures=failures,
    )


@dataclass(slots=True)
class _Traffic:
    """What came back, and what of it must be there in the end: episodes by title."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    locked: int = 0
    held: int = 0
    degraded: int = 0
    log_bytes: int = 0


async def _traffic(served: Service, store: Path, options: argparse.Namespace) -> _Traffic:
    traffic = _Traffic()
    until = time.monotonic() + 60 * options.minutes
    over = threading.Event()
    beside = [
        threading.Thread(target=_hold_writing, args=(store, traffic, over, random.Random(options.seed))),
        threading.Thread(target=_stay_reading, args=(store, over)),
        threading.Thread(target=_watch_log, args=(store, traffic, over)),
    ]
    for thread in beside:
        thread.start()
    try:
        async with httpx.AsyncClient(
            base_url=served.url, timeout=60, limits=httpx.Limits(max_connections=None)
        ) as client:
            await asyncio.gather(
                *(
                    _write(client, traffic, number, random.Random(f"{options.seed}-w{number}"), until)
                    for number in range(options.writers)
                ),
                *(
                    _read(client, traffic, random.Random(f"{options.seed}-r{number}"), until)
                    for number in range(options.readers)
                ),
            )
    finally:
        over.set()
        for thread in beside:
            thread.join()
    return traffic


async def _ask(
    client: httpx.AsyncClient,
    traffic: _Traffic,
    kind: str,
    method: str,
    path: str,
    body: Any = None,
    statuses: tuple[int, ...] = (200,),
) -> httpx.Response | None:
    """The answer, or None for an error, which is noted."""
    started = time.perf_counter()
    try:
        answer = await client.request(method, path, json=body)
    except httpx.TransportError as error:
        traffic.failures.append(f"{kind}: {type(error).__name__}")
        return None
    traffic.seconds[kind].append(time.perf_counter() - started)
    traffic.locked += "is locked" in answer.text
    if answer.status_code not in statuses:
        traffic.failures.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        return None
    return answer


async def _write(
    client: httpx.AsyncClient, traffic: _Traffic, number: int, rng: random.Random, until: float
) -> None:
    """Meetings come, grow and go; what is acknowledged can be found at once."""
    count = 0
    while time.monotonic() < until:
        count += 1
        title = f"writer {number} meeting {count}"
        lines = [
            f"Ann: We {rng.choice(DEEDS)} the {rng.choice(THINGS)} number {rng.randrange(10_000)} of {title} on day {i}."
            for i in range(rng.randrange(3, 9))
        ]
        meeting_id = ""
        for grown in (lines[:2], lines):
            body = {
                "title": title,
                "external_id": title,
                "series": f"s{number}",
                "transcript": "\n".join(grown),
            }
            receipt = await _ask(client, traffic, "ingest", "POST", "/ingest", body)
            if receipt is None:
                return
            meeting_id = receipt.json()["meeting_id"]
            traffic.kept[title] = len(grown)
        question = {"query": lines[-1], "filters": {"meeting_id": meeting_id}, "enable_bridges": False}
        answer = await _ask(client, traffic, "question for what was just said", "POST", PATH, question)
        if answer is not None:
            traffic.degraded += answer.json()["degraded"]
            hits = answer.json()["direct_results"]["L2"]
            if not hits or hits[0]["content"] != lines[-1].removeprefix("Ann: "):
                traffic.failures.append(f"not found at once: {title}")
            else:
                traffic.ids.append(hits[0]["memory_id"])
        if rng.random() < 0.3:
            path = f"/api/v2/meetings/{meeting_id}"
            del traffic.kept[title]
            if await _ask(client, traffic, "deletion", "DELETE", path) is not None:
                await _ask(client, traffic, "deleted meeting", "GET", path, statuses=(404,))


async def _read(client: httpx.AsyncClient, traffic: _Traffic, rng: random.Random, until: float) -> None:
    while time.monotonic() < until:
        way = rng.random()
        if way < 0.85:
            again = rng.random() < 0.25
            question = (
                f"Who will {rng.choice(DEEDS)} the roof?"
                if again
                else f"Did we {rng.choice(DEEDS)} the {rng.choice(THINGS)} number {rng.randrange(10_000)}?"
            )
            answer = await _ask(
                client,
                traffic,
                "repeated question" if again else "new question",
                "POST",
                PATH,
                {"query": question},
            )
            traffic.degraded += answer is not None and answer.json()["degraded"]
        elif way < 0.93:
            await _ask(client, traffic, "page of meetings", "GET", "/api/v2/meetings?limit=20")
        elif way < 0.97 and traffic.ids:
            # It may have been deleted meanwhile: then it is gone, and that is an answer.
            path = f"/api/v2/memories/{rng.choice(traffic.ids)}"
            await _ask(client, traffic, "memory", "GET", path, statuses=(200, 404))
        else:
            await _ask(client, traffic, "readiness", "GET", "/health/ready")


def _hold_writing(store: Path, traffic: _Traffic, over: threading.Event, rng: random.Random) -> None:
    with contextlib.closing(
        sqlite3.connect(store / DATABASE_NAME, isolation_level=None, timeout=60)
    ) as other:
        while not over.wait(3.0):
            other.execute("BEGIN IMMEDIATE")
            over.wait(rng.uniform(0.1, 1.0))
            other.execute("COMMIT")
            traffic.held += 1


def _stay_reading(store: Path, over: threading.Event) -> None:
    with contextlib.closing(
        sqlite3.connect(store / DATABASE_NAME, isolation_level=None, timeout=60)
    ) as other:
        while not over.wait(5.0):
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM meetings").fetchone()
            over.wait(5.0)
            other.execute("COMMIT")


def _watch_log(store: Path, traffic: _Traffic, over: threading.Event) -> None:
    log = store / f"{DATABASE_NAME}-wal"
    while not over.wait(0.5):
        traffic.log_bytes = max(traffic.log_bytes, log.stat().st_size)


def _all_meetings(served: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = httpx.get(f"{served.url}/api/v2/meetings?limit=200{cursor}", timeout=60).json()
        found += page["meetings"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _ms(seconds: list[float]) -> list[str]:
    return [f"{1000 * value:,.0f}" for value in (*np.percentile(seconds, (50, 95, 99)), max(seconds))]
