"""A service as a process of its own, with the real model, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from conftest import ROOT
from ports import free_port


class Service:
    """A process of its own with the real model."""

    def __init__(self, folder: Path, *, port: int | None = None, **settings: object) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"log-{self.port}"
        command = [sys.executable, "-m", "cofio", "serve", "--port", str(self.port)]
        command += ["--data-dir", str(folder / "store")]
        # A machine that is busy with other tests may keep a question waiting for long: that is not what they look at.
        patient = {"COFIO_QUERY_RATE": "", "COFIO_INGEST_RATE": "", "COFIO_MAX_QUERY_WAIT_S": "60"}
        told = {f"COFIO_{name.upper()}": str(value) for name, value in settings.items()}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **patient, **told},
            )
        deadline = time.monotonic() + 120
        while self.ready() != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.1)

    def ready(self) -> int | None:
        """The status of /health/ready, None where nobody takes the connection."""
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=30).status_code
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return None

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=120)

    def busy(self) -> int:
        """How many requests are being answered, this one left out."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        (value,) = [line.split()[1] for line in text.splitlines() if line.startswith("api_active_requests ")]
        return int(float(value)) - 1

    def meetings(self) -> dict[str, int]:
        """The number of episodes of each stored meeting by its title."""
        answer = httpx.get(f"{self.url}/api/v2/meetings?limit=200", timeout=30).json()
        return {each["title"]: each["memories_by_level"]["L2"] for each in answer["meetings"]}


@contextlib.contextmanager
def service(folder: Path, **settings: object) -> Iterator[Service]:
    started = Service(folder, port=None, **settings)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
