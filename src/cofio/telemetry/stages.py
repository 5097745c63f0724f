"""The stages of a query or an ingest, measured in one place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from cofio.telemetry.metrics import INGEST_STAGE_SECONDS, QUERY_STAGE_SECONDS
from cofio.telemetry.traces import span

_STAGE_SECONDS: Final = {"query": QUERY_STAGE_SECONDS, "ingest": INGEST_STAGE_SECONDS}


class Stages:
    """Measures the stages of one run of a verb: `with stages("encode"): ...`.

    Each stage is also observed in the verb's histogram, and a span in a trace. A stage entered twice adds up in `ms`.
    Stages follow each other, in whatever thread.
    """

    __slots__ = ("_histogram", "_seconds", "_unobserved", "_verb")

    def __init__(self, verb: Literal["query", "ingest"]) -> None:
        self._verb = verb
        self._histogram = _STAGE_SECONDS[verb]
        self._seconds: dict[str, float] = {}
        self._unobserved: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str, *, more: bool = False) -> Iterator[None]:
        """The time spent inside is added to `stage`, also when it ends in an error.

        Where there is `more` of the stage to come, it is observed as one with that.
        """
        started = time.perf_counter()
        try:
            with span(f"{self._verb} {stage}"):
                yield
        finally:
            seconds = time.perf_counter() - started
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
            seconds += self._unobserved.pop(stage, 0.0)
            if more:
                self._unobserved[stage] = seconds
            else:
                self._histogram.labels(stage).observe(seconds)

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds by stage in the order of first entry, rounded to three decimals."""
        return {stage: round(seconds * 1000, 3) for stage, seconds in self._seconds.items()}
