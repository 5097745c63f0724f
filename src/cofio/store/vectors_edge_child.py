"""The process that holds Qdrant Edge: it reads one request after another from a socket and answers each.

Edge holds the interpreter's lock during every call, so it must not share a process with the service. This
module is all that the process imports of cofio: no numpy, no numba, no web framework; it starts in about a
tenth of a second. A frame is four bytes of length, big-endian, and a pickle; both ends are this package.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    MatchAny,
    PayloadSchemaType,
    Point,
    Query,
    QueryRequest,
    RangeFloat,
    ScrollRequest,
    UpdateOperation,
)

from cofio.store.ties import GROWTH, MOST, SLACK, cut, settled

if TYPE_CHECKING:
    from qdrant_edge import ConditionType  # a name of the stubs only

HEADER_BYTES: Final = 4
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open the collections under `directory`, creating what is missing. Answer: None."""

    directory: str
    collections: tuple[str, ...]
    dimensions: int
    keyword_fields: tuple[str, ...]
    integer_fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Insert or replace points; `vectors` holds their float32 rows one after another. Answer: None."""

    collection: str
    ids: tuple[str, ...]
    vectors: bytes
    payloads: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete points; missing ids are fine. Answer: None."""

    collection: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Search several collections. Answer: a list of (id, score) for each of `limits`, in its order.

    `keywords` are pairs of a field and the values of which one must match; `first` and `last` bound
    `date_field`, inclusive.
    """

    vector: bytes
    limits: tuple[tuple[str, int], ...]
    keywords: tuple[tuple[str, tuple[str, ...]], ...]
    date_field: str
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Count the points. Answer: a number for each of the opened collections, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """List ids in their order, from `start` on. Answer: the ids, and where to go on or None."""

    collection: str
    start: str | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Drop and create every collection. Answer: None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """Write everything to disk. Answer: None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Flush, close, and leave the process. Answer: None."""


Request = Open | Upsert | Delete | Search | Count | Ids | Clear | Flush | Close


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The answer to a request that failed. `kind` is `in_use`, `unusable` (opening) or `failed`."""

    kind: str
    detail: str


class _Shards:
    """The opened collections of one directory, and the lock on it."""

    def __init__(self, request: Open) -> None:
        self._request = request
        self._root = Path(request.directory)
        self._root.mkdir(parents=True, exist_ok=True)
        # Edge locks each shard's log too, but says so only in prose, and not while a shard is being created.
        # The kernel lets go of this lock when the process dies, however it dies.
        self._lock = (self._root / "lock").open("w")
        self._shards: dict[str, EdgeShard] = {}
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in request.collections:
                self._shards[name] = self._open(name)
        except BaseException:
            self._close_shards()
            self._lock.close()
            raise

    def upsert(self, request: Upsert) -> None:
        shape = (len(request.ids), self._request.dimensions)
        rows = cast("list[list[float]]", memoryview(request.vectors).cast("f", shape).tolist())
        points = [
            Point(memory_id, row, dict(payload))
            for memory_id, row, payload in zip(request.ids, rows, request.payloads, strict=True)
        ]
        self._shards[request.collection].update(UpdateOperation.upsert_points(points))

    def delete(self, request: Delete) -> None:
        self._shards[request.collection].update(UpdateOperation.delete_points(list(request.ids)))

    def search(self, request: Search) -> list[list[tuple[str, float]]]:
        vector = cast("list[float]", memoryview(request.vector).cast("f").tolist())
        filter_ = _filter(request)
        return [self._best(self._shards[name], vector, limit, filter_) for name, limit in request.limits]

    def count(self) -> list[int]:
        return [shard.count(CountRequest(exact=True)) for shard in self._shards.values()]

    def ids(self, request: Ids) -> tuple[list[str], str | None]:
        page = ScrollRequest(offset=request.start, limit=request.limit, with_payload=False, with_vector=False)
        records, following = self._shards[request.collection].scroll(page)
        return [str(record.id) for record in records], None if following is None else str(following)

    def clear(self) -> None:
        for name in self._request.collections:
            self._shards.pop(name).close()
            # Renamed first: whoever is killed half-way through the removal leaves no half of a collection.
            (self._root / name).rename(self._root / f"{name}.old")
            self._shards[name] = self._open(name)

    def flush(self) -> None:
        for shard in self._shards.values():
            shard.flush()

    def close(self) -> None:
        self.flush()
        self._close_shards()
        self._lock.close()

    def _close_shards(self) -> None:
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    def _open(self, name: str) -> EdgeShard:
        """Load the collection, creating it if it is missing; the payload fields are indexed."""
        path, beside, old = (self._root / f"{name}{suffix}" for suffix in ("", ".new", ".old"))
        for leftover in (beside, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        config = EdgeConfig(
            vectors=EdgeVectorParams(size=self._request.dimensions, distance=Distance.Dot), wal_enabled=True
        )
        if not path.exists():
            # Built beside and renamed: a collection is there as a whole or not at all.
            shard = EdgeShard.create(str(beside), config)
            self._index_fields(shard)
            shard.flush()
            shard.close()
            beside.rename(path)
        shard = EdgeShard.load(str(path), config)  # raises where size or distance differ
        self._index_fields(shard)
        return shard

    def _index_fields(self, shard: EdgeShard) -> None:
        indexed = shard.info().payload_schema
        fields = [(name, PayloadSchemaType.Keyword) for name in self._request.keyword_fields]
        fields += [(name, PayloadSchemaType.Integer) for name in self._request.integer_fields]
        for name, schema in fields:
            if name not in indexed:
                shard.update(UpdateOperation.create_field_index(name, schema))

    @staticmethod
    def _best(
        shard: EdgeShard, vector: list[float], limit: int, filter_: Filter | None
    ) -> list[tuple[str, float]]:
        asked = limit + SLACK
        while True:
            query = QueryRequest(
                limit=asked,
                query=Query.Nearest(vector),
                filter=filter_,
                with_payload=False,
                with_vector=False,
            )
            hits = shard.query(query)
            if settled([hit.score for hit in hits], limit, asked):
                return cut([(str(hit.id), hit.score) for hit in hits], limit)
            asked = min(asked * GROWTH, MOST)


def serve(descriptor: int, parent: int) -> None:
    """Answer requests on the socket `descriptor` until it is closed, or until process `parent` is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes in order
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with(parent)
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as requests:
        _answer_all(cast("BinaryIO", requests), connection)
    # No tidy shutdown: whoever wanted one sent Close, and the log keeps what was acknowledged.
    os._exit(0)


def _answer_all(requests: BinaryIO, connection: socket.socket) -> None:
    shards: _Shards | None = None
    while (request := _receive(requests)) is not None:
        answer: object
        try:
            if isinstance(request, Open):
                shards, answer = _Shards(request), None
            elif shards is None:
                raise RuntimeError("nothing is open")
            else:
                answer = _answer(shards, request)
        except Exception as error:  # noqa: BLE001  what the engine raised goes to the parent
            answer = Failure(kind=_kind_of(error, request), detail=f"{type(error).__name__}: {error}")
        body = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            connection.sendall(len(body).to_bytes(HEADER_BYTES) + body)
        except (BrokenPipeError, ConnectionResetError):
            return
        # After half a Clear some collection is not open; a new process opens them all again.
        if isinstance(request, Close) or (isinstance(request, Clear) and isinstance(answer, Failure)):
            return


def _receive(requests: BinaryIO) -> Request | None:
    """The next request, None if the other end is closed."""
    header = requests.read(HEADER_BYTES)
    size = int.from_bytes(header)
    body = requests.read(size)
    if len(header) < HEADER_BYTES or len(body) < size:
        return None
    return cast("Request", pickle.loads(body))  # noqa: S301  from our own parent, over a socket pair


def _answer(shards: _Shards, request: Request) -> object:
    match request:
        case Search():
            return shards.search(request)
        case Count():
            return shards.count()
        case Ids():
            return shards.ids(request)
        case Upsert():
            shards.upsert(request)
        case Delete():
            shards.delete(request)
        case Clear():
            shards.clear()
        case Flush():
            shards.flush()
        case Close():
            shards.close()
        case Open():
            raise RuntimeError("already open")
    return None


def _kind_of(error: Exception, request: Request) -> str:
    if isinstance(error, BlockingIOError) or "WouldBlock" in str(error):
        return "in_use"
    return "unusable" if isinstance(request, Open) else "failed"


def _filter(request: Search) -> Filter | None:
    must: list[ConditionType] = [
        FieldCondition(name, match=MatchAny(list(values))) for name, values in request.keywords
    ]
    if request.first is not None or request.last is not None:
        # One condition with both ends: in a list of dates a single one must lie between them.
        dates = RangeFloat(
            gte=None if request.first is None else float(request.first),
            lte=None if request.last is None else float(request.last),
        )
        must.append(FieldCondition(request.date_field, range=dates))
    return Filter(must=must) if must else None


def _die_with(parent: int) -> None:
    """This process is killed when its parent dies, even in the middle of a long call.

    The closed socket tells it too, but only between calls, and only if no other process inherited the
    parent's end. Linux only; elsewhere the socket must do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(0)
