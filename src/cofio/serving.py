"""One serving process: stores opened, HTTP listening, both closed in order after a signal."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from cofio import collector, files
from cofio.access.gate import Gate, open_gate
from cofio.http.app import create_app
from cofio.http.protocol import BoundedConnection
from cofio.loading import remember
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.show import show_outcomes

_log: Final = structlog.get_logger(__name__)

LOADED_NAME: Final = "loaded.txt"
# A thread that computes in Python gives the interpreter's lock away this often. NumPy gives it away within a question
# some 65 times, and each time it comes back that late beside such a thread (docs/decisions/0007).
SWITCH_INTERVAL_S: Final = 0.0002
# Longer than clients and proxies keep an idle connection (httpx 5 s, nginx 60 s): where the service is the one that
# hangs up, a request that is just on its way is lost.
KEEP_ALIVE_S: Final = 75
STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
# glibc's own parameters (malloc.h) and their values: blocks from 128 KiB on are mapped one by one, and so given back when
# they are freed (by itself glibc raises that bound with every large block that is freed, up to 32 MiB); two arenas.
ALLOCATOR: Final = {-1: 128 * 1024, -3: 128 * 1024, -8: 2}


async def serve(settings: Settings, *, load: Path | None, example: str, console: Console) -> None:
    """Returns once the service has ended after SIGINT or SIGTERM, everything closed.

    `load` names transcripts to remember first, once for a data directory. When the service listens, a command
    that asks `example` is printed. Raises what `open_runtime` raises, and InvalidSettings where others could reach a
    service that needs no key.
    """
    give_memory_back()
    gate = checked_gate(settings)
    console.print(f"Opening the stores in {settings.data_dir}", highlight=False)
    async with contextlib.AsyncExitStack() as stack:
        with collector.paused():
            runtime = await stack.enter_async_context(open_runtime(settings))
        if load is not None:
            await load_once(runtime, load, console)
        app = create_app(settings, runtime, gate)
        settle_down()
        config = http_config(app, settings)
        await _Server(config, runtime, lambda: announce(settings, gate, example, console)).serve()


def checked_gate(settings: Settings) -> Gate:
    """The gate of the service; where it stands open, the log warns. Raises InvalidSettings where it must not."""
    gate = open_gate(settings)
    if not gate.closed:
        _log.warning(
            "open_to_everybody",
            host=settings.host,
            detail="Whoever reaches this address may read and delete everything. `cofio keys create` ends that.",
        )
    return gate


def http_config(app: ASGIApp | Callable[[], ASGIApp], settings: Settings, **more: Any) -> uvicorn.Config:
    """How uvicorn serves this app, or what this factory makes."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # configure_logging has set up uvicorn's loggers too
        access_log=False,  # cofio.access logs each request with its id and route
        proxy_headers=False,  # the app itself believes trusted_proxies, and nobody else
        http=BoundedConnection,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.stop_grace_s),
        **more,
    )


def give_memory_back() -> None:
    """The allocator returns to the system what is freed, where it is glibc's; another one stays as it is.

    Over 7,200 questions and 72 ingests the process grew from 214 to 263 MB of its own memory without this, to 219 with.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ALLOCATOR.items():
            mallopt(parameter, value)


def settle_down() -> None:
    """What is open now stays open, and threads that compute give way to the event loop often."""
    collector.settle()
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def announce(settings: Settings, gate: Gate, example: str, console: Console) -> None:
    """A command that asks `example` of the service, which listens now, is printed."""
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    base = f"http://{shown}:{settings.port}"
    body = orjson.dumps({"query": example}).decode().replace("'", "'\\''")
    key = ' -H "X-API-Key: $COFIO_API_KEY"' if gate.closed else ""
    command = f"curl -s {base}/api/v2/query{key} -H 'Content-Type: application/json' -d '{body}'"
    console.print(f"\nReady on {base} (documentation at {base}/docs). Try:\n", highlight=False)
    console.print(f"{command}\n", highlight=False, markup=False, soft_wrap=True)


async def load_once(runtime: Runtime, path: Path, console: Console) -> None:
    """The transcripts under `path` are remembered, unless this data directory has loaded them before.

    A mark beside the stores tells: what a user deleted later must not come back at the next start.
    """
    mark = runtime.settings.data_dir / LOADED_NAME
    if mark.exists() and path.name in mark.read_text(encoding="utf-8").splitlines():
        return
    outcomes = await remember(runtime, list(files.find([path])), {}, console)
    show_outcomes(console, outcomes)
    if not any(outcome.failed for outcome in outcomes):
        with mark.open("a", encoding="utf-8") as lines:
            lines.write(f"{path.name}\n")


class _Server(uvicorn.Server):
    """Calls `on_ready` once it listens; after SIGINT or SIGTERM it returns, so that the stores are closed.

    Told to stop, it takes requests for `drain_s` more, answers those that it took, and returns; what is not answered
    after `stop_grace_s` is cut off. A second signal ends the process at once, which loses no more than any kill:
    nothing that was acknowledged.
    """

    def __init__(self, config: uvicorn.Config, runtime: Runtime, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if cut_off := set(self.server_state.tasks):
            await asyncio.wait(cut_off)  # none may still be at work in the stores when these are closed

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own raises the signal again at its end, which would kill the process before the stores are closed."""
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        self._runtime.draining.set()
        loop.call_later(self._runtime.settings.drain_s, self._take_no_more)

    def _take_no_more(self) -> None:
        self.should_exit = True
