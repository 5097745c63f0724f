"""Processes beside the test: started, waited for, told to end, and the vector server's stand-in among them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from ports import free_port

ROOT: Final = Path(__file__).parents[1]
WAIT_S: Final = 120.0

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str) -> Found:
    """What `look` finds first."""
    deadline = time.monotonic() + WAIT_S
    while (found := look()) is None:
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def running(
    command: list[str], log: Path, *, ends_with: int | None = 0, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to end after the block, and has to end with this exit code."""
    with log.open("ab") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written, cwd=ROOT, env=environment)
    try:
        yield process
        process.terminate()
        code = process.wait(WAIT_S)
        assert ends_with is None or code == ends_with, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(WAIT_S)


@contextlib.contextmanager
def vector_server(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("vector_server.py")), str(port)]
    with running(command, folder / "vectors.log", ends_with=-signal.SIGTERM):
        until(lambda: connected(port + 1), "the vector server does not listen")
        yield f"http://127.0.0.1:{port}"


def connected(port: int) -> bool | None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return None


def status_kib(pid: str, name: str) -> int:
    """What the kernel tells of a process in KiB, such as `VmHWM`, the most memory that it has had in RAM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
