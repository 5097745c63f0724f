"""A full queue refuses, and a question that waits is answered in the end, one way or the other."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
from hash_encoder import HashEncoder
from in_process import client
from prometheus_client import REGISTRY

from cofio.http.places import MAX_STREAMS, most_of_one
from cofio.records import Float32s
from cofio.runtime import RECALLS_ELSEWHERE, open_runtime
from cofio.settings import Settings

PATH = "/api/v2/query"


class _Held(HashEncoder):
    """Encodes nothing until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()

    def encode(self, texts: Sequence[str]) -> Float32s:
        self.let.wait()
        return super().encode(texts)


def _is_refusal(response: httpx.Response) -> bool:
    if response.status_code == 200:
        return False
    told = (response.status_code, response.json()["code"])
    assert told == (503, "overloaded")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    return True


def _shed() -> float:
    labels = {"method": "POST", "endpoint": PATH, "status": "503"}
    return REGISTRY.get_sample_value("api_requests_total", labels) or 0.0


async def test_a_full_queue_refuses_and_the_others_are_answered(tmp_path: Path) -> None:
    encoder = _Held()
    settings = Settings(data_dir=tmp_path / "store", query_rate="", max_pending_queries=3, encoder_threads=1)
    before = _shed()
    async with open_runtime(settings, encoder) as runtime, client(settings, runtime) as asked:
        questions = [
            asyncio.create_task(asked.post(PATH, json={"query": f"question {i}"})) for i in range(20)
        ]
        while sum(question.done() for question in questions) < 20 - 3:
            await asyncio.sleep(0.001)
        assert all(_is_refusal(question.result()) for question in questions if question.done())
        encoder.let.set()
        answers = await asyncio.gather(*questions)
        assert sum(map(_is_refusal, answers)) == 20 - 3
        assert _shed() - before == 20 - 3
        again = await asked.post(PATH, json={"query": "question 19"})
        assert again.status_code == 200


async def test_a_question_is_refused_when_it_has_waited_long_enough(tmp_path: Path) -> None:
    encoder = _Held()
    settings = Settings(data_dir=tmp_path / "store", max_query_wait_s=0.05)
    async with open_runtime(settings, encoder) as runtime, client(settings, runtime) as asked:
        assert _is_refusal(await asked.post(PATH, json={"query": "question"}))
        encoder.let.set()


async def test_two_hundred_questions_at_once_are_all_answered(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store", query_rate="", max_pending_queries=300)
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as asked:
        answers = await asyncio.gather(
            *(asked.post(PATH, json={"query": f"question {i}"}) for i in range(200))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["query"] for answer in answers] == [f"question {i}" for i in range(200)]


async def test_questions_beyond_those_worked_on_wait_outside(tmp_path: Path) -> None:
    encoder = _Held()
    settings = Settings(data_dir=tmp_path / "store", query_rate="", encoder_threads=1)
    most = (os.cpu_count() or 1) + RECALLS_ELSEWHERE
    async with open_runtime(settings, encoder) as runtime, client(settings, runtime) as asked:
        questions = [
            asyncio.create_task(asked.post(PATH, json={"query": f"question {i}"})) for i in range(most + 20)
        ]
        while runtime.recalls.waiting < 20:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert runtime.recalls.waiting == 20
        encoder.let.set()
        answers = await asyncio.gather(*questions)
        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.json()["stages_ms"]["wait"] >= 0 for answer in answers)
        assert runtime.recalls.waiting == 0


async def test_a_question_whose_turn_comes_too_late_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store", query_rate="", max_query_wait_s=1e-9)
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as asked:
        assert _is_refusal(await asked.post(PATH, json={"query": "anything"}))


async def test_ingests_beyond_the_places_are_refused_and_the_others_are_stored(tmp_path: Path) -> None:
    encoder = _Held()
    settings = Settings(data_dir=tmp_path / "store", ingest_rate="", max_pending_ingests=2)
    async with open_runtime(settings, encoder) as runtime, client(settings, runtime) as asked:
        ingests = [
            asyncio.create_task(
                asked.post(
                    "/ingest", json={"title": f"meeting {i}", "transcript": f"Ann: Point {i} is open."}
                )
            )
            for i in range(5)
        ]
        while sum(ingest.done() for ingest in ingests) < 3:
            await asyncio.sleep(0.001)
        assert all(_is_refusal(ingest.result()) for ingest in ingests if ingest.done())
        encoder.let.set()
        answers = await asyncio.gather(*ingests)
        assert sum(map(_is_refusal, answers)) == 3
        again = await asked.post("/ingest", json={"title": "one more", "transcript": "Ann: And so is this."})
        assert again.status_code == 200


async def test_streams_beyond_the_places_are_refused_and_the_others_end_with_their_batch(
    tmp_path: Path,
) -> None:
    encoder, most = _Held(), most_of_one(MAX_STREAMS)
    settings = Settings(data_dir=tmp_path / "store", ingest_rate="")
    async with open_runtime(settings, encoder) as runtime, client(settings, runtime) as asked:
        meetings = [{"title": f"meeting {i}", "transcript": f"Ann: Point {i} is open."} for i in range(3)]
        url = (await asked.post("/ingest", json={"meetings": meetings})).json()["status_url"]
        streams = [asyncio.create_task(asked.get(f"{url}/events")) for _ in range(most + 4)]
        while sum(stream.done() for stream in streams) < 4:
            await asyncio.sleep(0.001)
        assert all(_is_refusal(stream.result()) for stream in streams if stream.done())
        assert (await asked.get(url)).status_code == 200
        encoder.let.set()
        answers = await asyncio.gather(*streams)
        assert sum(map(_is_refusal, answers)) == 4
        assert all(answer.text.count("event: finished") in (0, 1) for answer in answers)
        assert sum("event: finished" in answer.text for answer in answers) == most
        assert not _is_refusal(await asked.get(f"{url}/events"))
