"""A runtime for the length of one command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.telemetry import configure_logging

Result = TypeVar("Result")


def with_runtime(settings: Settings, use: Callable[[Runtime], Awaitable[Result]]) -> Result:
    """What `use` returns on an open runtime, which is closed again."""

    async def run() -> Result:
        async with open_runtime(settings) as runtime:
            return await use(runtime)

    configure_logging("warning", settings.log_format)
    return asyncio.run(run())
