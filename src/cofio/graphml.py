"""The memory graph as GraphML, for tools that draw and measure graphs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import networkx as nx

from cofio.records import Level
from cofio.runtime import Runtime
from cofio.store.database import queries


async def export_graphml(runtime: Runtime, path: Path) -> tuple[int, int]:
    """`path` holds every memory and every typed edge of the truth; returns how many of each."""
    async with runtime.database.read() as connection:
        nodes = [row async for row in queries.all_nodes(connection)]
        edges = [row async for row in queries.all_edges(connection)]
    await asyncio.to_thread(_write, nodes, edges, path)
    return len(nodes), len(edges)


def _write(nodes: Sequence[sqlite3.Row], edges: Sequence[sqlite3.Row], path: Path) -> None:
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
    nx.write_graphml(graph, path)
