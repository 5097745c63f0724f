"""What is nearest is compared in the graph unless it is too much; then the index finds it, and what it cannot find is missing."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hash_encoder import HashEncoder

from cofio.graph import nearest
from cofio.graph.ids import written
from cofio.graph.scope import scope
from cofio.ingest import ingest
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
from cofio.search import WITHOUT_INDEX, Search, search
from cofio.settings import Settings
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.vectors import Hit

SUBJECTS: Final = ("kiln", "harbour crane", "night shift", "gasket supplier")
EVERYWHERE: Final = dict.fromkeys(Level, 6)


async def _filled(runtime: Runtime) -> None:
    for i, subject in enumerate(SUBJECTS):
        lines = [
            f"Ann: Let us talk about the {subject} today, please.",
            f"Ben: The {subject} costs more than we planned for.",
            f"Ann: Who will call somebody about the {subject}?",
        ]
        await ingest(
            runtime,
            MeetingInput(title=subject, transcript="\n".join(lines), project=f"p{i % 2}", external_id=str(i)),
        )


def _vector(text: str) -> Float32s:
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:SEMANTIC_DIMENSIONS] = HashEncoder().encode([text])[0]
    return vector


async def _search(runtime: Runtime, filters: Filters) -> Search:
    graph, vector = runtime.live.current, _vector("the kiln costs")
    return await search(runtime, graph, scope(graph, filters), filters, vector, EVERYWHERE)


def _ids(found: Search, level: Level) -> list[str]:
    return written(found.graph.ids_of(found.nodes()[level]))


@pytest.mark.parametrize(
    ("filters", "episodes"), [(Filters(), 6), (Filters(project=("p1",)), 6), (Filters(speaker=("Ben",)), 4)]
)
async def test_graph_and_index_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: Filters, episodes: int
) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await _filled(runtime)
        compared = await _search(runtime, filters)
        assert compared.hits is None
        assert compared.nodes()[Level.EPISODE].size == episodes
        found = {level: _ids(compared, level) for level in Level}
        asked = await runtime.index.search(compared.vector, EVERYWHERE, in_pseudonyms(filters))
        # Which concepts pass a filter on meetings or speakers, the index cannot tell.
        for level in Level if not filters.narrow else (Level.CONTEXT, Level.EPISODE):
            assert [hit.memory_id for hit in asked[level]] == found[level]
        monkeypatch.setattr(nearest, "MOST_COMPARED", 2)  # too many for the graph
        indexed = await _search(runtime, filters)
        assert indexed.hits is not None
        assert {level: _ids(indexed, level) for level in Level} == found
        assert indexed.missing == compared.missing == ()


async def test_what_the_graph_has_no_more_is_left_out(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await _filled(runtime)
        found = await _search(runtime, Filters())
        rows = found.nodes()[Level.EPISODE].tolist()
        hits = [Hit(memory_id=memory_id, score=1.0) for memory_id in _ids(found, Level.EPISODE)]
        gone = Hit(memory_id="00000000-0000-4000-8000-000000000001", score=1.0)
        assert replace(found, hits=[gone, *hits]).nodes()[Level.EPISODE].tolist() == rows


async def test_only_what_is_too_much_to_compare_needs_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, max_search_wait_s=0.2)
    async with open_runtime(settings, HashEncoder()) as runtime:
        await _filled(runtime)
        found = await _search(runtime, Filters())
        whole = {level: _ids(found, level) for level in Level}
        assert runtime.index.process_id is not None
        os.kill(runtime.index.process_id, signal.SIGSTOP)
        try:
            found = await _search(runtime, Filters())
            assert {level: _ids(found, level) for level in Level} == whole
            assert found.missing == ()
            answer = await recall(runtime, Question(query="the kiln costs"))
            assert not answer.degraded
            assert answer.direct_results["L0"]
            # Of a memory that is too large to compare, what is nearest by its meetings is found.
            monkeypatch.setattr(nearest, "MOST_COMPARED", 3)
            found = await _search(runtime, Filters())
            meetings = runtime.live.current.meeting_of_row[found.nodes()[Level.EPISODE]]
            assert {runtime.live.current.heads[m].title for m in meetings.tolist()} == {"kiln"}
            assert found.missing == (WITHOUT_INDEX,)
        finally:
            os.kill(runtime.index.process_id, signal.SIGCONT)


async def test_a_memory_is_found_before_the_index_has_it(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path, max_search_wait_s=0.2), HashEncoder()) as runtime:
        assert runtime.index.process_id is not None
        os.kill(runtime.index.process_id, signal.SIGSTOP)
        try:
            meeting = MeetingInput(title="Late", transcript="Ann: The kiln costs more than we planned for.")
            await ingest(runtime, meeting, settle=False)
            async with asyncio.timeout(20):
                await runtime.live.catch_up()
            found = await _search(runtime, Filters())
            assert found.nodes()[Level.EPISODE].size == 1
        finally:
            os.kill(runtime.index.process_id, signal.SIGCONT)


@pytest.mark.timeout(60)
async def test_leaving_waits_for_a_question_that_waits_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await _filled(runtime)
        monkeypatch.setattr(nearest, "MOST_COMPARED", 3)
        find = runtime.index.search

        async def slowly(*given: Any, **named: Any) -> Any:
            await asyncio.sleep(0.8)
            return await find(*given, **named)

        monkeypatch.setattr(runtime.index, "search", slowly)
        asking = asyncio.create_task(recall(runtime, Question(query="the kiln costs")))
        await asyncio.sleep(0.2)
    answer = await asking
    assert answer.direct_results["L2"]


async def test_the_wait_for_the_index_is_told_as_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runtime(Settings(data_dir=tmp_path, max_search_wait_s=0.5), HashEncoder()) as runtime:
        await _filled(runtime)
        monkeypatch.setattr(nearest, "MOST_COMPARED", 3)
        assert runtime.index.process_id is not None
        os.kill(runtime.index.process_id, signal.SIGSTOP)
        try:
            answer = await recall(runtime, Question(query="the kiln costs"))
        finally:
            os.kill(runtime.index.process_id, signal.SIGCONT)
        assert answer.degraded
        assert answer.stages_ms["search"] >= 400
        assert answer.stages_ms["activate"] < 400
