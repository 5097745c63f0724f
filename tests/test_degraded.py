"""Where the vector store or the encoder does not answer, questions are answered all the same, and say so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest
from conftest import ROOT
from hash_encoder import HashEncoder
from in_process import client
from ports import free_port
from prometheus_client import REGISTRY

from cofio import search
from cofio.embed.onnx import OnnxEncoder, TextEncoder
from cofio.errors import EncoderUnavailable, VectorStoreUnavailable
from cofio.graph import nearest
from cofio.graph.ids import written
from cofio.graph.nearest import nearest_nodes
from cofio.graph.scope import scope
from cofio.http.query import DEGRADED_HEADER
from cofio.ingest import ingest
from cofio.maintain import doctor
from cofio.query import recall
from cofio.records import (
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Filters,
    Float32s,
    Level,
    MeetingInput,
    MemoryType,
    Question,
)
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store.breaker import FAILURES
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.vectors_edge import EdgeIndex

PATH: Final = "/api/v2/query"
SUBJECTS: Final = ("zeppelin hangar", "barrel connector", "gasket supplier", "harbour crane", "night shift")
QUESTION: Final = {"query": "Who calls the gasket supplier?"}


def meeting(i: int) -> MeetingInput:
    subject = SUBJECTS[i % len(SUBJECTS)]
    lines = [
        f"Ann: Let us talk about the {subject} and what is new since week {i}.",
        f"Ben: The {subject} costs more than we planned for this quarter.",
        f"Cleo: I will call somebody about the {subject} before Friday.",
        f"Ann: What do the others in building {i} say about the {subject}?",
    ]
    return MeetingInput(
        title=f"Sync {i}",
        transcript="\n".join(lines),
        series="sync",
        project=f"p{i % 3}",
        external_id=f"s{i}",
    )


def settings(folder: Path, **changed: Any) -> Settings:
    return Settings(data_dir=folder / "store", query_rate="", ingest_rate="", **changed)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, encoder: TextEncoder | None = None, **changed: Any
) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    chosen = settings(folder, **changed)
    async with (
        open_runtime(chosen, encoder or HashEncoder()) as runtime,
        client(chosen, runtime) as asked,
    ):
        yield runtime, asked


def engine(runtime: Runtime) -> int:
    assert isinstance(runtime.index, EdgeIndex)
    assert runtime.index.process_id is not None
    return runtime.index.process_id


def found(answer: httpx.Response) -> Any:
    """All of an answer but the marks and times."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    for name in ("degraded", "missing", "processing_time_ms", "stages_ms"):
        del body[name]
    return body


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is asked as in a memory of more than is compared, which takes minutes to make."""
    monkeypatch.setattr(search, "comparable", lambda *_: False)


async def until_whole(runtime: Runtime) -> None:
    async with asyncio.timeout(60):
        while runtime.breaker.reason is not None:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("large")
async def test_a_hanging_engine_is_done_without_and_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path, max_search_wait_s=0.3, vector_timeout_s=1.5) as (runtime, asked):
        for i in range(12):
            await ingest(runtime, meeting(i))
        whole = await asked.post(PATH, json=QUESTION)
        assert (whole.json()["degraded"], whole.json()["missing"]) == (False, [])
        assert DEGRADED_HEADER not in whole.headers
        await ingest(runtime, meeting(12))  # so that nothing is in the cache
        whole = found(await asked.post(PATH, json={**QUESTION, "limit_per_level": 20}))
        hanging = engine(runtime)
        counted = REGISTRY.get_sample_value(
            "cofio_degraded_answers_total", {"missing": "vector_store_unavailable"}
        )
        os.kill(hanging, signal.SIGSTOP)
        for _ in range(FAILURES):
            answer = await asked.post(PATH, json=QUESTION)
            assert answer.json()["degraded"] is True
            assert answer.headers["x-cofio-cache"] == "miss"
        assert [part["code"] for part in answer.json()["missing"]] == ["vector_store_unavailable"]
        assert answer.headers[DEGRADED_HEADER] == "vector_store_unavailable"
        told = REGISTRY.get_sample_value(
            "cofio_degraded_answers_total", {"missing": "vector_store_unavailable"}
        )
        assert told == (counted or 0) + FAILURES
        assert runtime.breaker.reason is not None
        ready = await asked.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["reasons"]["vector_store"] == "The vector store does not answer."
        detailed = (await asked.get("/health/detailed")).json()
        parts = {part["name"]: part for part in detailed["components"]}
        assert {name: part["status"] for name, part in parts.items()}.items() >= {
            ("database", "ok"),
            ("vector_store", "degraded"),
            ("encoder", "ok"),
            ("graph", "ok"),
            ("cache", "ok"),
        }
        assert "did not answer" in parts["vector_store"]["error"]
        assert "cofio_index_breaker_open 1.0" in (await asked.get("/metrics")).text
        # The answer that was given before the outage is still right, and so is the one that is found now.
        same = await asked.post(PATH, json={**QUESTION, "limit_per_level": 20})
        assert same.headers["x-cofio-cache"] == "hit"
        runtime.cache.put(Question(query="other"), runtime.live.current.version + 1, b"")
        again = await asked.post(PATH, json={**QUESTION, "limit_per_level": 20})
        assert again.json()["degraded"] is True
        assert found(again) == whole
        receipt = await asked.post(
            "/ingest",
            json={
                "title": "Quay",
                "external_id": "q",
                "transcript": "Ann: The bollard on the quay is loose.",
            },
        )
        assert receipt.status_code == 200
        assert any("vector index" in warning for warning in receipt.json()["warnings"])
        said = await asked.post(PATH, json={"query": "What about the bollard?"})
        assert said.json()["direct_results"]["L2"][0]["content"] == "The bollard on the quay is loose."
        await until_whole(runtime)
        assert engine(runtime) != hanging
        assert (await doctor(runtime, repair=False)).problems == ()
        assert (await asked.post(PATH, json={"query": "And the bollard?"})).json()["degraded"] is False
        assert "cofio_index_breaker_open 0.0" in (await asked.get("/metrics")).text


@pytest.mark.usefixtures("large")
async def test_questions_are_answered_while_the_engine_is_killed_again_and_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, asked):
        for i in range(6):
            await ingest(runtime, meeting(i))
        killed = 0

        async def kill() -> None:
            nonlocal killed
            while True:
                assert isinstance(runtime.index, EdgeIndex)
                if (process := runtime.index.process_id) is not None:
                    os.kill(process, signal.SIGKILL)
                    killed += 1
                await asyncio.sleep(0.05)

        async def ask(reader: int) -> None:
            for i in range(40):
                answer = await asked.post(PATH, json={"query": f"What about the harbour crane {reader} {i}?"})
                assert answer.status_code == 200, answer.text
                assert "harbour crane" in answer.json()["direct_results"]["L2"][0]["content"]

        async def write() -> None:
            for i in range(6, 16):
                assert (await ingest(runtime, meeting(i))).outcome == "created"

        killer = asyncio.create_task(kill())
        await asyncio.gather(*(ask(reader) for reader in range(4)), write())
        killer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killer
        assert killed > 2
        await until_whole(runtime)
        await runtime.settle()
        assert (await doctor(runtime, repair=False)).problems == ()


@pytest.mark.usefixtures("large")
async def test_a_service_starts_and_works_without_its_vector_server(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with opened(tmp_path, qdrant_url=url, vector_timeout_s=1) as (runtime, asked):
        receipt = await ingest(runtime, meeting(2))
        assert receipt.outcome == "created"
        answer = await asked.post(PATH, json=QUESTION)
        assert answer.json()["degraded"] is True
        assert "gasket supplier" in answer.json()["direct_results"]["L2"][0]["content"]
        assert await runtime.outbox.owed() == sum(receipt.memories_by_level.values())
        assert (await asked.get("/health/ready")).status_code == 200


async def test_health_and_metrics_do_not_keep_questions_waiting_for_an_index(tmp_path: Path) -> None:
    """As where every search takes too long, while the sizes of the collections are told at once."""
    async with opened(tmp_path) as (runtime, asked):
        for _ in range(FAILURES):
            assert runtime.breaker.reason is None
            with pytest.raises(VectorStoreUnavailable):
                async with runtime.breaker.calling(0.001):
                    await asyncio.sleep(60)
            for path in ("/health", "/health/ready", "/health/detailed", "/metrics"):
                assert (await asked.get(path)).status_code == 200
        assert runtime.breaker.reason is not None
        await until_whole(runtime)


@pytest.mark.usefixtures("large")
async def test_an_index_that_takes_in_too_slowly_is_done_without_until_it_has(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, _):
        await ingest(runtime, meeting(0), settle=False)
        assert await runtime.settle(wait_s=0.000001) is False
        assert runtime.breaker.reason is not None
        assert (await recall(runtime, Question(query=QUESTION["query"]))).degraded
        await until_whole(runtime)
        assert await runtime.outbox.owed() == 0
        assert not (await recall(runtime, Question(query=QUESTION["query"]))).degraded


async def test_the_graph_finds_what_the_index_finds(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, _):
        for i in range(10):
            await ingest(runtime, meeting(i))
        graph = runtime.live.current
        vector = _vector("Who calls the gasket supplier?")
        for filters, some in (
            (Filters(), True),
            (Filters(project=("p1",)), True),
            (Filters(speaker=("Cleo",), memory_type=(MemoryType.COMMITMENT, MemoryType.ACTION)), True),
            (Filters(series=("none",)), False),
        ):
            found = await runtime.index.search(vector, {Level.EPISODE: 15}, in_pseudonyms(filters))
            hits = found[Level.EPISODE]
            assert bool(hits) == some
            bounds = scope(graph, filters)
            rows, scores = nearest_nodes(graph, bounds, vector, {Level.EPISODE: 15})[Level.EPISODE]
            # Fixed-point vectors are a ten-thousandth off, so that equals may change places.
            assert scores.tolist() == pytest.approx([hit.score for hit in hits], abs=2e-4)
            if len(hits) < 15:
                assert set(written(graph.ids[rows])) == {hit.memory_id for hit in hits}


async def test_a_large_memory_is_compared_where_it_is_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as (runtime, _):
        for i in range(10):
            await ingest(runtime, meeting(i))
        # Two meetings: a memory of more episodes than the real bound takes minutes to make.
        monkeypatch.setattr(nearest, "MOST_COMPARED", 8)
        graph = runtime.live.current
        everything = scope(graph, Filters())
        vector = _vector("gasket supplier")
        rows, _scores = nearest_nodes(graph, everything, vector, {Level.EPISODE: 50})[Level.EPISODE]
        titles = {graph.heads[number].title for number in graph.meeting_of_row[rows].tolist()}
        assert titles == {"Sync 2", "Sync 7"}


class _Broken(HashEncoder):
    """Fails from the moment it is told to."""

    def __init__(self) -> None:
        self.broken = False

    def encode(self, texts: Sequence[str]) -> Float32s:
        if self.broken:
            raise RuntimeError("the session is gone")
        return super().encode(texts)


@pytest.mark.parametrize("steer", [{}, {"urgency": 0.5}])
async def test_without_the_encoder_words_are_found(tmp_path: Path, steer: dict[str, float]) -> None:
    encoder = _Broken()
    async with opened(tmp_path, encoder) as (runtime, asked):
        for i in range(6):
            await ingest(runtime, meeting(i))
        encoder.broken = True
        answer = await asked.post(PATH, json={**QUESTION, "steer": steer})
        body = answer.json()
        assert answer.status_code == 200
        assert [part["code"] for part in body["missing"]] == ["encoder_unavailable"]
        assert answer.headers[DEGRADED_HEADER] == "encoder_unavailable"
        assert "gasket supplier" in body["direct_results"]["L2"][0]["content"]
        ready = await asked.get("/health/ready")
        assert ready.status_code == 200
        assert (await asked.get("/health/detailed")).json()["status"] == "degraded"
        refused = await asked.post("/ingest", json={"title": "New", "transcript": "Ann: Not to be had now."})
        assert (refused.status_code, refused.json()["code"]) == (503, "encoder_unavailable")
        with pytest.raises(EncoderUnavailable):
            await ingest(runtime, meeting(7))
        assert runtime.live.current.counts["meetings"] == 6
        encoder.broken = False
        assert (await asked.post(PATH, json={**QUESTION, "steer": steer})).json()["degraded"] is False


async def test_what_onnx_runtime_raises_reaches_nobody(tmp_path: Path) -> None:
    encoder = OnnxEncoder.open(ROOT / "models", precision="int8")
    encoder._tokenizer.add_tokens(
        ["zzqx"]
    )  # its number is beyond the model's table: the runtime itself refuses
    async with opened(tmp_path, encoder) as (runtime, asked):
        await ingest(runtime, meeting(2))
        answer = await asked.post(PATH, json={"query": "What about the gasket supplier of zzqx?"})
        assert answer.status_code == 200
        assert [part["code"] for part in answer.json()["missing"]] == ["encoder_unavailable"]
        assert "gasket supplier" in answer.json()["direct_results"]["L2"][0]["content"]
        body = {"title": "New", "transcript": "Ann: The zzqx is late."}
        refused = await asked.post("/ingest", json=body)
        assert (refused.status_code, refused.json()["code"]) == (503, "encoder_unavailable")
        assert "indices" not in refused.text
        assert (await asked.post(PATH, json=QUESTION)).json()["degraded"] is False


def _vector(text: str) -> Float32s:
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:SEMANTIC_DIMENSIONS] = HashEncoder().encode([text])[0]
    return vector
