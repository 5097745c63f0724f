"""What a process holds open, and who may write."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hash_encoder import HashEncoder

from cofio.runtime import open_runtime
from cofio.settings import Settings


async def test_a_meeting_has_one_writer_at_a_time_and_writers_leave_nothing_behind(tmp_path: Path) -> None:
    inside = most = 0
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:

        async def write_again_and_again() -> None:
            nonlocal inside, most
            for _ in range(20):
                async with runtime.exclusive("one meeting"):
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1

        await asyncio.gather(*(write_again_and_again() for _ in range(3)))
        assert most == 1
        assert not runtime.writing
