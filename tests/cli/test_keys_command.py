"""`cofio keys`, as a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import cofio

from cofio.access.keys import KeyRing, read_keys


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    told = cofio(
        "keys", "create", "--scope", "query", "--scope", "ingest", "--project", "atlas", "--expires", "90d",
        "--name", "[b]notes", "--data-dir", tmp_path,
    )  # fmt: skip
    (text,) = (line for line in told.splitlines() if line.startswith("cofio_"))
    ring = KeyRing(tmp_path / "keys.sqlite3")
    caller = ring.caller(text)
    assert caller is not None
    assert {str(permission) for permission in caller.permissions} == {"query", "ingest"}
    assert caller.project == "atlas"
    listed = cofio("keys", "list", "--data-dir", tmp_path)
    assert all(part in listed for part in ("[b]notes", "ingest query", "atlas", "valid"))
    assert text.split("_", 2)[2] not in listed
    (key,) = read_keys(tmp_path / "keys.sqlite3")
    cofio("keys", "revoke", key.key_id, "--data-dir", tmp_path)
    assert "revoked" in cofio("keys", "list", "--data-dir", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["create", "--scope", "admin", "--project", "atlas"], os.EX_DATAERR, "whole store"),
        (["create", "--scope", "query", "--expires", "soon"], os.EX_DATAERR, "90d"),
        (["create", "--scope", "query", "--expires", "2001-01-01"], os.EX_DATAERR, "over already"),
        (["create", "--scope", "query", "--expires", "9999y"], os.EX_DATAERR, "year 9999"),
        (["create", "--scope", "query", "--expires", "9999-12-31T23:00-05:00"], os.EX_DATAERR, "year 9999"),
        (["create", "--scope", "root"], 2, "admin"),
        (["revoke", "000000000000"], os.EX_NOINPUT, "cofio keys list"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    assert says in cofio("keys", *arguments, "--data-dir", tmp_path, code=code)
    assert not (tmp_path / "keys.sqlite3").exists()


def test_an_address_that_others_reach_needs_a_key_first(tmp_path: Path) -> None:
    told = cofio("serve", "--host", "0.0.0.0", "--data-dir", tmp_path, code=os.EX_CONFIG)
    assert "cofio keys create" in told
    assert "allow_anonymous" in told
