"""`cofio bench`: its parts, each in a process of its own, and the tables that it prints."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
import platformdirs
import uvloop
from rich.console import Console
from rich.markup import escape

from cofio.bench import encode, ingest, kernels, query, scale, search, serve
from cofio.bench.bench import Bench
from cofio.bench.results import Findings, Measured, Part, cpu_model, load, number, versions
from cofio.errors import InvalidInput
from cofio.provenance import ProcessorTime, commit, stolen_percent, stolen_told
from cofio.show import table
from cofio.telemetry.logs import configure_logging

CACHE: Final = platformdirs.user_cache_path("cofio") / "bench"
SIZES: Final = (10_000, 100_000)
PARTS: Final[Mapping[str, Callable[[Bench], Awaitable[Findings]]]] = {
    "kernels": kernels.measure,
    "encode": encode.measure,
    "search": search.measure,
    "ingest": ingest.measure,
    "query": query.measure,
    "serve": serve.measure,
    "scale": scale.measure,
}
# Read by the arithmetic libraries when they are loaded, hence a process of its own for each part. Every contender has
# one thread. No peer may wait for a model hub or send figures home.
ENVIRONMENT: Final[Mapping[str, str]] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ANONYMIZED_TELEMETRY": "False",
}


def run_parts(bench: Bench, names: Sequence[str]) -> list[Part]:
    """The parts with these names, measured one after the other. Raises InvalidInput for a name that is none."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise InvalidInput(f"there is no part {unknown[0]}; parts are {', '.join(PARTS)}", field="part")
    parts = []
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        for name in names:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                parts.append(process.submit(_run, name, bench).result())
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return parts


def _run(name: str, bench: Bench) -> Part:
    configure_logging("warning", bench.settings.log_format)
    started, before, processors = time.perf_counter(), load(), ProcessorTime.now()
    findings = uvloop.run(_measured(PARTS[name], bench))
    findings.settings |= {
        "precision": bench.settings.precision,
        "encoder_threads": bench.settings.encoder_threads,
        "effort": asdict(bench.effort),
        "environment": dict(ENVIRONMENT),
    }
    return Part(
        part=name,
        measured=Measured(
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            cpu=cpu_model(),
            cores=os.cpu_count() or 0,
            load_before=before,
            load_after=load(),
            stolen_percent=stolen_percent(processors, ProcessorTime.now()),
            commit=commit(),
            date=datetime.now(UTC).isoformat(timespec="minutes"),
            seconds=round(time.perf_counter() - started, 1),
            peers=bench.peers,
            versions=versions(),
        ),
        findings=findings,
    )


async def _measured(measure: Callable[[Bench], Awaitable[Findings]], bench: Bench) -> Findings:
    return await measure(bench)


def show(console: Console, part: Part) -> None:
    """The times, ratios, figures and checks of a part, and under what circumstances they were found."""
    at, found = part.measured, part.findings
    console.print(
        f"[bold]{part.part}[/]: commit {at.commit}, {at.date}, {at.seconds:.0f} s, {at.cpu}, {at.cores} cores, "
        f"load {at.load_before[0]} before and {at.load_after[0]} after" + stolen_told(at.stolen_percent),
        highlight=False,
    )
    console.print(
        table(
            ("times in ms", "median", "min", "p95", "n"),
            [
                (name, *(number(v) for v in (t.median, t.minimum, t.p95)), str(t.n))
                for name, t in found.timings.items()
            ],
        )
    )
    if found.ratios:
        console.print(
            table(
                ("times as long as cofio", "ratio", "95 % interval", "n"),
                [
                    (name, number(r.ratio), f"{number(r.low)} to {number(r.high)}", str(r.n))
                    for name, r in found.ratios.items()
                ],
            )
        )
    if found.figures:
        rows = [(name, f"{number(f.value)} {f.unit}".strip()) for name, f in found.figures.items()]
        console.print(table(("figure", ""), rows))
    for name, check in found.checks.items():
        sign = "[green]agrees[/]" if check.agrees else "[bold red]differs[/]"
        console.print(f"{sign} {escape(name)}: {escape(check.detail)}", soft_wrap=True, highlight=False)
    if found.left_out:
        console.print(f"Left out: {escape(', '.join(found.left_out))} (--peers measures them too)")
    for note in found.notes:
        console.print(escape(note), highlight=False)


def as_json(parts: Sequence[Part]) -> bytes:
    """The parts by their names, as JSON."""
    return orjson.dumps(
        {part.part: asdict(part) for part in parts},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY,
        default=_plain,
    )


def disagreements(parts: Sequence[Part]) -> list[str]:
    """A sentence for every check that failed."""
    return [
        f"{part.part}: {name} does not hold: {check.detail}"
        for part in parts
        for name, check in part.findings.checks.items()
        if not check.agrees
    ]


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
