"""Alertmanager's own tool finds the routes in order, and every alert reaches whom it concerns."""

from __future__ import annotations

import re
import subprocess

import pytest
from monitored import ALERTMANAGER, alerts, needs, read_yaml

RECEIVERS = {"page": "pager", "ticket": "tickets", "none": "dead-mans-switch"}


def amtool(*arguments: str) -> str:
    """What it printed; it found nothing wrong."""
    run = subprocess.run(["amtool", *arguments], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@needs("amtool")
def test_the_configuration_is_in_order() -> None:
    assert "SUCCESS" in amtool("check-config", str(ALERTMANAGER))


@needs("amtool")
@pytest.mark.parametrize("severity", RECEIVERS)
def test_every_alert_goes_to_whom_its_severity_concerns(severity: str) -> None:
    of_severity = [name for name, alert in alerts().items() if alert["labels"]["severity"] == severity]
    for name in of_severity:
        amtool(
            "config",
            "routes",
            "test",
            f"--config.file={ALERTMANAGER}",
            f"--verify.receivers={RECEIVERS[severity]}",
            f"alertname={name}",
            f"severity={severity}",
            "job=cofio",
        )
    assert of_severity


@needs("amtool")
def test_an_alert_of_a_severity_that_nobody_knows_is_not_lost() -> None:
    routed = amtool(
        "config", "routes", "test", f"--config.file={ALERTMANAGER}", "alertname=Other", "severity=x"
    )
    assert routed.strip() == "tickets"


def test_secrets_come_from_files_alone() -> None:
    text = ALERTMANAGER.read_text(encoding="utf-8")
    files = re.findall(r"^\s*(?:- )?(\w+_file): (\S+)$", text, re.MULTILINE)
    assert {name for name, _ in files} == {"routing_key_file", "api_url_file"}
    assert all(path.startswith("/run/secrets/") for _, path in files)
    assert not re.search(r"(routing_key|api_url|password|token|credentials):", text)
    # Nobody's: whoever starts it says where the heartbeat goes.
    assert re.findall(r"\burl: (\S+)", text) == ["http://heartbeat/"]


def test_inhibitions_name_alerts_that_there_are() -> None:
    for rule in read_yaml(ALERTMANAGER)["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            parts = re.fullmatch(r'(\w+) =~? "(.+)"', matcher)
            assert parts is not None, matcher
            if parts[1] == "alertname":
                assert set(parts[2].split("|")) <= set(alerts()), matcher
