"""What is kept of a concept is what its mentions come to, as meetings come, change and go, and in old stores."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import orjson
import pytest
from hash_encoder import HashEncoder

from cofio.ingest import ingest
from cofio.maintain import delete_meeting
from cofio.memories import concept_id
from cofio.query import recall
from cofio.records import Filters, MeetingInput, Question
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store.concept_sums import share, stored_sum, total
from cofio.store.database import queries
from cofio.text.concepts import promoted

STANDUP: Final = MeetingInput(
    title="Standup",
    date=date(2026, 3, 2),
    external_id="1",
    series="weekly",
    transcript="""Ann Lee: The Aurora gateway needs a barrel connector for the enclosure, I think.
Ben Ortiz: The Aurora gateway is a box that collects the readings of every sensor in a house.
Ann Lee: Which connector did the supplier of the enclosure propose for the gateway?
""",
)
REVIEW: Final = replace(
    STANDUP,
    title="Review",
    date=date(2026, 2, 1),
    external_id="2",
    series="monthly",
    transcript="""Ben Ortiz: The Aurora gateway got its barrel connector, and the enclosure is ready.
Cleo Marsh: Then the enclosure goes to the supplier with the Aurora gateway.
""",
)
LATER: Final = replace(
    STANDUP,
    title="Later",
    date=None,
    external_id="3",
    series=None,
    transcript="Cleo Marsh: The Aurora gateway is late again, sadly, since the supplier of the enclosure is.",
)
MEETINGS: Final = (STANDUP, REVIEW, LATER, replace(LATER, external_id="4", date=date(2026, 2, 1)))
GROWN: Final = (
    "\nAnn Lee: The barrel connector is what the Aurora gateway needs, whatever the supplier thinks of it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Sums, contents and edges of concepts, by their memory ids."""

    sums: Mapping[str, dict[str, object]]
    contents: Mapping[str, tuple[str, str, bytes]]
    mentions: Set[tuple[str, int, int]]
    definitions: Mapping[str, str]


async def _kept(runtime: Runtime) -> Kept:
    return await runtime.database.read(_kept_in)


def _kept_in(connection: sqlite3.Connection) -> Kept:
    concepts = connection.execute(
        "SELECT memory_id, content, details, vector FROM memories WHERE level = 0"
    ).fetchall()
    listed = orjson.dumps([row["memory_id"] for row in concepts]).decode()
    edges = connection.execute(
        """SELECT c.memory_id AS concept, e.kind, s.memory_id, s.meeting, s.position FROM edges e
        JOIN memories s ON s.id = e.source JOIN memories c ON c.id = e.target AND c.level = 0"""
    ).fetchall()
    return Kept(
        sums={
            row["memory_id"]: stored_sum(row).row(row["memory_id"])
            for row in queries.concept_sums(connection, memory_ids=listed)
        },
        contents={row["memory_id"]: (row["content"], row["details"], row["vector"]) for row in concepts},
        mentions={
            (row["concept"], row["meeting"], row["position"]) for row in edges if row["kind"] != "defines"
        },
        definitions={row["concept"]: row["memory_id"] for row in edges if row["kind"] == "defines"},
    )


async def _assert_true(runtime: Runtime) -> Kept:
    """What is kept is what the mentions come to, read anew."""
    kept = await _kept(runtime)
    rows = await runtime.database.read(
        lambda connection: connection.execute("SELECT * FROM concept_shares").fetchall()
    )
    mentions: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        mentions.setdefault(concept_id(row["project"], row["concept_key"]), []).append(row)
    sums = {memory_id: total([share(row) for row in group]) for memory_id, group in mentions.items()}
    sums = {i: s for i, s in sums.items() if promoted(s.meetings, s.contexts, s.episodes, s.kind)}
    assert kept.sums == {memory_id: summed.row(memory_id) for memory_id, summed in sums.items()}
    assert kept.definitions == {
        memory_id: summed.definition.memory_id for memory_id, summed in sums.items() if summed.definition
    }
    assert kept.mentions == {
        (memory_id, row["meeting"], position)
        for memory_id in sums
        for row in mentions[memory_id]
        for position in orjson.loads(row["episodes"])
    }
    for memory_id, summed in sums.items():
        _, details, vector = kept.contents[memory_id]
        assert orjson.loads(details)["meetings"] == summed.meetings
        assert vector == summed.centroid().astype("<f4").tobytes()
    return kept


@pytest.mark.parametrize("seed", [1, 2])
async def test_sums_are_what_the_mentions_say_after_every_change(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    stored: dict[int, str] = {}
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        for _ in range(24):
            number = rng.randrange(len(MEETINGS))
            if number in stored and rng.random() < 0.4:
                await delete_meeting(runtime, stored.pop(number))
            else:
                meeting = MEETINGS[number]
                transcript = meeting.transcript + rng.choice(("", GROWN))
                day = rng.choice((meeting.date, date(2026, 1, 1), None))
                receipt = await ingest(runtime, replace(meeting, transcript=transcript, date=day))
                stored[number] = receipt.meeting_id
            await _assert_true(runtime)
        for meeting_id in stored.values():
            await delete_meeting(runtime, meeting_id)
        emptied = await _assert_true(runtime)
    assert not emptied.contents


async def test_a_store_without_sums_gets_them(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await ingest(runtime, STANDUP)
        before = await _assert_true(runtime)
        await runtime.database.write(sqlite3.Connection.execute, "DELETE FROM concept_sums")
        await ingest(runtime, REVIEW)
        kept = await _kept(runtime)
        assert len(before.contents.keys() & kept.sums.keys()) > 0
        await runtime.database.write(sqlite3.Connection.execute, "DELETE FROM concept_sums")
        await ingest(runtime, replace(STANDUP, transcript=STANDUP.transcript + GROWN))
        await ingest(runtime, replace(REVIEW, transcript=REVIEW.transcript + GROWN))
        await _assert_true(runtime)


async def test_concepts_under_a_filter_are_those_mentioned_there(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        first = await ingest(runtime, STANDUP)
        await ingest(runtime, REVIEW)
        mentions = (await _kept(runtime)).mentions
        (row,) = await runtime.database.rows(queries.meeting, meeting_id=first.meeting_id, project=None)
        key = row["id"]
        said = {memory_id for memory_id, meeting, _ in mentions if meeting == key}
        everywhere = {memory_id for memory_id, *_ in mentions}
        assert said < everywhere
        asked = Question(
            query="What does Cleo Marsh say of the Aurora gateway, connector and enclosure?",
            limit_per_level=50,
        )
        for filters in (
            Filters(meeting_id=(first.meeting_id,)),
            Filters(series=("weekly",)),
            Filters(date_from=date(2026, 3, 1)),
        ):
            answer = await recall(runtime, replace(asked, filters=filters))
            found = {memory.memory_id for memory in answer.direct_results["L0"]}
            assert found
            assert found <= said
        whole = await recall(runtime, asked)
        assert {memory.memory_id for memory in whole.direct_results["L0"]} - said
