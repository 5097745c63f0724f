"""The current graph answers by the truth alone, whatever it held before."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from drills.meetings import ABSENT, EDITIONS, edition_word, meeting, meeting_id, word
from drills.verify import told
from hash_encoder import HashEncoder

from cofio.graph import ledger
from cofio.graph.scope import scope
from cofio.ingest import ingest
from cofio.livegraph import LiveGraph
from cofio.maintain import delete_meeting
from cofio.query import recall
from cofio.records import Filters, MeetingInput, Question
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings

MEETINGS = range(1, 30)


async def test_what_was_deleted_and_replaced_changes_no_answer(tmp_path: Path) -> None:
    rng = random.Random(2)
    now = dict.fromkeys(MEETINGS, ABSENT)
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        for _ in range(110):
            number = rng.choice(MEETINGS)
            if now[number] != ABSENT and rng.random() < 0.3:
                await delete_meeting(runtime, meeting_id(number))
                now[number] = ABSENT
            else:
                now[number] = rng.choice(EDITIONS)
                await ingest(runtime, meeting(number, now[number]))
        assert runtime.live.current.counts["dead"] > 0
        anew = replace(
            runtime, live=await LiveGraph.open(runtime.database, tmp_path / "none.npz", runtime.turns)
        )
        for number, edition in now.items():
            asked = word(number) if edition == ABSENT else edition_word(number, edition)
            question = Question(query=f"What about {asked}?", limit_per_level=3)
            answer = await recall(runtime, question)
            assert told(answer) == told(await recall(anew, question))


async def test_what_is_as_good_comes_in_one_order_however_the_graph_grew(tmp_path: Path) -> None:
    """More turns that match alike than there are seeds; two workers may hold them in any order."""
    rng = random.Random(4)
    held: dict[str, str] = {}
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        for step in range(30):
            name = f"m{rng.randrange(8)}"
            if name in held and rng.random() < 0.3:
                await delete_meeting(runtime, held.pop(name))
                continue
            lines = "\n".join(f"Ann: Point {rng.randrange(9)} of {name} is {step}." for _ in range(25))
            sent = MeetingInput(title=name, project=name, external_id=name, transcript=lines)
            held[name] = (await ingest(runtime, sent)).meeting_id
        anew = replace(
            runtime, live=await LiveGraph.open(runtime.database, tmp_path / "none.npz", runtime.turns)
        )
        for name in held:
            question = Question(query=f"Which point of {name} is it?")
            answers = [await recall(asked, question) for asked in (runtime, anew)]
            one, other = (replace(answer, processing_time_ms=0.0, stages_ms={}) for answer in answers)
            assert one == other


async def test_a_meeting_that_is_replaced_again_and_again_takes_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "DEAD_ROWS", 12)
    dead = []
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        await ingest(runtime, KESTREL)
        for edition in range(12):
            lines = "\n".join(
                f"Ann: Edition {edition} of line {i} tells of gasket {edition}." for i in range(5)
            )
            await ingest(runtime, replace(ANSWERED, transcript=lines))
            counts = runtime.live.current.counts
            dead.append(counts["dead"])
            assert counts["episodes"] == 6
        answer = await recall(runtime, Question(query="Which edition tells of gasket 11?", limit_per_level=6))
    assert max(dead) <= 12
    assert dead.count(0) > 1  # the first has replaced nothing; compacted, nothing is dead again
    assert "gasket 11" in answer.direct_results["L2"][0].content


ASKED = MeetingInput(
    title="Asked",
    project="p",
    external_id="asked",
    date=date(2026, 1, 1),
    transcript="Ben: How do we handle the gateway battery of the supplier before winter with a gasket order?",
)
ANSWERED = MeetingInput(
    title="Answered",
    project="p",
    external_id="answered",
    date=date(2026, 2, 2),
    transcript="Ann: Hello to all of you today, we begin.\n"
    "Ann: We handle the gateway battery of the supplier before winter with a new gasket order.\n"
    "Ann: The Kestrel turbine is late again, and so is the Kestrel cable.",
)
KESTREL = MeetingInput(
    title="Kestrel", project="p", transcript="Cleo: The Kestrel turbine came, but not the Kestrel cable."
)
ELSEWHERE = MeetingInput(
    title="Elsewhere",
    project="other",
    transcript="Zoe: The salaries of the board are secret and shall stay so.",
)


async def test_an_answer_whose_question_is_gone_leads_nowhere(tmp_path: Path) -> None:
    """SQLite gives the row id of the deleted question to the next memory, here one of another project."""
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        await ingest(runtime, ANSWERED)
        await ingest(runtime, KESTREL)
        asked = await ingest(runtime, ASKED)
        await ingest(runtime, replace(ANSWERED, metadata={"room": "4"}))
        assert edges(runtime) == await edges_anew(runtime, tmp_path)
        await delete_meeting(runtime, asked.meeting_id)
        await ingest(runtime, ELSEWHERE)
        assert edges(runtime) == await edges_anew(runtime, tmp_path)
        # A replacement takes questions away too.
        await ingest(runtime, ASKED)
        await ingest(runtime, replace(ANSWERED, metadata={"room": "5"}))
        await ingest(runtime, replace(ASKED, transcript="Ben: There is nothing that I want to know today."))
        await ingest(runtime, replace(ELSEWHERE, title="Elsewhere too"))
        assert edges(runtime) == await edges_anew(runtime, tmp_path)


def edges(runtime: Runtime) -> set[tuple[str, str]]:
    """All edges of the graph in use, by memory ids."""
    graph = runtime.live.current
    ids = graph.memory_ids(range(graph.nodes))
    start = graph.edge_start
    return {
        (ids[node], ids[target])
        for node in range(graph.nodes)
        for target in graph.edge_target[start[node] : start[node + 1]].tolist()
    }


async def edges_anew(runtime: Runtime, tmp_path: Path) -> set[tuple[str, str]]:
    """As `edges`, of a graph that was made of the truth alone."""
    live = await LiveGraph.open(runtime.database, tmp_path / "none.npz", runtime.turns)
    return edges(replace(runtime, live=live))


async def test_a_meeting_is_found_by_its_id_in_the_graph_that_was_there_before_it_grew(
    tmp_path: Path,
) -> None:
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        receipt = await ingest(runtime, ANSWERED)
        before = runtime.live.current
        await ingest(
            runtime, replace(ANSWERED, transcript=f"{ANSWERED.transcript}\nAnn: And that was all of it.")
        )
        of_it = Filters(meeting_id=(receipt.meeting_id,))
        assert scope(before, of_it).meetings.sum() == 1
        assert scope(runtime.live.current, of_it).meetings.sum() == 1
