"""A runtime for the length of one command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from cofio.data_dir import DATABASE_NAME
from cofio.errors import NotFound
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.telemetry.logs import configure_logging

Result = TypeVar("Result")


def with_runtime(
    settings: Settings, use: Callable[[Runtime], Awaitable[Result]], *, may_begin: bool = False
) -> Result:
    """What `use` returns on an open runtime, which is closed again.

    A store is begun only where `may_begin` says so; else raises `NotFound` where there is none.
    """
    if not may_begin and not (settings.data_dir / DATABASE_NAME).exists():
        raise NotFound(
            f"There is no store in {settings.data_dir}. `cofio ingest` or `import` begins one; --data-dir names another.",
            field="data_dir",
        )

    async def run() -> Result:
        async with open_runtime(settings.model_copy(update={"workers": 1})) as runtime:
            return await use(runtime)

    configure_logging("warning", settings.log_format)
    return uvloop.run(run())
