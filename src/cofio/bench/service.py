"""Processes that serve HTTP on loopback, and how much memory they hold (Linux: from /proc)."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from cofio.errors import Unavailable
from cofio.settings import ENV_PREFIX, Settings

READY_WAIT_S: Final = 1800.0
POLL_S: Final = 0.01
STOP_WAIT_S: Final = 120.0
JSON: Final = {"Content-Type": "application/json"}
QUERY_PATH: Final = "/api/v2/query"
HEALTH_PATH: Final = "/health/detailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Bytes that processes hold in memory; `anonymous` leaves out pages of files, which the kernel can drop."""

    total: int
    anonymous: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A serving process that was ready `ready_s` seconds after its start."""

    process_id: int
    port: int
    ready_s: float

    def resident(self) -> Resident:
        """What the process and its children hold now."""
        found = [_resident(process_id) for process_id in (self.process_id, *_children(self.process_id))]
        return Resident(total=sum(one.total for one in found), anonymous=sum(one.anonymous for one in found))

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that stays open from request to request."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        ) as connection:
            yield connection


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of the answer. Raises Unavailable for any status but 200."""
    connection.request("GET", path)
    return _answer(connection, path)


def post(connection: http.client.HTTPConnection, path: str, body: Mapping[str, object]) -> bytes:
    """The body of the answer. Raises Unavailable for any status but 200 and 201."""
    connection.request("POST", path, orjson.dumps(body), JSON)
    return _answer(connection, path)


def _answer(connection: http.client.HTTPConnection, path: str) -> bytes:
    response = connection.getresponse()
    content = response.read()
    if response.status not in (200, 201):
        raise Unavailable(f"{path} answered {response.status}: {content[:200].decode(errors='replace')}")
    return content


@contextlib.contextmanager
def serving_cofio(settings: Settings, folder: Path, log: Path) -> Iterator[Service]:
    """The real service over the store in `folder`, without limits of rate; it has ended when the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "cofio", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data-dir", str(folder), "--model-dir", str(settings.model_dir)]
    command += ["--precision", settings.precision, "--log-level", "warning"]
    variables = {
        f"{ENV_PREFIX}QUERY_RATE": "",
        f"{ENV_PREFIX}INGEST_RATE": "",
        f"{ENV_PREFIX}ENCODER_THREADS": str(settings.encoder_threads),
    }
    with serving(command, port, "/health/ready", log, variables) as service:
        yield service


@contextlib.contextmanager
def serving(
    command: Sequence[str], port: int, ready_path: str, log: Path, variables: Mapping[str, str]
) -> Iterator[Service]:
    """A process that answers `ready_path` with 200; it has ended when the block ends. Raises Unavailable."""
    started = time.perf_counter()
    with log.open("wb") as told:
        process = subprocess.Popen(  # noqa: S603  our own interpreter  # nosec B603
            command,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env={**os.environ, **variables},
        )
        try:
            while not _ready(port, ready_path):
                if process.poll() is not None or time.perf_counter() - started > READY_WAIT_S:
                    raise Unavailable(f"{command[2]} did not become ready: {log.read_text()[-2000:]}")
                time.sleep(POLL_S)
            yield Service(process_id=process.pid, port=port, ready_s=time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _children(process_id: int) -> list[int]:
    try:
        told = Path(f"/proc/{process_id}/task/{process_id}/children").read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    return [int(child) for child in told.split()]


def _resident(process_id: int) -> Resident:
    try:
        lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise Unavailable(f"process {process_id} is gone, or this system has no /proc") from None
    kilobytes = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("VmRSS", "RssAnon")
    }
    return Resident(total=1024 * kilobytes["VmRSS"], anonymous=1024 * kilobytes["RssAnon"])
