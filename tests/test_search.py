"""Episodes are compared in the graph unless they are too many; the index finds the rest, and what it cannot find is missing."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
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
    Int32s,
    Level,
    MeetingInput,
    Missing,
    Question,
)
from cofio.runtime import Runtime, open_runtime
from cofio.search import WITHOUT_INDEX, Hits, searching
from cofio.settings import Settings

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    rows: Int32s
    hits: Hits | None
    missing: tuple[Missing, ...]


async def _search(runtime: Runtime, filters: Filters) -> Found:
    graph, vector = runtime.live.current, _vector("the kiln costs")
    async with searching(runtime, graph, scope(graph, filters), filters, vector, EVERYWHERE) as search:
        rows = await asyncio.to_thread(search.rows)
        hits = await asyncio.wrap_future(search.found)
        return Found(rows=rows, hits=hits, missing=search.missing)


def _ids(runtime: Runtime, found: Found) -> list[str]:
    return written(runtime.live.current.ids[found.rows])


@pytest.mark.parametrize(
    ("filters", "episodes"), [(Filters(), 6), (Filters(project=("p1",)), 6), (Filters(speaker=("Ben",)), 4)]
)
async def test_graph_and_index_find_the_same_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: Filters, episodes: int
) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await _filled(runtime)
        compared = await _search(runtime, filters)
        assert compared.rows.size == episodes
        monkeypatch.setattr(nearest, "COMPARED_ROWS", 3)  # too many for the graph
        asked = await _search(runtime, filters)
        assert _ids(runtime, asked) == _ids(runtime, compared)
        assert asked.missing == compared.missing == ()
        assert asked.hits is not None
        assert compared.hits is not None
        assert set(compared.hits) == {Level.CONTEXT, Level.CONCEPT}
        assert {level: asked.hits[level] for level in compared.hits} == compared.hits


async def test_without_the_index_episodes_are_found_and_the_rest_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, max_search_wait_s=0.2)
    async with open_runtime(settings, HashEncoder()) as runtime:
        await _filled(runtime)
        whole = await _search(runtime, Filters())
        assert runtime.index.process_id is not None
        os.kill(runtime.index.process_id, signal.SIGSTOP)
        try:
            found = await _search(runtime, Filters())
            assert _ids(runtime, found) == _ids(runtime, whole)
            assert (found.hits, found.missing) == (None, (WITHOUT_INDEX,))
            # A question of one speaker has no concepts to find: nothing of its answer is missing.
            answer = await recall(
                runtime, Question(query="the kiln costs", filters=Filters(speaker=("Ben",)))
            )
            assert not answer.degraded
            assert answer.direct_results["L2"]
            # Of a memory that is too large to compare, what is nearest by its meetings is found.
            monkeypatch.setattr(nearest, "COMPARED_ROWS", 3)
            found = await _search(runtime, Filters())
            meetings = runtime.live.current.meeting_of_row[found.rows]
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
            assert found.rows.size == 1
        finally:
            os.kill(runtime.index.process_id, signal.SIGCONT)


@pytest.mark.timeout(60)
async def test_leaving_waits_for_a_question_that_waits_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runtime(Settings(data_dir=tmp_path), HashEncoder()) as runtime:
        await _filled(runtime)
        find = runtime.index.search

        async def slowly(*given: Any) -> Any:
            await asyncio.sleep(0.8)
            return await find(*given)

        monkeypatch.setattr(runtime.index, "search", slowly)
        asking = asyncio.create_task(recall(runtime, Question(query="the kiln costs")))
        await asyncio.sleep(0.2)
    answer = await asking
    assert answer.direct_results["L2"]


async def test_the_wait_for_the_index_is_told_as_search(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path, max_search_wait_s=0.5), HashEncoder()) as runtime:
        await _filled(runtime)
        assert runtime.index.process_id is not None
        os.kill(runtime.index.process_id, signal.SIGSTOP)
        try:
            answer = await recall(runtime, Question(query="the kiln costs"))
        finally:
            os.kill(runtime.index.process_id, signal.SIGCONT)
        assert answer.degraded
        assert answer.stages_ms["search"] >= 400
        assert answer.stages_ms["activate"] < 400
