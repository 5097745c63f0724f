"""The memory graph as GraphML, for tools that draw and measure graphs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import networkx as nx
import numpy as np

from cofio.errors import Unavailable
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import DEFINITION_WEIGHT
from cofio.records import NAMES, Level
from cofio.runtime import Runtime
from cofio.store.database import queries


async def export_graphml(runtime: Runtime, path: Path) -> tuple[int, int]:
    """`path` holds every memory and every edge, stored or from title to title; returns how many of each.

    Raises `Unavailable` where it cannot be written.
    """
    nodes, edges = await runtime.database.read(
        lambda connection: (list(queries.all_nodes(connection)), list(queries.all_edges(connection)))
    )
    known = frozenset(row["memory_id"] for row in nodes)
    named = [pair for pair in _named(runtime.live.current) if known.issuperset(pair)]
    await asyncio.to_thread(_write, nodes, edges, named, path)
    return len(nodes), len(edges) + len(named)


def _named(graph: MemoryGraph) -> Sequence[tuple[str, str]]:
    source = np.repeat(np.arange(graph.episodes), np.diff(graph.definition_start))
    pairs = zip(source.tolist(), graph.definition_rows.tolist(), strict=True)
    return [(graph.memory_id(a), graph.memory_id(b)) for a, b in dict.fromkeys(pairs)]


def _write(
    nodes: Sequence[sqlite3.Row],
    edges: Sequence[sqlite3.Row],
    named: Sequence[tuple[str, str]],
    path: Path,
) -> None:
    graph = nx.MultiDiGraph()
    for row in nodes:
        # GraphML knows no null: what a memory does not have is left out.
        facts = {
            key: row[key]
            for key in ("memory_type", "content", "speaker", "title", "date")
            if row[key] is not None
        }
        graph.add_node(row["memory_id"], level=Level(row["level"]).label, **facts)
    for row in edges:
        graph.add_edge(row["source"], row["target"], key=row["kind"], kind=row["kind"], weight=row["weight"])
    for source, target in named:
        graph.add_edge(source, target, key=NAMES, kind=NAMES, weight=DEFINITION_WEIGHT)
    try:
        nx.write_graphml(graph, path)
    except OSError as error:
        raise Unavailable(f"The graph cannot be written to {path}: {error.strerror}.") from error
