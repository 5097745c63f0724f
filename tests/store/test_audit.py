"""Every act of who looks after a store is in its audit: once, and without what the store holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hash_encoder import HashEncoder
from in_process import client

from cofio.access.callers import Permission
from cofio.access.keys import create_key, keys_path, revoke_key
from cofio.backups import create_backup, restore_backup
from cofio.data_dir import DATABASE_NAME, backup_dir
from cofio.ingest import ingest
from cofio.maintain import list_audit, rebuild
from cofio.records import MeetingInput
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store.audit import note
from cofio.transfer import import_export, open_export, write_export

MEETING = MeetingInput(
    title="Regatta", transcript="Ann Moe: The xylograph is sold.\nBo: To whom?", project="sea"
)


async def told(runtime: Runtime) -> list[tuple[str, str]]:
    """Actions and actors, the first act first."""
    return [(entry.action, entry.actor) for entry in reversed((await list_audit(runtime)).entries)]


async def test_each_act_is_told_once_and_without_content(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store", query_rate="", ingest_rate="")
    key, _ = create_key(
        keys_path(settings), name="Ann Moe's", permissions=frozenset({Permission.QUERY}), project="sea"
    )
    _, admin = create_key(keys_path(settings), name="", permissions=frozenset({Permission.ADMIN}))
    file = tmp_path / "export.jsonl"
    async with open_runtime(settings, HashEncoder()) as runtime:
        await ingest(runtime, MEETING)
        assert await told(runtime) == [("create_key", "local")] * 2
        revoke_key(keys_path(settings), key.key_id)
        made = create_backup(settings.data_dir, backup_dir(settings))
        async with client(settings, runtime) as asked:
            header = {"X-API-Key": admin}
            assert (await asked.post("/admin/backups", json={"keep": 1}, headers=header)).status_code == 201
            assert (await asked.get("/admin/export", params={"project": "sea"}, headers=header)).is_success
            page = (await asked.get("/admin/audit", headers=header)).json()
        write_export(open_export(settings, None).chunks(), file)
        await import_export(runtime, file)
        await rebuild(runtime)
        (sender,) = (entry["actor"] for entry in page["entries"] if entry["action"] == "export")
        assert sender.startswith("key ")
        assert sorted(await told(runtime)) == sorted(
            [
                ("create_key", "local"),
                ("create_key", "local"),
                ("revoke_key", "local"),
                ("backup", "local"),
                ("backup", sender),
                ("export", sender),
                ("export", "local"),
                ("import", "local"),
                ("rebuild", "local"),
            ]
        )
        entries = (await list_audit(runtime)).entries
        assert {e.subject for e in entries if e.action == "revoke_key"} == {key.key_id}
        assert made.name in {e.subject for e in entries}
        (thinned,) = (e for e in entries if e.action == "backup" and e.actor == sender)
        assert thinned.details["removed_backups"] == 1
        (taken_in,) = (e for e in entries if e.action == "import")
        assert taken_in.details == {"added": 0, "replaced": 0, "unchanged": 1}
        text = str(entries).casefold()
        assert not any(word in text for word in ("sea'", "ann moe", "xylograph", "regatta", admin.casefold()))


async def test_a_restored_store_says_of_which_backup_it_is(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()) as runtime:
        await ingest(runtime, MEETING)
    made = create_backup(settings.data_dir, tmp_path)
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    restore_backup(tmp_path / made.name, elsewhere.data_dir)
    for _ in range(2):
        async with open_runtime(elsewhere, HashEncoder()) as runtime:
            (entry,) = (await list_audit(runtime)).entries
    assert (entry.action, entry.subject, entry.actor) == ("restore", made.name, "local")


def test_an_act_that_cannot_be_told_is_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sqlite3.connect(tmp_path / DATABASE_NAME).close()
    (tmp_path / DATABASE_NAME).write_bytes(b"")  # a store from before there was an audit
    note(tmp_path / DATABASE_NAME, actor="keeper", action="backup", subject="b-1", details={"bytes": 3})
    logged = capsys.readouterr()
    assert "audit_not_written" in logged.out + logged.err
    assert "b-1" in logged.out + logged.err
