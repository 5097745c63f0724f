"""API keys: a small file beside the store, which the command line writes and a running service reads.

A key is `cofio_<id>_<secret>`. Its secret is 256 random bits, of which the file holds the SHA-256. A slow hash
protects passwords, which can be guessed; nobody guesses 256 bits, and a slow hash would cost each request
milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

import aiosql
import orjson
import structlog

from cofio.access.callers import Caller, Permission
from cofio.errors import InvalidInput, NotFound, StoreTooNew, Unavailable
from cofio.settings import Settings
from cofio.text.clean import plain_text

_log = structlog.get_logger(__name__)

FILE_NAME: Final = "keys.sqlite3"
PREFIX: Final = "cofio_"
# A key that is made or revoked counts at once for the command line, and after at most this for a running service.
REFRESH_S: Final = 0.25
SCHEMA: Final = 1
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_BUSY_S: Final = 5.0
# Compared with where there is no key of that id, so that both take the same time.
_NO_HASH: Final = bytes(32)

_queries: Final[Any] = aiosql.from_path(
    str(resources.files("cofio.access") / "keys.sql"), "sqlite3", mandatory_parameters=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is known once its secret has been shown: without the secret."""

    key_id: str
    secret_hash: bytes
    name: str
    permissions: frozenset[Permission]
    project: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def keys_path(settings: Settings) -> Path:
    """The file of the keys: the one that the settings name, else the one beside the database."""
    return settings.keys_file or settings.data_dir / FILE_NAME


def create_key(
    path: Path,
    *,
    name: str,
    permissions: frozenset[Permission],
    project: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """A new key is in the file; returns it, and its text, which nobody can find out again.

    Raises InvalidInput for a key without permission, and for an admin that is bound to a project.
    """
    if not permissions:
        raise InvalidInput("a key needs at least one scope: query, ingest or admin", field="scope")
    if project is not None and Permission.ADMIN in permissions:
        raise InvalidInput(
            "an admin looks after the whole store, so its key cannot be bound to a project; leave one of the two out",
            field="project",
        )
    if project is not None and not (project := plain_text(project)):
        raise InvalidInput("a project's name has visible characters", field="project")
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    created_at = datetime.now(UTC)
    with _opened(path) as connection:
        _queries.add_key(
            connection,
            key_id=key_id,
            secret_hash=_hash(secret),
            name=name,
            permissions=orjson.dumps(sorted(permissions)).decode(),
            project=project,
            created_at=created_at.isoformat(),
            expires_at=expires_at.astimezone(UTC).isoformat() if expires_at else None,
        )
    key = next(key for key in read_keys(path) if key.key_id == key_id)
    return key, f"{PREFIX}{key_id}_{secret}"


def revoke_key(path: Path, key_id: str) -> Key:
    """The key is no longer valid; one that was revoked before stays so. Raises NotFound for an unknown id."""
    if any(key.key_id == key_id for key in read_keys(path)):
        with _opened(path) as connection:
            _queries.revoke_key(connection, key_id=key_id, revoked_at=datetime.now(UTC).isoformat())
    for key in read_keys(path):
        if key.key_id == key_id:
            return key
    raise NotFound(f"There is no key {key_id}; `cofio keys list` shows those that there are.", field="key_id")


def read_keys(path: Path) -> tuple[Key, ...]:
    """All keys that were ever made, revoked ones too, oldest first; none where there is no file.

    Raises Unavailable for a file that cannot be read, StoreTooNew for one of a later version.
    """
    with _failing_clearly(path):
        if not path.exists():
            return ()
        with contextlib.closing(_connect(path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            if _version(connection, path) == 0:
                return ()
            return tuple(map(_key, _queries.all_keys(connection)))


class KeyRing:
    """The keys of a file in memory, at most `REFRESH_S` old while `keep_fresh` runs.

    `in_use` is whether a key has ever been made: then a service answers nobody without one, and goes on so even if
    the file is taken away.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: Mapping[str, _Held] = {}
        self.in_use = False
        self.reload()

    def reload(self) -> None:
        """The ring holds what the file says now. Raises what `read_keys` raises."""
        keys = read_keys(self._path)
        self._held = {key.key_id: _held(key) for key in keys if key.revoked_at is None}
        self.in_use = self.in_use or bool(keys)

    async def keep_fresh(self) -> None:
        """Never returns: the ring follows the file. While the file cannot be read, the last keys hold."""
        readable = True
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await asyncio.to_thread(self.reload)
                readable = True
            except (Unavailable, StoreTooNew) as error:
                if readable:
                    _log.warning("keys_not_read", detail=error.detail)
                readable = False

    def caller(self, text: str) -> Caller | None:
        """Whom this key stands for; None if it is unknown, expired or revoked. Some microseconds."""
        key_id, _, secret = text.removeprefix(PREFIX).partition("_")
        held = self._held.get(key_id)
        same = hmac.compare_digest(_hash(secret), held.secret_hash if held else _NO_HASH)
        return held.caller if held and same and time.time() < held.expires_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What a request is checked against."""

    secret_hash: bytes
    caller: Caller
    expires_at: float  # seconds of the epoch


def _held(key: Key) -> _Held:
    return _Held(
        secret_hash=key.secret_hash,
        caller=Caller(name=f"key {key.key_id}", permissions=key.permissions, project=key.project),
        expires_at=key.expires_at.timestamp() if key.expires_at else math.inf,
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, made if there is none, in a transaction that is committed when the block ends."""
    with _failing_clearly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else's: whoever may write this file makes keys.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with contextlib.closing(_connect(path)) as connection, connection:
            if _version(connection, path) == 0:
                _queries.create_schema(connection)
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            yield connection


@contextlib.contextmanager
def _failing_clearly(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:  # the last: a scope or a date that nobody knows
        raise Unavailable(f"The file of the keys {path} cannot be used: {error}.") from error


def _connect(path: Path) -> sqlite3.Connection:
    # Readers too: only who may write rolls back what a killed writer left half done. SQLite itself opens a file that
    # cannot be written for reading.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
    connection.row_factory = sqlite3.Row
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA:
        raise StoreTooNew(f"The file of the keys {path} was written by a newer version of cofio.")
    return version


def _key(row: sqlite3.Row) -> Key:
    return Key(
        key_id=row["key_id"],
        secret_hash=row["secret_hash"],
        name=row["name"],
        permissions=frozenset(Permission(name) for name in orjson.loads(row["permissions"])),
        project=row["project"],
        created_at=datetime.fromisoformat(row["created_at"]),
        expires_at=_instant(row["expires_at"]),
        revoked_at=_instant(row["revoked_at"]),
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
