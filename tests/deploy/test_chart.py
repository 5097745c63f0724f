"""The Helm chart, linted and rendered by Helm's own library; what comes out against Kubernetes's schemas and cofio itself."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import helm_python
import kubernetes_validate
import pytest
import yaml
from conftest import ROOT
from fronted import CONFIGURATION, MISSING, configured
from monitored import RULES, needs

import cofio
from cofio.access.callers import Permission
from cofio.http.app import create_app
from cofio.http.guard import OPEN, needed_for
from cofio.settings import Settings, load_settings

CHART: Final = ROOT / "config" / "k8s" / "cofio"
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
QDRANT: Final = {"workers": 4, "qdrant": {"url": "http://qdrant:6333"}, "trustedProxies": ["10.0.0.0/8"]}
KEY: Final = {"enabled": True, "keySecret": {"name": "cofio-keys"}}
# Every template in it, and every branch in one of them.
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "as it comes": {},
    "a service with workers": {
        **QDRANT,
        "secrets": {"existing": "cofio-secrets"},
        "settings": {
            "precision": "fp32",
            "max_pending_queries": 512,
            "cache_bytes": 67108864,
            "degraded_memory_share": 0.8,
        },
        "gateway": {"autoscaling": {"enabled": True}, "service": {"annotations": {"a/b": "c"}}},
        "networkPolicy": {
            "allowedFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "qdrant"}}}]}],
        },
        "persistence": {"data": {"storageClass": "fast", "accessMode": "ReadWriteOncePod"}},
        "serviceMonitor": {**KEY, "labels": {"release": "prometheus"}},
        "prometheusRule": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "docs": "https://git.example.org/d",
        },
        "backup": KEY,
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "behind an ingress controller": {
        "gateway": {"enabled": False},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "tlsSecret": "cofio-tls",  # pragma: allowlist secret
        },
        "persistence": {"data": {"existingClaim": "mine"}, "backups": {"existingClaim": "mine-too"}},
    },
    "in maintenance": {"maintenance": True},
}


def rendered(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that an installation with these values makes."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="memory", namespace="cofio")
    for path, text in texts.items():
        if path.endswith(".yaml"):
            yield from filter(None, yaml.safe_load_all(text))


def named(values: dict[str, Any], kind: str, name: str = "memory-cofio") -> dict[str, Any]:
    (found,) = [each for each in rendered(values) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(values: dict[str, Any], kind: str = "Deployment", name: str = "memory-cofio") -> dict[str, Any]:
    (only,) = named(values, kind, name)["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_helm_finds_nothing_and_kubernetes_knows_every_object(values: dict[str, Any]) -> None:
    told = helm_python.lint(CHART, values, strict=True)
    assert told["errors"] == []
    assert {message["error"] for message in told["messages"]} <= {"icon is recommended"}
    kinds = set()
    for each in rendered(values):
        kinds.add(each["kind"])
        if each["apiVersion"] != "monitoring.coreos.com/v1":  # its schemas belong to Prometheus's operator
            for version in (OLDEST, NEWEST):
                kubernetes_validate.validate(each, version, strict=True)
    assert {"Deployment", "Service", "NetworkPolicy"} <= kinds
    if "backup" in values:
        assert kinds >= {
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "ServiceMonitor",
            "PrometheusRule",
            "CronJob",
            "PersistentVolumeClaim",
            "ConfigMap",
        }


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"workers": 2}, "qdrant.url"),
        ({"wrokers": 2}, "wrokers"),
        ({"replicas": 2}, "replicas"),
        ({"ingress": {"enabled": True}}, "one way in"),
        ({"backup": {"enabled": True}}, "backup.keySecret.name"),
        ({"serviceMonitor": {"enabled": True}}, "serviceMonitor.keySecret.name"),
        ({"prometheusRule": {"docs": "docs/"}}, "prometheusRule/docs"),
        ({"persistence": {"data": {"accessMode": "ReadWriteMany"}}}, "accessMode"),
    ],
)
def test_what_would_be_wrong_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(told)):
        list(rendered(values))


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_pod_is_confined_and_bounded(values: dict[str, Any]) -> None:
    for each in rendered(values):
        template = each["spec"].get("jobTemplate", each)["spec"].get("template") if "spec" in each else None
        if template is None:
            continue
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in pod["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in one["resources"]["limits"]
            assert {mount["name"] for mount in one["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}


def test_one_pod_holds_the_truth_and_only_nginx_scales() -> None:
    values = VARIANTS["a service with workers"]
    service = named(values, "Deployment")["spec"]
    assert (service["replicas"], service["strategy"]) == (1, {"type": "Recreate"})
    # Else a Service named cofio puts COFIO_PORT and others into the pod, which are refused as settings.
    assert service["template"]["spec"]["enableServiceLinks"] is False
    gateway = named(values, "Deployment", "memory-cofio-gateway")
    scaled = named(values, "HorizontalPodAutoscaler", "memory-cofio-gateway")["spec"]
    assert scaled["scaleTargetRef"]["name"] == gateway["metadata"]["name"]
    assert "replicas" not in gateway["spec"]
    budget = named(values, "PodDisruptionBudget", "memory-cofio-gateway")["spec"]
    assert budget["selector"] == gateway["spec"]["selector"]
    assert budget["minAvailable"] < scaled["minReplicas"]


def test_the_service_starts_with_the_settings_of_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COFIO_")]:
        monkeypatch.delenv(name)
    values = VARIANTS["a service with workers"]
    monkeypatch.setenv("COFIO_CONFIG", str(ROOT / "config" / "production.toml"))
    for variable in container(values)["env"]:
        if variable["name"] != "COFIO_SECRETS_DIR":
            monkeypatch.setenv(variable["name"], variable["value"])
    settings = load_settings()
    assert (settings.workers, settings.qdrant_url) == (4, "http://qdrant:6333")
    assert (settings.precision, settings.max_pending_queries) == ("fp32", 512)
    assert (settings.cache_bytes, settings.degraded_memory_share) == (67_108_864, 0.8)
    assert settings.trusted_proxies == ("10.0.0.0/8",)
    pod = named(values, "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.drain_s + settings.stop_grace_s
    mounted = {mount["mountPath"] for mount in container(values)["volumeMounts"]}
    assert {str(settings.data_dir), str(settings.backup_dir), "/tmp", "/run/secrets/cofio"} == mounted
    # Without a server the embedded engine serves, whatever the settings of the image say.
    for variable in container({})["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    monkeypatch.delenv("COFIO_PRECISION")
    assert load_settings().qdrant_url is None
    assert container({})["image"] == f"cofio:{cofio.__version__}"


def test_probes_ask_routes_that_need_no_key() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container({})[probe]["httpGet"]["path"]
        assert path in paths
        assert path in OPEN
        assert probe not in container({"maintenance": True})


def test_the_ingress_opens_what_nginx_opens() -> None:
    (rule,) = named(VARIANTS["behind an ingress controller"], "Ingress")["spec"]["rules"]
    open_paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        reached = any(
            path == listed or (kind == "Prefix" and path.startswith(listed)) for listed, kind in open_paths
        )
        admins = all(needed_for(method.upper(), path) is Permission.ADMIN for method in methods)
        assert reached is not admins, path


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_gateway_has_the_repository_s_nginx_conf_with_the_service_s_name(tmp_path: Path) -> None:
    held = named({}, "ConfigMap", "memory-cofio-gateway")["data"]["nginx.conf"]
    assert held == CONFIGURATION.replace("server api:8000", "server memory-cofio:8000").strip() + "\n"
    service = named({}, "Service")
    assert (service["metadata"]["name"], service["spec"]["ports"][0]["port"]) == ("memory-cofio", 8000)
    text = configured(held.replace("memory-cofio:8000", "127.0.0.1:8000"), tmp_path)
    (tmp_path / "nginx.conf").write_text(text, "utf-8")
    command = [
        "nginx",
        "-t",
        "-e",
        "stderr",
        "-c",
        str(tmp_path / "nginx.conf"),
        "-g",
        f"pid {tmp_path}/pid;",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


@needs("promtool")
@pytest.mark.parametrize("docs", ["", "https://git.example.org/d"])
def test_the_rules_are_the_repository_s(docs: str, tmp_path: Path) -> None:
    held = [
        each
        for each in rendered({"prometheusRule": {"enabled": True, "docs": docs}})
        if each["kind"] == "PrometheusRule"
    ]
    assert [each["metadata"]["name"] for each in held] == ["memory-cofio-alerts", "memory-cofio-recording"]
    for each, path in zip(held, sorted(RULES), strict=True):
        text = path.read_text("utf-8")
        assert each["spec"] == yaml.safe_load(
            text.replace("{{ $externalLabels.docs }}", docs) if docs else text
        )
        (tmp_path / path.name).write_text(yaml.safe_dump(each["spec"]), "utf-8")
    command = ["promtool", "check", "rules", *(str(tmp_path / path.name) for path in RULES)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    # They select by the job, which the ServiceMonitor takes from a label of the Service.
    monitor = named(VARIANTS["a service with workers"], "ServiceMonitor")["spec"]
    jobs = {job for path in RULES for job in re.findall(r'\bjob="(\w+)"', path.read_text("utf-8"))}
    assert jobs == {named({}, "Service")["metadata"]["labels"][monitor["jobLabel"]]}


def test_the_backup_is_a_command_of_cofio_at_the_service() -> None:
    job = named(VARIANTS["a service with workers"], "CronJob", "memory-cofio-backup")
    (only,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert only["args"] == ["backup", "create", "--url", "http://memory-cofio:8000", "--keep", "14"]
    policy = named(VARIANTS["a service with workers"], "NetworkPolicy")
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    allowed = [
        peer["podSelector"]["matchLabels"]
        for peer in policy["spec"]["ingress"][0]["from"]
        if "podSelector" in peer
    ]
    assert any(wanted.items() <= labels.items() for wanted in allowed)
