"""Documents, which have a title and no speaker: a title leads to what it names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hash_encoder import HashEncoder

from cofio.graph.spread import defined_by
from cofio.graphml import export_graphml
from cofio.ingest import ingest
from cofio.maintain import delete_meeting, get_memory
from cofio.query import recall
from cofio.records import Answer, Filters, MeetingInput, Question
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings

DOCUMENTS = {
    "Blue Kiln": "Blue Kiln is a 1974 film directed by Mara Lindqvist about a village potter and his sons.",
    "Mara Lindqvist": "She grew up in a fishing village and was born in the harbour town of Rauma in 1931.",
    "Red Kiln": "Red Kiln is a restaurant that serves bread and soup to students.",
    "Rauma (town)": "The place is known for its lace and its wooden houses on the west coast.",
    "Winter Prize": "The jury of 1975 gave it to a village potter story and to Mara Lindqvist for her camera.",
    **{f"Filler {i}": f"Number {i} of the {word} that nobody asks about." for i, word in enumerate(
        ("ships", "trees", "songs", "hats", "rivers", "coins", "birds", "doors", "stones", "lamps", "roads", "shoes")
    )},
}  # fmt: skip


def _passages(external_id: str, title: str, *texts: str) -> MeetingInput:
    turns = json.dumps([{"text": text} for text in texts])
    return MeetingInput(title=title, transcript=turns, external_id=external_id)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as opened:
        for title, text in DOCUMENTS.items():
            await ingest(opened, _passages(title, title, text))
        yield opened


def _titles(answer: Answer, limit: int) -> list[str | None]:
    return [memory.metadata.title for memory in answer.direct_results["L2"]][:limit]


async def test_the_answer_stands_in_the_document_whose_title_the_found_one_names(runtime: Runtime) -> None:
    question = Question(query="Where was the director of Blue Kiln brought up?")
    assert _titles(await recall(runtime, question), 2) == ["Blue Kiln", "Mara Lindqvist"]
    plain = Question(query=question.query, enable_activation=False)
    assert "Mara Lindqvist" not in _titles(await recall(runtime, plain), 2)


async def test_the_way_to_a_definition_is_told(runtime: Runtime) -> None:
    answer = await recall(
        runtime,
        Question(
            query="Who stood behind the camera of Blue Kiln?", limit_per_level=1, enable_activation=False
        ),
    )
    told = {bridge.metadata.title: bridge.explanation for bridge in answer.bridge_memories}
    assert told["Mara Lindqvist"] == "“Mara Lindqvist” is a document of that name, and “Blue Kiln” names it."
    assert told["Winter Prize"] == "“Winter Prize” names “Mara Lindqvist”, as does “Blue Kiln”."


async def test_activation_runs_along_a_title(runtime: Runtime) -> None:
    answer = await recall(
        runtime,
        Question(
            query="Which film of 1974 is about a village potter?", limit_per_level=1, enable_bridges=False
        ),
    )
    graph = runtime.live.current
    (seed,) = (memory.memory_id for memory in answer.direct_results["L2"])
    there = next(
        m for m in answer.activated_memories if m.level == "L2" and m.metadata.title == "Mara Lindqvist"
    )
    assert there.path[0] == seed
    assert graph.rows_by_id.find([there.memory_id])[0] in graph.definition_rows
    for here, after in pairwise(there.path):
        neighbours = (await get_memory(runtime, here)).neighbours
        assert after in {neighbour.memory_id for neighbour in neighbours}
    named = (await get_memory(runtime, there.memory_id)).neighbours
    assert {n.content[:9] for n in named if (n.kind, n.direction) == ("names", "in")} == {
        "Blue Kiln",
        "The jury ",
    }


async def test_the_exported_graph_holds_the_way_from_title_to_title(runtime: Runtime, tmp_path: Path) -> None:
    await export_graphml(runtime, tmp_path / "memory.graphml")
    graph = nx.read_graphml(tmp_path / "memory.graphml", force_multigraph=True)
    named = [(a, b) for a, b, kind in graph.edges(data="kind") if kind == "names"]
    assert len(named) == 3  # the film and the prize name the director, the director's page the town
    assert {graph.nodes[b]["title"] for _, b in named} == {"Mara Lindqvist", "Rauma (town)"}


async def test_a_deleted_document_is_named_no_more(runtime: Runtime) -> None:
    target = runtime.live.current
    ids = {head.title: head.meeting_id for head in target.living.values()}
    before = target.definition_rows.size
    await delete_meeting(runtime, ids["Mara Lindqvist"])
    assert runtime.live.current.definition_rows.size < before
    answer = await recall(runtime, Question(query="Who directed Blue Kiln?", limit_per_level=50))
    assert "Mara Lindqvist" not in _titles(answer, 50)


@pytest.mark.parametrize("filters", [Filters(project=("nowhere",)), Filters(meeting_id=("none",))])
async def test_an_empty_scope_finds_nothing(runtime: Runtime, filters: Filters) -> None:
    answer = await recall(runtime, Question(query="Who directed Blue Kiln?", filters=filters))
    assert answer.total_results == 0


async def test_titles_and_names_lead_into_no_other_project(runtime: Runtime) -> None:
    told = _passages("b", "Mara Lindqvist", "Mara Lindqvist of Blue Kiln is a secret of the other project.")
    await ingest(runtime, replace(told, project="other"))
    for filters in (Filters(), Filters(project=("default",))):
        for activation in (True, False):
            question = Question(
                query="Where was the director of Blue Kiln brought up?",
                filters=filters,
                enable_activation=activation,
                limit_per_level=2,
            )
            answer = await recall(runtime, question)
            for memory in (*answer.activated_memories, *answer.bridge_memories):
                if filters.project:
                    assert memory.metadata.project in ("default", None)
            for bridge in answer.bridge_memories:
                if "is a document of that name" in bridge.explanation:
                    assert bridge.metadata.project == "default"
    graph = runtime.live.current
    there = [i for i, head in graph.living.items() if head.project == "other"]
    for row in np.flatnonzero(np.isin(graph.meeting_of_row, there)):
        assert defined_by(graph, np.array([row], np.int32)).size == 0
        assert row not in graph.definition_rows


async def test_bridges_of_one_document_lead_out_of_it_inside_its_project(runtime: Runtime) -> None:
    told = _passages(
        "b", "Blue Kiln and Mara", "Mara Lindqvist of Blue Kiln is a secret of the other project."
    )
    await ingest(runtime, replace(told, project="other"))
    ids = {head.title: head.meeting_id for head in runtime.live.current.living.values()}
    for title, wanted in (("Blue Kiln", {"default"}), ("Blue Kiln and Mara", set())):
        question = Question(query="Who is Mara Lindqvist?", filters=Filters(meeting_id=(ids[title],)))
        answer = await recall(runtime, question)
        assert {bridge.metadata.project for bridge in answer.bridge_memories} == wanted
        assert ids[title] not in {bridge.metadata.meeting_id for bridge in answer.bridge_memories}


async def test_a_title_that_many_documents_share_names_none(runtime: Runtime) -> None:
    for day in range(8):
        await ingest(runtime, _passages(f"note {day}", "Standup", f"Standup of day {day} about the kiln."))
    graph = runtime.live.current
    shared = [int(graph.meeting_rows[i]) for i, head in graph.living.items() if head.title == "Standup"]
    assert not np.isin(shared, graph.definition_rows).any()


async def test_a_document_that_answers_stands_before_talk_that_does_not(runtime: Runtime) -> None:
    talk = "\n".join(
        f"{who}: {said}"
        for who, said in (
            ("Ann", "We should watch some film about a potter together one of these evenings, I think."),
            ("Bob", "Yes, and then we can talk about the village and the sons and all of that for an hour."),
        )
    )
    await ingest(runtime, MeetingInput(title="Film evening", transcript=talk, external_id="talk"))
    answer = await recall(runtime, Question(query="Who directed Blue Kiln?"))
    assert _titles(answer, 2) == ["Blue Kiln", "Mara Lindqvist"]


async def test_an_hour_in_one_line_is_no_document(runtime: Runtime) -> None:
    said = " ".join(f"and then we came to point {i} of the list." for i in range(200))
    await ingest(runtime, _passages("hour", "Long call", said))
    await ingest(runtime, replace(_passages("call", "Call", "Ann says hello."), participants=("Ann", "Bob")))
    graph = runtime.live.current
    talk = {head.title: graph.documents[i] for i, head in graph.living.items()}
    assert not talk["Long call"]
    assert not talk["Call"]


async def test_talk_without_names_is_no_document(runtime: Runtime) -> None:
    said = "the kiln is too hot today", "then let us wait until tomorrow", "yes that is better"
    await ingest(runtime, _passages("talk", "Blue Kiln", *said))
    graph = runtime.live.current
    talk = next(
        i
        for i, head in graph.living.items()
        if head.title == "Blue Kiln" and np.diff(graph.meeting_rows)[i] > 1
    )
    assert not graph.documents[talk]
    assert graph.documents.sum() == len(DOCUMENTS)
