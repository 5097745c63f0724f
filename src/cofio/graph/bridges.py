"""Bridges: memories of other meetings that connect to what a question woke, each with a link that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.graph.csr import MemoryGraph
from cofio.graph.spread import unit_range
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s

# + .3 · .6^(k'−k−1) for the k'-th meeting of a series when a direct hit is in its k-th: share of follow-ups of
# an action item found in five bridges .27 → .46 (lab 2 §3c).
LATER_WEIGHT: Final = 0.3
LATER_DECAY: Final = 0.6
# A stem links two memories by itself if at most this share of the turns holds it; "said" and "step" link nothing.
RARE_SHARE: Final = 0.005
LEAST_RARE: Final = 3
# One shared stem alone is chance unless the two are also about the same: two stems, or one and this cosine.
STEM_COSINE: Final = 0.4
# A concept that everybody mentions connects nothing: at most this share of the turns, or so many mentions.
COMMON_SHARE: Final = 0.02
COMMON_MENTIONS: Final = 8
# Weaker links are not worth telling.
LEAST_STRENGTH: Final = 0.3
LIMIT: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One bridge: `row` is connected to the woken row `anchor` through `concept`, or through `stems` that both hold.

    `strength` and `novelty` are in [0, 1]; `score` is B.
    """

    row: int
    anchor: int
    concept: int | None
    stems: tuple[str, ...]
    score: float
    strength: float
    novelty: float


def find_bridges(
    graph: MemoryGraph,
    rows: Int32s,
    scores: Float32s,
    direct: Sequence[int],
    woken: Sequence[int],
    query: Float32s,
) -> tuple[Link, ...]:
    """At most five bridges among the candidate `rows`, best first by B = mm(U) + .3 later (DESIGN §3 point 10).

    Candidates come from other meetings than the direct hits and have a link to a woken row that can be named.
    Novelty filters, it never scores: as a score it does no better than chance (lab 2 §3).
    """
    direct_meetings = (
        np.unique(graph.meeting_of_row[np.array(direct, np.int32)]) if direct else np.empty(0, np.int32)
    )
    elsewhere = ~np.isin(graph.meeting_of_row[rows], direct_meetings)
    if not direct or not elsewhere.any():
        return ()
    later = _later(graph, direct_meetings)
    score = unit_range(scores) + LATER_WEIGHT * later[graph.meeting_of_row[rows]]
    candidates = np.flatnonzero(elsewhere)
    order = candidates[np.lexsort((rows[candidates], -score[candidates]))]
    at_home = set(direct_meetings.tolist())
    anchors = [
        _Holds(row=row, concepts=_concepts_of(graph, row), terms=_rare_terms(graph, row))
        for row in woken
        if int(graph.meeting_of_row[row]) in at_home
    ]
    links: list[Link] = []
    for i in order[: 20 * LIMIT]:
        row = int(rows[i])
        if any(_too_near(graph, row, link.row) for link in links):
            continue
        if link := _link(graph, row, anchors, float(score[i]), query):
            links.append(link)
        if len(links) == LIMIT:
            break
    return tuple(links)


def _too_near(graph: MemoryGraph, a: int, b: int) -> bool:
    return bool(graph.meeting_of_row[a] == graph.meeting_of_row[b]) and abs(a - b) <= 3


def _later(graph: MemoryGraph, direct_meetings: Int32s) -> Float32s:
    """.6^(k'−k−1) of each meeting that follows a direct hit's meeting in its series; 0 for all others."""
    later = np.zeros(len(graph.blocks), np.float32)
    for series in np.unique(graph.meeting_series[direct_meetings]):
        if series < 0:
            continue
        members = np.flatnonzero(graph.meeting_series == series)
        members = members[np.lexsort((members, graph.meeting_day[members]))]
        place = {int(meeting): k for k, meeting in enumerate(members)}
        for meeting in direct_meetings:
            k = place.get(int(meeting))
            for other in members[k + 1 :] if k is not None else ():
                if graph.meeting_day[other] > graph.meeting_day[meeting]:
                    step = LATER_DECAY ** (place[int(other)] - (k or 0) - 1)
                    later[other] = max(later[other], step)
    return later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holds:
    """What a row can be linked by."""

    row: int
    concepts: frozenset[int]
    terms: dict[int, float]


def _link(
    graph: MemoryGraph, row: int, anchors: Sequence[_Holds], score: float, query: Float32s
) -> Link | None:
    """The strongest nameable link of `row` to one of the anchors: a shared concept, else rare shared stems."""
    semantic = graph.vectors[row, :SEMANTIC_DIMENSIONS]
    concepts = _concepts_of(graph, row)
    terms = _rare_terms(graph, row)
    best: tuple[float, int, int | None, tuple[int, ...]] | None = None
    for anchor in anchors:
        shared = concepts & anchor.concepts
        common = terms.keys() & anchor.terms.keys()
        if not shared and not common:
            continue
        cosine = max(0.0, float(semantic @ graph.vectors[anchor.row, :SEMANTIC_DIMENSIONS]))
        if not shared and len(common) < 2 and cosine < STEM_COSINE:
            continue
        weight = sum(terms[term] for term in common) / max(sum(terms.values()), 1e-9)
        strength = 0.5 * cosine + 0.5 * min(1.0, weight + (0.5 if shared else 0.0))
        if strength >= LEAST_STRENGTH and (best is None or strength > best[0]):
            concept = min(shared, key=lambda c: (_mentions_of(graph, c), c), default=None)
            best = strength, anchor.row, concept, tuple(sorted(common, key=lambda t: (-terms[t], t))[:3])
    if best is None:
        return None
    strength, anchor_row, concept, common_terms = best
    novelty = 1.0 - max(0.0, float(semantic @ query[:SEMANTIC_DIMENSIONS]))
    return Link(
        row=row,
        anchor=anchor_row,
        concept=concept,
        stems=tuple(graph.lexicons.terms[term] for term in common_terms),
        score=score,
        strength=min(1.0, strength),
        novelty=min(1.0, novelty),
    )


def _concepts_of(graph: MemoryGraph, row: int) -> frozenset[int]:
    """The concepts that a row mentions and that are rare enough to connect."""
    start, concepts = graph.concepts_of_row
    most = max(COMMON_MENTIONS, COMMON_SHARE * graph.row_of_turn.size)
    return frozenset(
        c for c in concepts[start[row] : start[row + 1]].tolist() if _mentions_of(graph, c) <= most
    )


def _mentions_of(graph: MemoryGraph, concept: int) -> int:
    return int(graph.concept_start[concept + 1] - graph.concept_start[concept])


def _rare_terms(graph: MemoryGraph, row: int) -> dict[int, float]:
    """The rare terms that a row says itself, with their IDF over the whole graph."""
    meeting = int(graph.meeting_of_row[row])
    block = graph.blocks[meeting]
    local = row - int(graph.meeting_rows[meeting])
    low, high = np.searchsorted(block.posting_row, (local, local + 1))
    n = max(graph.row_of_turn.size, 1)
    terms = block.posting_term[low:high]
    frequency = graph.posting_start[terms + 1] - graph.posting_start[terms]
    speaker = _speaker_terms(graph, row)
    most = max(LEAST_RARE, RARE_SHARE * n)
    return {
        int(term): float(np.log(1.0 + n / held))
        for term, held in zip(terms, frequency, strict=True)
        if held <= most and term not in speaker
    }


def _speaker_terms(graph: MemoryGraph, row: int) -> frozenset[int]:
    """The terms of the speaker's own name: "Ann: …" is no mention of Ann."""
    speaker = int(graph.speakers[row])
    return graph.terms_of_speaker.get(speaker, frozenset())
