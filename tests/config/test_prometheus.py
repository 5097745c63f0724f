"""Prometheus' own tools find the configuration in order, and every alert is tested, severe, and told of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from monitored import PROMETHEUS, RULES, alerts, needs, quick_prometheus, read_yaml, rules

TESTS = sorted((PROMETHEUS / "tests").glob("*.test.yml"))
# It fires as long as rules are evaluated: there is nothing that keeps it quiet.
ALWAYS = {"CofioWatchdog"}


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS) -> str:
    """What it printed; it found nothing wrong."""
    run = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@needs("promtool")
def test_the_configuration_is_in_order(tmp_path: Path) -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    # Only with the file of the key does promtool go on to the rules that the configuration names.
    (tmp_path / "key").write_text("of the service")
    quick = quick_prometheus(tmp_path / "quick", cofio=8000, key=tmp_path / "key")
    assert f"{len(rules()) - len(alerts())} rules found" in promtool("check", "config", quick)
    assert f"{len(alerts())} rules found" in promtool("check", "rules", *RULES)


@needs("promtool")
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.partition(".")[0])
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    promtool("test", "rules", file)


def test_every_alert_is_made_to_fire_and_kept_quiet() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for file in TESTS:
        for test in read_yaml(file)["tests"]:
            for case in test["alert_rule_test"]:
                assert test["name"].startswith("Cofio")
                (fires if case["exp_alerts"] else quiet).add(case["alertname"])
    assert fires == set(alerts())
    assert quiet == set(alerts()) - ALWAYS


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    alert = alerts()[name]
    assert re.fullmatch(r"Cofio[A-Za-z]+", name)
    assert alert["labels"]["severity"] in ({"none"} if name in ALWAYS else {"page", "ticket"})
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == (
        f"{{{{ $externalLabels.docs }}}}/runbooks.md#{name.lower()}"
    )
    assert alert["annotations"]["summary"].strip()
    assert alert["annotations"]["description"].endswith(".")


def test_recorded_names_are_used_and_used_names_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    page = (ROOT / "config/grafana/dashboards/cofio.json").read_text(encoding="utf-8")
    told = " ".join(rule["expr"] for rule in rules()) + page
    assert set(re.findall(r"\bjob:[\w:]+", told)) == recorded


def test_the_key_comes_from_a_file_and_every_rule_file_is_named() -> None:
    told = read_yaml(PROMETHEUS / "prometheus.yml")
    (cofio,) = (job for job in told["scrape_configs"] if job["job_name"] == "cofio")
    assert set(cofio["authorization"]) == {"type", "credentials_file"}
    assert {PROMETHEUS / name for name in told["rule_files"]} == set(RULES)
    assert set(PROMETHEUS.glob("*.rules.yml")) == set(RULES)
