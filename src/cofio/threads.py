"""Work off the event loop, in threads of one's own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")


async def run_in(
    threads: ThreadPoolExecutor, work: Callable[P, Result], *given: P.args, **named: P.kwargs
) -> Result:
    """What `work` returns in one of the `threads`, with this task's context (log, trace).

    A caller that is cancelled does not wait: work that has begun goes on to its end, other work is not begun.
    """
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        threads, lambda: context.run(work, *given, **named)
    )
