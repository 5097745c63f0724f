"""A process of the drill that opens a store, tells what it finds there, and works until it is killed.

Lives are forked from a process that has everything imported, which makes a life of a fifth of a second possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Literal

from hash_encoder import HashEncoder

from cofio import batches, runtime
from cofio.backups import create_backup, list_backups, verify_backup
from cofio.data_dir import DATABASE_NAME
from cofio.errors import CofioError, DamagedBackup, NotFound, VectorStoreUnavailable
from cofio.ingest import ingest
from cofio.maintain import delete_meeting
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store import operations
from cofio.store.vectors_edge import EdgeIndex
from cofio.telemetry.logs import configure_logging
from cofio.warm import warm
from drills import broken
from drills.faults import ACKNOWLEDGED, ACKNOWLEDGING, Fault, Points
from drills.meetings import EDITIONS, meeting, meeting_id
from drills.verify import Reference, References, check_agreement, check_truth, stored

INDEXING_POINTS: Final = 64  # far below what is worth it, so that an index is built in most lives
ENGINE_MARK: Final = "engine-killed"  # a file that is there once the engine has killed itself as planned
BACKUPS: Final = "backups"
ENGINE_LIVES: Final = 300
TICK_S: Final = 0.03  # how often debts are struck off and snapshots written


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """Remember an edition of a meeting."""

    number: int
    edition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Forget a meeting."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Remember editions of several meetings in the background; `number` tells it from other batches."""

    number: int
    items: tuple[Ingest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """Make a backup, and keep two."""


Work = Ingest | Delete | Batch | Backup


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a life is to find and to do. Each of the `tasks` is done in order, all of them side by side."""

    store: Path
    references: References
    tasks: Sequence[Sequence[Work]]
    fault: Fault | None
    order: str | None  # one of `broken.ORDERS`
    samples: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the life found when it was open."""

    observed: Mapping[int, int]
    problems: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The life begins a piece of work, or acknowledges it."""

    what: Literal["begun", "acknowledged"]
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesDone:
    """No accepted batch is unfinished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The life ends with an error; `refused` if it is one of cofio's own sentences."""

    reason: str
    refused: bool


Event = Verified | Told | BatchesDone | Failed


def live(plan: Plan, told: Connection) -> None:
    """The plan was worked off, the store is closed and verified again; most lives do not come that far."""
    os.setsid()
    configure_logging("error", "console")
    hurry()
    broken.install(plan.order)
    points = Points(plan.fault, plan.store / ENGINE_MARK)
    points.install()
    try:
        asyncio.run(_live(plan, told, points))
    except Exception as error:
        told.send(Failed(reason=f"{type(error).__name__}: {error}", refused=isinstance(error, CofioError)))
        raise


def refer(folder: Path, numbers: int, told: Connection) -> None:
    """Tells what each edition of each meeting is in a store of its own that nobody kills."""
    os.setsid()
    configure_logging("error", "console")
    told.send(asyncio.run(_refer(folder, numbers)))


def settings(store: Path) -> Settings:
    """The settings of every life over the store."""
    return Settings(data_dir=store, encoder_threads=1, query_rate="", ingest_rate="")


async def _live(plan: Plan, told: Connection, points: Points) -> None:
    async with open_runtime(settings(plan.store), HashEncoder()) as opened:
        told.send(await _verified_with_a_new_engine(opened, plan))
        worker = asyncio.create_task(batches.work(opened))
        async with asyncio.TaskGroup() as group:
            group.create_task(_tell_when_batches_are_done(opened, told))
            for work in plan.tasks:
                group.create_task(_work(opened, work, told, points, plan))
        while await operations.unfinished_operations(opened.database):
            await asyncio.sleep(TICK_S)
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
        told.send(await _verified_with_a_new_engine(opened, plan))


async def _verified(opened: Runtime, plan: Plan) -> Verified:
    observed: Mapping[int, int] = {}
    problems: list[str] = []
    try:
        observed, problems = await asyncio.to_thread(check_truth, opened.database.path, plan.references)
    except sqlite3.DatabaseError as error:
        problems.append(f"the database cannot be read: {error}")
    rng = random.Random(plan.seed)
    problems += await check_agreement(opened, observed, rng, samples=plan.samples)
    problems += await asyncio.to_thread(_backup_problems, plan.store / BACKUPS)
    return Verified(observed=observed, problems=problems)


async def _verified_with_a_new_engine(opened: Runtime, plan: Plan) -> Verified:
    """What `_verified` finds; where the engine is killed meanwhile, it is tried again with the next one."""
    for _ in range(ENGINE_LIVES):
        with contextlib.suppress(VectorStoreUnavailable):
            if await opened.settle():
                return await _verified(opened, plan)
        await asyncio.sleep(TICK_S)
    raise VectorStoreUnavailable("The vector engine does not come back.")


async def _work(opened: Runtime, todo: Sequence[Work], told: Connection, points: Points, plan: Plan) -> None:
    for work in todo:
        told.send(Told(what="begun", work=work))
        if plan.order == broken.EARLY:
            told.send(Told(what="acknowledged", work=work))
        match work:
            case Ingest():
                await ingest(opened, meeting(work.number, work.edition))
            case Delete():
                with contextlib.suppress(NotFound):  # a kill may have taken back what was to be deleted
                    await delete_meeting(opened, meeting_id(work.number))
            case Batch():
                await batches.submit(opened, [meeting(item.number, item.edition) for item in work.items])
            case Backup():
                await asyncio.to_thread(create_backup, plan.store, plan.store / BACKUPS, keep=2)
        points.reach(ACKNOWLEDGING)
        told.send(Told(what="acknowledged", work=work))
        points.reach(ACKNOWLEDGED)


def _backup_problems(folder: Path) -> list[str]:
    """A backup that bears its name is whole, and can be restored."""
    problems = [f"the backup {found.name} is broken" for found in list_backups(folder) if found.fault]
    for newest in list_backups(folder)[:1]:
        try:
            verify_backup(folder / newest.name)
        except DamagedBackup as error:
            problems.append(error.detail)
    return problems


async def _tell_when_batches_are_done(opened: Runtime, told: Connection) -> None:
    while await operations.unfinished_operations(opened.database):
        await asyncio.sleep(TICK_S)
    told.send(BatchesDone())


async def _refer(folder: Path, numbers: int) -> References:
    references: dict[int, dict[int, Reference]] = {}
    async with open_runtime(settings(folder), HashEncoder()) as opened:
        connection = sqlite3.connect(folder / DATABASE_NAME)
        for number in range(numbers):
            for edition in EDITIONS:
                await ingest(opened, meeting(number, edition))
                found = stored(connection, number)
                assert found is not None
                references.setdefault(number, {})[edition] = found
        connection.close()
    return references


def hurry() -> None:
    """What cofio does every few seconds, it does every few milliseconds."""
    runtime.RETRY_S = runtime.RESTORE_S = runtime.LONGEST_RESTORE_S = TICK_S  # type: ignore[misc]
    runtime.SNAPSHOT_CHANGES = 3  # type: ignore[misc]
    open_index = EdgeIndex.open

    async def opened(directory: Path, *, reply_wait_s: float) -> EdgeIndex:
        return await open_index(
            directory, reply_wait_s=reply_wait_s, indexing_points=INDEXING_POINTS, retry_s=1.0
        )

    EdgeIndex.open = opened  # type: ignore[method-assign,assignment]


warm()  # in the process that lives are forked from
