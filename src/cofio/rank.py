"""The only place where scores mix. Every constant of the ranking is named here, with the figure behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Final

import numpy as np

from cofio.cue import Cue
from cofio.graph import kernels
from cofio.graph.best import best
from cofio.graph.blocks import KIND_CODES
from cofio.graph.csr import MemoryGraph
from cofio.graph.documents import spread_to_definitions
from cofio.graph.spread import Evidence, unit_range
from cofio.records import SEMANTIC_DIMENSIONS, Bools, ConceptKind, Float32s, Int32s
from cofio.text.dates import DateSpan, date_match
from cofio.text.terms import stem


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Every weight of the ranking of episodes, each with the figure behind it; `cofio eval --ablation` takes them
    out one by one.
    """

    # Hybrid H = .4 BM25 + .6 dense: convex fusion beats reciprocal ranks by .02 to .10 recall@10 (lab 1 §5).
    hybrid_terms: float = 0.4
    # F = .5 terms + .5 context, flat from .4 to .6 (lab 1 §1).
    spread_terms: float = 0.5
    # U = .6 F + .4 H: LoCoMo recall@10 .757 against .669 of H alone (lab 1 §2, dev).
    spread_share: float = 0.6
    # + .1 for a full-length utterance: part of U above; features beat vectors as additive priors (lab 1 §6).
    length: float = 0.1
    # + .2 if the question names exactly one participant and this is the speaker. More hurts questions whose
    # premise swaps speakers: at .4 their recall falls from .878 to .616 (lab 1 §2).
    speaker: float = 0.2
    # + .3 for a date named in the question: recall@10 .721 → .843 on the questions with a date (lab 1 §2).
    date: float = 0.3
    # − .1 for an utterance that is nothing but a question.
    question: float = 0.1
    # + .2 for the meeting when several are in scope: pooled QMSum right meeting in the top 5 .581 → .605
    # (lab 1 §3).
    meeting: float = 0.2
    # + .3 for a meeting in which somebody took part whom the question names: LoCoMo pooled multi-hop recall@10
    # .472 → .486, all .787 → .790; .2 to 1 give the same.
    participant: float = 0.3
    # + .3 for a document whose title the question names, and up to .95 for one that a best passage names, so that
    # it stands right behind them; nothing on transcripts, which have no titles. Recall@5 on 2Wiki / MuSiQue dev
    # .68 / .56 → .91 / .62; adding .5 instead .92 / .55, and the best passage was no longer the first.
    title: float = 0.3
    definition: float = 0.95


WEIGHTS: Final = Weights()
# Passages from which definitions are sought; 3, 5 and 8 gave recall@5 within .01 of each other.
DEFINITION_SEEDS: Final = 5
FULL_LENGTH_WORDS: Final = 25
# A context is as good as the mean of its five best turns (lab 2 §2).
CONTEXT_TURNS: Final = 5
# How many of its turns a context found is shown with.
SHOWN_TURNS: Final = 20
# A concept's score: its label's share of the question, and its centroid.
CONCEPT_LABEL: Final = 0.5
# A concept that the question does not name is shown if its centroid is at least this near; below, it is noise.
CONCEPT_COSINE: Final = 0.35

# confidence = sigmoid(c · signals), the form of lab 2 §4a, fitted by scripts/fit_confidence.py (decision 15).
CONFIDENCE: Final = (-6.13, 7.26, 4.55, 1.53, 1.16)
# Support for a question that names one speaker: catches swapped speakers (lab 2 §4b).
SUPPORT: Final = (-3.01, 5.21, 2.26, -0.78, 3.31)
SUPPORT_SHARPNESS: Final = 15.0
AGREEMENT_DEPTH: Final = 10
SUPPORT_DEPTH: Final = 5


def hybrid(evidence: Evidence, weights: Weights = WEIGHTS) -> Float32s:
    """H of each candidate: what plain hybrid search would rank by; within [0, 1]."""
    terms = weights.hybrid_terms
    return terms * unit_range(evidence.bm25) + (1 - terms) * unit_range(evidence.dense)


def own_match(evidence: Evidence, cue: Cue, weights: Weights = WEIGHTS) -> Float32s:
    """H within [0, 1], with what a document gains by a title that the question names."""
    own = hybrid(evidence, weights)
    if cue.documents.size:
        own = own + weights.title * np.isin(evidence.rows, cue.documents)
    return unit_range(own)


def content_spread(evidence: Evidence, *, wide: bool, weights: Weights = WEIGHTS) -> Float32s:
    """F of each candidate under kernel M, or L if `wide`; 0 for utterances that carry no activation."""
    terms, context = (
        (evidence.terms_l, evidence.context_l) if wide else (evidence.terms_m, evidence.context_m)
    )
    share = weights.spread_terms
    spoken = evidence.turn >= 0
    spread = np.zeros(evidence.rows.size, np.float32)
    spread[spoken] = share * unit_range(terms[spoken]) + (1 - share) * unit_range(context[spoken])
    return spread


def rank_episodes(
    evidence: Evidence, graph: MemoryGraph, cue: Cue, *, spreading: bool, weights: Weights = WEIGHTS
) -> Float32s:
    """The score of each candidate row: U with its priors, or plain H if `spreading` is off (DESIGN §3 points 4-5)."""
    if not spreading:
        return hybrid(evidence, weights)
    return with_speaker(unsteered(evidence, graph, cue, weights), evidence, graph, cue, weights)


def with_speaker(
    score: Float32s, evidence: Evidence, graph: MemoryGraph, cue: Cue, weights: Weights = WEIGHTS
) -> Float32s:
    """U with the last of its priors: for what the one speaker says whom the question names."""
    if cue.person is None:
        return score
    spoke = graph.speakers[evidence.rows] == cue.person
    return np.asarray(score + weights.speaker * spoke, np.float32)


def unsteered(evidence: Evidence, graph: MemoryGraph, cue: Cue, weights: Weights = WEIGHTS) -> Float32s:
    """U with every prior but the speaker's, which the test of support must not see."""
    rows = evidence.rows
    meeting = graph.meeting_of_row[rows]
    document = graph.documents[meeting]
    own = own_match(evidence, cue, weights)
    # In a document nothing is said before or after: it is ranked by its own match, and by who names its title.
    spread = np.where(document, own, unit_range(content_spread(evidence, wide=False, weights=weights)))
    defined = unit_range(spread_to_definitions(graph, evidence, own, DEFINITION_SEEDS))
    score = unit_range(weights.spread_share * spread + (1 - weights.spread_share) * own)
    score = np.maximum(score, weights.definition * defined)
    length = np.minimum(1.0, graph.words[rows] / FULL_LENGTH_WORDS).astype(np.float32)
    score = score + weights.length * np.where(document, 1.0, length)
    score = score - weights.question * graph.pure_question[rows]
    score = score + weights.meeting * np.where(document, 0.0, evidence.meeting[meeting])
    told = _told_prior(graph, cue, weights)[meeting]
    score = score + told - told.min(initial=np.inf if told.size else 0.0)
    return np.asarray(score, dtype=np.float32)


def turn_scores(evidence: Evidence, *, spreading: bool) -> Float32s:
    """By what contexts are ranked, and their turns: F_L of each candidate, H with `spreading` off.

    F_L marks the stretch of talk that answers, U the sentence: in this order the turns of the contexts reach
    nDCG@10 .50 on QMSum dev and .51 on ethpm, by U .48 and .47.
    """
    return content_spread(evidence, wide=True) if spreading else hybrid(evidence)


def rank_contexts(
    evidence: Evidence, graph: MemoryGraph, cue: Cue, turn_score: Float32s, *, spreading: bool
) -> tuple[Int32s, Float32s]:
    """The contexts that hold candidates, with their scores: the mean of the five best turns of each.

    Returns (context numbers, scores).
    """
    # Rows ascend, and with them the contexts that hold them.
    contexts = graph.context_of_row[evidence.rows]
    found, score = np.empty(contexts.size, np.int32), np.empty(contexts.size, np.float32)
    n = kernels.best_sums(contexts, turn_score, CONTEXT_TURNS, found, score)
    found, score = found[:n], score[:n]
    held = np.searchsorted(graph.row_of_turn, graph.context_last[found]) - np.searchsorted(
        graph.row_of_turn, graph.context_first[found]
    )
    score = score / np.clip(held, 1, CONTEXT_TURNS)
    if spreading:
        prior = WEIGHTS.meeting * evidence.meeting + _told_prior(graph, cue, WEIGHTS)
        score = score + prior[graph.context_meeting[found]]
    return found, score.astype(np.float32)


def best_turns(
    evidence: Evidence, graph: MemoryGraph, contexts: Sequence[int], turn_score: Float32s
) -> Mapping[int, Int32s]:
    """For each of these contexts its best candidate rows that are turns, at most twenty, ties to the lower row."""
    of = np.where(evidence.turn >= 0, graph.context_of_row[evidence.rows], -1)
    descending = -turn_score.round(6)
    found = {}
    for context in contexts:
        held = np.flatnonzero(of == context)
        found[context] = evidence.rows[held[np.argsort(descending[held], kind="stable")][:SHOWN_TURNS]]
    return found


def rank_concepts(graph: MemoryGraph, cue: Cue, vector: Float32s, near: Int32s) -> tuple[Int32s, Float32s]:
    """The concepts that the question names, or that are `near`est and near enough, with their scores in [0, 1].

    ½ share of the label's stems that the question holds + ½ cosine to the centroid. People only by name: the
    centroid of all that somebody said is near to everything.
    """
    alive = graph.concept_alive
    listed = chain.from_iterable(graph.concepts_of_stem.get(stem, ()) for stem in frozenset(cue.stems))
    named, held = np.unique(np.fromiter(listed, np.int32), return_counts=True)
    here = named < alive.size
    here[here] = alive[named[here]]
    named, held = named[here], held[here]
    near = near[graph.concept_kinds[near] != KIND_CODES[ConceptKind.PERSON]]
    numbers = np.union1d(named, near)
    share = np.zeros(numbers.size, np.float32)
    share[np.searchsorted(numbers, named)] = held / np.maximum(graph.concept_stems[named], 1)
    cosine = np.empty(numbers.size, np.float32)
    kernels.dots_of_rows(
        np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS]), graph.concept_vectors, numbers, cosine
    )
    kept = (cosine >= CONCEPT_COSINE) | (share > 0.0)
    numbers, cosine, share = numbers[kept], cosine[kept], share[kept]
    return numbers, (CONCEPT_LABEL * share + (1 - CONCEPT_LABEL) * np.clip(cosine, 0.0, 1.0)).astype(
        np.float32
    )


def confidence(evidence: Evidence, graph: MemoryGraph, cue: Cue, u: Float32s) -> float:
    """The probability that this memory holds an answer at all, in [0, 1] (DESIGN §3 point 11).

    `u` is U without the speaker's prior (`unsteered`). A question that names one speaker is also tested for support by
    what that speaker said, unless nobody else said any of what is found: the result is the geometric mean of the two.
    """
    if evidence.rows.size == 0:
        return 0.0
    held = _sigmoid(float(np.dot(CONFIDENCE, held_signals(evidence, graph))))
    if cue.person is None or (graph.speakers[evidence.rows] == cue.person).all():
        return held
    return math.sqrt(held * support(evidence, graph, cue.person, u))


def held_signals(evidence: Evidence, graph: MemoryGraph) -> tuple[float, float, float, float, float]:
    """1, and what tells that an answer is held: the best cosine, the best spread of terms as a share of what the
    question could reach, the share of its terms that are known, and that of the ten best by terms and by context
    that are the same. `evidence` holds a row.
    """
    spoken = evidence.turn >= 0
    nearest = float(evidence.cosine.max())
    terms = float(evidence.terms_m.max()) / (2.2 * evidence.idf_all) if evidence.idf_all else 0.0
    known = evidence.idf_known / evidence.idf_all if evidence.idf_all else 0.0
    rows = evidence.rows[spoken]
    top = [
        set(rows[best(graph, rows, channel[spoken], AGREEMENT_DEPTH)].tolist())
        for channel in (evidence.terms_m, evidence.context_m)
    ]
    return 1.0, nearest, terms, known, len(top[0] & top[1]) / AGREEMENT_DEPTH


def support(evidence: Evidence, graph: MemoryGraph, person: int, u: Float32s) -> float:
    """How well what is found fits the one speaker that the question names, in [0, 1] (lab 2 §4b); ½ if none of it is
    that speaker's.

    Consistent is a turn of the named speaker that speaks of himself or addresses nobody, or one of another that
    addresses somebody or mentions the speaker; inconsistent is another speaker speaking of himself. The soft difference is
    of means over turns, so that it does not fall with the number of people who take part.
    """
    rows = evidence.rows
    named = graph.speakers[rows] == person
    if not named.any():
        return 0.5
    about = named | graph.second_person[rows] | _mentions(graph, rows, person)
    consistent = (named & (graph.first_person[rows] | ~graph.second_person[rows])) | (~named & about)
    inconsistent = ~named & graph.first_person[rows] & ~about
    h = unit_range(hybrid(evidence))
    soft = (_log_mean(u[named]) - _log_mean(u[~named])) / SUPPORT_SHARPNESS
    margin_h = _margin(h, consistent, inconsistent)
    margin_u = _margin(u, consistent, inconsistent)
    top = best(graph, rows, u, SUPPORT_DEPTH)
    return _sigmoid(float(np.dot(SUPPORT, (1.0, soft, margin_h, margin_u, consistent[top].mean()))))


def _told_prior(graph: MemoryGraph, cue: Cue, weights: Weights) -> Float32s:
    """(meetings,) what the question tells of each: who took part, and when it was."""
    prior = np.zeros(graph.alive.size, np.float32)
    for person in cue.people:
        prior[graph.living_meetings(person)] = weights.participant
    if cue.dates:
        prior += weights.date * _date_matches(graph, cue.dates)
    return prior


def _date_matches(graph: MemoryGraph, spans: tuple[DateSpan, ...]) -> Float32s:
    days, place = np.unique(graph.meeting_day, return_inverse=True)
    matches = [
        max(date_match(date.fromordinal(day), span) for span in spans) if day > 0 else 0.0
        for day in days.tolist()
    ]
    return np.asarray(np.array(matches, np.float32)[place])


def _mentions(graph: MemoryGraph, rows: Int32s, person: int) -> Bools:
    """Which rows say the first name of a speaker."""
    first_name = stem(graph.lexicons.speakers[person].split()[0].lower())
    term = graph.lexicons.terms.find(first_name)
    said = np.zeros((1, rows.size), np.bool_)
    kernels.says(np.array([term], np.int32), rows, graph.said_end, graph.said_terms, said)
    return np.asarray(said[0])


def _margin(score: Float32s, consistent: Bools, inconsistent: Bools) -> float:
    return float(score[consistent].max(initial=0.0)) - float(score[inconsistent].max(initial=0.0))


def _log_mean(values: Float32s) -> float:
    peak = float(values.max())
    return SUPPORT_SHARPNESS * peak + math.log(float(np.exp(SUPPORT_SHARPNESS * (values - peak)).mean()))


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
