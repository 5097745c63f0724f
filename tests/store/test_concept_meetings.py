"""Which meetings mention a concept is what its edges say, as meetings come, change and go, and in old stores."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from hash_encoder import HashEncoder

from cofio.ingest import ingest
from cofio.maintain import delete_meeting
from cofio.records import MeetingInput
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings

STANDUP: Final = MeetingInput(
    title="Standup",
    date=date(2026, 3, 2),
    external_id="1",
    transcript="""Ann Lee: The Aurora gateway needs a barrel connector for the enclosure, I think.
Ben Ortiz: The Aurora gateway is a box that collects the readings of every sensor in a house.
Ann Lee: Which connector did the supplier of the enclosure propose for the gateway?
""",
)
REVIEW: Final = replace(
    STANDUP,
    title="Review",
    external_id="2",
    transcript="""Ben Ortiz: The Aurora gateway got its barrel connector, and the enclosure is ready.
Cleo Marsh: Then the enclosure goes to the supplier with the Aurora gateway.
""",
)
WALKED: Final = """
SELECT DISTINCT e.target, s.meeting FROM edges e JOIN memories s ON s.id = e.source
JOIN memories c ON c.id = e.target AND c.level = 0 WHERE e.kind IN ('mentions', 'spoken_by')"""
KEPT: Final = "SELECT concept, meeting FROM concept_meetings"


async def _kept(runtime: Runtime) -> set[tuple[int, int]]:
    async with runtime.database.read() as connection:
        kept, walked = [
            {(int(a), int(b)) for a, b in await connection.execute_fetchall(sql)} for sql in (KEPT, WALKED)
        ]
    assert kept == walked
    return kept


async def test_what_is_kept_is_what_the_edges_say(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        first = await ingest(runtime, STANDUP)
        alone = await _kept(runtime)
        await ingest(runtime, REVIEW)
        both = await _kept(runtime)
        assert len({meeting for _, meeting in both}) == 2
        assert len(both) > len(alone) > 0
        await ingest(
            runtime, replace(REVIEW, transcript="Cleo Marsh: The Aurora gateway is late again, sadly.")
        )
        changed = await _kept(runtime)
        assert 0 < len(changed) < len(both)
        await delete_meeting(runtime, first.meeting_id)
        assert len({meeting for _, meeting in await _kept(runtime)}) == 1


async def test_a_store_without_the_table_gets_it(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await ingest(runtime, STANDUP)
        await ingest(runtime, REVIEW)
        before = await _kept(runtime)
        path = runtime.database.path
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE concept_meetings")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0003-concept-meetings'")
    connection.close()
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        assert await _kept(runtime) == before
