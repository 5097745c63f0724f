"""Metrics and logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from cofio.telemetry.exposition import exposition
from cofio.telemetry.lag import sample_loop_lag
from cofio.telemetry.metrics import GRAPH_SIZE, INDEX_DEBT, describe_metrics
from cofio.telemetry.stages import Stages

ROOT = Path(__file__).parents[1]


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_stage_is_measured_once_and_observed() -> None:
    before = sample("cofio_query_stage_seconds_count", stage="encode")
    stages = Stages("query")
    with stages("encode"):
        time.sleep(0.002)
    with stages("rank"):
        pass
    assert list(stages.ms) == ["encode", "rank"]
    assert 2.0 <= stages.ms["encode"] < 500
    assert stages.ms["encode"] == round(stages.ms["encode"], 3)
    assert sample("cofio_query_stage_seconds_count", stage="encode") == before + 1


def test_a_stage_entered_twice_adds_up_and_an_error_passes() -> None:
    stages = Stages("ingest")
    with stages("parse"):
        time.sleep(0.002)
    with pytest.raises(ZeroDivisionError), stages("parse"):
        time.sleep(0.001 / 0)
    assert stages.ms["parse"] >= 2.0


def test_the_parts_of_a_stage_are_observed_as_one() -> None:
    counted, seconds = (
        sample(f"cofio_query_stage_seconds_{kind}", stage="search") for kind in ("count", "sum")
    )
    stages = Stages("query")
    with stages("search", more=True):
        time.sleep(0.002)
    assert sample("cofio_query_stage_seconds_count", stage="search") == counted
    with stages("search"):
        time.sleep(0.002)
    assert sample("cofio_query_stage_seconds_count", stage="search") == counted + 1
    observed = sample("cofio_query_stage_seconds_sum", stage="search") - seconds
    assert observed == pytest.approx(stages.ms["search"] / 1000, abs=1e-5)


READINGS = (INDEX_DEBT.value(1), GRAPH_SIZE.of([(("episodes",), 9), (("edges",), 40)]))


def test_exposition_is_valid_and_tells_what_was_read() -> None:
    text, content_type = exposition(READINGS)
    assert content_type.startswith("text/plain")
    values = {
        (point.name, *point.labels.values()): point.value
        for family in text_string_to_metric_families(text.decode())
        for point in family.samples
    }
    assert values["cofio_index_debt",] == 1
    assert values["cofio_graph_size", "edges"] == 40
    assert ("cofio_index_points",) not in values


def test_each_metric_is_told_once_and_is_on_the_page() -> None:
    families = list(text_string_to_metric_families(exposition(READINGS)[0].decode()))
    assert len({family.name for family in families}) == len(families), "a family is exposed twice"
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert describe_metrics() in page


async def test_a_stalled_loop_is_seen() -> None:
    def slow() -> float:
        return sample("cofio_event_loop_lag_seconds_count") - sample(
            "cofio_event_loop_lag_seconds_bucket", le="0.05"
        )

    before = slow()
    sampler = asyncio.create_task(sample_loop_lag(0.01))
    await asyncio.sleep(0.03)
    time.sleep(0.15)
    await asyncio.sleep(0.03)
    sampler.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sampler
    assert slow() >= before + 1
    assert sample("cofio_event_loop_lag_worst_seconds") >= 0.1


PROGRAM = """
import logging, structlog
from cofio.telemetry.logs import configure_logging
configure_logging("info", {format!r})
structlog.contextvars.bind_contextvars(request_id="r-1")
structlog.get_logger("cofio.x").info("stored", episodes=3)
structlog.get_logger("cofio.x").debug("hidden")
logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
"""


def logged(format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(format=format)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_lines_carry_the_request_id_and_libraries_too() -> None:
    own, foreign = (orjson.loads(line) for line in logged("json"))
    assert own["event"] == "stored"
    assert (own["level"], own["logger"], own["episodes"], own["request_id"]) == ("info", "cofio.x", 3, "r-1")
    assert foreign["event"] == "from uvicorn"
    assert foreign["request_id"] == "r-1"


def test_console_lines_are_for_people() -> None:
    own, foreign = logged("console")
    assert "stored" in own
    assert "from uvicorn" in foreign


SAME = """
import structlog
from cofio.telemetry.logs import configure_logging
from cofio.telemetry.requests import request_answered
configure_logging("info", {format!r})
told = dict(method="POST", endpoint="/a%20b/{{id}}", routed=True, status=429, request_id="r:1.2-3")
for seconds in (0.0012344, 0.0, 12.5):
    request_answered(seconds=seconds, **told)
    line = structlog.get_logger("cofio.accesX").bind(method=told["method"], endpoint=told["endpoint"])
    structlog.contextvars.bind_contextvars(request_id=told["request_id"])
    line.info("request", status=429, duration_ms=round(seconds * 1000, 3), cached=False)
"""


@pytest.mark.parametrize("format", ["json", "console"])
def test_the_line_of_a_request_is_what_structlog_would_write(format: str) -> None:
    program = SAME.format(format=format)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "T", line) for line in done.stderr.splitlines()]
    assert len(lines) == 6
    for ours, theirs in zip(lines[::2], lines[1::2], strict=True):
        assert ours == theirs.replace("accesX", "access")


def test_the_line_of_a_request_can_be_silenced() -> None:
    program = SAME.format(format="json").replace('"info"', '"warning"', 1)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


DEBUGGED = """
import asyncio, logging, sys
from pathlib import Path
import sqlite3
from cofio.store.database import Database
from cofio.telemetry.logs import configure_logging
configure_logging("debug", "json")
logging.getLogger("cofio.x").debug("told")
async def search():
    database = await Database.open(Path(sys.argv[1]), Path(sys.argv[1]).parent)
    await database.read(sqlite3.Connection.execute, "select ?", ("what somebody said",))
    await database.aclose()
asyncio.run(search())
"""


def test_at_debug_no_library_writes_down_what_it_was_given(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEBUGGED, str(tmp_path / "truth.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "told" in done.stderr
    assert "said" not in done.stderr


BROKEN = """
import logging, sys, structlog
from cofio.telemetry.logs import configure_logging
configure_logging("info", sys.argv[1])
def broken(said):
    try:
        int(said)
    except ValueError as error:
        raise KeyError(said) from error
for log in (logging.getLogger("uvicorn.error"), structlog.get_logger("cofio.x")):
    try:
        broken("the merger is on Monday")
    except KeyError:
        log.exception("broke")
try:
    open("/nowhere/the-file")
except OSError:
    structlog.get_logger("cofio.x").exception("no file")
"""


@pytest.mark.parametrize("format", ["console", "json"])
def test_an_error_is_told_by_its_course_not_by_what_it_quotes(format: str) -> None:
    command = [sys.executable, "-c", BROKEN, format]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "merger" not in told
    assert told.count("builtins.ValueError") == told.count("builtins.KeyError") == 2
    assert told.count("in broken") == 4, "the lines of code that led there"
    assert told.count("which led to:") == 2
    assert "FileNotFoundError: No such file or directory" in told
    if format == "json":
        assert all(json.loads(line)["exception"] for line in told.splitlines())
