"""How late the event loop turns."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from cofio.telemetry.metrics import LOOP_LAG_SECONDS, LOOP_LAG_WORST_SECONDS

_WORST_OF_S: Final = 60.0


async def sample_loop_lag(interval_s: float = 0.01) -> None:
    """Never returns: observes how late the event loop wakes it, until it is cancelled.

    Whatever keeps the loop from turning is seen: its own callbacks, a thread that holds the interpreter's lock, a
    machine without a free core. A stall is seen short by at most `interval_s`, a shorter one perhaps not at all;
    several within one interval are seen as one. The loop's timers are a millisecond exact.
    """
    worst: deque[tuple[float, float]] = deque()  # times and lags of the last minute that no later lag exceeds
    while True:
        # Not the loop's own clock: uvloop reads it once a turn, which hides what the turn itself takes.
        started = time.perf_counter()
        await asyncio.sleep(interval_s)
        now = time.perf_counter()
        lag = max(0.0, now - started - interval_s)
        LOOP_LAG_SECONDS.observe(lag)
        while worst and worst[-1][1] <= lag:
            worst.pop()
        worst.append((now, lag))
        while worst[0][0] < now - _WORST_OF_S:
            worst.popleft()
        LOOP_LAG_WORST_SECONDS.set(worst[0][1])
