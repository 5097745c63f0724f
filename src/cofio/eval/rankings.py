"""How each system ranks the turns for a question: plain baselines, and cofio as the endpoint answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import igraph
import numpy as np

from cofio.cue import Cue, read_cue
from cofio.eval.corpus import Corpus
from cofio.eval.datasets import TurnKey
from cofio.graph import kernels
from cofio.graph.blocks import KERNEL_L, KERNEL_M, TURN_WORDS
from cofio.graph.scope import Scope, scope
from cofio.graph.spread import SEEDS, Evidence, gather, lexical_seeds, terms_of, unit_range
from cofio.query import recall
from cofio.rank import WEIGHTS
from cofio.records import VECTOR_DIMENSIONS, Filters, Float32s, Int32s, Level, Question
from cofio.search import search

DEPTH: Final = 50
DIRECT: Final = 10
SLOTS: Final = 10
# Personalised PageRank: the damping and the number of seeds that the lab found best (lab 1 §3), and its share in the
# sum with H, the best of .3, .5, .7 and 1 on LoCoMo dev.
DAMPING: Final = 0.85
PAGERANK_SEEDS: Final = 100
PAGERANK_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question, asked of a part of the corpus."""

    text: str
    filters: Filters
    bounds: Scope
    cue: Cue
    vector: Float32s  # (384,), the cue's text encoded


Ranking = Sequence[TurnKey]
System = Callable[[Corpus, Asked], Awaitable[Ranking]]


async def ask(corpus: Corpus, text: str, filters: Filters) -> Asked:
    """The question as every system gets it: participants' names are out of the vector, and in the terms."""
    graph = corpus.runtime.live.current
    bounds = scope(graph, filters)
    cue = read_cue(text, graph, bounds)
    encoded = await corpus.runtime.batcher.encode([cue.encoded_text], urgent=True)
    return Asked(text=text, filters=filters, bounds=bounds, cue=cue, vector=encoded[0])


async def evidence_of(corpus: Corpus, asked: Asked, semantic: Float32s) -> Evidence:
    """What the endpoint gathers about the question's candidates before it ranks them, with `semantic` as its vector."""
    graph, cue = corpus.runtime.live.current, asked.cue
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[: semantic.size] = semantic
    limits = {Level.EPISODE: SEEDS}
    found = await search(corpus.runtime, graph, asked.bounds, asked.filters, vector, limits)
    nodes = await asyncio.to_thread(found.nodes)
    seeds = lexical_seeds(graph, asked.bounds, cue.stems)
    return gather(graph, asked.bounds, seeds, vector, np.concatenate((nodes[Level.EPISODE], cue.documents)))


async def dense(corpus: Corpus, asked: Asked) -> Ranking:
    """By cosine alone, over every turn in scope."""
    rows = _turns(corpus, asked)
    return _best(corpus, rows, _cosines(corpus, asked, rows))


async def bm25(corpus: Corpus, asked: Asked) -> Ranking:
    """By BM25 of "speaker: text" alone."""
    rows = _turns(corpus, asked)
    return _best(corpus, rows, _bm25(corpus, asked, rows))


async def hybrid(corpus: Corpus, asked: Asked) -> Ranking:
    """By .4 BM25 + .6 cosine, both min-max scaled over the scope."""
    rows = _turns(corpus, asked)
    return _best(corpus, rows, _hybrid(corpus, asked, rows))


async def pagerank(corpus: Corpus, asked: Asked) -> Ranking:
    """Hybrid plus personalised PageRank along time inside meetings, restarting at the hybrid's best hundred."""
    rows = _turns(corpus, asked)
    own = _hybrid(corpus, asked, rows)
    seeds = np.argsort(-own, kind="stable")[:PAGERANK_SEEDS]
    restart = np.zeros(rows.size)
    restart[seeds] = own[seeds]
    if not restart.any():
        return _best(corpus, rows, own)
    meetings = corpus.runtime.live.current.meeting_of_row[rows]
    flow = _time_line(meetings.tobytes()).personalized_pagerank(damping=DAMPING, reset=restart.tolist())
    ranks = unit_range(np.array(flow, np.float32))
    return _best(corpus, rows, unit_range(own) + PAGERANK_SHARE * ranks)


async def activation_off(corpus: Corpus, asked: Asked) -> Ranking:
    """The endpoint's direct episodes with `enable_activation: false`."""
    return await _direct(corpus, asked, activation=False)


async def activation_on(corpus: Corpus, asked: Asked) -> Ranking:
    """The endpoint's direct episodes."""
    return await _direct(corpus, asked, activation=True)


async def activation_on_plus_10(corpus: Corpus, asked: Asked) -> Ranking:
    """The endpoint's ten best direct episodes, then its ten most strongly activated memories."""
    question = Question(
        query=asked.text,
        filters=asked.filters,
        limit_per_level=DIRECT,
        max_activations=SLOTS,
        enable_bridges=False,
    )
    answer = await recall(corpus.runtime, question)
    found = (*answer.direct_results["L2"], *answer.activated_memories)
    return corpus.turns([memory.memory_id for memory in found])


async def contexts(corpus: Corpus, asked: Asked) -> Ranking:
    """The turns of the endpoint's contexts: context by context, inside one in the order in which it names them."""
    answer = await recall(corpus.runtime, _question(asked, activation=True))
    return corpus.turns([turn for context in answer.direct_results["L1"] for turn in context.turns])[:DEPTH]


# The names of the rows, in the order of the table.
SYSTEMS: Final[Mapping[str, System]] = {
    "dense": dense,
    "bm25": bm25,
    "hybrid": hybrid,
    "ppr": pagerank,
    "activation_off": activation_off,
    "activation_on": activation_on,
    "activation_on_plus_10": activation_on_plus_10,
    "activation_on_contexts": contexts,
}
BASELINE: Final = "hybrid"


async def _direct(corpus: Corpus, asked: Asked, *, activation: bool) -> Ranking:
    answer = await recall(corpus.runtime, _question(asked, activation=activation))
    return corpus.turns([memory.memory_id for memory in answer.direct_results["L2"]])[:DEPTH]


def _question(asked: Asked, *, activation: bool) -> Question:
    return Question(
        query=asked.text,
        filters=asked.filters,
        limit_per_level=DEPTH,
        max_activations=0,
        enable_activation=activation,
        enable_bridges=False,
    )


def _turns(corpus: Corpus, asked: Asked) -> Int32s:
    """Every row in scope of five words or more."""
    graph = corpus.runtime.live.current
    rows = np.flatnonzero(graph.words >= TURN_WORDS).astype(np.int32)
    return rows[asked.bounds.passes(graph, rows)]


def _cosines(corpus: Corpus, asked: Asked, rows: Int32s) -> Float32s:
    values = np.empty(rows.size, np.float32)
    kernels.dots_of_rows(asked.vector, corpus.runtime.live.current.vectors, rows, values)
    return values


def _bm25(corpus: Corpus, asked: Asked, rows: Int32s) -> Float32s:
    """BM25 of the rows' own words."""
    graph = corpus.runtime.live.current
    turns, _, _, length = (asked.bounds.meetings @ graph.meeting_totals).tolist()
    terms = terms_of(graph, asked.bounds, asked.cue.stems, max(turns, 1.0))
    mean = np.float32(max(length / max(turns, 1.0), 1.0))
    scores = np.zeros((3, rows.size), np.float32)
    kernels.spread_terms(
        rows, terms.idf, terms.pairs, graph.pairs, graph.meeting_postings, graph.posting_row,
        graph.posting_count, graph.meeting_of_row, graph.meeting_rows, graph.turn_of_row, KERNEL_M, KERNEL_L,
        graph.smooth_m, graph.smooth_l, mean, mean, graph.length, mean, *scores,
    )  # fmt: skip
    return np.asarray(scores[0])


def _hybrid(corpus: Corpus, asked: Asked, rows: Int32s) -> Float32s:
    terms, cosines = _bm25(corpus, asked, rows), _cosines(corpus, asked, rows)
    return WEIGHTS.hybrid_terms * unit_range(terms) + (1 - WEIGHTS.hybrid_terms) * unit_range(cosines)


@lru_cache(maxsize=8)
def _time_line(meetings: bytes) -> igraph.Graph:
    """The turns as a graph, each joined to the next of its meeting."""
    meeting = np.frombuffer(meetings, np.int32)
    source = np.flatnonzero(meeting[1:] == meeting[:-1])
    return igraph.Graph(n=meeting.size, edges=np.stack((source, source + 1), axis=1).tolist())


def _best(corpus: Corpus, rows: Int32s, scores: Float32s) -> Ranking:
    order = np.argsort(-scores, kind="stable")[:DEPTH]
    return corpus.turns_of_rows(rows[order].tolist())
