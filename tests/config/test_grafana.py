"""The dashboard is what its script writes, and Grafana can show it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from typing import Any

from conftest import ROOT
from monitored import PROMETHEUS, read_yaml

GRAFANA = ROOT / "config" / "grafana"
FILE = GRAFANA / "dashboards" / "cofio.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]


def test_the_file_is_what_the_script_writes() -> None:
    program = "import dashboard; print(dashboard.text(), end='')"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert run.stdout == FILE.read_text(encoding="utf-8"), "run scripts/dashboard.py"


def test_the_datasource_is_the_one_that_is_provisioned() -> None:
    (source,) = read_yaml(GRAFANA / "provisioning/datasources/prometheus.yml")["datasources"]
    scraped = read_yaml(PROMETHEUS / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
    named = {"type": source["type"], "uid": source["uid"]}
    assert all(panel["datasource"] == named for panel in SHOWN)
    assert all(target["datasource"] == named for panel in SHOWN for target in panel["targets"])
    assert all(variable["datasource"] == named for variable in DASHBOARD["templating"]["list"])
    assert all(note["datasource"] == named for note in DASHBOARD["annotations"]["list"])


def test_the_dashboard_is_provisioned_from_a_folder() -> None:
    (provider,) = read_yaml(GRAFANA / "provisioning/dashboards/cofio.yml")["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")


def test_panels_are_told_apart_and_shown_beside_one_another() -> None:
    assert DASHBOARD["uid"] == "cofio"
    assert DASHBOARD["schemaVersion"] >= 39
    assert len({panel["id"] for panel in PANELS}) == len(PANELS) > 40
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        fields = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not fields & taken, f"{panel['title']} covers another panel"
        taken |= fields


def test_every_panel_shows_something_of_this_service() -> None:
    for panel in SHOWN:
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert 'job="cofio"' in target["expr"], panel["title"]
            assert target["legendFormat"]
            # A rate over a fixed window is wrong as soon as the scrape interval is another one.
            assert not re.search(r"rate\([^\[]*\[(?!\$__rate_interval)", target["expr"]), panel["title"]


def test_each_part_of_the_service_has_its_row() -> None:
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == [
        "Now",
        "Objectives",
        "Requests",
        "Questions",
        "Ingest",
        "Encoder",
        "Memory, graph and index",
        "Processes and disks",
    ]
