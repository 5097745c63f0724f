"""`cofio backup`, as a process, on a directory and at a service."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import httpx
from command_line import cofio


def test_a_store_is_saved_verified_and_restored(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "saved"
    (tmp_path / "crane.txt").write_text("Ann: The crane on pier four is rusty and must be painted.\n")
    cofio("ingest", tmp_path / "crane.txt", "--data-dir", store)
    assert "There is no backup" in cofio("backup", "list", "--data-dir", store)
    cofio("backup", "create", "--data-dir", store, "--backup-dir", folder)
    (archive,) = folder.glob("*.zst")
    assert archive.name in cofio("backup", "list", "--data-dir", store, "--backup-dir", folder)
    assert "is whole" in cofio("backup", "verify", archive.name, "--backup-dir", folder)
    told = cofio("backup", "restore", archive, "--data-dir", store, code=os.EX_DATAERR)
    assert "--replace" in told
    shutil.rmtree(store)
    cofio("backup", "restore", archive, "--data-dir", store)
    assert "rusty" in cofio("query", "What has to be done about the crane?", "--data-dir", store)
    archive.write_bytes(archive.read_bytes()[:-1000])
    assert "damaged" in cofio("backup", "verify", archive, code=os.EX_DATAERR)
    assert "no backup" in cofio("backup", "verify", "none", "--backup-dir", folder, code=os.EX_NOINPUT)


def test_a_service_makes_its_own_backups(service: httpx.Client) -> None:
    url = str(service.base_url)
    cofio("backup", "create", "--keep", "1", "--url", url)
    (held,) = service.get("/admin/backups").json()["backups"]
    assert held["name"] in cofio("backup", "list", "--url", url)
    assert held["manifest"]["counts"]["memories_by_level"]["L2"] > 100
