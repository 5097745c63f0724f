"""A real Prometheus and a real Alertmanager watch a real service: every expression is evaluated, an alert arrives."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT
from monitored import (
    RUNBOOKS,
    Prometheus,
    Webhook,
    alertmanager,
    alerts,
    blocks,
    happens,
    needs,
    prometheus,
    quick_alertmanager,
    quick_prometheus,
    rules,
)
from ports import free_port
from served import Service, service

from cofio.access.callers import Permission
from cofio.access.keys import create_key, keys_path
from cofio.settings import Settings

pytestmark = needs("prometheus", "prometheus-alertmanager")

DASHBOARD = json.loads((ROOT / "config/grafana/dashboards/cofio.json").read_text(encoding="utf-8"))
SHOWN = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}
# What an expression of the dashboard has no data for on a service that is well, on a machine as it comes.
NOTHING_TO_SHOW = {
    "GPU memory A": "the encoder runs on the processor",
    "GPU memory B": "the encoder runs on the processor",
    "Newest backup A": "no backup was made",
}
# A disk that others fill, and a machine too busy to answer every scrape, or a question within 200 ms.
OF_THE_MACHINE = {"CofioDiskNearlyFull", "CofioRestarts", "CofioLatencyBudgetBurnsFast"}
QUESTIONS = json.loads((ROOT / "data/questions.json").read_text(encoding="utf-8"))
SPOKEN = "Ann: The gaskets arrive on pier four.\nBob: I will check the lot before we unload it."
SUBTITLES = "WEBVTT\n\n00:00:01.000 --> 00:00:04.000\n<v Ann>The crane of pier four is mended.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A service under load, and who watches it."""

    service: Service
    prometheus: Prometheus
    webhook: Webhook


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    keys = [new_key(folder) for _ in range(3)]
    (folder / "key").write_text(keys[2])
    ports = {"prometheus": free_port(), "alertmanager": free_port()}
    with contextlib.ExitStack() as stack:
        webhook = stack.enter_context(Webhook().listening())
        config = quick_alertmanager(folder / "alertmanager", webhook.url)
        stack.enter_context(alertmanager(folder, ports["alertmanager"], config))
        started = stack.enter_context(service(folder, ingest_rate="8/minute"))
        config = quick_prometheus(folder / "prometheus", cofio=started.port, key=folder / "key", **ports)
        # What happens between two scrapes is a rate: so some happens before the first and some after it.
        load(started, keys[0])
        watching = stack.enter_context(prometheus(folder, ports["prometheus"], config))
        assert happens(lambda: watching.numbers('up{job="cofio"}') == [1])
        load(started, keys[1])
        # What was recorded three seconds later is of a scrape that saw it.
        loaded = time.time()
        recorded = "timestamp(job:cofio_requests_failed:ratio_rate30d)"
        assert happens(lambda: max(watching.numbers(recorded), default=0) > loaded + 3)
        yield Watched(service=started, prometheus=watching, webhook=webhook)


def new_key(folder: Path) -> str:
    """A key that may do everything in the store of the folder."""
    path = keys_path(Settings(data_dir=folder / "store"))
    return create_key(path, name="", permissions=frozenset({Permission.ADMIN}), project=None)[1]


def load(started: Service, key: str) -> None:
    """Some of everything: meetings, questions new and repeated, mistakes, and more than the rate of ingests allows."""
    with httpx.Client(base_url=started.url, headers={"X-API-Key": key}, timeout=60) as client:

        def post(path: str, body: dict[str, Any]) -> int:
            return client.post(path, json=body).status_code

        for text in (SPOKEN, SUBTITLES):
            assert post("/ingest", {"title": f"Harbour {key}", "transcript": text}) == 200
        assert post("/ingest", {"title": "Nothing", "transcript": "   \n"}) == 422
        assert post("/ingest", {"meetings": [{"title": f"Later {key}", "transcript": SPOKEN}]}) == 202
        for question in QUESTIONS[:6]:
            for _ in range(2):
                assert post("/api/v2/query", {"query": f"{question['question']} {key}"}) == 200
        assert post("/api/v2/query", {"query": ""}) == 422
        assert client.get("/no/such/route").status_code == 404
        assert client.get("/api/v2/meetings").status_code == 200
        assert 429 in [post("/ingest", {"title": ""}) for _ in range(6)]


def settled(expression: str) -> str:
    """The expression as Grafana sends it, all instances chosen, the interval fitted to the test's scrapes."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


@pytest.mark.parametrize("panel", SHOWN)
def test_every_panel_of_the_dashboard_has_data(watched: Watched, panel: str) -> None:
    def found() -> list[float]:
        return watched.prometheus.numbers(settled(SHOWN[panel]))

    if panel in NOTHING_TO_SHOW:
        assert not found(), SHOWN[panel]
    else:
        # After a scrape that took too long there is nothing until the next one.
        assert happens(found), SHOWN[panel]


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    evaluated = watched.prometheus.rules()
    assert len(evaluated) == len(rules())
    assert {rule["name"]: rule.get("lastError") for rule in evaluated if rule["health"] != "ok"} == {}
    for rule in rules():
        if "alert" in rule:
            watched.prometheus.ask(rule["expr"])
        else:
            assert happens(partial(watched.prometheus.ask, rule["expr"])), rule


@pytest.mark.parametrize("query", sorted(set(blocks("promql", RUNBOOKS))))
def test_every_query_of_the_runbooks_can_be_asked(watched: Watched, query: str) -> None:
    watched.prometheus.ask(query)


def test_every_metric_that_is_asked_for_is_one_that_the_service_has(watched: Watched) -> None:
    told = " ".join([rule["expr"] for rule in rules()] + list(SHOWN.values()))
    asked = set(
        re.findall(r"\b(?:cofio|api|memory)_[a-z_]*[a-z](?=[{\[)]| |$)", re.sub(r"job:\w+:\w+", "", told))
    )
    described = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`((?:cofio|api|memory)_\w+)`", described))
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "count", "sum")}
    assert asked <= known


def test_a_service_that_is_well_wakes_nobody(watched: Watched) -> None:
    def firing() -> set[str]:
        told = watched.prometheus.ask('ALERTS{alertstate="firing"}')
        return {series["metric"]["alertname"] for series in told}

    pages = {name for name, alert in alerts().items() if alert["labels"]["severity"] == "page"}
    assert happens(lambda: firing() & pages <= OF_THE_MACHINE), firing()
    assert happens(lambda: firing() >= {"CofioWatchdog", "CofioBackupTooOld"}), firing()


def test_an_alert_arrives_when_the_service_is_gone(watched: Watched) -> None:
    heartbeat = watched.webhook.alert("CofioWatchdog")
    assert heartbeat is not None
    assert heartbeat.receiver == "dead-mans-switch"
    watched.service.process.kill()
    told = watched.webhook.alert("CofioDown")
    assert told is not None
    assert told.receiver == "pager"
    assert "docs" not in told.labels
    assert told.labels["instance"] == f"127.0.0.1:{watched.service.port}"
    page, _, section = told.annotations["runbook_url"].rpartition("#")
    assert page.endswith("/docs/runbooks.md")
    assert section == "cofiodown"
