"""The metrics in Prometheus' text format, of one process or of all workers together.

prometheus_client keeps the figures of several processes in files of one folder, which `PROMETHEUS_MULTIPROC_DIR` names;
whether it does is decided when it is imported. So the process that looks after the workers, which counts nothing
itself, makes the folder and names it before it starts them.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


@contextlib.contextmanager
def counted_together() -> Iterator[None]:
    """Processes that are started inside the block count together, in an empty folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cofio-metrics-") as folder:
        before = os.environ.get(_FOLDER)
        os.environ[_FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_FOLDER]
            else:
                os.environ[_FOLDER] = before


def forget_all_but(alive: Collection[int]) -> None:
    """In gauges only the processes with these ids count; what others counted stays in counters and histograms."""
    folder = os.environ[_FOLDER]
    for process_id in {int(file.stem.rpartition("_")[2]) for file in Path(folder).glob("gauge_*.db")}:
        if process_id not in alive:
            mark_process_dead(process_id, folder)  # type: ignore[no-untyped-call]


def exposition(readings: Sequence[Metric]) -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, `readings` among them, and the content type of that text.

    Of several workers it reads some hundred lines of each one's files, which takes milliseconds: call it in a thread.
    """
    read = CollectorRegistry()
    read.register(_Readings(readings))
    counted = REGISTRY
    if _FOLDER in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    return generate_latest(counted) + generate_latest(read), CONTENT_TYPE_LATEST


class _Readings(Collector):
    def __init__(self, readings: Sequence[Metric]) -> None:
        self._readings = readings

    def collect(self) -> Sequence[Metric]:
        return self._readings
