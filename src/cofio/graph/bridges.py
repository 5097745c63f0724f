"""Bridges: memories far from a question that connect to what it woke, each with a link that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cofio.graph.csr import DEFINITION_WEIGHT, NEXT_WEIGHT, MemoryGraph
from cofio.graph.spread import defined_by, unit_range
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s

# + .6 · .6^(k'−k−1) for the k'-th meeting of a series if the question is asked of its k-th: share of follow-ups of
# an item found in five bridges .22 → .43 on ethpm dev; .3 gives .38, 1 gives .42.
LATER_WEIGHT: Final = 0.6
LATER_DECAY: Final = 0.6
# + .5 for a document that shares rare names with a passage found: MuSiQue dev gold missed by ten hybrid hits and
# found in five bridges .26 → .51; .25 and .75 gave .41 and .50.
NAME_WEIGHT: Final = 0.5
# A stem links two memories by itself if at most this share of the turns holds it; "said" and "step" link nothing.
RARE_SHARE: Final = 0.005
LEAST_RARE: Final = 3
# One shared stem alone is chance unless the two are also about the same: two stems, or one and this cosine.
STEM_COSINE: Final = 0.4
# A concept that everybody mentions connects nothing: at most this share of the turns, or so many mentions.
COMMON_SHARE: Final = 0.02
COMMON_MENTIONS: Final = 8
# What was said so close to a direct hit belongs to it.
NEAR: Final = 3
# Weaker links are not worth telling.
LEAST_STRENGTH: Final = 0.3
LIMIT: Final = 5
# Candidates that are tried for a link.
DEPTH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One bridge: what connects `row` to the woken row `anchor`.

    It is said `turns` after it in one conversation (before it, if negative), or it is the document whose title
    the anchor names, or both are documents and hold the rare `names` (keys of `cofio.text.titles`), or both mention
    `concept`, or both hold `stems`.
    `strength` and `novelty` are in [0, 1]; `score` is B.
    """

    row: int
    anchor: int
    turns: int = 0
    defines: bool = False
    names: tuple[int, ...] = ()
    concept: int | None = None
    stems: tuple[str, ...] = ()
    score: float
    strength: float
    novelty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What may become a bridge: `rows` with `scores` U, and `named` rows that share rare names, with `shares`.

    If the question was `asked_of` meetings by their ids, these are its meetings, and no candidate is of one.
    """

    rows: Int32s
    scores: Float32s
    named: Int32s
    shares: Float32s
    asked_of: Sequence[int]


def find_bridges(
    graph: MemoryGraph,
    candidates: Candidates,
    direct: Sequence[int],
    woken: Sequence[int],
    query: Float32s,
) -> tuple[Link, ...]:
    """At most five bridges, best first by B = mm(U) + .5 shared + .6 later (DESIGN §3 point 10).

    `direct` are the direct hits, best first, and `woken` these and what comes next. A bridge is no direct hit and
    has a link that can be named: to a woken row of another meeting, or, if it is worth more than the weakest
    direct hit, to the hit beside which it was said. Novelty is told, it never scores: as a score it does no better
    than chance (lab 2 §3).
    """
    if not direct:
        return ()
    rows = np.union1d(candidates.rows, candidates.named).astype(np.int32)
    u = np.zeros(rows.size, np.float32)
    u[np.searchsorted(rows, candidates.rows)] = unit_range(candidates.scores)
    score = u + LATER_WEIGHT * _later(graph, candidates.asked_of)[graph.meeting_of_row[rows]]
    score[np.searchsorted(rows, candidates.named)] += NAME_WEIGHT * candidates.shares
    beyond = float(u[np.isin(rows, direct)].min(initial=1.0))
    anchors = [
        _Holds(
            row=row,
            concepts=_concepts_of(graph, row),
            terms=_rare_terms(graph, row),
            defined=frozenset(defined_by(graph, np.array([row], np.int32)).tolist()),
        )
        for row in woken
    ]
    links: list[Link] = []
    for i in np.lexsort((rows, -score))[: DEPTH + len(direct)]:
        row = int(rows[i])
        beside = [hit for hit in direct if _too_near(graph, row, hit)]
        # The rest of a document that was found is no bridge to it.
        if row in beside or (beside and (u[i] <= beyond or graph.documents[graph.meeting_of_row[row]])):
            continue
        if not beside and any(_too_near(graph, row, link.row) for link in links):
            continue
        made = _link(graph, row, beside, anchors)
        if made is None:
            continue
        novelty = 1.0 - float(graph.vectors[row, :SEMANTIC_DIMENSIONS] @ query[:SEMANTIC_DIMENSIONS])
        links.append(replace(made, score=float(score[i]), novelty=min(1.0, max(0.0, novelty))))
        if len(links) == LIMIT:
            break
    return tuple(links)


def _too_near(graph: MemoryGraph, a: int, b: int) -> bool:
    return bool(graph.meeting_of_row[a] == graph.meeting_of_row[b]) and abs(a - b) <= NEAR


def _later(graph: MemoryGraph, asked_of: Sequence[int]) -> Float32s:
    """.6^(k'−k−1) of each meeting that follows one that was asked of in its series; 0 for all others."""
    later = np.zeros(len(graph.blocks), np.float32)
    for meeting in asked_of:
        series, day = graph.meeting_series[meeting], graph.meeting_day[meeting]
        following = np.flatnonzero(
            (graph.meeting_series == series)
            & (graph.meeting_project == graph.meeting_project[meeting])
            & (graph.meeting_day > day)
            & (series >= 0)
            & (day > 0)
        )
        following = following[np.lexsort((following, graph.meeting_day[following]))]
        later[following] = np.maximum(later[following], LATER_DECAY ** np.arange(following.size))
    return later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holds:
    """What a row can be linked by."""

    row: int
    concepts: frozenset[int]
    terms: dict[int, float]
    defined: frozenset[int]  # rows of documents


def _link(graph: MemoryGraph, row: int, beside: Sequence[int], anchors: Sequence[_Holds]) -> Link | None:
    """The strongest nameable link of `row`, to a hit beside it or else to one of the anchors in another meeting.

    Its score and its novelty are not filled in.
    """
    if beside:
        nearest = min(beside, key=lambda hit: (abs(row - hit), hit))
        return Link(
            row=row,
            anchor=nearest,
            turns=row - nearest,
            score=0.0,
            strength=NEXT_WEIGHT ** abs(row - nearest),
            novelty=0.0,
        )
    meeting = int(graph.meeting_of_row[row])
    for anchor in anchors:
        if row in anchor.defined:
            return Link(
                row=row, anchor=anchor.row, defines=True, score=0.0, strength=DEFINITION_WEIGHT, novelty=0.0
            )
    semantic = graph.vectors[row, :SEMANTIC_DIMENSIONS]
    if graph.documents[meeting] and (link := _shared_names(graph, row, anchors)):
        return link
    concepts = _concepts_of(graph, row)
    terms = _rare_terms(graph, row)
    best: Link | None = None
    for anchor in anchors:
        if int(graph.meeting_of_row[anchor.row]) == meeting:
            continue
        shared = concepts & anchor.concepts
        common = terms.keys() & anchor.terms.keys()
        if not shared and not common:
            continue
        cosine = max(0.0, float(semantic @ graph.vectors[anchor.row, :SEMANTIC_DIMENSIONS]))
        if not shared and len(common) < 2 and cosine < STEM_COSINE:
            continue
        weight = sum(terms[term] for term in common) / max(sum(terms.values()), 1e-9)
        strength = min(1.0, 0.5 * cosine + 0.5 * min(1.0, weight + (0.5 if shared else 0.0)))
        if strength >= LEAST_STRENGTH and (best is None or strength > best.strength):
            best = Link(
                row=row,
                anchor=anchor.row,
                concept=min(shared, key=lambda c: (_mentions_of(graph, c), c), default=None),
                stems=tuple(
                    graph.lexicons.terms[term] for term in sorted(common, key=lambda t: (-terms[t], t))[:3]
                ),
                score=0.0,
                strength=strength,
                novelty=0.0,
            )
    return best


def _shared_names(graph: MemoryGraph, row: int, anchors: Sequence[_Holds]) -> Link | None:
    """The link to the first anchor of another document that holds a rare name of `row`."""
    keys, held_start, _ = graph.rows_of_name
    start, names = graph.names_of_row
    own = names[start[row] : start[row + 1]]
    for anchor in anchors:
        common = np.intersect1d(own, names[start[anchor.row] : start[anchor.row + 1]])
        if common.size and graph.meeting_of_row[anchor.row] != graph.meeting_of_row[row]:
            held = held_start[common + 1] - held_start[common]
            return Link(
                row=row,
                anchor=anchor.row,
                names=tuple(keys[common[held == held.min()]].tolist()),
                score=0.0,
                strength=1.0 / float(np.log2(held.min())),
                novelty=0.0,
            )
    return None


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
