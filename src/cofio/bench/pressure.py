"""Load on an HTTP service: by `wrk` where it is installed, else by raw sockets of this process."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.errors import Unavailable

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_QUANTILE: Final = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_FAILED: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What a service did under load."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def tool() -> str:
    """What makes the load."""
    return "wrk" if shutil.which("wrk") else "raw sockets (asyncio)"


async def press(port: int, path: str, body: bytes, *, connections: int, seconds: float) -> Burst:
    """One burst of POST requests over `connections` connections; by `wrk`, of whole seconds.

    Raises Unavailable if a request fails or is answered anything but 2xx.
    """
    if shutil.which("wrk"):
        return await asyncio.to_thread(_wrk, port, path, body, connections, max(1, round(seconds)))
    return await _sockets(port, path, body, connections, seconds)


def _wrk(port: int, path: str, body: bytes, connections: int, seconds: int) -> Burst:
    lua = f"""wrk.method = "POST"
wrk.body = [==[{body.decode()}]==]
wrk.headers["Content-Type"] = "application/json"
"""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua)
        script.flush()
        command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name]
        told = subprocess.run(  # noqa: S603  a program that the user installed  # nosec B603
            [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=False
        ).stdout
    rate = _RATE.search(told)
    if rate is None or _FAILED.search(told):
        raise Unavailable(f"wrk says of port {port}: {told}")
    quantiles = {name: float(value) * _MS[unit] for name, value, unit in _QUANTILE.findall(told)}
    return Burst(requests_per_s=float(rate.group(1)), p50_ms=quantiles["50"], p99_ms=quantiles["99"])


async def _sockets(port: int, path: str, body: bytes, connections: int, seconds: float) -> Burst:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    times: list[float] = []
    started = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (begun := time.perf_counter()) < started + seconds:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                if not head.startswith(b"HTTP/1.1 2") or length is None:
                    raise Unavailable(f"port {port} answered {head[:100].decode(errors='replace')}")
                await reader.readexactly(int(length.group(1)))
                times.append(time.perf_counter() - begun)
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return Burst(
        requests_per_s=len(times) / (time.perf_counter() - started),
        p50_ms=1000 * float(np.percentile(times, 50)),
        p99_ms=1000 * float(np.percentile(times, 99)),
    )
