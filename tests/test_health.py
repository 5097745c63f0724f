"""What health says of each part, from where on it calls it degraded, and to whom it tells what."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from hash_encoder import HashEncoder
from in_process import client
from keyed import keyed

from cofio.health import measure_health
from cofio.ingest import ingest
from cofio.query import recall
from cofio.records import Float32s, MeetingInput, Question
from cofio.runtime import RECALLS_ELSEWHERE, open_runtime
from cofio.settings import Settings
from cofio.store.outbox import TURN
from cofio.telemetry.requests import recent_requests, request_answered

MEETING = MeetingInput(title="Kiln", transcript="Ann: The kiln is cold.\nBob: Since when?")


class Held(HashEncoder):
    """Encodes only while it is let, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.let.set()
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> Float32s:
        self.calls += 1
        self.let.wait(60)
        return super().encode(texts)


async def test_each_part_is_degraded_from_its_bound_on_and_says_why(tmp_path: Path) -> None:
    encoder = Held()
    easy = Settings(
        data_dir=tmp_path / "store",
        encoder_threads=1,
        max_pending_queries=10,
        degraded_memory_share=1.0,
        degraded_disk_free_bytes=0,
        degraded_error_share=1.0,
    )
    bounds: dict[str, dict[str, float]] = {
        "memory": {"degraded_memory_share": 0.00001},
        "disk": {"degraded_disk_free_bytes": 2**62},
        "queue": {"degraded_queue_share": 0.01},
        "requests": {"degraded_error_share": 0.0},
        "vector_store": {"degraded_index_debt": 0},
    }
    async with open_runtime(easy, encoder) as runtime:
        await ingest(runtime, MEETING)
        calls = encoder.calls
        whole = {part.name: part for part in await measure_health(runtime)}
        assert {part.status for part in whole.values()} == {"ok"}, whole
        assert encoder.calls == calls, "the encoder is not run to be looked at"
        assert whole["encoder"].response_ms is not None
        assert whole["encoder"].response_ms > 0

        await ingest(runtime, MeetingInput(title="New", transcript="Ann: It is owed."), settle=False)
        for _ in range(20):
            request_answered(
                method="GET", endpoint="/x", routed=True, status=500, seconds=0.1, request_id="r"
            )
        answered, failed = recent_requests()
        assert 20 <= failed <= answered
        encoder.let.clear()
        places = (os.cpu_count() or 1) + RECALLS_ELSEWHERE
        asking = [
            asyncio.create_task(recall(runtime, Question(query=f"question {number}")))
            for number in range(places + 1)
        ]
        while runtime.recalls.waiting == 0:
            await asyncio.sleep(0.01)
        try:
            for name, bound in bounds.items():
                strict = dataclasses.replace(runtime, settings=easy.model_copy(update=bound))
                parts = {part.name: part for part in await measure_health(strict)}
                assert {part.name for part in parts.values() if part.status != "ok"} == {name}
                assert parts[name].status == "degraded"
                assert "than" in str(parts[name].reason)
                assert parts[name].detail.items() >= bound.items()
        finally:
            encoder.let.set()
            await asyncio.gather(*asking)


async def test_a_service_is_not_ready_while_its_index_is_made_anew(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as asked:
        await ingest(runtime, MEETING)
        assert (await asked.get("/health/ready")).status_code == 200
        assert "\ncofio_ready 1.0" in (await asked.get("/metrics")).text
        assert runtime.turns.take(TURN)
        rebuilding = asyncio.create_task(runtime.rebuild_index())
        await asyncio.sleep(0)
        ready = await asked.get("/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert "made anew" in ready.json()["detail"]
        told = (await asked.get("/metrics")).text
        assert "\ncofio_ready 0.0" in told
        assert "\ncofio_rebuilding 1.0" in told
        assert (await asked.get("/health/live")).status_code == 200
        runtime.turns.give_back(TURN)
        await rebuilding
        assert (await asked.get("/health/ready")).status_code == 200


async def test_what_a_part_itself_said_is_for_admins(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    async with keyed(tmp_path, qdrant_url=nobody) as (asked, _, headers):
        for path in ("/health", "/health/ready"):
            told = await asked.get(path)
            assert told.status_code == 200
            assert told.json()["reasons"] == {"vector_store": "The vector store does not answer."}
            assert "127.0.0.1" not in told.text
            assert str(tmp_path) not in told.text
        for path in ("/health/detailed", "/metrics"):
            assert (await asked.get(path)).status_code == 401
            assert (await asked.get(path, headers=headers["ingest"])).status_code == 403
        detailed = (await asked.get("/health/detailed", headers=headers["admin"])).json()
        (part,) = (part for part in detailed["components"] if part["name"] == "vector_store")
        assert (part["status"], detailed["status"]) == ("degraded", "degraded")
        assert part["error"] != part["reason"]
