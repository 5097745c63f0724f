"""Several serving processes on one data directory and one vector server, and the process that looks after them."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from weakref import WeakKeyDictionary, WeakSet

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from rich.console import Console
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from cofio.errors import Unavailable
from cofio.http.app import create_app
from cofio.runtime import Runtime, open_runtime
from cofio.serving import (
    STOPPING,
    announce,
    checked_gate,
    give_memory_back,
    http_config,
    load_once,
    settle_down,
)
from cofio.settings import Settings
from cofio.telemetry.exposition import counted_together, forget_all_but
from cofio.telemetry.logs import configure_logging

_log: Final = structlog.get_logger(__name__)

# A worker that does not say for so long that it lives is killed and replaced.
SILENCE_S: Final = 30
# So long at most it takes until a worker that could not start is begun again.
LONGEST_PAUSE_S: Final = 60.0


def serve(settings: Settings, *, load: Path | None, example: str, console: Console) -> None:
    """Returns once all workers have ended after SIGINT or SIGTERM, everything closed; one that ends is replaced.

    `load` names transcripts to remember first, once for a data directory. When all workers listen, a command that
    asks `example` is printed. Raises what `open_runtime` raises, and `Unavailable` if a worker cannot start.
    """
    gate = checked_gate(settings)
    console.print(f"Opening the stores in {settings.data_dir}", highlight=False)
    uvloop.run(_prepare(settings, load, console))
    config = http_config(
        partial(worker_app, settings),
        settings,
        factory=True,
        workers=settings.workers,
        timeout_worker_healthcheck=SILENCE_S,
    )
    with counted_together(), config.bind_socket() as listening:
        workers = _Workers(config, [listening], lambda: announce(settings, gate, example, console))
        workers.run()
    if workers.failed:
        raise Unavailable("A worker could not start; the log says why.")


async def _prepare(settings: Settings, load: Path | None, console: Console) -> None:
    """The schema is the newest, the index is paid, and `load` remembered, before there is more than one process.

    So what is wrong is told once, and in one sentence.
    """
    async with open_runtime(settings.model_copy(update={"workers": 1})) as runtime:
        if load is not None:
            await load_once(runtime, load, console)


def worker_app(settings: Settings) -> FastAPI:
    """The app of one worker, in its own process, which ends when the process that looks after it does."""
    give_memory_back()
    configure_logging(settings.log_level, settings.log_format)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = create_app(settings)
    opened = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with opened(app) as given:
            state: Any = given
            settle_down()
            _stop_gently(state["runtime"])
            yield state

    app.router.lifespan_context = lifespan
    return app


def _stop_gently(runtime: Runtime) -> None:
    """Told to stop, this worker takes requests for `drain_s` more, as one that serves alone does."""
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        take_no_more = signal.getsignal(number)  # uvicorn's, which is set by now
        loop.add_signal_handler(number, _drain, runtime, partial(cast("Any", take_no_more), number, None))


def _drain(runtime: Runtime, take_no_more: Callable[[], None]) -> None:
    runtime.draining.set()
    asyncio.get_running_loop().call_later(runtime.settings.drain_s, take_no_more)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class _Workers(Multiprocess):
    """Calls `on_ready` once all workers listen; of one that has ended the metrics tell no more what it is doing.

    A worker that ends is replaced: at once if it has served, after a pause that grows if it could not start, so that
    the others go on. If one cannot start before all have listened, all end, and `failed` is true.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[Any], on_ready: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self.failed = False
        self._on_ready: Callable[[], None] | None = on_ready
        self._have_listened: WeakSet[Process] = WeakSet()
        self._failed_starts: Counter[int] = Counter()  # one after the other, by place
        self._due: WeakKeyDictionary[Process, float] = (
            WeakKeyDictionary()
        )  # when those that failed are replaced

    def keep_subprocess_alive(self) -> None:
        for place, worker in enumerate(self.processes):
            if not worker.is_alive(self.config.timeout_worker_healthcheck):
                self._replace(place, worker)
            elif worker not in self._have_listened and worker.is_ready():
                self._have_listened.add(worker)
                self._failed_starts[place] = 0
            if self.should_exit.is_set():
                return
        forget_all_but({worker.pid for worker in self.processes if worker.pid is not None})
        if self._on_ready is not None and all(worker in self._have_listened for worker in self.processes):
            self._on_ready()
            self._on_ready = None

    def _replace(self, place: int, worker: Process) -> None:
        could_not_start = worker not in self._have_listened and (worker.exitcode or 0) > 0
        worker.kill()  # it may have been silent, not dead
        worker.join()
        if could_not_start and self._on_ready is not None:
            _log.error("worker_failed_to_start", pid=worker.pid)
            self.failed = True
            self.should_exit.set()
            return
        if could_not_start and worker not in self._due:
            pause = min(2.0 ** self._failed_starts[place], LONGEST_PAUSE_S)
            _log.error("worker_failed_to_start", pid=worker.pid, again_in_s=pause)
            self._failed_starts[place] += 1
            self._due[worker] = time.monotonic() + pause
        if time.monotonic() >= self._due.get(worker, 0.0):
            _log.warning("worker_replaced", pid=worker.pid)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()
