"""Prometheus and Alertmanager as processes of a test, with this repository's configuration made quick."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
import yaml
from conftest import ROOT
from ports import free_port

PROMETHEUS: Final = ROOT / "config" / "prometheus"
ALERTMANAGER: Final = ROOT / "config" / "alertmanager" / "alertmanager.yml"
RUNBOOKS: Final = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}
RULES: Final = (PROMETHEUS / "recording.rules.yml", PROMETHEUS / "alerts.rules.yml")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test, or a module, where one of the programs is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"scripts/setup_servers installs {' and '.join(missing) or 'it'}"
    )


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def rules() -> Sequence[Mapping[str, Any]]:
    """All rules of this repository in their order."""
    return [rule for path in RULES for group in read_yaml(path)["groups"] for rule in group["rules"]]


@cache
def alerts() -> Mapping[str, Mapping[str, Any]]:
    """The alerting rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def blocks(language: str, page: str) -> list[str]:
    """The lines of a page's code blocks in the language."""
    found = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return [line for block in found for line in block.splitlines()]


def quick_prometheus(
    folder: Path,
    *,
    cofio: int,
    key: Path,
    prometheus: int = 9090,
    alertmanager: int = 9093,
    times_shorter: int = 1,
) -> Path:
    """The repository's configuration in a folder, with targets on loopback: ports by job, and the file of the key.

    Everything is scraped every other second and evaluated every second. Windows are so many times shorter than they are
    written, and alerts wait a sixtieth of their time before they fire: in the order in which they are meant to.
    """

    def shorter(window: re.Match[str]) -> str:
        return f"[{int(window[1]) * SECONDS[window[2]] // times_shorter}s]"

    def waits(written: str) -> str:
        return f"{int(written[:-1]) * SECONDS[written[-1]] // 60}s"

    folder.mkdir()
    for path in RULES:
        told = read_yaml(path)
        for group in told["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule |= {"for": waits(rule["for"])} if "for" in rule else {}
                rule["expr"] = re.sub(r"\[(\d+)([mhd])\]", shorter, rule["expr"])
        (folder / path.name).write_text(yaml.safe_dump(told), encoding="utf-8")
    told = read_yaml(PROMETHEUS / "prometheus.yml")
    told["global"] |= {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
    ports = {"cofio": cofio, "prometheus": prometheus, "alertmanager": alertmanager}
    for job in told["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(key)
    told["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def quick_alertmanager(folder: Path, webhook: str) -> Path:
    """The repository's routes in a folder, without their pauses; each receiver posts to `webhook`/NAME."""
    folder.mkdir()
    told = read_yaml(ALERTMANAGER)
    for route in (told["route"], *told["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    told["receivers"] = [
        {"name": each["name"], "webhook_configs": [{"url": f"{webhook}/{each['name']}"}]}
        for each in told["receivers"]
    ]
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


@contextlib.contextmanager
def server(command: Sequence[str | Path], url: str, log: Path) -> Iterator[None]:
    """The command runs; it was ready when the block began, by its `/-/ready`."""
    with log.open("wb") as written:
        process = subprocess.Popen(list(map(str, command)), stdout=written, stderr=written, cwd=log.parent)
    try:
        assert happens(lambda: _ready(url) or process.poll() is not None), f"{command[0]} is not ready"
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def happens(true: Callable[[], object], timeout_s: float = 60) -> bool:
    """Whether `true()` comes to be true within the time."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A running Prometheus, asked through its HTTP interface."""

    url: str

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression has now; an expression that cannot be evaluated fails the test."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", f"{answer.get('error')} in {expression}"
        result = answer["data"]["result"]
        return [{"value": result}] if answer["data"]["resultType"] == "scalar" else result

    def numbers(self, expression: str) -> list[float]:
        """The values of the expression's series that are numbers."""
        values = [float(series["value"][1]) for series in self.ask(expression)]
        return [value for value in values if value == value]

    def rules(self) -> list[dict[str, Any]]:
        """The rules with what became of their last evaluation."""
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextlib.contextmanager
def prometheus(folder: Path, port: int, config: Path) -> Iterator[Prometheus]:
    """A Prometheus of its own on the port."""
    url = f"http://127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'samples'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    # It finds its Alertmanager some seconds after its start; what fired before is told again.
    command += ["--rules.alert.resend-delay=1s"]
    with server(command, url, folder / "prometheus.log"):
        yield Prometheus(url=url)


@contextlib.contextmanager
def alertmanager(folder: Path, port: int, config: Path) -> Iterator[str]:
    """An Alertmanager of its own on the port; its address."""
    url = f"http://127.0.0.1:{port}"
    command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'silences'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn"]
    with server(command, url, folder / "alertmanager.log"):
        yield url


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An alert that somebody was told of: when, on the clock of `time.monotonic`, and whether it fires or has ended."""

    at: float
    receiver: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Webhook:
    """Takes what Alertmanager sends, by the name of the receiver."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.told: list[Told] = []

    def alert(
        self, name: str, *, status: str = "firing", since: float = 0, timeout_s: float = 60
    ) -> Told | None:
        """The first that was told of this alert since a time; None if nothing was until it was waited for so long."""

        def found() -> Told | None:
            return next(
                (
                    told
                    for told in tuple(self.told)
                    if told.labels["alertname"] == name and told.status == status and told.at >= since
                ),
                None,
            )

        happens(found, timeout_s)
        return found()

    @contextlib.contextmanager
    def listening(self) -> Iterator[Webhook]:
        """It takes messages while the block runs."""
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for alert in orjson.loads(body)["alerts"]:
                    told.append(
                        Told(
                            at=time.monotonic(),
                            receiver=self.path.strip("/"),
                            status=alert["status"],
                            labels=alert["labels"],
                            annotations=alert["annotations"],
                        )
                    )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        host, port = self.url.removeprefix("http://").split(":")
        with ThreadingHTTPServer((host, int(port)), Handler) as listener:
            threading.Thread(target=listener.serve_forever, daemon=True).start()
            yield self
            listener.shutdown()
