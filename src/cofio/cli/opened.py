"""A runtime for the length of one command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.telemetry.logs import configure_logging

Result = TypeVar("Result")


def with_runtime(settings: Settings, use: Callable[[Runtime], Awaitable[Result]]) -> Result:
    """What `use` returns on an open runtime, which is closed again."""

    async def run() -> Result:
        async with open_runtime(settings.model_copy(update={"workers": 1})) as runtime:
            return await use(runtime)

    configure_logging("warning", settings.log_format)
    return uvloop.run(run())
