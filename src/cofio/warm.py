"""What a question and a meeting need once per process is there before the first of them comes."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np

from cofio.cue import read_cue
from cofio.find import Nearest, find, outside_of
from cofio.graph.blocks import ContextRow, EpisodeRow, MeetingHead, build_block
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import ConceptRow, Ledger
from cofio.graph.nearest import nearest_nodes
from cofio.graph.scope import scope
from cofio.graph.spread import lexical_seeds
from cofio.memorise import memorise
from cofio.records import (
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    ConceptKind,
    Filters,
    Float32s,
    Level,
    MeetingInput,
    MemoryType,
    Question,
)
from cofio.text.extract import episodes as extract_episodes
from cofio.text.features import query_features
from cofio.text.parse import parse_transcript

SAID: Final = "The kernels of the gateway are warmed up before anybody asks for them."
PROJECT: Final = "warm"
SPEAKERS: Final = ("Ann Lee", "Ben Ortiz", "Ann Lee")
MEETINGS: Final = 3


def warm() -> None:
    """Kernels are compiled, or loaded from their cache on disk, and tables are read: neither the first question, which took
    a second longer without this, nor the first meeting waits for them.
    """
    graph = _graph()
    for filters in (Filters(), Filters(meeting_id=("0",)), Filters(speaker=("Ann Lee",), series=("warm",))):
        _ask(graph, Question(query="What did Ann say about the gateway on 2 March 2026?", filters=filters))
    _remember()


def _ask(graph: MemoryGraph, question: Question) -> None:
    bounds = scope(graph, question.filters)
    outside, cue = outside_of(graph, bounds, question), read_cue(question.query, graph, bounds)
    query_features(cue.text)
    vector = _vector(1.0)
    limits = {Level.EPISODE: 2, Level.CONCEPT: 2}
    found = nearest_nodes(graph, bounds, vector, limits)
    rows, concepts = found[Level.EPISODE][0], found[Level.CONCEPT][0]
    steered = vector.copy()
    steered[-1] = 1.0
    nearest_nodes(graph, bounds, steered, limits)
    lexical = lexical_seeds(graph, bounds, cue.stems)
    nearest = Nearest(rows=rows, outside=rows, concepts=concepts - graph.first_concept)
    findings = find(graph, bounds, outside, cue, lexical, vector, nearest, question)
    graph.memory_ids(findings.shown)


def _remember() -> None:
    said = "\n".join(f"{speaker}: {SAID} Who pays for it by Friday?" for speaker in SPEAKERS)
    episodes = extract_episodes(parse_transcript(said), document_title=None)
    vectors = np.repeat(_vector(1.0)[None, :SEMANTIC_DIMENSIONS], len(episodes), axis=0)
    meeting = MeetingInput(title=PROJECT, transcript=said, date=date(2026, 3, 2))
    memorise(meeting, "0", [str(i) for i in range(len(episodes))], episodes, vectors, frozenset(), [])


def _graph() -> MemoryGraph:
    """A memory of a few meetings about one thing, each with a vector of its own."""
    ledger = Ledger()
    for key in range(MEETINGS):
        episodes = [
            EpisodeRow(
                node=len(SPEAKERS) * key + i,
                memory_id=f"00000000-0000-0000-{key:04}-{i:012}",
                memory_type=MemoryType.CONTEXT,
                content=SAID,
                words=13,
                speaker=speaker,
                pure_question=False,
                vector=_vector(1.0 + key).tobytes(),
            )
            for i, speaker in enumerate(SPEAKERS)
        ]
        context = ContextRow(
            memory_id=f"00000000-0000-0001-{key:04}-000000000000",
            first=0,
            last=len(episodes),
            vector=_vector(1.0 + key).tobytes(),
        )
        head = MeetingHead(
            key=key, meeting_id=str(key), title=PROJECT, project=PROJECT, series=PROJECT, day=738_000 + key
        )
        ledger.add_meeting(build_block(head, episodes, [context], [], ledger.lexicons))
    concept = ConceptRow(
        memory_id="00000000-0000-0002-0000-000000000000",
        project=PROJECT,
        label="gateway",
        kind=ConceptKind.TERM,
        mentions=tuple((key, 0) for key in range(MEETINGS)),
        vector=_vector(1.0).tobytes(),
    )
    ledger.set_concepts([concept], gone=())
    return ledger.graph(0)


def _vector(first: float) -> Float32s:
    """A vector of a memory, its semantic part of unit norm."""
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:2] = first, 1.0
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
