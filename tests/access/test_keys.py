"""Keys: made once, kept as hashes, and known to a running service as long as they hold."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cofio.access.callers import Permission
from cofio.access.keys import KeyRing, create_key, read_keys, revoke_key
from cofio.errors import CofioError, InvalidInput, NotFound, StoreTooNew, Unavailable

QUERY = frozenset({Permission.QUERY})


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "store" / "keys.sqlite3"
    key, text = create_key(path, name="ci", permissions=QUERY, project="atlas")
    secret = text.split("_", 2)[2]
    assert len(secret) == 43
    assert text == f"cofio_{key.key_id}_{secret}"
    assert read_keys(path) == (key,)
    assert secret.encode() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    caller = KeyRing(path).caller(text)
    assert caller is not None
    assert (caller.permissions, caller.project) == (QUERY, "atlas")
    assert secret not in repr(caller)


def test_other_texts_are_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    key, text = create_key(path, name="", permissions=QUERY)
    other, _ = create_key(path, name="", permissions=QUERY)
    ring = KeyRing(path)
    wrong = [
        "",
        "cofio_",
        f"cofio_{key.key_id}",
        f"cofio_{key.key_id}_",
        text[:-1],
        text + "A",
        text.replace(key.key_id, other.key_id),
        text.upper(),
        f"cofio__{text}",
        f"cofio_{key.key_id}_{key.secret_hash.hex()}",
    ]
    assert [ring.caller(candidate) for candidate in wrong] == [None] * len(wrong)
    assert ring.caller(text)


def test_expired_and_revoked_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    now = datetime.now(UTC)
    _, over = create_key(path, name="", permissions=QUERY, expires_at=now - timedelta(seconds=1))
    _, lasting = create_key(path, name="", permissions=QUERY, expires_at=now + timedelta(hours=1))
    key, gone = create_key(path, name="", permissions=QUERY)
    first = revoke_key(path, key.key_id)
    assert revoke_key(path, key.key_id) == first
    ring = KeyRing(path)
    assert [ring.caller(text) is not None for text in (over, lasting, gone)] == [False, True, False]
    assert [key.state(now) for key in read_keys(path)] == ["expired", "valid", "revoked"]
    with pytest.raises(NotFound):
        revoke_key(path, "0" * 12)


async def test_a_running_service_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    ring = KeyRing(path)
    assert not ring.in_use
    task = asyncio.create_task(ring.keep_fresh())

    async def until(text: str, known: bool) -> None:
        while (ring.caller(text) is not None) != known:
            await asyncio.sleep(0.01)

    key, text = create_key(path, name="", permissions=QUERY)
    await asyncio.wait_for(until(text, True), 10)
    revoke_key(path, key.key_id)
    await asyncio.wait_for(until(text, False), 10)
    _, text = create_key(path, name="", permissions=QUERY)
    await asyncio.wait_for(until(text, True), 10)
    path.unlink()
    await asyncio.wait_for(until(text, False), 10)
    assert ring.in_use, "a service that needed keys needs them still"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_a_key_with_a_scope_that_nobody_knows_is_an_unusable_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    create_key(path, name="", permissions=QUERY)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE keys SET permissions = '[\"fly\"]'")
    with pytest.raises(Unavailable, match="cannot be used"):
        read_keys(path)


# Is killed within a write to the keys, whose pages are in the file already.
_KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE keys SET name = ?", ("x" * 40_000,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_write_that_was_killed_is_undone_by_whoever_reads_next(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    key, text = create_key(path, name="ci", permissions=QUERY)

    def kill() -> None:
        subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
        assert path.with_name(f"{path.name}-journal").stat().st_size > 0

    kill()
    assert read_keys(path) == (key,)
    kill()
    assert KeyRing(path).caller(text)
    kill()
    assert revoke_key(path, key.key_id).revoked_at is not None


# Reads the keys as nobody, who may not write them.
_READS = """
import os, sys
from pathlib import Path
from cofio.access.keys import read_keys
path = Path(sys.argv[1])
if os.getuid() == 0:
    os.setgroups([])
    os.setuid(65534)
assert not os.access(path, os.W_OK)
print(len(read_keys(path)))
"""


def test_keys_that_cannot_be_written_are_read() -> None:
    with tempfile.TemporaryDirectory() as name:  # nobody may enter pytest's
        folder = Path(name)
        create_key(folder / "keys.sqlite3", name="ci", permissions=QUERY)
        (folder / "keys.sqlite3").chmod(0o444)
        folder.chmod(0o555)
        try:
            command = [sys.executable, "-c", _READS, str(folder / "keys.sqlite3")]
            reading = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            folder.chmod(0o755)
    assert (reading.stdout, reading.stderr) == ("1\n", "")


async def test_the_last_keys_hold_while_the_file_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    _, text = create_key(path, name="", permissions=QUERY)
    ring = KeyRing(path)
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(Unavailable, match="cannot be used"):
        ring.reload()
    assert ring.caller(text)


@pytest.mark.parametrize(
    ("permissions", "project"),
    [
        (frozenset(), None),
        (frozenset({Permission.ADMIN}), "atlas"),
        (QUERY, ""),
        (QUERY, "\x1f"),
    ],
)
def test_keys_that_make_no_sense_are_not_made(
    tmp_path: Path, permissions: frozenset[Permission], project: str | None
) -> None:
    path = tmp_path / "keys.sqlite3"
    with pytest.raises(InvalidInput):
        create_key(path, name="", permissions=permissions, project=project)
    assert not path.exists()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    create_key(path, name="", permissions=QUERY)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    for use in (read_keys, KeyRing, lambda path: create_key(path, name="", permissions=QUERY)):
        with pytest.raises(StoreTooNew):
            use(path)


def test_a_folder_that_cannot_be_written_is_told_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CofioError, match="cannot be used"):
        create_key(tmp_path / "file" / "keys.sqlite3", name="", permissions=QUERY)
