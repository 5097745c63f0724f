"""Bridges: memories far from a question that connect to what it woke, each with a link that can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.graph.best import best
from cofio.graph.blocks import PAIR_SIZE
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import DEFINITION_WEIGHT, NEXT_WEIGHT
from cofio.graph.spread import defined_by, unit_range
from cofio.records import SEMANTIC_DIMENSIONS, Bools, Float32s, Int32s, Int64s

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
NEAR: Final = 4
# Weaker links are not worth telling.
LEAST_STRENGTH: Final = 0.3
LIMIT: Final = 5
# Candidates that are tried for a link.
DEPTH: Final = 100
# So many of them at once, best first: five links are mostly found among the first ten.
TRIED_AT_ONCE: Final = 16


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
    `corpus` (m,) are the meetings by which rarity is measured: those of the projects that were asked of.
    """

    rows: Int32s
    scores: Float32s
    named: Int32s
    shares: Float32s
    asked_of: Sequence[int]
    corpus: Bools


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
    if not direct or not (candidates.rows.size or candidates.named.size):
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
    place = np.minimum(np.searchsorted(rows, direct), rows.size - 1)
    beyond = float(u[place[rows[place] == direct]].min(initial=1.0))
    order = best(graph, rows, score, DEPTH + len(direct))
    tried = rows[order]
    anchors = np.array(woken, np.int32)
    definitions = _definitions(graph, woken)
    of_direct = graph.meeting_of_row[np.array(direct, np.int32)].tolist()
    worths, shown = score[order].tolist(), u[order].tolist()
    links: list[Link] = []
    for first in range(0, tried.size, TRIED_AT_ONCE):
        linked = _Linked.of(graph, anchors, tried[first : first + TRIED_AT_ONCE], candidates.corpus)
        for at, row in enumerate(linked.rows.tolist()):
            meeting = linked.meetings[len(woken) + at]
            beside = [
                hit
                for hit, of in zip(direct, of_direct, strict=True)
                if of == meeting and abs(row - hit) <= NEAR
            ]
            # The rest of a document that was found is no bridge to it.
            if row in beside or (beside and (shown[first + at] <= beyond or graph.documents[meeting])):
                continue
            if not beside and any(
                abs(row - link.row) <= NEAR and graph.meeting_of_row[link.row] == meeting for link in links
            ):
                continue
            if beside:
                made: Link | None = _beside(row, beside)
            elif row in definitions:
                made = _link(row, definitions[row], DEFINITION_WEIGHT, defines=True)
            else:
                shared = _shared_names(graph, row, woken) if graph.documents[meeting] else None
                made = shared or linked.link(graph, at)
            if made is None:
                continue
            novelty = 1.0 - _cosine(graph, row, query)
            links.append(replace(made, score=worths[first + at], novelty=min(1.0, max(0.0, novelty))))
            if len(links) == LIMIT:
                return tuple(links)
    return tuple(links)


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
class _Linked:
    """Which anchor each row that was tried is linked to most strongly by rare terms and concepts.

    Place i of everything but `anchors` and `rows` is the i-th anchor, or after them all a row.
    """

    anchors: Int32s
    rows: Int32s
    meetings: list[int]
    terms: Int32s  # rare ones that each says itself; those of place i end at term_end[i]
    term_end: Int64s
    idf: NDArray[np.float64]  # of `terms`, over the corpus
    concepts: Int32s  # that are rare enough to connect; those of place i end at concept_end[i]
    concept_end: Int64s
    best: list[int]
    strength: list[float]

    @classmethod
    def of(cls, graph: MemoryGraph, anchors: Int32s, rows: Int32s, corpus: Bools) -> _Linked:
        both = np.concatenate((anchors, rows))
        turns = max(int(graph.meeting_totals[:, 0] @ corpus), 1)
        term_rows = _term_rows(graph, both, corpus)
        term_end, terms = _rare_terms(graph, both, term_rows, float(max(LEAST_RARE, RARE_SHARE * turns)))
        idf = np.log(1.0 + turns / np.maximum(term_rows[terms], 1))
        start = graph.row_concept_start
        concept_end = np.empty(both.size, np.int64)
        concepts = np.empty(int((start[both + 1] - start[both]).sum()), np.int32)
        kernels.rare_concepts(
            both, start, graph.row_concepts, graph.concept_start, float(max(COMMON_MENTIONS, COMMON_SHARE * turns)), concept_end,
            concepts,
        )  # fmt: skip
        meetings = graph.meeting_of_row[both]
        anchor, strength = np.empty(both.size, np.int32), np.empty(both.size)
        kernels.strongest_links(
            both, anchors.size, meetings, term_end, terms, idf, concept_end, concepts, graph.vectors, SEMANTIC_DIMENSIONS, STEM_COSINE, LEAST_STRENGTH, anchor, strength,
        )  # fmt: skip
        return cls(
            anchors=anchors,
            rows=rows,
            meetings=meetings.tolist(),
            terms=terms,
            term_end=term_end,
            idf=idf,
            concepts=concepts,
            concept_end=concept_end,
            best=anchor.tolist(),
            strength=strength.tolist(),
        )

    def link(self, graph: MemoryGraph, row: int) -> Link | None:
        """The link of the row at place `row` among the rows, None if it has none."""
        place = self.anchors.size + row
        at = self.best[place]
        if at < 0:
            return None
        terms = self._terms(place)
        words = graph.lexicons.terms
        common = sorted(terms.keys() & self._terms(at).keys(), key=lambda term: (-terms[term], words[term]))
        shared = self._concepts(place) & self._concepts(at)
        return _link(
            int(self.rows[row]),
            int(self.anchors[at]),
            self.strength[place],
            concept=min(shared, key=lambda concept: (_mentions_of(graph, concept), concept), default=None),
            stems=tuple(words[term] for term in common[:3]),
        )

    def _terms(self, place: int) -> dict[int, float]:
        held = slice(self.term_end[place - 1] if place else 0, self.term_end[place])
        return dict(zip(self.terms[held].tolist(), self.idf[held].tolist(), strict=True))

    def _concepts(self, place: int) -> frozenset[int]:
        held = slice(self.concept_end[place - 1] if place else 0, self.concept_end[place])
        return frozenset(self.concepts[held].tolist())


def _term_rows(graph: MemoryGraph, rows: Int32s, corpus: Bools) -> Int64s:
    """(terms,): how many rows of the corpus say each term that `rows` say; other terms are not counted for a part."""
    if corpus is graph.alive:
        return graph.term_rows
    said = [
        graph.said_terms[graph.said_end[row - 1] if row else 0 : graph.said_end[row]] for row in rows.tolist()
    ]
    terms = np.unique(np.concatenate(said)).astype(np.int32)
    counted = np.zeros(terms.size, np.int64)
    kernels.term_sums(terms, graph.term_start, graph.term_pair, graph.pairs, corpus, PAIR_SIZE, counted)
    found = np.zeros(graph.term_rows.size, np.int64)
    found[terms] = counted
    return found


def _rare_terms(graph: MemoryGraph, rows: Int32s, term_rows: Int64s, most: float) -> tuple[Int64s, Int32s]:
    """(end, terms): what each row says itself that at most `most` rows of the corpus say."""
    said = graph.said_end[rows] - np.where(rows > 0, graph.said_end[rows - 1], 0)
    end, terms = np.empty(rows.size, np.int64), np.empty(int(said.sum()), np.int32)
    kernels.rare_terms(
        rows, graph.said_end, graph.said_terms, term_rows, graph.speakers, graph.speaker_term_start,
        graph.speaker_terms, most, end, terms,
    )  # fmt: skip
    return end, terms[: int(end[-1])]


def _definitions(graph: MemoryGraph, woken: Sequence[int]) -> Mapping[int, int]:
    """The rows whose document's title a woken row names, with the first that does."""
    found: dict[int, int] = {}
    for row in woken if graph.definition_rows.size else ():
        for defined in defined_by(graph, np.array([row], np.int32)).tolist():
            found.setdefault(defined, row)
    return found


def _beside(row: int, beside: Sequence[int]) -> Link:
    """The link to the hit that was said nearest; score and novelty are not filled in."""
    nearest = min(beside, key=lambda hit: (abs(row - hit), hit))
    return _link(row, nearest, NEXT_WEIGHT ** abs(row - nearest), turns=row - nearest)


def _link(
    row: int,
    anchor: int,
    strength: float,
    *,
    turns: int = 0,
    defines: bool = False,
    names: tuple[int, ...] = (),
    concept: int | None = None,
    stems: tuple[str, ...] = (),
) -> Link:
    """A link whose score and novelty are not filled in."""
    return Link(
        row=row, anchor=anchor, turns=turns, defines=defines, names=names, concept=concept, stems=stems, score=0.0,
        strength=strength, novelty=0.0,
    )  # fmt: skip


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
            found = tuple(keys[common[held == held.min()]].tolist())
            return _link(row, anchor, 1.0 / float(np.log2(held.min())), names=found)
    return None


def _mentions_of(graph: MemoryGraph, concept: int) -> int:
    return int(graph.concept_start[concept + 1] - graph.concept_start[concept])


def _cosine(graph: MemoryGraph, row: int, other: Float32s) -> float:
    """The cosine of a row's vector to the semantic part of another."""
    out = np.empty(1, np.float32)
    kernels.dots_of_rows(other[:SEMANTIC_DIMENSIONS], graph.vectors, np.array([row], np.int32), out)
    return float(out[0])
