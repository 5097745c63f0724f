"""Saves a store, verifies the backup, restores it elsewhere, and opens what was restored.

The store is one that exists, such as those that `cofio bench scale` keeps. Index and graph are made anew from the restored
database, which is part of the time: until it can answer, and until the vector index holds everything.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cofio.backups import create_backup, restore_backup, verify_backup
from cofio.maintain import doctor
from cofio.query import recall
from cofio.records import Question
from cofio.runtime import open_runtime
from cofio.settings import Settings
from drills.figures import Figure, Found

Result = TypeVar("Result")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this drill."""
    parser.add_argument(
        "--store", type=Path, required=True, help="data directory that is saved; it is not changed"
    )
    parser.add_argument("--question", default="What was decided?", help="asked of the restored store")
    parser.add_argument(
        "--model-dir", type=Path, default=Path("models"), help="folder of the encoder's files"
    )


def run(options: argparse.Namespace) -> Found:
    """What saving and restoring the store took, and whether the restored one is whole."""
    with tempfile.TemporaryDirectory(prefix="cofio-restore-", dir=options.store.parent) as place:
        folder, restored = Path(place, "backups"), Path(place, "store")
        create_s, made = _timed(lambda: create_backup(options.store, folder))
        archive = folder / made.name
        verify_s, verified = _timed(lambda: verify_backup(archive))
        restore_s, _ = _timed(lambda: restore_backup(archive, restored))
        settings = Settings(data_dir=restored, model_dir=options.model_dir)
        open_s, problems, results = asyncio.run(_opened(settings, options.question))
    counts = verified.manifest.counts
    return Found(
        settings={"question": repr(options.question)},
        figures=[
            Figure(name="memories", value=sum(counts.memories_by_level.values())),
            Figure(name="meetings", value=counts.rows["meetings"]),
            Figure(name="database", value=round(verified.manifest.size / 1e6, 1), unit="MB"),
            Figure(name="backup", value=round(made.bytes / 1e6, 1), unit="MB"),
            Figure(name="saved in", value=round(create_s, 2), unit="s"),
            Figure(name="verified in", value=round(verify_s, 2), unit="s"),
            Figure(name="restored in", value=round(restore_s, 2), unit="s"),
            Figure(name="first opened in, index and graph made anew", value=round(open_s, 2), unit="s"),
            Figure(name="problems that `cofio doctor` finds", value=len(problems), must="= 0"),
            Figure(name="results of the question", value=results, must="≥ 1"),
        ],
        failures=list(problems),
    )


async def _opened(settings: Settings, question: str) -> tuple[float, tuple[str, ...], int]:
    started = time.perf_counter()
    async with open_runtime(settings) as runtime:
        opened_s = time.perf_counter() - started
        answer = await recall(runtime, Question(query=question))
        return opened_s, (await doctor(runtime, repair=False)).problems, answer.total_results


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
