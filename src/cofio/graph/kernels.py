"""Compiled kernels of the memory graph: arrays in, arrays out, scratch owned by the caller.

Two orders of episodes appear throughout. *Row* r counts every episode of the memory; *turn* k counts only the
episodes of at least five words, in the order in which they were said. The spread runs along turns and stays
between `first[k]` and `last[k]` (exclusive), the bounds of k's meeting. Scratch arrays come in zeroed and are
left zeroed, except where a docstring says that the caller clears them.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

K1: Final = 1.2  # BM25 term saturation (lab 1 §1; flat between .9 and 1.6)
B: Final = 0.5  # BM25 length normalisation (lab 1 §1)


@njit(cache=True, nogil=True)
def document_frequencies(terms, posting_start, posting_row, turn_of_row, meeting_of_row, in_scope, out):
    """`out[i]` is the number of turns of meetings in scope that hold term i. Cost: the postings of the terms."""
    for i in range(terms.size):
        n = 0
        for p in range(posting_start[terms[i]], posting_start[terms[i] + 1]):
            row = posting_row[p]
            if turn_of_row[row] >= 0 and in_scope[meeting_of_row[row]]:
                n += 1
        out[i] = n


@njit(cache=True, nogil=True)
def spread_terms(
    terms, idf, posting_start, posting_row, posting_count, turn_of_row, meeting_of_row, in_scope,
    first, last, kernel, smooth_length, mean_length, flow, reached, score, woken,
):  # fmt: skip
    """BM25 of turns after each term has spread along time; returns how many turns were woken.

    tf'_t(i) = Σ_d kernel[|d|] · tf_t(i+d) inside the meeting, then
    score(i) = Σ_t idf_t · tf'(k1+1) / (tf' + k1(1 − b + b·len'(i)/mean_length))   (DESIGN §3 point 2).
    Saturation comes after the spread, so a turn lights up where several of the query's terms meet around it.

    `flow` (turns, float32) and `reached` (turns, int32) are scratch. `woken[:n]` lists the turns with a score;
    the caller clears `score` at those. Cost: postings of the terms × (2·reach + 1).
    """
    reach = kernel.size - 1
    n_woken = 0
    for i in range(terms.size):
        n_reached = 0
        for p in range(posting_start[terms[i]], posting_start[terms[i] + 1]):
            row = posting_row[p]
            k = turn_of_row[row]
            if k < 0 or not in_scope[meeting_of_row[row]]:
                continue
            tf = posting_count[p]
            for j in range(max(first[k], k - reach), min(last[k], k + reach + 1)):
                if flow[j] == 0.0:
                    reached[n_reached] = j
                    n_reached += 1
                flow[j] += kernel[abs(j - k)] * tf
        for m in range(n_reached):
            j = reached[m]
            tf = flow[j]
            flow[j] = 0.0
            if score[j] == 0.0:
                woken[n_woken] = j
                n_woken += 1
            score[j] += idf[i] * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * smooth_length[j] / mean_length))
    return n_woken


@njit(cache=True, nogil=True)
def score_terms(
    terms, idf, posting_start, posting_row, posting_count, meeting_of_row, in_scope, length, mean_length, score, woken,
):  # fmt: skip
    """Plain BM25 of every row in scope; returns how many rows were woken. The caller clears `score` at those."""
    n_woken = 0
    for i in range(terms.size):
        for p in range(posting_start[terms[i]], posting_start[terms[i] + 1]):
            row = posting_row[p]
            if not in_scope[meeting_of_row[row]]:
                continue
            tf = posting_count[p]
            if score[row] == 0.0:
                woken[n_woken] = row
                n_woken += 1
            score[row] += idf[i] * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length[row] / mean_length))
    return n_woken


@njit(cache=True, nogil=True)
def score_meetings(
    terms, posting_start, posting_row, posting_count, meeting_of_row, in_scope, length, n_scope, mean_length, flow, out,
):  # fmt: skip
    """`out[m]` is the BM25 of the whole meeting m, read as one document, with idf over the meetings in scope.

    `flow` (meetings, float32) is scratch. Cost: postings of the terms + meetings × terms.
    """
    for i in range(terms.size):
        for p in range(posting_start[terms[i]], posting_start[terms[i] + 1]):
            meeting = meeting_of_row[posting_row[p]]
            if in_scope[meeting]:
                flow[meeting] += posting_count[p]
        n = 0
        for m in range(flow.size):
            if flow[m] > 0.0:
                n += 1
        idf = math.log(1.0 + (n_scope - n + 0.5) / (n + 0.5))
        for m in range(flow.size):
            tf = flow[m]
            if tf > 0.0:
                out[m] += idf * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length[m] / mean_length))
                flow[m] = 0.0


@njit(cache=True, nogil=True)
def dots_of_rows(query, vectors, rows, out):
    """`out[i]` = inner product of `query` (400) with `vectors[rows[i]]`."""
    for i in range(rows.size):
        vector = vectors[rows[i]]
        total = np.float32(0.0)
        for d in range(query.size):
            total += query[d] * vector[d]
        out[i] = total


@njit(cache=True, nogil=True)
def dots_around(query, vectors, turns, row_of_turn, first, last, reach, dots, known, visited):
    """`dots[j]` is q·e_j for every turn j within `reach` of one of `turns`; returns how many were computed.

    `known` (turns, bool) is scratch; `visited[:n]` lists what was computed, and the caller clears `known` there.
    """
    n = 0
    for i in range(turns.size):
        k = turns[i]
        for j in range(max(first[k], k - reach), min(last[k], k + reach + 1)):
            if known[j]:
                continue
            known[j] = True
            visited[n] = j
            n += 1
            vector = vectors[row_of_turn[j]]
            total = np.float32(0.0)
            for d in range(query.size):
                total += query[d] * vector[d]
            dots[j] = total
    return n


@njit(cache=True, nogil=True)
def context_cosines(turns, first, last, kernel, gain, norm, dots, out):
    """`out[i]` = cosine of the query to the kernel-averaged vector around `turns[i]`.

    ctx(k) = Σ_d kernel[|d|] · gain_j · (q·e_j) / norm_k with j = k+d and norm_k = ‖Σ_d kernel[|d|] gain_j e_j‖
    (DESIGN §3 point 3), so no second vector a memory is needed.
    """
    reach = kernel.size - 1
    for i in range(turns.size):
        k = turns[i]
        total = np.float32(0.0)
        for j in range(max(first[k], k - reach), min(last[k], k + reach + 1)):
            total += kernel[abs(j - k)] * gain[j] * dots[j]
        out[i] = total / norm[k] if norm[k] > 0.0 else 0.0


@njit(cache=True, nogil=True)
def expand(turns, first, last, reach, seen, out):
    """`out[:n]` lists, ascending by seed, every turn within `reach` of one of `turns`, each once; returns n.

    The caller clears `seen` (turns, bool) at what is listed.
    """
    n = 0
    for i in range(turns.size):
        k = turns[i]
        for j in range(max(first[k], k - reach), min(last[k], k + reach + 1)):
            if not seen[j]:
                seen[j] = True
                out[n] = j
                n += 1
    return n


@njit(cache=True, nogil=True)
def smooth_lengths(length, kernel, out):
    """`out[i]` = Σ_d kernel[|d|] · length[i+d] inside one meeting."""
    reach = kernel.size - 1
    for i in range(length.size):
        total = np.float32(0.0)
        for j in range(max(0, i - reach), min(length.size, i + reach + 1)):
            total += kernel[abs(j - i)] * length[j]
        out[i] = total


@njit(cache=True, nogil=True)
def context_norms(vectors, gain, kernel, semantic, out):
    """`out[i]` = ‖Σ_d kernel[|d|] · gain_j · e_j‖ inside one meeting; e_j are the first `semantic` dimensions.

    Cost: turns × (2·reach + 1) × dimensions, once, when a meeting is remembered.
    """
    reach = kernel.size - 1
    total = np.zeros(semantic, np.float32)
    for i in range(gain.size):
        total[:] = 0.0
        for j in range(max(0, i - reach), min(gain.size, i + reach + 1)):
            w = kernel[abs(j - i)] * gain[j]
            for d in range(semantic):
                total[d] += w * vectors[j, d]
        square = np.float32(0.0)
        for d in range(semantic):
            square += total[d] * total[d]
        out[i] = math.sqrt(square)


@njit(cache=True, nogil=True)
def group_by_key(keys, n_keys, start, order):
    """A stable counting sort: `order[start[k]:start[k+1]]` lists the positions of key k. `start` comes in zeroed."""
    for i in range(keys.size):
        start[keys[i] + 1] += 1
    for k in range(n_keys):
        start[k + 1] += start[k]
    cursor = start[:-1].copy()
    for i in range(keys.size):
        k = keys[i]
        order[cursor[k]] = i
        cursor[k] += 1


@njit(cache=True, nogil=True)
def _sift_down(keys, nodes, size, at):
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and (
            keys[child + 1] > keys[child]
            or (keys[child + 1] == keys[child] and nodes[child + 1] < nodes[child])
        ):
            child += 1
        if keys[child] < keys[at] or (keys[child] == keys[at] and nodes[child] >= nodes[at]):
            return
        keys[at], keys[child] = keys[child], keys[at]
        nodes[at], nodes[child] = nodes[child], nodes[at]
        at = child


@njit(cache=True, nogil=True)
def _sift_up(keys, nodes, at):
    while at > 0:
        up = (at - 1) // 2
        if keys[up] > keys[at] or (keys[up] == keys[at] and nodes[up] <= nodes[at]):
            return
        keys[at], keys[up] = keys[up], keys[at]
        nodes[at], nodes[up] = nodes[up], nodes[at]
        at = up


@njit(cache=True, nogil=True)
def spread_best_first(
    seeds, strengths, edge_start, edge_target, edge_weight, allowed, floor, strength, parent, depth, done,
    heap_key, heap_node, order, touched,
):  # fmt: skip
    """The strongest path from any seed to each of the first `order.size` nodes; returns (reached, touched).

    strength(v) = max over paths of strength(seed) · Π weight(edge); with weights in (0, 1] the best-first order
    settles each node once (Dijkstra over −log). Nodes that are weaker than `floor` or not `allowed` stay asleep. Ties go to the lower node.

    `strength`, `parent`, `depth` (nodes) are written at `touched[:m]`; the caller clears `strength` and `done`
    there. The heap arrays hold every push: as long as `touched`, one push a touched node plus its improvements;
    pushes beyond the heap's size are dropped. Cost: O(reached · degree · log).
    """
    capacity = heap_key.size
    size = 0
    n_touched = 0
    for i in range(seeds.size):
        v = seeds[i]
        if strengths[i] <= strength[v]:
            continue
        if strength[v] == 0.0:
            touched[n_touched] = v
            n_touched += 1
        strength[v] = strengths[i]
        parent[v] = -1
        depth[v] = 0
        if size < capacity:
            heap_key[size] = strengths[i]
            heap_node[size] = v
            _sift_up(heap_key, heap_node, size)
            size += 1
    reached = 0
    while size > 0 and reached < order.size:
        key = heap_key[0]
        v = heap_node[0]
        size -= 1
        heap_key[0] = heap_key[size]
        heap_node[0] = heap_node[size]
        _sift_down(heap_key, heap_node, size, 0)
        if done[v] or key < strength[v]:
            continue
        done[v] = True
        order[reached] = v
        reached += 1
        for e in range(edge_start[v], edge_start[v + 1]):
            t = edge_target[e]
            s = key * edge_weight[e]
            if s < floor or s <= strength[t] or done[t] or not allowed[t]:
                continue
            if strength[t] == 0.0:
                if n_touched == touched.size:
                    continue
                touched[n_touched] = t
                n_touched += 1
            strength[t] = s
            parent[t] = v
            depth[t] = depth[v] + 1
            if size < capacity:
                heap_key[size] = s
                heap_node[size] = t
                _sift_up(heap_key, heap_node, size)
                size += 1
    return reached, n_touched
