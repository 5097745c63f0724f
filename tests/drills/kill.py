"""Kill cofio with SIGKILL in the middle of its work, and look whether anything acknowledged is lost.

Lives of a process open a store and ingest, change and delete meetings, accept batches and make backups, three pieces of work at a time,
until SIGKILL takes the process alone or with its vector engine: at a random instant of opening or working, or at one of
the named points between transaction, commit, graph, index, strike and snapshot; at those where nobody came by in the end lives of their own are killed. Debts, snapshots and index builds, which
cofio sees to every few seconds or minutes, are seen to every few milliseconds. Then the next life opens the store and compares:
every acknowledged meeting complete in its acknowledged edition (texts, types, vectors, edges), what was not
acknowledged whole or absent, nothing twice, what was deleted gone; concepts exactly what the stored mentions make;
`integrity_check`; the newest backup, restored; index and graph as `cofio doctor` compares them, the vectors and filters of sampled memories in the index, and
the answers of sampled questions, which must find each edition first by a word of its own and be those of a graph that was made anew.
Some lives lose their vector engine alone, three times each, and have to go on. Servers are killed under HTTP traffic.

The controls are the same drill with an order of work that is wrong on purpose: each must be caught. Lives use the tests'
deterministic encoder; the points and orders are put around cofio's functions from outside.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

import httpx
from ports import free_port

from drills import life, server, traffic
from drills.broken import ORDERS
from drills.engine import ENGINE_POINTS
from drills.expected import Expected
from drills.faults import POINTS, Fault
from drills.figures import Figure, Found, Table
from drills.verify import References

MEETINGS: Final = 30
LIVES: Final = 25  # of one store
HITS: Final = (1, 1, 1, 2, 3, 5)  # how often a point is reached before it kills
PATIENCE_S: Final = 1.5  # for a point that may not come
LIFE_S: Final = 60.0  # a life that has not opened its store by then hangs
SAMPLES: Final = 16
ENGINE_KILLS: Final = 3
CONTROL_KILLS: Final = 300
GIVE_UP: Final = 20  # problems
# Lives that are to end at one point where no other did: they have more time and work, so that an index is built.
AIMED_LIVES: Final = 4
AIMED_S: Final = 20.0
AIMED_WORKS: Final = 400


# What a killed process ends with; 255 where the start of another process has read how it ended (multiprocessing's
# `_cleanup`, with several stores at a time).
KILLED: Final = (-signal.SIGKILL, 255)


@dataclass(slots=True)
class Tally:
    """What was done and found so far."""

    kills: Counter[str] = field(default_factory=Counter)  # by where
    verified: int = 0
    acknowledged: int = 0
    under_way: int = 0  # kills that hit work
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """What the other counted is counted here too."""
        self.kills += other.kills
        self.verified += other.verified
        self.acknowledged += other.acknowledged
        self.under_way += other.under_way
        self.problems += other.problems


def add_options(parser: argparse.ArgumentParser) -> None:
    """`parser` takes the drill's options."""
    parser.add_argument("--kills", type=int, default=700, help="kills of the writing core")
    parser.add_argument(
        "--servers", type=int, default=300, help="kills of the whole service under HTTP traffic"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the stores lie; in memory they are faster, and SIGKILL cannot tell"
    )
    parser.add_argument("--processes", type=int, default=2, help="stores that are worked on at the same time")
    parser.add_argument(
        "--no-controls", action="store_true", help="leave out the orders that are wrong on purpose"
    )


def run(options: argparse.Namespace) -> Found:
    """The figures of the kills that the options ask for."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cofio-kill-", dir=options.folder) as folder, lives() as context:
        references = refer(context, Path(folder, "reference"), MEETINGS)
        how = {"seed": options.seed, "processes": options.processes}
        core = kill_stores(context, Path(folder), references, kills=options.kills, **how)
        core.add(kill_stores(context, Path(folder), references, kills=options.servers, servers=True, **how))
        for point in sorted({*POINTS, *ENGINE_POINTS} - points_of(core)):
            core.add(kill_at(context, Path(folder), references, point, seed=options.seed))
        seconds = time.perf_counter() - started
        controls = (
            []
            if options.no_controls
            else [
                (
                    order,
                    kill_stores(context, Path(folder), references, kills=CONTROL_KILLS, order=order, **how),
                )
                for order in ORDERS
            ]
        )
    return _found(options, core, controls, seconds)


@contextmanager
def lives() -> Iterator[ForkServerContext]:
    """Processes are forked from one that has imported everything and compiled the kernels."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # for the fork server's own imports
    try:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["drills.server"])
        yield context
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def refer(context: ForkServerContext, folder: Path, numbers: int) -> References:
    """What each edition of each meeting is in a store that nobody kills."""
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=life.refer, args=(folder, numbers, send))
    process.start()
    send.close()
    references: References = receive.recv()
    process.join()
    return references


def kill_stores(
    context: ForkServerContext,
    folder: Path,
    references: References,
    *,
    kills: int,
    seed: int,
    processes: int,
    order: str | None = None,
    servers: bool = False,
) -> Tally:
    """At least so many kills, `LIVES` in one store; a control stops at the first problem."""
    tally = Tally()
    numbers = itertools.count()
    bearable = 1 if order else GIVE_UP

    def stores() -> None:
        while tally.kills.total() < kills and len(tally.problems) < bearable:
            rng = random.Random(f"{seed} {next(numbers)} {order} {servers}")
            store = Path(tempfile.mkdtemp(prefix="store-", dir=folder))
            core = Core(context=context, store=store, references=references, rng=rng, order=order)
            for _ in range(LIVES):
                if servers:
                    core.serve()
                else:
                    core.live()
                if len(core.tally.problems) >= bearable:
                    break
            else:
                core.live_to_the_end()
            tally.add(core.tally)
            print(
                f"{tally.kills.total()} kills, {len(tally.problems)} problems", file=sys.stderr
            )  # it takes long
            shutil.rmtree(store)

    with ThreadPoolExecutor(processes) as pool:
        for working in [pool.submit(stores) for _ in range(processes)]:
            working.result()
    return tally


def kill_at(
    context: ForkServerContext, folder: Path, references: References, point: str, *, seed: int
) -> Tally:
    """A kill at `point`, if one of `AIMED_LIVES` comes to it; each has a store of its own, which is looked at afterwards."""
    tally = Tally()
    for number in range(AIMED_LIVES):
        store = Path(tempfile.mkdtemp(prefix="store-", dir=folder))
        rng = random.Random(f"{seed} {point} {number}")
        core = Core(context=context, store=store, references=references, rng=rng, order=None)
        fault = Fault(point=point, hit=1, group=False)
        if point in ENGINE_POINTS:
            core.live_until(fault, after_s=None, works=6)
        else:
            core.live_until(fault, after_s=AIMED_S, works=AIMED_WORKS)
        core.live_to_the_end()
        tally.add(core.tally)
        shutil.rmtree(store)
        if tally.kills[point]:
            break
    return tally


def points_of(tally: Tally) -> set[str]:
    """The named points at which somebody was killed."""
    return {where.removeprefix("server, ") for where in +tally.kills} & {*POINTS, *ENGINE_POINTS}


class Core:
    """One store, and the lives of the processes that write into it."""

    def __init__(
        self,
        *,
        context: ForkServerContext,
        store: Path,
        references: References,
        rng: random.Random,
        order: str | None,
    ) -> None:
        self._context = context
        self._store = store
        self._references = references
        self._rng = rng
        self._order = order
        self.expected = Expected(len(references))
        self.tally = Tally()

    def live(self) -> None:
        """One more life, killed at a point, at a random instant, or bereft of its engine thrice."""
        chosen = self._rng.random()
        if chosen < 0.5:
            point = self._rng.choice(POINTS)
            fault = Fault(point=point, hit=self._rng.choice(HITS), group=self._rng.random() < 0.5)
            self._run(fault=fault, after_s=PATIENCE_S, opening=self._rng.random() < 0.1)
        elif chosen < 0.8:
            self._run(after_s=self._rng.uniform(0, 0.4))
        elif chosen < 0.9:
            self._run(after_s=self._rng.uniform(0, 0.35), opening=True)
        elif chosen < 0.95:
            fault = Fault(
                point=self._rng.choice(ENGINE_POINTS), hit=self._rng.choice((1, 2, 5, 9)), group=False
            )
            self._run(fault=fault, works=6)
        else:
            self.live_without_engine()

    def live_until(self, fault: Fault, *, after_s: float | None = PATIENCE_S, works: int = 40) -> None:
        """One more life, killed by the fault, or so many seconds after it was compared, or never."""
        self._run(fault=fault, after_s=after_s, works=works)

    def live_without_engine(self) -> None:
        """One more life, whose vector engine is killed again and again; it ends by itself."""
        self._run(works=12, engine_kills=ENGINE_KILLS)

    def live_to_the_end(self) -> None:
        """A last life, which nobody kills, finishes everything and is compared once more."""
        self._run(works=2)

    def serve(self) -> None:
        """A service is killed under traffic, and what it left is compared."""
        fault = None
        if self._rng.random() < 0.5:
            fault = Fault(
                point=self._rng.choice(POINTS), hit=self._rng.choice(HITS), group=self._rng.random() < 0.5
            )
        log = self._store.with_suffix(".log")
        port = free_port()
        process = self._context.Process(target=server.serve, args=(self._store, port, fault, log))
        process.start()
        where = asyncio.run(
            self._traffic(process, port, self._rng.uniform(0, 0.6) if fault is None else PATIENCE_S)
        )
        process.join()
        if process.exitcode not in KILLED:
            self.tally.problems.append(f"a service ended with {process.exitcode}: {log.read_text()[-500:]}")
        at = f"server, {where or (fault.point if fault else 'dead')}"
        self.tally.kills[at] += 1
        self.tally.under_way += self.expected.under_way > 0
        self._run(works=0)

    async def _traffic(self, process: ForkServerProcess, port: int, after_s: float) -> str | None:
        """Where the service was killed from outside after so many seconds of traffic; None if it killed itself."""
        where: str | None = None

        async def kill() -> None:
            nonlocal where
            if self._rng.random() < 0.1:
                where = "while opening"
                await asyncio.sleep(self._rng.uniform(0, 0.5))
            else:
                await working.wait()
                await asyncio.sleep(after_s)
                where = "at a random instant"
            if process.exitcode is None:
                _kill(process, group=self._rng.random() < 0.5)
            else:
                where = None

        working = asyncio.Event()
        killing = asyncio.create_task(kill())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIFE_S) as client:
            if await traffic.ready(client, process.is_alive):
                self.tally.problems += await traffic.compare(client, self.expected, self._rng, SAMPLES // 4)
                working.set()
                tasks = self.expected.tasks(self._rng)
                self.tally.problems += await traffic.send(client, tasks, self.expected)
        if not process.is_alive() and where is None:
            killing.cancel()
        await asyncio.wait([killing])
        return where

    def _run(
        self,
        *,
        fault: Fault | None = None,
        after_s: float | None = None,
        opening: bool = False,
        works: int = 40,
        engine_kills: int = 0,
    ) -> None:
        """A life with so much work: killed `after_s` seconds after it began or was compared, or never.

        Engine points and `engine_kills` kill the vector engine only.
        """
        begun_before = self.expected.last_batch
        plan = life.Plan(
            store=self._store,
            references=self._references,
            tasks=self.expected.tasks(self._rng, works),
            fault=fault,
            order=self._order,
            samples=SAMPLES,
            seed=self._rng.randrange(1 << 30),
        )
        receive, send = self._context.Pipe(duplex=False)
        process = self._context.Process(target=life.live, args=(plan, send))
        process.start()
        send.close()
        started = time.monotonic()
        # Until it has opened the store it has all the time of the world, unless it is to be killed then.
        deadline = started + (after_s if opening and after_s is not None else LIFE_S)
        where = "while opening" if opening else "at a random instant"
        killed = False
        engines = EngineKills(process, self._rng, engine_kills)
        while True:
            event = None
            if receive.poll(max(0.0, min(deadline, engines.due) - time.monotonic())):
                try:
                    event = receive.recv()
                except EOFError:
                    break
            match event:
                case life.Verified():
                    self.tally.verified += 1
                    self.tally.problems += (f"{self._order or 'cofio'}: {p}" for p in event.problems)
                    self.tally.problems += self.expected.compare(event)
                    engines.begin()
                    if after_s is not None and not opening:
                        deadline = time.monotonic() + after_s
                case life.Told(what="begun"):
                    self.expected.begin(event.work)
                case life.Told():
                    self.expected.acknowledge(event.work)
                case life.BatchesDone():
                    self.expected.batches_done(begun_before)
                case life.Failed():
                    self.tally.problems.append(event.reason)
                case _ if not killed and time.monotonic() >= deadline:
                    killed = True
                    if after_s is None:
                        self.tally.problems.append("a life did not end")
                    _kill(process, group=self._rng.random() < 0.5)
                case _:
                    engines.strike()
        process.join()
        receive.close()
        self.tally.kills["the vector engine alone"] += engines.killed
        if fault is not None and fault.point in ENGINE_POINTS:
            self.tally.kills[fault.point] += (self._store / life.ENGINE_MARK).exists()
        elif process.exitcode in KILLED:
            self.tally.kills[where if killed or fault is None else fault.point] += 1
            self.tally.under_way += self.expected.under_way > 0
        elif after_s is not None and process.exitcode != 0:
            self.tally.problems.append(f"a life ended with {process.exitcode}")
        self.tally.acknowledged = self.expected.acknowledged


class EngineKills:
    """Kills of one of a life's vector engines, at random instants."""

    def __init__(self, process: ForkServerProcess, rng: random.Random, kills: int) -> None:
        self._process = process
        self._rng = rng
        self._left = kills
        self.killed = 0
        self.due = float("inf")

    def begin(self) -> None:
        """The life works; the first kill is due soon."""
        if self._left:
            self.due = time.monotonic() + self._rng.uniform(0, 0.1)

    def strike(self) -> None:
        """If one is due, an engine of the life is dead."""
        if time.monotonic() < self.due:
            return
        engines = _children(self._process)
        if engines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(engines), signal.SIGKILL)
                self.killed += 1
                self._left -= 1
        self.due = time.monotonic() + self._rng.uniform(0.02, 0.2) if self._left else float("inf")


def _kill(process: ForkServerProcess, *, group: bool) -> None:
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)


def _children(process: ForkServerProcess) -> list[int]:
    try:
        return [
            int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def _found(
    options: argparse.Namespace, core: Tally, controls: list[tuple[str, Tally]], seconds: float
) -> Found:
    engine = sum(
        n for where, n in core.kills.items() if where == "the vector engine alone" or where in ENGINE_POINTS
    )
    servers = sum(n for where, n in core.kills.items() if where.startswith("server, "))
    points, every = points_of(core), len(POINTS) + len(ENGINE_POINTS)
    caught = [order for order, tally in controls if tally.problems]
    figures = [
        Figure(name="kills", value=core.kills.total(), must=f"≥ {options.kills + options.servers}"),
        Figure(name="of them of servers under HTTP traffic", value=servers, must=f"≥ {options.servers}"),
        Figure(name="of them of the vector engine alone", value=engine),
        Figure(name="of them with work under way", value=core.under_way),
        Figure(name="named points at which somebody was killed", value=len(points), must=f"= {every}"),
        Figure(name="stores opened and compared", value=core.verified),
        Figure(name="writes acknowledged", value=core.acknowledged),
        Figure(name="kills a second", value=round(core.kills.total() / seconds, 2)),
        Figure(
            name="losses, halves, duplicates, disagreements and wrong answers",
            value=len(core.problems),
            must="= 0",
        ),
    ]
    tables = [Table(title="Where", header=("killed", "times"), rows=sorted(core.kills.items()))]
    if controls:
        figures.append(
            Figure(name="wrong orders that were caught", value=len(caught), must=f"= {len(ORDERS)}")
        )
        rows = [
            (order, tally.kills.total(), tally.problems[0] if tally.problems else "**not caught**")
            for order, tally in controls
        ]
        tables.append(
            Table(title="Controls", header=("wrong order", "kills until caught", "caught by"), rows=rows)
        )
    return Found(settings={"seed": options.seed}, figures=figures, tables=tables, failures=core.problems[:50])
