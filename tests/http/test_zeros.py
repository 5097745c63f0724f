"""What alerts count is told from the start, so that the first failure grows it."""

from __future__ import annotations

import re
import subprocess
import sys

from monitored import rules
from prometheus_client.parser import text_string_to_metric_families

from cofio.http.app import create_app
from cofio.settings import Settings

# In a process of its own: the counters of this one have counted other tests.
FRESH = """
from cofio.http.app import create_app
from cofio.settings import Settings
from cofio.telemetry.exposition import exposition
create_app(Settings())
print(exposition([])[0].decode())
"""


def test_every_counter_that_alerts_look_at_begins_at_zero() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    told = [
        sample
        for family in text_string_to_metric_families(done.stdout)
        for sample in family.samples
        if sample.name.endswith(("_total", "_count"))
    ]
    asked = set(
        re.findall(r"\b(?:api|cofio)_\w+_(?:total|count)\b", " ".join(rule["expr"] for rule in rules()))
    )
    asked.remove("cofio_background_failures_total")  # told when the work begins: tests/test_background.py
    assert len(asked) > 5
    assert asked <= {sample.name for sample in told}
    assert {sample.value for sample in told if sample.name in asked} == {0}
    failing = {
        (sample.labels["method"], sample.labels["endpoint"].replace(":path}", "}"), sample.labels["status"])
        for sample in told
        if sample.name == "api_requests_total"
    }
    paths = create_app(Settings()).openapi()["paths"]
    assert {
        (method.upper(), path, status)
        for path, methods in paths.items()
        for method in methods
        for status in ("500", "503", "507")
    } <= failing
    # What alerts name in so many words.
    exact = {
        (sample.name, label, value)
        for sample in told
        for label, value in sample.labels.items()
        if label in ("code", "missing", "kind")
    }
    assert exact >= {
        ("cofio_problems_total", "code", "overloaded"),
        ("cofio_rate_limited_total", "kind", "query"),
        ("cofio_degraded_answers_total", "missing", "vector_store_unavailable"),
        ("cofio_ingest_failures_total", "code", "empty_transcript"),
    }
