"""Memories are read from the rows where the graph knows them, and by their ids where they are not there any more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from hash_encoder import HashEncoder

from cofio.graph.ids import written
from cofio.ingest import ingest
from cofio.records import MeetingInput
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store.recalled import shown, stored_memories

SAID: Final = (
    "The kiln costs more than we planned for.",
    "The crane comes on Monday.",
    "Who calls about the gasket?",
)
UNKNOWN: Final = "00000000-0000-4000-8000-000000000000"


async def test_memories_are_found_at_their_rows_and_else_by_id(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await ingest(runtime, MeetingInput(title="Pier", transcript="\n".join(f"Ann: {one}" for one in SAID)))
        graph, database = runtime.live.current, runtime.database
        ids = written(graph.ids)
        rows = dict(zip(ids, graph.stored.tolist(), strict=True))
        first, second, third = ids
        wrong = {first: rows[second], second: 10**9}
        for wanted, given in (
            (set(ids), {}),
            (set(ids), rows),
            ({first, third}, rows),
            # Another's row, as if the row id had been given away again, and one that is no more.
            ({first}, wrong),
            ({first, second, third}, wrong),
            ({first, UNKNOWN}, {UNKNOWN: rows[third]}),
        ):
            stored = await asyncio.to_thread(stored_memories, database, wanted, given)
            found = {memory.memory_id: memory.content for memory in map(shown, stored)}
            assert len(stored) == len(found)
            assert found == {one: said for one, said in zip(ids, SAID, strict=True) if one in wanted}
        assert await asyncio.to_thread(stored_memories, database, set()) == []
