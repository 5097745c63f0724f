"""Every alert has its runbook, and what the runbooks and objectives name is there."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import ROOT
from monitored import PROMETHEUS, RUNBOOKS, alerts, blocks, read_yaml, rules
from typer.testing import CliRunner

from cofio.cli import app

DOCS = ROOT / "docs"
OBJECTIVES = (DOCS / "objectives.md").read_text(encoding="utf-8")
SECTIONS = {title: text for title, _, text in (part.partition("\n") for part in RUNBOOKS.split("\n## ")[1:])}
COMMANDS = [line for line in blocks("sh", RUNBOOKS) if line.startswith("cofio ")]
COMMANDS += re.findall(r"`(cofio [^`]+)`", RUNBOOKS + OBJECTIVES)


def test_every_alert_has_its_section_in_the_order_of_the_rules() -> None:
    assert list(SECTIONS) == list(alerts())


@pytest.mark.parametrize("name", alerts())
def test_a_section_tells_what_it_means_and_how_to_look_mend_and_end(name: str) -> None:
    text = SECTIONS[name]
    assert text.strip().startswith(f"**{alerts()[name]['labels']['severity']}.** ")
    told = [text.index(word) for word in ("**Users** ", "**Look.**", "**Mend", "**Over** ")]
    assert told == sorted(told)
    assert "```" in text[told[1] : told[2]], "nothing to look at"


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_commands_are_those_of_cofio(command: str) -> None:
    run = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
    assert run.exit_code == 0, run.output


def test_containers_are_those_of_the_compose_file() -> None:
    services = set(read_yaml(ROOT / "docker-compose.prod.yml")["services"])
    lines = [line for line in blocks("sh", RUNBOOKS) if line.startswith("docker compose ")]
    assert [line for line in lines if not services & set(line.split())] == []
    assert lines


def test_what_is_named_is_there() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/cofio").rglob("*.py"))
    sources += (DOCS / "metrics.md").read_text(encoding="utf-8")
    sources += (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    for word in set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOKS)):
        assert re.search(rf"\b{word}\b", sources), word
    for page in (RUNBOOKS, OBJECTIVES):
        for path in re.findall(r"`((?:config|scripts|docs)/[\w./-]+)`", page):
            assert (ROOT / path).exists(), path
        for target in re.findall(r"\]\(([^)]+)\)", page):
            if target.startswith("#"):
                assert target[1:] in {name.lower() for name in SECTIONS}, target
            elif not target.startswith("https://"):
                assert (DOCS / target.partition("#")[0]).exists(), target


def test_objectives_are_those_that_the_rules_count() -> None:
    told = {rule.get("record") or rule["alert"]: rule["expr"] for rule in rules()}
    assert "99.9 %" in OBJECTIVES
    assert "within 200 ms" in OBJECTIVES
    assert 'le="0.2"' in OBJECTIVES
    assert 'le="0.2"' in told["job:cofio_queries_slow:rate5m"]
    budgets = {"CofioErrorBudget": "0.001", "CofioLatencyBudget": "0.01"}
    rows = re.findall(r"^\| (page|ticket) \| ([\d.]+) \| (\d) (\w+) \| (\d+) (\w+)", OBJECTIVES, re.MULTILINE)
    assert len(rows) == 4
    for severity, times, *windows in rows:
        for name, budget in budgets.items():
            expression = told[f"{name}Burns{'Fast' if severity == 'page' else 'Slowly'}"]
            limit = budget if times == "1" else f"{times} * {budget}"
            for number, unit in (windows[:2], windows[2:]):
                assert f":ratio_rate{number}{unit[0]} > {limit}" in expression


def test_secrets_that_a_place_fills_in_are_those_that_the_configuration_reads() -> None:
    read = "".join(
        (ROOT / "config" / path).read_text(encoding="utf-8")
        for path in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml")
    )
    started = read_yaml(ROOT / "docker-compose.prod.yml")["services"]["alertmanager"]
    files = set(re.findall(r"/run/secrets/\w+", read + " ".join(started["entrypoint"])))
    assert files == set(re.findall(r"/run/secrets/\w+", OBJECTIVES))
