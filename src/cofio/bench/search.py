"""Vector search in three levels at once, with and without a filter."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np

from cofio.bench import peers
from cofio.bench.bench import Bench
from cofio.bench.corpus import Stored, drawn_store, project, read_source, read_stored, settings_for
from cofio.bench.indexed import wait_until_indexed
from cofio.bench.results import OURS, Figure, Findings
from cofio.bench.timing import Contender, interleave
from cofio.graph.ids import written
from cofio.graph.nearest import MOST_COMPARED
from cofio.graph.scope import scope
from cofio.records import SEMANTIC_DIMENSIONS, VECTOR_DIMENSIONS, Bools, Filters, Float32s, Level
from cofio.runtime import Runtime, open_runtime
from cofio.search import search

LOCAL: Final = "qdrant-client local mode"
EXACT: Final = "NumPy exact"
HNSW: Final = "hnswlib"
LIMIT: Final = 10
RECALL_QUESTIONS: Final = 100

Found = Mapping[Level, Sequence[str]]


async def measure(bench: Bench) -> Findings:
    """The search of a running store, beside peers that hold the same vectors."""
    findings = Findings()
    source = read_source(bench.data)
    folder = await drawn_store(bench, source, bench.effort.memories)
    levels = {level: read_stored(folder, level) for level in Level}
    only = project(0)
    exact = NumpyExact(levels, only)
    async with open_runtime(settings_for(bench.settings, folder)) as runtime:
        findings.figures["waited for the index"] = Figure(value=await wait_until_indexed(runtime), unit="s")
        questions = source.questions[: bench.effort.rounds]
        vectors = np.zeros((len(questions), VECTOR_DIMENSIONS), np.float32)
        vectors[:, :SEMANTIC_DIMENSIONS] = runtime.encoder.encode(questions)
        others: dict[str, Any] = {}
        if bench.peers:
            module = peers.load("vectors")
            for name, make in ((LOCAL, module.LocalMode), (HNSW, module.Hnsw)):
                started = time.perf_counter()
                others[name] = make(levels)
                findings.figures[f"building: {name}"] = Figure(value=time.perf_counter() - started, unit="s")
        else:
            findings.left_out += [LOCAL, HNSW]
        for what, wanted in (("search", None), ("filtered search", only)):
            ours = _ours(runtime, wanted)
            await _recall(what, ours, exact, others, vectors, wanted, findings)
            calls: dict[str, tuple[Callable[[Float32s], object], int | None]] = {
                OURS: (ours, None),
                EXACT: (partial(exact.search, limit=LIMIT, only=wanted), 3 * bench.effort.slow_rounds),
            }
            if LOCAL in others:
                # A filtered search takes it seconds.
                rounds = bench.effort.slow_rounds // (1 if wanted is None else 2)
                calls[LOCAL] = (partial(others[LOCAL].search, limit=LIMIT, project=wanted), rounds)
            if HNSW in others and wanted is None:
                calls[HNSW] = (partial(others[HNSW].search, limit=LIMIT), None)
            contenders = [
                Contender(name=name, call=_of(vectors, call), rounds=rounds)
                for name, (call, rounds) in calls.items()
            ]
            findings.add_times(what, await interleave(contenders, rounds=len(questions), warm_up=2))
        if LOCAL in others:
            others[LOCAL].close()
    findings.settings |= {
        "source": source.name,
        "memories": {level.label: len(stored.ids) for level, stored in levels.items()},
        "memories that pass the filter": {
            level.label: sum(name == only for name in stored.projects) for level, stored in levels.items()
        },
        "results of each level": LIMIT,
        "questions": len(questions),
        "threads": 1,
    }
    findings.notes += [
        "All search inside the measuring process; cofio as a question's thread does: contexts, concepts and up to "
        f"{MOST_COMPARED:,} episodes are compared in the graph. More episodes are asked of its index, a process of its own.",
        "hnswlib holds the 384 semantic dimensions and numbers only: no features to steer by, no filters, no payloads, nothing on disk, and no changes while it is "
        "searched. It is the floor for graph search, not an alternative.",
    ]
    return findings


class NumpyExact:
    """Every inner product, then the best: what an index must find."""

    def __init__(self, levels: Mapping[Level, Stored], only: str) -> None:
        self._levels = levels
        self.places = {
            level: {memory_id: row for row, memory_id in enumerate(stored.ids)}
            for level, stored in levels.items()
        }
        self._passes: dict[Level, Bools] = {
            level: np.array([name == only for name in stored.projects], np.bool_)
            for level, stored in levels.items()
        }

    def scores(self, vector: Float32s, only: str | None) -> Mapping[Level, Float32s]:
        """The inner product of every memory, −∞ for those that do not pass."""
        found = {}
        for level, stored in self._levels.items():
            scores = stored.vectors @ vector
            found[level] = scores if only is None else np.where(self._passes[level], scores, -np.inf)
        return found

    def search(self, vector: Float32s, limit: int, only: str | None) -> Found:
        """The ids of the best `limit` of each level, best first."""
        found = {}
        for level, scores in self.scores(vector, only).items():
            size = min(limit, int(np.isfinite(scores).sum()))
            best = np.argpartition(-scores, size - 1)[:size] if size else np.empty(0, np.int64)
            found[level] = [self._levels[level].ids[i] for i in best[np.argsort(-scores[best])]]
        return found


def _of(vectors: Float32s, call: Callable[[Float32s], object]) -> Callable[[int], object]:
    return lambda i: call(vectors[i])


def _ours(runtime: Runtime, only: str | None) -> Callable[[Float32s], Awaitable[Found]]:
    limits = dict.fromkeys(Level, LIMIT)
    filters = Filters() if only is None else Filters(project=(only,))

    async def ask(vector: Float32s) -> Found:
        graph = runtime.live.current
        found = await search(runtime, graph, scope(graph, filters), filters, vector, limits)
        nodes = found.nodes()
        ids = iter(written(graph.ids_of(np.concatenate(list(nodes.values())))))
        return {level: list(islice(ids, of_level.size)) for level, of_level in nodes.items()}

    return ask


async def _recall(
    what: str,
    ours: Callable[[Float32s], Awaitable[Found]],
    exact: NumpyExact,
    others: Mapping[str, Any],
    vectors: Float32s,
    only: str | None,
    findings: Findings,
) -> None:
    """Recall@10 against every inner product; a memory as near as the last of the best ten counts as one of them."""
    shares: dict[str, list[float]] = {}
    for vector in vectors[:RECALL_QUESTIONS]:
        true = exact.scores(vector, only)
        place = exact.places
        found: dict[str, Found] = {OURS: await ours(vector)}
        if HNSW in others and only is None:
            found[HNSW] = others[HNSW].search(vector, LIMIT)
        for name, by_level in found.items():
            for level, ids in by_level.items():
                scores = true[level]
                size = min(LIMIT, int(np.isfinite(scores).sum()))
                if size == 0:
                    continue
                least = np.partition(scores, -size)[-size] - 1e-5
                right = sum(scores[place[level][memory_id]] >= least for memory_id in ids[:LIMIT])
                shares.setdefault(f"{what} {level.label}: {name}", []).append(min(1.0, right / size))
                shares.setdefault(f"{what}: {name}", []).append(min(1.0, right / size))
    for name, values in sorted(shares.items()):
        findings.figures[f"recall@{LIMIT} of {name}"] = Figure(value=float(np.mean(values)))
