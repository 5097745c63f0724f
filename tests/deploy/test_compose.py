"""docker-compose.prod.yml: what the specification allows, and what the other files of the deployment assume of it.

That containers start is not proved here: docs/deployment.md says what is not.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
import yaml
from conftest import ROOT
from fronted import CONFIGURATION
from monitored import ALERTMANAGER, Webhook, needs, server
from ports import free_port
from processes import running, until

from cofio.settings import Settings, load_settings

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
GUIDE: Final = (ROOT / "docs" / "deployment.md").read_text("utf-8")
# Made by `cofio keys`, or given by who runs the pager: no command of the guide invents them.
FROM_ELSEWHERE: Final = {
    "cofio_metrics_key",
    "alertmanager_pagerduty_key",
    "alertmanager_slack_url",
    "alertmanager_heartbeat_url",
}


def interpolated(value: object) -> str:
    """The value as compose hands it over: variables at their defaults, doubled dollars single."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)).replace("$$", "$")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of secrets that the commands of the guide make."""
    folder = tmp_path_factory.mktemp("secrets")
    block = re.search(r"```sh\n(mkdir [^`]*secrets[^`]*)```", GUIDE)
    assert block is not None
    subprocess.run(["sh", "-euc", block[1]], cwd=folder, check=True)
    return folder / "secrets"


def test_the_file_is_as_the_specification_says(tmp_path: Path) -> None:
    """By the specification's own schema, which check-jsonschema brings."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(yaml.safe_dump({**COMPOSE, "servces": {}}), "utf-8")
    codes = [
        subprocess.run(
            [checker, "--builtin-schema", "vendor.compose-spec", file], capture_output=True, check=False
        ).returncode
        for file in (ROOT / "docker-compose.prod.yml", wrong)
    ]
    assert codes == [0, 1]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined_watched_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "healthcheck" in service or ("build" in service and "\nHEALTHCHECK " in dockerfile)
    assert "user" in service or "unprivileged" in service["image"] or "\nUSER 10001" in dockerfile
    assert "build" in service or re.search(r":v?\d+\.\d+", service["image"])
    for needed in service.get("depends_on", {}):
        assert "healthcheck" in SERVICES[needed] or "build" in SERVICES[needed]


def test_only_the_proxy_is_reached_from_outside_and_what_is_inside_has_no_way_out() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"nginx": ["80:80", "443:443"], "grafana": ["127.0.0.1:3000:3000"]}
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("api", "qdrant", "redis", "prometheus"):
        assert list(SERVICES[name]["networks"]) == ["inside"]
    assert {name for name, service in SERVICES.items() if service.get("profiles")} == {
        "prometheus",
        "alertmanager",
        "grafana",
    }


def test_what_is_mounted_is_in_the_repository_or_in_the_guide() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, target, *_ = mount.split(":")
            if not source.startswith("."):
                assert source in COMPOSE["volumes"], mount
            elif source in ("./tls", "./acme"):
                assert f"{source.removeprefix('./')}/" in GUIDE
            else:
                assert (ROOT / source).exists(), mount
                assert mount.endswith(":ro")
            assert target.startswith("/")


def test_secrets_come_from_files_that_the_guide_makes(secrets: Path) -> None:
    made = {path.name for path in secrets.iterdir()}
    assert made | FROM_ELSEWHERE == set(COMPOSE["secrets"])
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert any(name in service.get("secrets", ()) for service in SERVICES.values())
        assert name in GUIDE
    ignored = subprocess.run(
        ["git", "check-ignore", "secrets/x", "tls/x"], cwd=ROOT, capture_output=True, check=False
    )
    assert len(ignored.stdout.split()) == 2
    # Of the configuration that other containers read: a secret that it names is given to the container.
    for name in ("prometheus", "alertmanager"):
        text = (ROOT / "config" / name / f"{name}.yml").read_text("utf-8")
        text += " ".join(SERVICES[name].get("entrypoint", ()))
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(SERVICES[name]["secrets"])


def test_the_service_starts_with_these_settings(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(secrets, SERVICES["api"], monkeypatch)
    assert settings.workers == 2
    assert settings.qdrant_url == "http://qdrant:6333"
    assert settings.qdrant_api_key is not None
    assert settings.qdrant_api_key.get_secret_value() == (secrets / "cofio_qdrant_api_key").read_text()
    proxy = SERVICES["nginx"]["networks"]["inside"]["ipv4_address"]
    assert settings.trusted_proxies == (proxy,)
    subnet = ipaddress.ip_network(COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"])
    assert ipaddress.ip_address(proxy) in subnet
    grace = float(SERVICES["api"]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.drain_s + settings.stop_grace_s
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["api"]["volumes"])
    assert mounts == {"data": str(settings.data_dir), "backups": str(settings.backup_dir)}
    assert set(re.findall(r"server (\S+) max_fails", CONFIGURATION)) == {f"api:{settings.port}"}


def _settings(secrets: Path, service: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("COFIO_")]:
        monkeypatch.delenv(name)
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, interpolated(value))
    given = secrets.parent / "given"
    given.mkdir()
    for name in service["secrets"]:
        shutil.copy(secrets / name, given)
    monkeypatch.setenv("COFIO_SECRETS_DIR", str(given))
    monkeypatch.setenv("COFIO_CONFIG", str(ROOT / "config" / "production.toml"))
    assert tomllib.loads((ROOT / "config" / "production.toml").read_text("utf-8"))["host"] == "0.0.0.0"
    return load_settings()


@pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed (scripts/setup_servers)"
)
def test_redis_takes_its_password_from_the_secret_and_the_service_knows_it(
    secrets: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = [
        interpolated(part).replace("/run/secrets", str(secrets)).replace("/data", str(tmp_path))
        for part in SERVICES["redis"]["entrypoint"]
    ]
    command += [*SERVICES["redis"]["command"], "--port", str(port), "--dir", str(tmp_path)]
    url = (secrets / "cofio_rate_storage_url").read_text().replace("redis:6379", f"127.0.0.1:{port}")

    def answers() -> bool | None:
        try:
            with redis.Redis.from_url(url) as client:
                return bool(client.ping()) or None
        except (redis.ConnectionError, redis.BusyLoadingError):
            return None

    with running(command, tmp_path / "log"):
        until(answers, "Redis does not answer")
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


@needs("prometheus-alertmanager")
def test_alertmanager_sends_its_heartbeat_to_the_address_in_the_secret(tmp_path: Path) -> None:
    webhook = Webhook()
    # With all that sed takes for something else.
    (tmp_path / "alertmanager_heartbeat_url").write_text(f"{webhook.url}/ping/of|this?place=a&b\\1\n")
    command = [
        interpolated(part)
        .replace("/run/secrets", str(tmp_path))
        .replace("/etc/alertmanager/alertmanager.yml", str(ALERTMANAGER))
        .replace("/tmp/alertmanager.yml", str(tmp_path / "alertmanager.yml"))
        .replace("=/alertmanager", f"={tmp_path / 'silences'}")
        .replace("exec alertmanager", "exec prometheus-alertmanager")
        for part in (*SERVICES["alertmanager"]["entrypoint"], *SERVICES["alertmanager"]["command"])
    ]
    port = free_port()
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with webhook.listening(), server(command, f"http://127.0.0.1:{port}", tmp_path / "log"):
        fires = {"labels": {"alertname": "CofioWatchdog", "severity": "none"}}
        httpx.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=[fires]).raise_for_status()
        heard = webhook.alert("CofioWatchdog")
        assert heard is not None, (tmp_path / "log").read_text()
        assert urllib.parse.unquote(heard.receiver) == "ping/of|this?place=a&b\\1"
