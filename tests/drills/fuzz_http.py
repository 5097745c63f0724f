"""Fuzzes the HTTP interface: requests drawn from the OpenAPI document, all checks of schemathesis on each answer.

A server of its own, with the real model and without rate limits, gets requests that keep to its document and requests
that break it, alone and in chains (an id from one answer goes into the next request). No answer may be a server error,
undocumented, unlike its schema, late (2 s; for `/admin`, which makes backups, 60 s), a success where the request breaks
the document or a refusal where it does not. Afterwards the server must still remember and recall, with nothing unexpected
in its log.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from ports import free_port
from processes import status_kib

from drills.figures import ROOT, Figure, Found

CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
SLOWEST_S: Final = 2.0
# Of each operation in each phase of a round. Schemathesis tries the edges of each schema first, in any round.
EXAMPLES: Final = 150
LARGEST_MIB: Final = 3072


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that was started: its address, its process, and where it writes its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which options this drill takes."""
    parser.add_argument("--cases", type=int, default=20_000, help="requests at least (20,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next takes the next (1)")


def run(options: argparse.Namespace) -> Found:
    """As many requests as are asked for, and what was wrong with their answers."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        return fuzz(
            server,
            Path(folder),
            cases=options.cases,
            seed=options.seed,
            examples=EXAMPLES,
            slowest_s=SLOWEST_S,
        )


def fuzz(
    server: Served, folder: Path, *, cases: int, seed: int, examples: int, slowest_s: float | None
) -> Found:
    """Rounds of `examples` requests for each operation, until there were `cases` in all.

    An answer that takes longer than `slowest_s` is a failure.
    """
    sent = rounds = server_errors = 0
    failures: list[str] = []
    while sent < cases:
        report = _round(server.url, folder, seed + rounds, examples, slowest_s)
        sent += report["test_cases"]["generated"]
        rounds += 1
        for failure in report["failures"]:
            server_errors += failure["count"] * (failure["type"] == "ServerError")
            where = ", ".join(failure["operations"])
            failures.append(f"seed {seed + rounds - 1}: {failure['title']} ({failure['count']}): {where}")
        failures += [f"seed {seed + rounds - 1}: {error}" for error in report["errors"]]
        if not report["complete"]:
            failures.append(f"seed {seed + rounds - 1}: the round ended early: {report['stop_reason']}")
            break
    memory = peak_mib(server.process.pid)
    failures += _still_works(server.url)
    unexpected = server.log.read_text(errors="replace").count("Traceback")
    return Found(
        settings={"seed": seed, "rounds": rounds, "examples": examples},
        figures=[
            Figure(name="requests", value=sent, must=f"≥ {cases}"),
            Figure(name="server errors", value=server_errors, must="= 0"),
            Figure(name="tracebacks in the log", value=unexpected, must="= 0"),
            Figure(name="other failures, those slower than 2 s among them", value=len(failures), must="= 0"),
            Figure(
                name="most memory of the server and its engine",
                value=memory,
                unit="MiB",
                must=f"≤ {LARGEST_MIB}",
            ),
        ],
        failures=failures,
    )


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """A server over an empty store in `folder`, ready; it is stopped at the end."""
    port = free_port()
    log = folder / "log"
    # A 503 because the machine has other work would be no finding.
    environment = {
        **os.environ,
        "COFIO_QUERY_RATE": "",
        "COFIO_INGEST_RATE": "",
        "COFIO_MAX_QUERY_WAIT_S": "60",
    }
    command = [
        sys.executable,
        "-m",
        "cofio",
        "serve",
        "--port",
        str(port),
        "--data-dir",
        str(folder / "store"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        yield Served(url=url, process=process, log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def peak_mib(pid: int) -> float:
    """The most memory, in MiB, that a process and its children have had in RAM, each for itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return round(sum(status_kib(each, "VmHWM") for each in (str(pid), *children)) / 1024, 1)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text(errors='replace')}")


def _round(url: str, folder: Path, seed: int, examples: int, slowest_s: float | None) -> Mapping[str, Any]:
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run"),
            *(f"{url}/openapi.json", "--checks", "all", "--continue-on-failure", "--no-color"),
            *("--max-response-time", str(slowest_s or 120)),  # it has one of its own otherwise
            *("--request-timeout", "60"),
            *("--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"schemathesis ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    if done.returncode:
        print(done.stdout)
    told: Mapping[str, Any] = orjson.loads(report.read_bytes())
    return told


def _still_works(url: str) -> Iterator[str]:
    meeting = {"title": "After it all", "transcript": "Ann: The lighthouse lamp burns again since Tuesday."}
    receipt = httpx.post(f"{url}/ingest", json=meeting, timeout=30)
    if receipt.status_code != 200:
        yield f"a meeting is refused afterwards: {receipt.text}"
    told = httpx.post(
        f"{url}/api/v2/query", json={"query": "Does the lighthouse lamp burn again?"}, timeout=30
    )
    found = told.json().get("direct_results", {}).get("L2", [])
    if not any("lighthouse lamp" in memory["content"] for memory in found):
        yield "a meeting that was ingested afterwards is not found"
