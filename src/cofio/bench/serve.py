"""Serving: a cached answer over HTTP, beside an app that returns the same bytes without looking."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from cofio.bench.bench import Bench
from cofio.bench.corpus import read_source, settings_for
from cofio.bench.pressure import Burst, press, tool
from cofio.bench.results import OURS, Check, Figure, Findings
from cofio.bench.service import QUERY_PATH, free_port, post, serving, serving_cofio
from cofio.bench.timing import ratio
from cofio.ingest import ingest
from cofio.runtime import open_runtime

CONSTANT: Final = "FastAPI, constant bytes"
MEETINGS: Final = 5


async def measure(bench: Bench) -> Findings:
    """Requests a second of both, in bursts that alternate. The peer needs no library that cofio does not, so it always runs."""
    findings = Findings()
    source = read_source(bench.data)
    body = {"query": source.questions[0][:1000], "limit_per_level": 10}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with open_runtime(settings_for(bench.settings, folder / "store")) as runtime:
            for meeting in source.meetings[:MEETINGS]:
                await ingest(runtime, meeting)
        port = free_port()
        with serving_cofio(bench.settings, folder / "store", folder / "cofio.log") as ours:
            with ours.connection() as connection:
                post(connection, QUERY_PATH, body)
                answer = post(connection, QUERY_PATH, body)  # from the cache, as every further one
            (folder / "answer").write_bytes(answer)
            command = [sys.executable, "-m", "cofio.bench.constant", str(port), str(folder / "answer")]
            with serving(command, port, "/health/ready", folder / "constant.log", {}) as constant:
                with constant.connection() as connection:
                    same = post(connection, QUERY_PATH, body) == answer
                findings.checks["both send the same number of bytes"] = Check(
                    agrees=same, detail=f"{len(answer):,} bytes"
                )
                for connections in (1, bench.effort.connections):
                    bursts: dict[str, list[Burst]] = {OURS: [], CONSTANT: []}
                    for i in range(bench.effort.load_rounds + 1):
                        pair = [(OURS, ours.port), (CONSTANT, constant.port)]
                        for name, where in pair if i % 2 else reversed(pair):
                            burst = await press(
                                where,
                                QUERY_PATH,
                                orjson.dumps(body),
                                connections=connections,
                                seconds=bench.effort.load_s,
                            )
                            if i:  # the first burst of each warms up
                                bursts[name].append(burst)
                    _tell(connections, bursts, findings)
    findings.settings |= {
        "source": source.name,
        "bytes of the answer": len(answer),
        "load by": tool(),
        "seconds of a burst": bench.effort.load_s,
        "bursts": bench.effort.load_rounds,
        "server": "uvicorn with uvloop and httptools, one process, no access log of its own",
    }
    findings.notes.append(
        "Both services and what loads them share the machine's cores. cofio validates the question, counts the rate of "
        "the client (without a limit), looks in its cache, writes the answer and logs and measures the request; the "
        "peer reads the body and sends the bytes."
    )
    return findings


def _tell(connections: int, bursts: dict[str, list[Burst]], findings: Findings) -> None:
    what = f"{connections} connection{'s' if connections > 1 else ''}"
    rates = {name: np.array([burst.requests_per_s for burst in found]) for name, found in bursts.items()}
    for name, found in bursts.items():
        findings.figures[f"requests, {what}: {name}"] = Figure(
            value=float(np.median(rates[name])), unit="requests/s"
        )
        findings.figures[f"p50, {what}: {name}"] = Figure(
            value=float(np.median([burst.p50_ms for burst in found])), unit="ms"
        )
        findings.figures[f"p99, {what}: {name}"] = Figure(
            value=float(np.median([burst.p99_ms for burst in found])), unit="ms"
        )
    findings.ratios[f"requests, {what}: cofio / {CONSTANT}"] = ratio(rates[CONSTANT], rates[OURS])
