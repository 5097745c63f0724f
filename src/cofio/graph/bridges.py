"""Bridges: memories far from a question that connect to what it woke, each with a link that can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import DEFINITION_WEIGHT, NEXT_WEIGHT
from cofio.graph.spread import defined_by, unit_range
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s, Int64s
from cofio.text.terms import stems

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
    rows, u, score = candidates.rows, unit_range(candidates.scores), None
    if candidates.named.size:
        rows = np.union1d(candidates.rows, candidates.named).astype(np.int32)
        u = np.zeros(rows.size, np.float32)
        u[np.searchsorted(rows, candidates.rows)] = unit_range(candidates.scores)
        score = u.copy()
        score[np.searchsorted(rows, candidates.named)] += NAME_WEIGHT * candidates.shares
    score = u.copy() if score is None else score
    if candidates.asked_of:
        score += LATER_WEIGHT * _later(graph, candidates.asked_of)[graph.meeting_of_row[rows]]
    beyond = float(u[np.isin(rows, direct)].min(initial=1.0))
    order = _first(score, rows, DEPTH + len(direct))
    tried = rows[order]
    found = _Holdings.of(graph, np.concatenate((np.array(woken, np.int32), tried)))
    anchors = _Anchors.of(graph, found, woken)
    links: list[Link] = []
    for place, (row, worth, shown) in enumerate(
        zip(tried.tolist(), score[order].tolist(), u[order].tolist(), strict=True), len(woken)
    ):
        meeting = found.meeting[place]
        beside = [hit for hit in direct if abs(row - hit) <= NEAR and graph.meeting_of_row[hit] == meeting]
        # The rest of a document that was found is no bridge to it.
        if row in beside or (beside and (shown <= beyond or graph.documents[meeting])):
            continue
        if not beside and any(
            abs(row - link.row) <= NEAR and graph.meeting_of_row[link.row] == meeting for link in links
        ):
            continue
        made = _beside(row, beside) if beside else _link(graph, found, place, row, anchors)
        if made is None:
            continue
        novelty = 1.0 - _cosine(graph, row, query)
        links.append(replace(made, score=worth, novelty=min(1.0, max(0.0, novelty))))
        if len(links) == LIMIT:
            break
    return tuple(links)


def _first(score: Float32s, rows: Int32s, limit: int) -> Int64s:
    """The places of the best `limit` scores, best first, ties to the lower row."""
    places = np.arange(rows.size)
    if rows.size > limit:
        places = np.flatnonzero(score >= -np.partition(-score, limit - 1)[limit - 1])
    return places[np.lexsort((rows[places], -score[places]))][:limit]


def _later(graph: MemoryGraph, asked_of: Sequence[int]) -> Float32s:
    """.6^(k'−k−1) of each meeting that follows one that was asked of in its series; 0 for all others."""
    later = np.zeros(graph.alive.size, np.float32)
    for meeting in asked_of:
        series, day = graph.meeting_series[meeting], graph.meeting_day[meeting]
        following = np.flatnonzero(
            graph.alive
            & (graph.meeting_series == series)
            & (graph.meeting_project == graph.meeting_project[meeting])
            & (graph.meeting_day > day)
            & (series >= 0)
            & (day > 0)
        )
        following = following[np.lexsort((following, graph.meeting_day[following]))]
        later[following] = np.maximum(later[following], LATER_DECAY ** np.arange(following.size))
    return later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holdings:
    """What rows can be linked by; place i of each list belongs to row i."""

    meeting: list[int]
    terms: list[dict[int, float]]  # rare ones that the row says itself, with their IDF over the whole graph
    concepts: list[frozenset[int]]  # that are rare enough to connect

    @classmethod
    def of(cls, graph: MemoryGraph, rows: Int32s) -> _Holdings:
        turns = max(graph.row_of_turn.size, 1)
        meeting = graph.meeting_of_row[rows].tolist()
        said = graph.said_end[rows] - np.where(rows > 0, graph.said_end[rows - 1], 0)
        end, terms = np.empty(rows.size, np.int64), np.empty(int(said.sum()), np.int32)
        kernels.rare_terms(
            rows,
            graph.said_end,
            graph.said_terms,
            graph.term_rows,
            max(LEAST_RARE, RARE_SHARE * turns),
            end,
            terms,
        )
        terms = terms[: int(end[-1])] if end.size else terms[:0]
        idf = np.log(1.0 + turns / np.maximum(graph.term_rows[terms], 1)).tolist()
        names: dict[int, frozenset[int]] = {-1: frozenset()}
        held, numbers, begin = [], terms.tolist(), 0
        for speaker, last in zip(graph.speakers[rows].tolist(), end.tolist(), strict=True):
            if speaker not in names:
                names[speaker] = _terms_of(graph, speaker)
            # "Ann: …" is no mention of Ann.
            own = names[speaker]
            held.append({numbers[p]: idf[p] for p in range(begin, last) if numbers[p] not in own})
            begin = last
        most = max(COMMON_MENTIONS, COMMON_SHARE * graph.row_of_turn.size)
        start = graph.row_concept_start
        concepts = [
            frozenset(
                c
                for c in graph.row_concepts[low:high].tolist()
                if graph.concept_start[c + 1] - graph.concept_start[c] <= most
            )
            if low < high
            else frozenset()
            for low, high in zip(start[rows].tolist(), start[rows + 1].tolist(), strict=True)
        ]
        return cls(meeting=meeting, terms=held, concepts=concepts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anchors:
    """The woken rows, and which of them hold what. An anchor is known by its place, which is its rank."""

    rows: Sequence[int]
    of_term: Mapping[int, Sequence[int]]
    of_concept: Mapping[int, Sequence[int]]
    definitions: Mapping[
        int, int
    ]  # rows that an anchor names by their document's title, to the first that does

    @classmethod
    def of(cls, graph: MemoryGraph, found: _Holdings, woken: Sequence[int]) -> _Anchors:
        of_term: dict[int, list[int]] = {}
        of_concept: dict[int, list[int]] = {}
        definitions: dict[int, int] = {}
        for place, row in enumerate(woken):
            for term in found.terms[place]:
                of_term.setdefault(term, []).append(place)
            for concept in found.concepts[place]:
                of_concept.setdefault(concept, []).append(place)
            for defined in defined_by(graph, np.array([row], np.int32)).tolist():
                definitions.setdefault(defined, row)
        return cls(rows=woken, of_term=of_term, of_concept=of_concept, definitions=definitions)


def _beside(row: int, beside: Sequence[int]) -> Link:
    """The link to the hit that was said nearest; score and novelty are not filled in."""
    nearest = min(beside, key=lambda hit: (abs(row - hit), hit))
    strength = NEXT_WEIGHT ** abs(row - nearest)
    return Link(row=row, anchor=nearest, turns=row - nearest, score=0.0, strength=strength, novelty=0.0)


def _link(graph: MemoryGraph, found: _Holdings, place: int, row: int, anchors: _Anchors) -> Link | None:
    """The strongest nameable link of `row`, at `place`, to an anchor in another meeting.

    Its score and its novelty are not filled in.
    """
    if row in anchors.definitions:
        anchor = anchors.definitions[row]
        return Link(row=row, anchor=anchor, defines=True, score=0.0, strength=DEFINITION_WEIGHT, novelty=0.0)
    meeting = found.meeting[place]
    if graph.documents[meeting] and (link := _shared_names(graph, row, anchors.rows)):
        return link
    terms, concepts = found.terms[place], found.concepts[place]
    linked = {a for term in terms for a in anchors.of_term.get(term, ())}
    linked |= {a for concept in concepts for a in anchors.of_concept.get(concept, ())}
    best: Link | None = None
    for at in sorted(linked):
        if found.meeting[at] == meeting:
            continue
        anchor = anchors.rows[at]
        shared = concepts & found.concepts[at]
        common = terms.keys() & found.terms[at].keys()
        cosine = max(0.0, _cosine(graph, anchor, graph.semantic(np.array([row]))[0]))
        if not shared and len(common) < 2 and cosine < STEM_COSINE:
            continue
        weight = sum(terms[term] for term in common) / max(sum(terms.values()), 1e-9)
        strength = min(1.0, 0.5 * cosine + 0.5 * min(1.0, weight + (0.5 if shared else 0.0)))
        if strength >= LEAST_STRENGTH and (best is None or strength > best.strength):
            best = Link(
                row=row,
                anchor=anchor,
                concept=min(shared, key=lambda c: (_mentions_of(graph, c), c), default=None),
                stems=tuple(
                    graph.lexicons.terms[term] for term in sorted(common, key=lambda t: (-terms[t], t))[:3]
                ),
                score=0.0,
                strength=strength,
                novelty=0.0,
            )
    return best


def _shared_names(graph: MemoryGraph, row: int, anchors: Sequence[int]) -> Link | None:
    """The link to the first anchor of another document that holds a rare name of `row`."""
    keys, held_start, _ = graph.rows_of_name
    start, names = graph.names_of_row
    own = names[start[row] : start[row + 1]]
    if not own.size:
        return None
    for anchor in anchors:
        common = np.intersect1d(own, names[start[anchor] : start[anchor + 1]])
        if common.size and graph.meeting_of_row[anchor] != graph.meeting_of_row[row]:
            held = held_start[common + 1] - held_start[common]
            return Link(
                row=row,
                anchor=anchor,
                names=tuple(keys[common[held == held.min()]].tolist()),
                score=0.0,
                strength=1.0 / float(np.log2(held.min())),
                novelty=0.0,
            )
    return None


def _mentions_of(graph: MemoryGraph, concept: int) -> int:
    return int(graph.concept_start[concept + 1] - graph.concept_start[concept])


def _cosine(graph: MemoryGraph, row: int, other: Float32s) -> float:
    """The cosine of a row's vector to the semantic part of another."""
    out = np.empty(1, np.float32)
    kernels.dots_of_rows(other[:SEMANTIC_DIMENSIONS], graph.vectors, np.array([row], np.int32), out)
    return float(out[0])


def _terms_of(graph: MemoryGraph, speaker: int) -> frozenset[int]:
    """The terms of a speaker's own name."""
    return frozenset(map(graph.lexicons.terms.find, stems(graph.lexicons.speakers[speaker])))
