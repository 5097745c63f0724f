"""A meeting goes in: what the receipt says is there, once, and all of it goes out again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import orjson
import pytest
from hash_encoder import HashEncoder

from cofio.errors import (
    EmptyTranscript,
    EncoderUnavailable,
    InvalidInput,
    NotFound,
    StoreInUse,
    UnknownFormat,
)
from cofio.ingest import ingest
from cofio.maintain import delete_meeting, doctor, get_meeting, get_memory, list_meetings, rebuild
from cofio.query import recall
from cofio.records import (
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Filters,
    Float32s,
    Level,
    MeetingInput,
    Question,
)
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings

STANDUP = MeetingInput(
    title="Gateway standup",
    date=date(2026, 3, 2),
    series="gateway",
    external_id="gw-1",
    transcript="""[00:00:05] Ann Lee: Good morning, let us start with the Aurora gateway and its enclosure.
[00:00:15] Ben Ortiz: The Aurora gateway is a small box that collects the readings of every sensor in a house.
[00:00:27] Ann Lee: Which connector did the supplier propose for the enclosure?
[00:00:34] Ben Ortiz: They proposed the barrel connector, because it is cheaper than the screw terminal.
[00:00:45] Ann Lee: I will order ten samples of the barrel connector by Friday.
[00:00:55] Cleo Marsh: We decided to ship the Aurora gateway in June, not in May.
[00:01:05] Ben Ortiz: Yeah.
""",
)
REVIEW = MeetingInput(
    title="Gateway review",
    date=date(2026, 3, 16),
    series="gateway",
    external_id="gw-2",
    transcript="""[00:00:03] Cleo Marsh: The barrel connector samples arrived and two of them were loose.
[00:00:14] Ben Ortiz: Then the Aurora gateway needs the screw terminal after all, which costs us two weeks.
[00:00:25] Cleo Marsh: Who tells marketing about the Aurora gateway and its later date?
[00:00:33] Ben Ortiz: I will talk to marketing tomorrow and explain the delay of the enclosure.
""",
)


def _episodes(runtime: Runtime) -> set[str]:
    """The ids of all episodes that the graph holds alive."""
    graph = runtime.live.current
    return {graph.memory_id(row) for row in graph.rows_by_id.row.tolist()}


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as opened:
        yield opened


async def test_receipt_counts_what_is_stored(runtime: Runtime) -> None:
    receipt = await ingest(runtime, STANDUP)
    assert (receipt.outcome, receipt.added, receipt.kept, receipt.removed) == ("created", 7, 0, 0)
    assert receipt.memories_by_level["L2"] == 7
    assert receipt.memories_by_level["L1"] == 1
    assert sum(receipt.memories_by_type.values()) == 7
    assert receipt.memories_by_type["question"] == 1
    assert receipt.edges["next"] == 6
    assert receipt.edges["part_of"] == receipt.edges["spoken_by"] == 7
    assert receipt.edges["answers"] == 1
    assert {"parse", "encode", "memorise", "store", "index"} <= receipt.stages_ms.keys()
    assert (await doctor(runtime, repair=False)).problems == ()
    assert (await get_meeting(runtime, receipt.meeting_id)).participants == (
        "Ann Lee",
        "Ben Ortiz",
        "Cleo Marsh",
    )


async def test_the_same_meeting_again_changes_nothing(runtime: Runtime) -> None:
    first = await ingest(runtime, STANDUP)
    version = runtime.live.current.version
    again = await ingest(runtime, STANDUP)
    assert again.outcome == "unchanged"
    assert again.meeting_id == first.meeting_id
    assert (again.added, again.kept) == (0, 7)
    assert again.memories_by_level == first.memories_by_level
    assert runtime.live.current.version == version


@pytest.mark.parametrize("external_id", ["gw-1", None])
async def test_a_grown_transcript_adds_only_what_is_new(runtime: Runtime, external_id: str | None) -> None:
    meeting = replace(STANDUP, external_id=external_id)
    first = await ingest(runtime, meeting)
    ids = _episodes(runtime)
    grown = replace(
        meeting,
        transcript=meeting.transcript
        + "[00:01:12] Cleo Marsh: One more thing, the antenna moves to the left side.\n",
    )
    receipt = await ingest(runtime, grown)
    assert receipt.meeting_id == first.meeting_id
    assert (receipt.outcome, receipt.added, receipt.kept, receipt.removed) == ("grown", 1, 7, 0)
    assert ids < _episodes(runtime)
    assert (await doctor(runtime, repair=False)).problems == ()


async def test_an_earlier_state_of_a_meeting_takes_nothing_away(runtime: Runtime) -> None:
    meeting = replace(STANDUP, external_id=None)
    await ingest(runtime, meeting)
    earlier = replace(meeting, transcript="\n".join(meeting.transcript.splitlines()[:3]))
    receipt = await ingest(runtime, earlier)
    assert receipt.outcome == "unchanged"
    assert any("already holds" in warning for warning in receipt.warnings)
    assert runtime.live.current.counts["episodes"] == 7


async def test_a_corrected_transcript_replaces_what_was_said(runtime: Runtime) -> None:
    await ingest(runtime, STANDUP)
    receipt = await ingest(
        runtime, replace(STANDUP, transcript=STANDUP.transcript.replace("in June", "in July"))
    )
    assert (receipt.outcome, receipt.added, receipt.removed) == ("changed", 1, 1)
    answer = await recall(runtime, Question(query="When does the gateway ship?"))
    said = [memory.content for memory in answer.direct_results["L2"]]
    assert any("in July" in text for text in said)
    assert not any("in June" in text for text in said)


async def test_things_of_two_meetings_become_concepts(runtime: Runtime) -> None:
    await ingest(runtime, STANDUP)
    await ingest(runtime, REVIEW)
    concepts = {concept.label.lower(): concept for concept in runtime.live.current.concepts}
    assert "aurora gateway" in concepts
    detail = await get_memory(runtime, concepts["aurora gateway"].memory_id)
    assert (detail.metadata.date, detail.metadata.last_date) == ("2026-03-02", "2026-03-16")
    assert detail.metadata.defined_by is not None
    definition = await get_memory(runtime, detail.metadata.defined_by)
    assert "small box that collects" in definition.content
    assert {"mentions", "defines"} <= {neighbour.kind for neighbour in detail.neighbours}


async def test_a_deletion_leaves_nothing_behind(runtime: Runtime) -> None:
    await ingest(runtime, REVIEW)
    before = await runtime.database.counts()
    receipt = await ingest(
        runtime,
        replace(
            STANDUP,
            transcript=STANDUP.transcript + "[00:01:12] Dov Zimmermann: The xylograph vendor quits.\n",
        ),
    )
    memory_ids = _episodes(runtime)
    deletion = await delete_meeting(runtime, receipt.meeting_id)
    assert deletion.removed_memories["L2"] == 8
    assert await runtime.database.counts() == before
    diagnosis = await doctor(runtime, repair=False)
    assert diagnosis.problems == ()
    answer = await recall(runtime, Question(query="Which xylograph vendor quits, Dov Zimmermann?"))
    found = [
        *answer.activated_memories,
        *answer.bridge_memories,
        *(m for ms in answer.direct_results.values() for m in ms),
    ]
    assert not any("xylograph" in memory.content or "Zimmermann" in memory.content for memory in found)
    assert {memory.memory_id for memory in found} & memory_ids <= _episodes(runtime)
    with pytest.raises(NotFound):
        await delete_meeting(runtime, receipt.meeting_id)
    for file in runtime.settings.data_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"xylograph" not in content, f"{file} still holds deleted text"
            assert b"Zimmermann" not in content, f"{file} still holds a deleted speaker"


async def test_meetings_are_paged_newest_first(runtime: Runtime) -> None:
    for meeting in (STANDUP, REVIEW, replace(STANDUP, date=None, external_id="x", title="Undated")):
        await ingest(runtime, meeting)
    page = await list_meetings(runtime, limit=2)
    assert [m.title for m in page.meetings] == ["Gateway review", "Gateway standup"]
    assert page.total == 3
    rest = await list_meetings(runtime, limit=2, cursor=page.next_cursor)
    assert [m.title for m in rest.meetings] == ["Undated"]
    assert rest.next_cursor is None
    with pytest.raises(InvalidInput, match="cursor"):
        await list_meetings(runtime, cursor="nonsense")


async def test_what_cannot_be_read_stores_nothing(runtime: Runtime) -> None:
    with pytest.raises(EmptyTranscript):
        await ingest(runtime, replace(STANDUP, transcript="  \n"))
    with pytest.raises(UnknownFormat):
        await ingest(runtime, replace(STANDUP, format="docx"))
    assert (await runtime.database.counts())["meetings"] == 0


async def test_two_ingests_of_one_meeting_at_once_store_it_once(runtime: Runtime) -> None:
    receipts = await asyncio.gather(*(ingest(runtime, STANDUP) for _ in range(4)))
    assert sorted(receipt.outcome for receipt in receipts) == [
        "created",
        "unchanged",
        "unchanged",
        "unchanged",
    ]
    assert (await runtime.database.counts())["meetings"] == 1
    assert runtime.writing == {}


async def test_one_speaker_in_two_spellings_is_one_person(runtime: Runtime) -> None:
    receipt = await ingest(
        runtime,
        MeetingInput(
            title="Gate", transcript="Ann: I say we ship the gateway.\nANN: I say no to the gateway."
        ),
    )
    assert receipt.memories_by_level["L2"] == 2
    (person,) = await runtime.database.read(
        lambda connection: connection.execute(
            "SELECT concept_key, label, episodes FROM mentions WHERE kind = 'person'"
        ).fetchall()
    )
    assert (person["concept_key"], person["label"], person["episodes"]) == ("person:ann", "Ann", "[0,1]")


async def test_somebody_called_none_is_not_nobody(runtime: Runtime) -> None:
    said = "We ship the gateway today."
    spoken = f"<v None>{said}", "<v Ben>Fine with me, let us go.", said
    cues = [f"00:{10 * i:02}.000 --> 00:{10 * i + 2:02}.000\n{text}\n" for i, text in enumerate(spoken)]
    receipt = await ingest(runtime, MeetingInput(title="Gate", transcript="\n".join(["WEBVTT\n", *cues])))
    assert receipt.memories_by_level["L2"] == 3


@pytest.mark.parametrize("value", [1 << 70, "\ud800"])
async def test_metadata_that_no_json_holds_is_refused(runtime: Runtime, value: object) -> None:
    with pytest.raises(InvalidInput, match="metadata"):
        await ingest(runtime, replace(STANDUP, metadata={"room": value}))
    assert runtime.live.current.counts["meetings"] == 0


async def test_projects_do_not_share_concepts(runtime: Runtime) -> None:
    await ingest(runtime, STANDUP)
    await ingest(runtime, replace(REVIEW, project="other"))
    answer = await recall(runtime, Question(query="Aurora gateway", filters=Filters(project=("other",))))
    found = [
        *answer.activated_memories,
        *answer.bridge_memories,
        *(m for ms in answer.direct_results.values() for m in ms),
    ]
    assert found
    assert {memory.metadata.project for memory in found} == {"other"}


async def test_index_and_graph_are_rebuilt_from_the_truth_without_the_model(runtime: Runtime) -> None:
    await ingest(runtime, STANDUP)
    await ingest(runtime, REVIEW)
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:SEMANTIC_DIMENSIONS] = runtime.encoder.encode(["Which connector does the gateway get?"])[0]
    before = await runtime.index.search(vector, dict.fromkeys(Level, 9), Filters())
    await runtime.index.clear()
    assert (await doctor(runtime, repair=False)).problems != ()
    assert (await doctor(runtime, repair=True)).repaired != ()
    assert (await rebuild(runtime)).problems == ()
    assert await runtime.index.search(vector, dict.fromkeys(Level, 9), Filters()) == before
    assert all(before.values())


async def test_a_store_survives_being_reopened(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()) as runtime:
        await ingest(runtime, STANDUP)
        await ingest(runtime, REVIEW)
        question = Question(query="Why did the date move?")
        before = await recall(runtime, question)
        with pytest.raises(StoreInUse, match="--url"):
            async with open_runtime(settings, HashEncoder()):
                pass
    async with open_runtime(settings, HashEncoder()) as runtime:
        after = await recall(runtime, question)
    assert replace(before, processing_time_ms=0.0, stages_ms={}) == replace(
        after, processing_time_ms=0.0, stages_ms={}
    )


class _Failing(HashEncoder):
    def encode(self, texts: Sequence[str]) -> Float32s:
        raise RuntimeError("out of memory")


class CountingEncoder(HashEncoder):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> Float32s:
        self.texts += texts
        return super().encode(texts)


async def test_what_is_said_again_and_again_is_encoded_once(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    told: list[int] = []
    meeting = replace(STANDUP, transcript="Ann: Yeah.\nBen: The samples came.\nAnn: Yeah.\nAnn: Yeah.\n")
    async with open_runtime(Settings(data_dir=tmp_path / "store"), encoder) as runtime:
        receipt = await ingest(runtime, meeting, on_encoded=told.append)
        assert receipt.added == len(_episodes(runtime)) == sum(told) == 4
        assert sorted(encoder.texts) == ["Ann: Yeah.", "Ben: The samples came."]
        graph = runtime.live.current
        same = [row for row in range(4) if (graph.vectors[row] != graph.vectors[1])[:384].any()]
        assert same == [0, 2, 3]
        assert (graph.vectors[same, :384] == graph.vectors[0, :384]).all()


async def test_a_failing_encoder_stores_nothing(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path / "store"), _Failing()) as runtime:
        with pytest.raises(EncoderUnavailable):
            await ingest(runtime, STANDUP)
        assert (await runtime.database.counts())["meetings"] == 0


@pytest.mark.parametrize("steps", [1, 5, 20, 60])
async def test_a_catch_up_whose_caller_leaves_goes_on_to_its_end(runtime: Runtime, steps: int) -> None:
    await ingest(runtime, STANDUP)
    for i in range(4):
        await ingest(runtime, replace(REVIEW, external_id=f"gw-{i}"), settle=False)
    leaving = asyncio.create_task(runtime.live.catch_up())
    for _ in range(steps):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await runtime.live.save()
    await runtime.settle()
    assert (await doctor(runtime, repair=False)).problems == ()


async def test_an_answer_shows_a_memory_as_it_is_shown_alone(runtime: Runtime) -> None:
    said = [
        {
            "speaker": "Ann \"the 'gauge'\"",
            "start": 1 / 3,
            "end": 100_000 / 7,
            "text": 'Says: "C:\\tmp\\a" – naïve 🛠 gauge?',
        },
        {
            "speaker": "Ben\u2028Ortiz",
            "start": 86_399.123456789,
            "text": '{"gauge": [1, null]} and a tab\there, please.',
        },
    ]
    transcript = orjson.dumps({"segments": said}).decode()
    await ingest(
        runtime, MeetingInput(title='The "gauge" \\ review', transcript=transcript, project='ünï"code')
    )
    answer = await recall(runtime, Question(query="What about the gauge?"))
    shown = [hit for hits in answer.direct_results.values() for hit in hits]
    assert {hit.level for hit in shown} >= {"L1", "L2"}
    for hit in shown:
        alone = await get_memory(runtime, hit.memory_id)
        assert (hit.content, hit.memory_type, hit.metadata) == (
            alone.content,
            alone.memory_type,
            alone.metadata,
        )
    assert {hit.metadata.start_s for hit in answer.direct_results["L2"]} == {0.333333, 86_399.123457}
