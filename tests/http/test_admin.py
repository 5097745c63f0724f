"""What admins may ask that cannot be: refused by the field's name, and nothing done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from keyed import keyed

in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("admin")
    async with keyed(folder) as (asked, _, headers):
        asked.headers.update(headers["admin"])
        yield asked
        assert (await asked.get("/admin/backups")).json() == {"backups": []}


@in_one_loop
@pytest.mark.parametrize("keep", [True, False, 0, -1, "1", 1.5, [], {}])
async def test_what_is_no_number_of_backups_is_refused(admin: httpx.AsyncClient, keep: Any) -> None:
    told = await admin.post("/admin/backups", json={"keep": keep})
    assert told.status_code == 422, told.text
    assert told.json()["errors"][0]["field"] == "keep"


@in_one_loop
@pytest.mark.parametrize("field", ["before", "limit"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", "", "1e3", str(2**63), "9" * 400])
async def test_what_is_no_page_of_the_audit_is_refused(
    admin: httpx.AsyncClient, field: str, value: str
) -> None:
    told = await admin.get("/admin/audit", params={field: value})
    assert told.status_code == 422, told.text
    assert told.json()["errors"][0]["field"] == field
    last = await admin.get("/admin/audit", params={"before": str(2**63 - 1)})
    assert {entry["action"] for entry in last.json()["entries"]} == {"create_key"}
