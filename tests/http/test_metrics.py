"""What a scrape tells of what was done."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import httpx
import structlog
from hash_encoder import HashEncoder
from in_process import client
from prometheus_client.parser import text_string_to_metric_families

from cofio.backups import create_backup
from cofio.data_dir import backup_dir
from cofio.resources import DiskWatch
from cofio.runtime import open_runtime
from cofio.settings import Settings

Told = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(asked: httpx.AsyncClient) -> Told:
    text = (await asked.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(told: Told, name: str, **labels: str) -> float:
    return told.get((name, frozenset(labels.items())), 0.0)


async def test_what_was_done_is_counted_under_bounded_labels(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store", query_rate="3/minute", ingest_rate="")
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as asked:
        before = await scrape(asked)

        async def grown(name: str, **labels: str) -> float:
            return value(await scrape(asked), name, **labels) - value(before, name, **labels)

        vtt = "WEBVTT\n\n00:00:01.000 --> 00:00:04.000\n<v Ann>The lamp burns.\n"
        assert (await asked.post("/ingest", json={"title": "Lamp", "transcript": vtt})).status_code == 200
        assert await grown("cofio_ingested_meetings_total", outcome="created", format="webvtt") == 1
        assert await grown("cofio_ingest_seconds_count") == 1
        assert await grown("cofio_encoder_batch_texts_sum", kind="import") == 1
        assert (await asked.post("/ingest", json={"title": "L", "transcript": "WEBVTT\n"})).status_code == 422
        assert await grown("cofio_ingest_failures_total", format="webvtt", code="empty_transcript") == 1
        assert await grown("cofio_problems_total", code="empty_transcript") == 1
        nothing = {"title": "L", "transcript": "nothing that anybody says"}
        assert (await asked.post("/ingest", json=nothing)).status_code == 422
        assert await grown("cofio_ingest_failures_total", format="unknown", code="unknown_format") == 1

        for _ in range(4):
            asked_ = await asked.post("/api/v2/query", json={"query": "Does the lamp burn?"})
        assert asked_.status_code == 429
        assert await grown("cofio_rate_limited_total", kind="query") == 1
        assert await grown("cofio_query_seconds_count") == 1
        assert await grown("cofio_cache_events_total", event="misses") == 1
        assert await grown("cofio_cache_events_total", event="hits") == 2
        assert await grown("cofio_query_stage_seconds_count", stage="cache") == 2
        assert await grown("cofio_encoder_batch_texts_sum", kind="question") == 1

        await asked.get("/no/such/path/1234")
        told = await scrape(asked)
        assert not any("1234" in label for _, labels in told for _, label in labels)
        assert value(told, "memory_count_by_level", level="L2") == 1
        assert value(told, "cofio_graph_size", kind="meetings") == 1
        assert value(told, "cofio_graph_version") == runtime.live.current.version
        assert value(told, "cofio_cache_entries") == 1
        assert value(told, "cofio_encoder_info", provider="hash", precision="fp32") == 1
        assert value(told, "cofio_workers") == value(told, "cofio_ready") == 1
        assert value(told, "cofio_resident_memory_bytes", process="service") > 2**20
        assert value(told, "cofio_resident_memory_bytes", process="engine") > 2**20
        assert value(told, "cofio_store_bytes", store="database") > 0
        assert value(told, "cofio_store_bytes", store="vectors") > 0
        assert value(told, "cofio_disk_free_bytes", folder="data") > 0
        assert value(told, "cofio_backup_last_success_timestamp_seconds") == 0
        if (promtool := shutil.which("promtool")) is not None:
            text = (await asked.get("/metrics")).content
            checked = await asyncio.to_thread(
                subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True
            )
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_nobody_who_asks_waits_for_the_disk_to_be_measured(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()):
        pass
    watch = DiskWatch(settings)
    first = await watch.last()
    assert (first.backups, first.last_backup) == (0, None)
    made = create_backup(settings.data_dir, backup_dir(settings))
    assert await watch.last() is first
    keeping = asyncio.create_task(watch.keep_measured(pause_s=60))
    while (second := await watch.last()) is first:
        await asyncio.sleep(0.01)
    keeping.cancel()
    assert second.backups == 1
    assert second.stores["backups"] >= made.bytes
    assert made.manifest is not None
    assert second.last_backup is not None


async def test_a_disk_that_cannot_be_measured_is_told_and_measured_again(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()):
        pass
    watch = DiskWatch(settings)
    first = await watch.last()
    settings.data_dir.rename(tmp_path / "away")
    with structlog.testing.capture_logs() as lines:
        keeping = asyncio.create_task(watch.keep_measured(pause_s=0.01))
        while not lines:
            await asyncio.sleep(0.01)
    assert lines[0]["event"] == "disk_not_measured"
    assert await watch.last() is first
    (tmp_path / "away").rename(settings.data_dir)
    while await watch.last() is first:
        await asyncio.sleep(0.01)
    keeping.cancel()
