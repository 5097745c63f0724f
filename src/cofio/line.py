"""Meetings one after the other: while one becomes memories and is stored, the next is read and encoded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine
from typing import Any, Final

# How many meetings are under way besides the one that is waited for: one keeps the encoder busy.
AHEAD: Final = 1


class Line:
    """Whose turn it is: one meeting of the line is encoded at a time, and one becomes memories and is stored.

    They are stored in the order in which they were encoded: what a meeting becomes depends on those before it.
    """

    def __init__(self) -> None:
        self.encoding = asyncio.Lock()
        self.storing = asyncio.Lock()


Call = Callable[[Line], Coroutine[Any, Any, None]]


async def in_line(calls: AsyncIterable[Call]) -> None:
    """Every call has ended; two were under way at a time, with one line for all.

    Where one fails, the calls before it have ended, those after it are cancelled, and its error is raised.
    """
    line = Line()
    under_way: deque[asyncio.Task[None]] = deque()
    try:
        async for call in calls:
            under_way.append(asyncio.create_task(call(line)))
            if len(under_way) > AHEAD:
                await under_way.popleft()
        while under_way:
            await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
