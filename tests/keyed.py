"""A service in the test's own process that needs keys, and the keys."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from hash_encoder import HashEncoder
from in_process import client

from cofio.access.callers import Permission
from cofio.access.keys import create_key, keys_path
from cofio.runtime import open_runtime
from cofio.settings import Settings


def header(
    chosen: Settings, *permissions: Permission, project: str | None = None, **more: Any
) -> dict[str, str]:
    """The header of a new key."""
    _, text = create_key(
        keys_path(chosen), name="", permissions=frozenset(permissions), project=project, **more
    )
    return {"X-API-Key": text}


@contextlib.asynccontextmanager
async def keyed(
    folder: Path, *, projects: tuple[str, ...] = (), **changed: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Settings, dict[str, dict[str, str]]]]:
    """A client without a key, the settings, and headers: `query`, `ingest`, `admin`, and one for each project."""
    chosen = Settings(
        data_dir=folder / "store",
        **{"query_rate": "", "ingest_rate": "", **changed},
    )
    headers = {permission.value: header(chosen, permission) for permission in Permission}
    for project in projects:
        headers[project] = header(chosen, Permission.QUERY, Permission.INGEST, project=project)
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        yield asked, chosen, headers
