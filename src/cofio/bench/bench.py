"""What every part of the benchmark is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from cofio.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: rounds, and how large the things are that are measured."""

    rounds: int = 300
    slow_rounds: int = 20  # of what takes hundreds of milliseconds
    graph_nodes: int = 100_000
    graph_edges: int = 1_000_000
    memories: int = 100_000  # utterances in the store of kernels, search and query
    peer_memories: int = 20_000  # utterances that the peers of query hold
    pool: int = 8_000  # real utterances that drawn meetings are made of
    bulk_texts: int = 256
    bulk_rounds: int = 15
    ingest_utterances: int = 2_500
    load_s: float = 3.0  # of one burst of requests
    load_rounds: int = 6
    connections: int = 16
    starts: int = 3
    cold_rounds: int = 60  # questions of a store whose database is on disk
    stability_queries: int = 20_000
    stability_ingests: int = 200
    stability_memories: int = 10_000


FULL: Final = Effort()
# Shows that everything works; measures nothing that could be quoted.
QUICK: Final = Effort(
    rounds=5,
    slow_rounds=2,
    graph_nodes=2_000,
    graph_edges=20_000,
    memories=600,
    peer_memories=300,
    pool=300,
    bulk_texts=16,
    bulk_rounds=2,
    ingest_utterances=60,
    load_s=0.3,
    load_rounds=2,
    connections=2,
    starts=1,
    cold_rounds=2,
    stability_queries=40,
    stability_ingests=4,
    stability_memories=300,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run: where the real utterances are, where stores are kept, whether peers run, and how much is measured.

    `sizes` are those of the part `scale`, ascending.
    """

    data: Path
    cache: Path
    settings: Settings
    peers: bool
    effort: Effort
    sizes: Sequence[int]

    @property
    def console(self) -> Console:
        """Where progress is told."""
        return Console(stderr=True)
