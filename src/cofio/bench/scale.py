"""Scale: the service over stores of growing size, and its memory over many questions and ingests."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import numpy as np

from cofio.bench.bench import Bench
from cofio.bench.corpus import SEED, Source, count_stored, drawn_store, read_source
from cofio.bench.results import Figure, Findings
from cofio.bench.service import HEALTH_PATH, QUERY_PATH, Resident, Service, get, post, serving_cofio
from cofio.bench.timing import Contender, interleave, ratio, timing
from cofio.data_dir import DATABASE_NAME
from cofio.records import MeetingInput

WARM_UP: Final = 5
PIECE: Final = 2**20
# Of one meeting, which each ingest of the stability run replaces by another version of itself.
CHANGING_UTTERANCES: Final = 40


async def measure(bench: Bench) -> Findings:
    """Every size is served at the same time, and questions go to each in turn; cofio alone."""
    findings = Findings()
    source = read_source(bench.data)
    folders = {size: await drawn_store(bench, source, size) for size in bench.sizes}
    counts = {size: count_stored(folder) for size, folder in folders.items()}
    with tempfile.TemporaryDirectory() as place:
        floor = _starts(bench, folders, counts, Path(place), findings)
        await _questions(bench, source, folders, Path(place), floor, findings)
        stability = await drawn_store(bench, source, bench.effort.stability_memories)
        _stability(bench, source, stability, Path(place), findings)
    findings.settings |= {
        "source": source.name,
        "sizes": {str(size): found for size, found in counts.items()},
        "starts": bench.effort.starts,
    }
    findings.notes += [
        "Memories are utterances; contexts and concepts come on top of them. Resident are the service and the process "
        "of its vector index together, pages of mapped files included.",
        "Bytes a memory are what the service holds beyond the same service over an empty store, model included in both.",
        "The files of the stores are read before they are asked, so that the system holds them in memory, as it does what was just "
        "written or is read often: pages of files count as resident only then. Rows on disk are those of a database that it was told to forget.",
    ]
    return findings


def _starts(
    bench: Bench,
    folders: dict[int, Path],
    counts: dict[int, dict[str, int]],
    place: Path,
    findings: Findings,
) -> Resident:
    """Time from the start of the process to readiness, and what it holds then; kernels are compiled already.

    Returns what the service holds over an empty store.
    """
    empty: list[Resident] = []
    for _ in range(bench.effort.starts):
        with serving_cofio(bench.settings, place / "empty", place / "empty.log") as service:
            empty.append(service.resident())
    floor = _typical(empty)
    findings.figures["resident, empty store"] = Figure(value=floor.total / 1e6, unit="MB")
    for size, folder in folders.items():
        seconds, held = [], []
        for _ in range(bench.effort.starts):
            with serving_cofio(bench.settings, folder, place / f"{size}.log") as service:
                seconds.append(service.ready_s)
                held.append(service.resident())
        utterances = counts[size]["L2"]
        now = _typical(held)
        findings.figures |= {
            f"start to ready, {size:,} memories": Figure(value=float(np.median(seconds)), unit="s"),
            f"resident at the start, {size:,} memories": Figure(value=now.total / 1e6, unit="MB"),
            f"bytes a memory at the start, {size:,} memories": Figure(
                value=(now.total - floor.total) / utterances, unit="B"
            ),
            f"bytes a memory at the start, without file pages, {size:,} memories": Figure(
                value=(now.anonymous - floor.anonymous) / utterances, unit="B"
            ),
        }
    return floor


def _typical(held: Sequence[Resident]) -> Resident:
    return Resident(
        total=int(np.median([one.total for one in held])),
        anonymous=int(np.median([one.anonymous for one in held])),
    )


def _read(folder: Path) -> None:
    """The system holds the files of the folder in memory, as far as it has room."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(PIECE):
                    pass


def _forget(file: Path) -> None:
    """The system holds nothing of a file in memory, except what is not yet on disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


async def _questions(
    bench: Bench, source: Source, folders: dict[int, Path], place: Path, floor: Resident, findings: Findings
) -> None:
    """The p50 of a question never asked before, of each size, what the service holds after these, and how long it takes to
    tell how it is."""
    rounds = min(bench.effort.rounds, len(source.questions) - WARM_UP)
    for folder in folders.values():
        _read(folder)
    with contextlib.ExitStack() as stack:
        services: dict[int, Service] = {}
        connections: dict[int, HTTPConnection] = {}
        contenders, asked_how_they_are = [], []
        for size, folder in folders.items():
            services[size] = stack.enter_context(
                serving_cofio(bench.settings, folder, place / f"{size}-asked.log")
            )
            connections[size] = stack.enter_context(services[size].connection())
            contenders.append(Contender(name=_name(size), call=_asking(connections[size], source.questions)))
            asked_how_they_are.append(Contender(name=_name(size), call=_asking_health(connections[size])))
        seconds = await interleave(contenders, rounds=rounds, warm_up=WARM_UP)
        smallest = min(folders)
        findings.add_times("query over HTTP", seconds, ours=_name(smallest))
        for size in folders:
            held = services[size].resident()
            findings.figures |= {
                f"bytes a memory after {rounds} questions, {size:,} memories": Figure(
                    value=(held.total - floor.total) / max(size, 1), unit="B"
                ),
                f"bytes a memory after {rounds} questions, without file pages, {size:,} memories": Figure(
                    value=(held.anonymous - floor.anonymous) / max(size, 1), unit="B"
                ),
            }
            if size != smallest:
                del findings.ratios[f"query over HTTP: {_name(size)}"]
                findings.ratios[f"p50 of {size:,} by {smallest:,} memories"] = ratio(
                    seconds[_name(smallest)], seconds[_name(size)]
                )
        healthy = await interleave(asked_how_they_are, rounds=rounds, warm_up=WARM_UP)
        findings.timings |= {f"{HEALTH_PATH}: {name}": timing(values) for name, values in healthy.items()}
        largest, questions = max(folders), source.questions[rounds : len(source.questions) - WARM_UP]
        if len(questions) >= bench.effort.cold_rounds:
            _forget(folders[largest] / DATABASE_NAME)
            cold = Contender(
                name=f"query over HTTP: {_name(largest)}, rows on disk",
                call=_asking(connections[largest], questions),
            )
            seconds = await interleave([cold], rounds=bench.effort.cold_rounds, warm_up=0)
            findings.timings[cold.name] = timing(seconds[cold.name])
    findings.settings["questions"] = rounds


def _asking(connection: HTTPConnection, questions: Sequence[str]) -> Callable[[int], object]:
    return lambda i: post(connection, QUERY_PATH, {"query": questions[i][:1000]})


def _asking_health(connection: HTTPConnection) -> Callable[[int], object]:
    return lambda _: get(connection, HEALTH_PATH)


def _name(size: int) -> str:
    return f"{size:,} memories"


def _stability(bench: Bench, source: Source, store: Path, place: Path, findings: Findings) -> None:
    """What the service holds during many different questions, with ingests of one changing meeting between them.

    The meeting stays as long as it was, so that the memory holds as much at the end as at the beginning.
    """
    queries, ingests = bench.effort.stability_queries, bench.effort.stability_ingests
    folder = place / "stability"
    shutil.copytree(store, folder)
    asked = _different(source, queries)
    held: list[tuple[int, int]] = []
    every, sample = max(1, queries // ingests), max(1, queries // 40)
    with (
        serving_cofio(bench.settings, folder, place / "stability.log") as service,
        service.connection() as connection,
    ):
        for number, body in enumerate(asked):
            if number % every == 0:
                post(connection, "/ingest", _changing(source.meetings[0], number))
            post(connection, QUERY_PATH, body)
            if (number + 1) % sample == 0:
                held.append((number + 1, service.resident().total))
    after_tenth = next((value for number, value in held if number >= queries / 10), held[0][1])
    findings.figures |= {
        "resident after the first tenth": Figure(value=after_tenth / 1e6, unit="MB"),
        "resident at the end": Figure(value=held[-1][1] / 1e6, unit="MB"),
        f"growth over {queries:,} questions and {ingests:,} ingests, after the first tenth": Figure(
            value=100 * (held[-1][1] / after_tenth - 1), unit="%"
        ),
    }
    findings.settings |= {
        "stability: memories": bench.effort.stability_memories,
        "stability: questions": queries,
        "stability: ingests": ingests,
        "stability: resident MB": [[number, round(value / 1e6, 1)] for number, value in held],
    }


def _different(source: Source, count: int) -> Iterator[dict[str, object]]:
    """Requests of which no two are equal, drawn from every question with every limit, so that all tenths are alike."""
    pairs = list(itertools.product(range(5, 51), source.questions))
    drawn = np.random.default_rng(SEED).permutation(len(pairs)).tolist()
    for limit, question in (pairs[place] for place in itertools.islice(itertools.cycle(drawn), count)):
        yield {"query": question[:1000], "limit_per_level": limit}


def _changing(meeting: MeetingInput, number: int) -> dict[str, object]:
    lines = [
        f"Speaker {i % 4}: Version {number} of line {i}, said again." for i in range(CHANGING_UTTERANCES)
    ]
    return {
        "title": meeting.title,
        "transcript": "\n".join(lines),
        "external_id": "changing",
        "project": "stability",
    }
