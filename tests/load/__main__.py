"""Brings one load: `scripts/load NAME [options]`; exits with 1 when something was found that must not be."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from drills.figures import ROOT, Circumstances, Figure, Found, machine, tell
from prometheus_client.parser import text_string_to_metric_families
from served import Service

from cofio.bench.report import UNDER_LOAD, under_load
from cofio.provenance import ProcessorTime, commit, stolen_percent
from load.report import (
    BENCHMARKS,
    DESCRIPTIONS,
    PAGE,
    Sample,
    answers_of,
    courses_of,
    draw,
    figures_of,
    page,
    record,
    records,
    table_of,
)

SAMPLE_S: Final = 1.0
STOP_S: Final = 60
RESIDENT: Final = "process_resident_memory_bytes"
LAG: Final = "cofio_event_loop_lag_worst_seconds"


def main(arguments: Sequence[str]) -> int:
    """The exit code after the load was brought and its figures were printed."""
    options = _parser().parse_args(arguments)
    if options.draw:
        _write_page()
        return 0
    began, code, processors = time.perf_counter(), commit(), ProcessorTime.now()
    own: list[Figure] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cofio-load-")))
        host = options.host or stack.enter_context(_service(folder, own))
        samples, stop = _sampled(host)
        noted = _locust(options, host, folder / "answers.json")
        stop()
    answers = answers_of(noted["answers"])
    begun = noted["started"]
    within = [
        Sample(at_s=round(at - begun, 1), resident_mb=resident, lag_ms=lag)
        for at, resident, lag in samples
        if begun <= at <= begun + noted["phases"][-1]["end_s"]
    ]
    figures = [*figures_of(options.scenario, answers, noted["phases"], within), *own]
    found = Found(
        settings={"users": noted["phases"][0]["users"]}, figures=figures, tables=[table_of(answers)]
    )
    at = Circumstances(
        drill=options.scenario,
        command=shlex.join(["scripts/load", *(a for a in arguments if a != "--record")]),
        commit=code,
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        seconds=round(time.perf_counter() - began, 1),
        machine=machine(),
        stolen_percent=stolen_percent(processors, ProcessorTime.now()),
    )
    print("\n".join(tell(at, found)))
    if options.record:
        print(f"\nkept in {record(at, found, courses_of(answers, noted['phases'], within))}")
        _write_page()
    return 0 if found.passed else 1


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name}: {told}" for name, told in DESCRIPTIONS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/load",
        description=f"Load on a service, and what it finds:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=list(DESCRIPTIONS), metavar="NAME", nargs="?", default="users")
    parser.add_argument("--minutes", type=float, help="length of the load, instead of the scenario's own")
    parser.add_argument("--users", type=int, help="users who share the rate, or wait between requests")
    parser.add_argument("--host", help="URL of a running service, instead of one of its own")
    parser.add_argument(
        "--record", action="store_true", help="keep the figures, and write docs/load.md and its charts anew"
    )
    parser.add_argument(
        "--draw",
        action="store_true",
        help="only write docs/load.md and its charts, from the figures that are kept",
    )
    return parser


@contextlib.contextmanager
def _service(folder: Path, own: list[Figure]) -> Iterator[str]:
    """A service with the sample meetings; in the end it is told to stop, and what it left is added to `own`."""
    service = Service(folder)
    try:
        command = [
            sys.executable,
            "-m",
            "cofio",
            "ingest",
            str(ROOT / "data" / "meetings"),
            "--url",
            service.url,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield service.url
        service.process.send_signal(signal.SIGTERM)
        code = service.process.wait(STOP_S)
    finally:
        service.process.kill()
        service.process.wait()
    tracebacks = service.log.read_text(encoding="utf-8").count("Traceback")
    own.append(Figure(name="tracebacks in the log", value=tracebacks, must="= 0"))
    own.append(Figure(name="exit code of the service", value=code, must="= 0"))


def _locust(options: argparse.Namespace, host: str, answers: Path) -> Any:
    """What locust noted of the answers; its own summary goes to stderr."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "tests" / "load" / "locustfile.py")]
    command += ["--headless", "--only-summary", "--host", host, "--scenario", options.scenario]
    command += ["--answers", str(answers), "--stop-timeout", str(STOP_S), "--exit-code-on-error", "0"]
    if options.minutes:
        command += ["--minutes", str(options.minutes)]
    if options.users:
        command += ["--users", str(options.users)]
    # Its users come from the test's folder, where a service's settings mean nothing.
    told = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    subprocess.run(command, check=True, stdout=sys.stderr, env=told)
    return json.loads(answers.read_text(encoding="utf-8"))


def _sampled(host: str) -> tuple[list[tuple[float, float | None, float | None]], Any]:
    """Samples of the service's own metrics, one a second, and the function that ends them."""
    samples: list[tuple[float, float | None, float | None]] = []
    ended = threading.Event()

    def sample() -> None:
        with httpx.Client(base_url=host, timeout=60) as client:
            while not ended.wait(SAMPLE_S):
                with contextlib.suppress(httpx.TransportError):
                    text = client.get("/metrics").text
                    values = {
                        one.name: one.value
                        for of in text_string_to_metric_families(text)
                        for one in of.samples
                    }
                    resident, lag = values.get(RESIDENT), values.get(LAG)
                    samples.append(
                        (
                            time.time(),
                            None if resident is None else round(resident / 1e6, 1),
                            None if lag is None else round(lag * 1e3, 1),
                        )
                    )

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join(STOP_S)

    return samples, stop


def _write_page() -> None:
    """docs/load.md with its charts, and the last section of docs/benchmarks.md, tell what is kept."""
    PAGE.write_text(page(), encoding="utf-8")
    told, _, _ = BENCHMARKS.read_text(encoding="utf-8").partition(UNDER_LOAD)
    BENCHMARKS.write_text("\n".join([told.rstrip(), "", *under_load(records()), ""]), encoding="utf-8")
    for path, svg in draw():
        path.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
