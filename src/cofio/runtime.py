"""Everything a process holds open: opened once, in order, and closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import pkgutil
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import numpy as np
import orjson
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from cofio.background import going_on
from cofio.cache import AnswerCache
from cofio.data_dir import DATABASE_NAME, GRAPH_NAME, VECTORS_NAME, backup_dir, held, shared
from cofio.embed.batcher import Batcher
from cofio.embed.onnx import OnnxEncoder, TextEncoder, comparable
from cofio.errors import InvalidSettings, StoreInUse, StoreUnavailable, Unavailable, VectorStoreUnavailable
from cofio.livegraph import LiveGraph
from cofio.recalls import Recalls
from cofio.records import VECTOR_DIMENSIONS, Filters, Level
from cofio.resources import DiskWatch, processors
from cofio.settings import Settings
from cofio.store.audit import add_entry_once
from cofio.store.breaker import Breaker
from cofio.store.database import INDEX_PLACE, PURGE_OWED, RESTORED, STORE_ID, Database, queries
from cofio.store.outbox import Outbox
from cofio.store.turns import Turns
from cofio.store.vectors import VectorIndex
from cofio.store.vectors_edge import EdgeIndex
from cofio.warm import warm

if TYPE_CHECKING:
    from cofio.cache_shared import SharedCache
    from cofio.store.vectors_server import ServerIndex

_log = structlog.get_logger(__name__)

TURNS_NAME: Final = "cofio.turns"
SERVER_ADAPTER: Final = "cofio.store.vectors_server:ServerIndex"
SHARED_CACHE: Final = "cofio.cache_shared:SharedCache"
EMBEDDED: Final = "embedded"
QDRANT_PORT: Final = 6333  # of a URL that names none
# So many questions are worked on beside one for each core: they are in the encoder or in the vector engine meanwhile, and
# need no thread. Threads that compute only keep each other waiting for Python's lock (docs/decisions/0007).
RECALLS_ELSEWHERE: Final = 2
RETRY_S: Final = 5.0
FOLLOW_S: Final = 0.5  # between two looks at what other workers wrote, where no question asks for it before
# A vector store that does not answer is tried again after this long, then after ever longer pauses.
RESTORE_S: Final = 0.25
LONGEST_RESTORE_S: Final = 10.0
# The graph's snapshot is written when so many changes came after the last, or when nothing has changed for so long.
SNAPSHOT_CHANGES: Final = 200
SNAPSHOT_QUIET_S: Final = 60.0
SNAPSHOT_TURN: Final = "keep the snapshot"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The open stores, the encoder, the current graph and the cache of one process.

    `writing` holds a lock a meeting for as long as somebody writes it or waits to, so that its ingests take turns, and
    `turns` does the same among the processes that share the data directory; `recalls` is the
    line of questions, so that a storm of them holds up no ingest, and none of them the others; `batch_waiting` wakes the
    worker of `cofio.batches`; `draining` is set when the process was told to stop, `rebuilding` while the
    vector index is made anew; `disk` knows what the stores take there; `behind` holds what goes on although nobody
    waits for it any more.
    """

    settings: Settings
    database: Database
    index: VectorIndex
    breaker: Breaker
    encoder: TextEncoder
    batcher: Batcher
    live: LiveGraph
    cache: AnswerCache
    outbox: Outbox
    turns: Turns
    disk: DiskWatch
    recalls: Recalls
    shared_cache: SharedCache | None = None
    writing: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    batch_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    rebuilding: asyncio.Event = field(default_factory=asyncio.Event)
    purging: asyncio.Lock = field(default_factory=asyncio.Lock)
    behind: set[asyncio.Task[bool]] = field(default_factory=set)

    @property
    def outdated(self) -> bool:
        """Whether another worker may have written what the graph does not hold yet."""
        return self.settings.workers > 1 and not self.live.fresh

    async def follow(self) -> None:
        """The graph holds what other workers had committed when this was called."""
        if self.outdated:
            await self.live.catch_up()

    async def settle(self, *, wait_s: float | None = None) -> bool:
        """The graph holds all that was committed, and so does the vector index if it answers.

        Returns whether the index took everything. What it could not take, or not within `wait_s`, stays owed and is
        paid in the background; until then questions are answered without the index.
        """
        await self.live.catch_up()
        try:
            async with asyncio.timeout(wait_s), self.breaker.calling():
                await self.outbox.pay()
        except VectorStoreUnavailable as error:
            _log.warning("index_debt", reason=error.detail)
            return False
        except TimeoutError:
            self.breaker.open(f"it takes longer than {wait_s:g} s to take in what was written.")
            return False
        return True

    async def restore_index(self) -> None:
        """The vector index answers in time and holds what the truth holds, and questions go to it.

        Raises `VectorStoreUnavailable`; then nothing has changed, except that some of the debt may be paid.
        """
        await self.index.ready()
        place = index_place(self.settings)
        known = await self.database.fact(INDEX_PLACE)
        if await self.database.fact(RESTORED) is not None or known not in (None, place):
            await self.rebuild_index()  # it is of another truth, or of an earlier state of this one
        elif known is None:
            await self.database.write(queries.set_fact, name=INDEX_PLACE, value=place)
        await self.outbox.doubt()
        await self.outbox.pay()
        if await self._index_differs():
            # It, or a part of it, was lost or thrown away, or it is of another truth.
            differing = await self.outbox.owe_differences()
            _log.warning("vector_index_mended", memories=differing)
            await self.outbox.pay()
        anything = np.zeros(VECTOR_DIMENSIONS, np.float32)
        anything[0] = 1.0
        try:
            async with asyncio.timeout(self.settings.max_search_wait_s):
                await self.index.search(anything, {Level.EPISODE: 1}, Filters())
        except TimeoutError as error:
            raise VectorStoreUnavailable("The vector store answers too slowly.") from error
        if place != EMBEDDED:
            # No erasure would reach the files of an embedded index that is in use no more.
            await asyncio.to_thread(shutil.rmtree, self.settings.data_dir / VECTORS_NAME, ignore_errors=True)
        self.breaker.close()

    async def rebuild_index(self) -> None:
        """The vector index was emptied and holds the truth again; nobody should ask this process meanwhile.

        Raises `VectorStoreUnavailable`, with the rest still owed.
        """
        self.rebuilding.set()
        try:
            await self.index.clear()
            await self.outbox.owe_everything()
            await self.outbox.pay()
        finally:
            self.rebuilding.clear()

    async def forget_deleted(self) -> bool:
        """Nothing that was deleted before is left in the graph, its snapshot, the cache and the database's log.

        Nor does the vector index find it, if it answers. Returns whether index, log and the shared cache are done too;
        what is not is done as soon as it can be, and answers that are shared go when their time is up.
        """
        indexed = await self.settle(wait_s=self.settings.vector_timeout_s)
        self.cache.clear()
        unshared = self.shared_cache is None or await self.shared_cache.clear()
        await self.live.drop_snapshot()
        return await self.database.scrub() and indexed and unshared

    async def purge_within(self, wait_s: float) -> bool:
        """What `purge` returns, if that is known within `wait_s`; it goes on behind the caller otherwise."""
        task = asyncio.create_task(self.purge(), name="purge")
        self.behind.add(task)
        task.add_done_callback(self.behind.discard)
        # An index that goes away meanwhile is owed the purge still, and the next try tells.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait([task], timeout=wait_s)
        return bool(done) and task.exception() is None and task.result()

    async def purge(self) -> bool:
        """What an erasure took out is not in the files of the vector index either, as far as they are cofio's.

        Returns False where the index does not answer, which is tried again later, and where the files are a vector
        server's, which gives up space when it sees fit.
        """
        async with self.purging:
            owed = await self.database.fact(PURGE_OWED)
            if owed is None:
                return True
            if self.breaker.reason is not None or not await self.settle():
                return False
            purged = await self.index.purge()
            await self.database.write(queries.settle_fact, name=PURGE_OWED, value=owed)
            return purged

    async def _index_differs(self) -> bool:
        """Whether the index holds more or fewer memories of some level than the truth."""
        truth = await self.database.counts()
        indexed = await self.index.counts()
        return any(truth[level.label.lower()] != indexed[level] for level in Level)

    @contextlib.asynccontextmanager
    async def exclusive(self, meeting_id: str) -> AsyncIterator[None]:
        """Nobody else writes this meeting meanwhile."""
        lock = self.writing.setdefault(meeting_id, asyncio.Lock())
        async with lock, self.turns.turn(f"meeting {meeting_id}"):
            yield


@contextlib.asynccontextmanager
async def open_runtime(settings: Settings, encoder: TextEncoder | None = None) -> AsyncIterator[Runtime]:
    """A runtime over `settings.data_dir`; all of it is closed again when the block ends.

    Nobody else holds the directory meanwhile, except the other ones of several `settings.workers`.
    Debt that an earlier process left to the vector index is paid before the block begins; where the vector store does
    not answer, it is paid later, and questions are answered without it until then. `encoder` is the
    model's unless one is given. Raises `StoreInUse`, `ModelMissing`, `StoreTooNew`, `InvalidSettings` or
    `Unavailable`, each with what mends it.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context((held if settings.workers == 1 else shared)(settings.data_dir))
        # The vector engine starts in a process of its own while the model, the database and the graph are read here.
        opening = asyncio.create_task(open_index(settings), name="open-index")
        stack.push_async_callback(_close, opening)
        warming = asyncio.create_task(asyncio.to_thread(warm), name="warm")
        stack.push_async_callback(asyncio.wait, (warming,))
        if encoder is None:
            encoder = await asyncio.to_thread(
                OnnxEncoder.open, settings.model_dir, precision=settings.precision, threads=1
            )
        batcher = Batcher(encoder, workers=settings.encoder_threads, max_wait_s=settings.max_query_wait_s)
        stack.push_async_callback(batcher.aclose)
        database = await Database.open(settings.data_dir / DATABASE_NAME, backup_dir(settings))
        stack.push_async_callback(database.aclose)
        await _check_encoder(database, encoder)
        await _tell_restored(database)
        turns = Turns(settings.data_dir / TURNS_NAME)
        stack.callback(turns.close)
        cores = processors()
        recalls = Recalls(at_once=cores + RECALLS_ELSEWHERE, threads=cores, wait_s=settings.max_query_wait_s)
        stack.push_async_callback(recalls.aclose)
        live = await LiveGraph.open(database, settings.data_dir / GRAPH_NAME, turns)
        index = await opening
        await warming
        outbox = Outbox(
            database, index, turns, place=index_place(settings), strike_at_once=settings.workers > 1
        )
        stack.push_async_callback(_strike, outbox)
        stack.push_async_callback(_save, live)
        runtime = Runtime(
            settings=settings,
            database=database,
            index=index,
            breaker=Breaker(),
            encoder=encoder,
            batcher=batcher,
            live=live,
            outbox=outbox,
            turns=turns,
            disk=DiskWatch(settings),
            recalls=recalls,
            shared_cache=await _open_shared_cache(settings, database, stack),
            cache=AnswerCache(
                entries=settings.cache_entries, max_bytes=settings.cache_bytes, ttl_s=settings.cache_ttl_s
            ),
        )
        try:
            await runtime.restore_index()
        except VectorStoreUnavailable as error:
            runtime.breaker.open(error.detail)
        endless: dict[str, Callable[[Runtime], Coroutine[Any, Any, None]]] = {
            "keep": _keep,
            "tidy": _tidy,
            "purge": _purge,
            "keep-snapshot": _keep_snapshot,
        }
        if settings.workers > 1:
            endless["follow"] = _follow
        for name, work in endless.items():
            await stack.enter_async_context(going_on(name, partial(work, runtime)))
        yield runtime


async def _check_encoder(database: Database, encoder: TextEncoder) -> None:
    """Vectors of two encoders do not compare: a store keeps to the one that it was begun with, or to what it became."""
    known = await _kept_fact(database, "encoder", lambda: encoder.fingerprint)
    if not comparable(encoder, known):
        raise InvalidSettings(
            f"This store's vectors were made by the encoder {known}, not by {encoder.fingerprint}. "
            "Set `precision` and `model_dir` as they were, or ingest into a new --data-dir.",
            field="precision",
        )


async def _kept_fact(database: Database, name: str, new: Callable[[], str]) -> str:
    """The fact of this name, which is a new one if there was none.

    Only the first writes: a store that another process holds can be opened all the same.
    """
    known = await database.fact(name)
    return known if known is not None else await database.write(_fact_or, name, new)


def _fact_or(connection: sqlite3.Connection, name: str, new: Callable[[], str]) -> str:
    """The fact of this name, which is a new one if there was none."""
    known: str | None = queries.fact(connection, name=name)
    if known is not None:
        return known
    value = new()
    queries.set_fact(connection, name=name, value=value)
    return value


async def _tell_restored(database: Database) -> None:
    """The audit tells of the backup that this truth was restored from: the schema of then may have had none."""
    restored = await database.fact(RESTORED)
    if restored is not None and restored != "1":  # what earlier versions wrote
        told = orjson.loads(restored)
        at = datetime.fromisoformat(told["at"])
        await database.write(add_entry_once, at=at, action="restore", subject=told["backup"])


def index_place(settings: Settings) -> str:
    """Where the vector index is: `embedded`, or the server's URL, complete and without credentials."""
    if settings.qdrant_url is None:
        return EMBEDDED
    url = urlsplit(settings.qdrant_url)
    return f"{url.scheme}://{url.hostname}:{url.port or QDRANT_PORT}{url.path.rstrip('/')}"


async def open_index(settings: Settings) -> VectorIndex:
    """The index that `settings` name is open; a server is not asked yet."""
    if settings.qdrant_url is None:
        return await EdgeIndex.open(settings.data_dir / VECTORS_NAME, reply_wait_s=settings.vector_timeout_s)
    # By its name, and in a thread: the server's client takes longer to import than all the rest together, and a store
    # with the embedded engine never needs it.
    adapter: type[ServerIndex] = await asyncio.to_thread(pkgutil.resolve_name, SERVER_ADAPTER)
    key = settings.qdrant_api_key
    return adapter.at(
        settings.qdrant_url,
        api_key=key.get_secret_value() if key else None,
        timeout_s=settings.vector_timeout_s,
    )


async def _open_shared_cache(
    settings: Settings, database: Database, stack: contextlib.AsyncExitStack
) -> SharedCache | None:
    """The cache that `settings` name, closed with the stack; it knows the store by a name that no other has."""
    if settings.cache_url is None:
        return None
    store = await _kept_fact(database, STORE_ID, lambda: str(uuid.uuid4()))
    # By its name, and in a thread, as the server's client: most have no Redis.
    opened: type[SharedCache] = await asyncio.to_thread(pkgutil.resolve_name, SHARED_CACHE)
    shared = opened(settings.cache_url.get_secret_value(), store=store, ttl_s=settings.cache_ttl_s)
    stack.push_async_callback(shared.aclose)
    return shared


async def _close(opening: asyncio.Task[VectorIndex]) -> None:
    """The index is closed, if it came to be open."""
    if not opening.done():
        opening.cancel()
        await asyncio.wait([opening])
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().aclose()


async def _keep(runtime: Runtime) -> None:
    """A vector store that was left alone is tried again; now and then debts are paid and struck off."""
    attempts = AsyncRetrying(
        retry=retry_if_exception_type((Unavailable, StoreInUse)),
        wait=wait_random_exponential(multiplier=RESTORE_S, max=LONGEST_RESTORE_S),
    )
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await runtime.breaker.opened()
        if runtime.breaker.reason is not None:
            await asyncio.sleep(RESTORE_S)
            await attempts(runtime.restore_index)
        try:
            if not await runtime.outbox.owed() or await runtime.settle():
                await _strike(runtime.outbox)
        except StoreUnavailable as error:
            _log.warning("debts_not_paid", reason=error.detail)


async def _tidy(runtime: Runtime) -> None:
    """The database's log is kept short and free of what was deleted, also while the vector store is away."""
    while True:
        await asyncio.sleep(RETRY_S)
        try:
            await runtime.database.tidy()
        except (StoreUnavailable, OSError) as error:
            _log.warning("store_not_tidied", reason=str(error))


async def _purge(runtime: Runtime) -> None:
    while True:
        try:
            await runtime.purge()
        except (VectorStoreUnavailable, StoreUnavailable) as error:
            _log.warning("index_not_purged", reason=error.detail)
        await asyncio.sleep(RETRY_S)


async def _strike(outbox: Outbox) -> None:
    try:
        await outbox.strike()
    except Unavailable as error:
        _log.warning("index_not_flushed", reason=error.detail)


async def _follow(runtime: Runtime) -> None:
    """What other workers write comes into the graph also while nobody asks; a question does not wait for a lot."""
    while True:
        await asyncio.sleep(FOLLOW_S)
        try:
            await runtime.follow()
        except StoreUnavailable as error:
            _log.warning("other_workers_not_followed", reason=error.detail)


async def _keep_snapshot(runtime: Runtime) -> None:
    """One of the workers does it, and another when that one has ended."""
    async with runtime.turns.turn(SNAPSHOT_TURN, poll_s=RETRY_S):
        await _save_now_and_then(runtime.live)


async def _save_now_and_then(live: LiveGraph) -> None:
    seen = live.current.version
    quiet = 0.0
    while True:
        await asyncio.sleep(RETRY_S)
        version = live.current.version
        quiet = quiet + RETRY_S if version == seen else 0.0
        seen = version
        if version - live.saved_version >= SNAPSHOT_CHANGES or quiet == SNAPSHOT_QUIET_S:
            await _save(live)


async def _save(live: LiveGraph) -> None:
    try:
        await live.save()
    except (OSError, StoreUnavailable) as error:
        # It only spares the next start some reading; the one that lies there is still good for that.
        _log.warning("graph_snapshot_not_saved", reason=str(error))
