"""Compiled kernels of the memory graph: arrays in, arrays out; scratch as long as the memory is owned by the caller.

Two orders of episodes appear throughout. *Row* r counts every episode of the memory; *turn* k counts only the
episodes of at least five words, in the order in which they were said. A meeting m holds rows `meeting_rows[m]` to
`meeting_rows[m+1]` and turns `meeting_turns[m]` to `meeting_turns[m+1]`, both exclusive; the spread runs along turns
and stays inside the meeting. What a meeting says of one term is a *pair*, a row of `pairs` with the columns meeting,
start, size, count, turns, most (`cofio.graph.blocks`); `term_pair[term_start[t]:term_start[t+1]]` are the pairs of
term t, ascending by meeting. Vectors are fixed-point (`VECTOR_SCALE`).

Scratch arrays come in zeroed and are left zeroed, except where a docstring says otherwise.

All are in this one file, as Numba's cache on disk compiles a function anew where its own file has changed, and not where
that of a function which it calls has.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from cofio.graph.prefetch import LINE_BYTES, prefetch

# float32, as everything that they are mixed with: a float64 constant would halve the width of every loop.
K1: Final = np.float32(1.2)  # BM25 term saturation (lab 1 §1; flat between .9 and 1.6)
B: Final = np.float32(0.5)  # BM25 length normalisation (lab 1 §1)
SCALE: Final = np.float32(1.0 / 32767.0)  # of a fixed-point vector's numbers
# Sums may be taken in any order, so that inner products use the whole width of the processor.
_LOOSE: Final = {"reassoc", "contract", "nsz"}
_ONE: Final = np.float32(1.0)
_MILLION: Final = np.float32(1e6)
_GAIN: Final = np.float32(2.2)  # K1 + 1
# So many rows before it is read, a vector is sent for: 2 to 8 gave the same, without it took three times as long.
_AHEAD: Final = 4
# A bound must not fall below what it bounds by a rounding, nor by what `_even` takes from scores.
_SLACK: Final = np.float32(1.0001)
# So many steps tell the sums of a question's numbers over sketches apart.
_WEIGHED_STEPS: Final = 4096


@njit(cache=True, nogil=True, fastmath=_LOOSE)
def dot(query, vector):
    """The inner product of float32 numbers with as many fixed-point ones, not yet scaled."""
    total = np.float32(0.0)
    for d in range(query.size):
        total += query[d] * np.float32(vector[d])
    return total


@njit(cache=True, nogil=True)
def prefetch_row(vectors, row):
    """The numbers of a vector are on their way."""
    for place in range(0, vectors.shape[1], LINE_BYTES // vectors.itemsize):
        prefetch(vectors, row, place)


@njit(cache=True, nogil=True)
def dots_of_rows(query, vectors, rows, out):
    """`out[i]` = inner product of `query` with the first numbers of `vectors[rows[i]]`."""
    for i in range(rows.size):
        if i + _AHEAD < rows.size:
            prefetch_row(vectors, rows[i + _AHEAD])
        out[i] = SCALE * dot(query, vectors[rows[i]])


@njit(cache=True, nogil=True)
def _ones(word):
    """How many bits of 64 are set. Written so that the compiler knows it, and counts eight words at once."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True, nogil=True)
def sketch_of(vector, words):
    """The sketch of one vector, as `cofio.graph.sketches` makes them of many: of each byte the first sign is the highest bit."""
    sketch = np.zeros(words, np.uint64)
    for d in range(64 * words):
        if vector[d] > 0:
            sketch[d // 64] |= np.uint64(1) << np.uint64(d % 64 // 8 * 8 + 7 - d % 8)
    return sketch


@njit(cache=True, nogil=True)
def sketch_steps(sketch, sketches, meetings, meeting_rows, steps):
    """`steps[i]` becomes the number of bits in which `sketch` differs from that of the i-th row of the meetings."""
    # Word by word and meeting by meeting, so that the compiler takes eight rows at once.
    a, b, c, d, e, f = sketch[0], sketch[1], sketch[2], sketch[3], sketch[4], sketch[5]
    at = 0
    for m in meetings:
        held = sketches[meeting_rows[m] : meeting_rows[m + 1]]
        out = steps[at : at + held.shape[0]]
        for i in range(held.shape[0]):
            out[i] = (
                _ones(a ^ held[i, 0])
                + _ones(b ^ held[i, 1])
                + _ones(c ^ held[i, 2])
                + _ones(d ^ held[i, 3])
                + _ones(e ^ held[i, 4])
                + _ones(f ^ held[i, 5])
            )
        at += held.shape[0]


@njit(cache=True, nogil=True)
def steered_steps(weights, vectors, meetings, meeting_rows, count, steps):
    """`steps[i]`, which tells bits of a sketch, becomes the step in 0…`count`−1 of an estimated inner product, best first.

    The estimate is the cosine that so many bits stand for, cos(π · bits / all), and `weights` · features, which are
    in [0, 1].
    """
    semantic = vectors.shape[1] - weights.size
    cosine = np.empty(semantic + 1, np.float32)
    for bits in range(semantic + 1):
        cosine[bits] = math.cos(math.pi * bits / semantic)
    most, least = np.float32(1.0), np.float32(-1.0)
    for weight in weights:
        most += max(weight, np.float32(0.0))
        least += min(weight, np.float32(0.0))
    scale = np.float32(count - 1) / (most - least)
    at = 0
    for m in meetings:
        for row in range(meeting_rows[m], meeting_rows[m + 1]):
            estimate = cosine[steps[at]] + SCALE * dot(weights, vectors[row, semantic:])
            steps[at] = min(max(np.int32((most - estimate) * scale), 0), count - 1)
            at += 1


@njit(cache=True, nogil=True)
def spoken(meetings, meeting_rows, speakers, types, speaker_ok, type_ok, out):
    """`out[i]` becomes whether speaker and type of the i-th row of the meetings pass."""
    at = 0
    for m in meetings:
        for row in range(meeting_rows[m], meeting_rows[m + 1]):
            out[at] = speaker_ok[speakers[row] + 1] and type_ok[types[row]]
            at += 1


@njit(cache=True, nogil=True)
def meetings_inside(inside, meeting_rows, out):
    """(count, rows): `out[:count]` become the numbers of the meetings that are `inside`, ascending; these hold `rows` rows."""
    count = rows = 0
    for m in range(inside.size):
        if inside[m]:
            out[count] = m
            count += 1
            rows += meeting_rows[m + 1] - meeting_rows[m]
    return count, rows


@njit(cache=True, nogil=True)
def _end_of_first(counts, wanted):
    """(end, held): the first steps, up to `end`, exclusive, whose counts together are `held`, at least `wanted` if there are
    so many.
    """
    held, end = 0, 0
    while end < counts.size and held < wanted:
        held += counts[end]
        end += 1
    return end, held


@njit(cache=True, nogil=True)
def _rows_within(meetings, meeting_rows, steps, count, least, share):
    """The rows of the first steps that hold `least` rows together, and one of `share`, or of all that are not left out.

    `steps[i]` is of the i-th row of the meetings; a row whose step is `count` is left out.
    """
    counts = np.zeros(count + 1, np.int32)
    for step in steps:
        counts[step] += 1
    counts = counts[:count]
    end, held = _end_of_first(counts, max(least, counts.sum() // share))
    # Compared in their own type, and in the part of a meeting, the steps take a third of the time.
    end = np.uint16(end)
    rows = np.empty(held, np.int32)
    n = at = 0
    for m in meetings:
        first = meeting_rows[m]
        part = steps[at : at + meeting_rows[m + 1] - first]
        for i in range(part.size):
            if part[i] < end:
                rows[n] = first + i
                n += 1
        at += part.size
    return rows


@njit(cache=True, nogil=True)
def _weights_of_bytes(query):
    """(bytes of a sketch, 256) int16: what the query's numbers sum up to where a byte's bits are set, scaled to the range."""
    size = query.size // 8
    most = np.float32(1e-9)
    for byte in range(size):
        total = np.float32(0.0)
        for bit in range(8):
            total += abs(query[8 * byte + bit])
        most = max(most, total)
    scale = np.float32(32_000.0) / most  # eight roundings up stay below 32,767
    table = np.zeros((size, 256), np.int16)
    for byte in range(size):
        for bit in range(8):
            # The first number is the highest bit.
            begin = 1 << (7 - bit)
            weight = np.int16(np.rint(query[8 * byte + bit] * scale))
            table[byte, begin] = weight
        for bits in range(3, 256):
            lowest = bits & -bits
            table[byte, bits] = table[byte, bits ^ lowest] + table[byte, lowest]
    return table


@njit(cache=True, nogil=True)
def _weighed(query, sketches, rows, wanted):
    """Those of `rows`, `wanted` or a few more, on whose signs the query's own numbers sum up to most.

    The sum stands for the inner product when only the row's signs are known (asymmetric distance, Dong, Charikar and Li
    2008).
    """
    table = _weights_of_bytes(query).ravel()
    sums = np.empty(rows.size, np.int32)
    byte = np.uint64(255)
    for i in range(rows.size):
        total = np.int32(0)
        at = np.uint64(0)
        # A word is read once and taken apart by shifts.
        for word in sketches[rows[i]]:
            for shift in range(0, 64, 8):
                total += table[at + ((word >> np.uint64(shift)) & byte)]
                at += np.uint64(256)
        sums[i] = total
    most, least = sums.max(), sums.min()
    counts = np.zeros(_WEIGHED_STEPS, np.int32)
    width = (most - least) // _WEIGHED_STEPS + 1
    for i in range(sums.size):
        sums[i] = (most - sums[i]) // width
        counts[sums[i]] += 1
    end, held = _end_of_first(counts, wanted)
    kept = np.empty(held, np.int32)
    n = 0
    for i in range(rows.size):
        if sums[i] < end:
            kept[n] = rows[i]
            n += 1
    return kept


@njit(cache=True, nogil=True)
def term_sums(terms, term_start, term_pair, pairs, in_scope, column, out):
    """`out[i]` sums a column of the pairs of term i over the meetings in scope. Cost: the pairs of the terms."""
    for i in range(terms.size):
        n = 0
        for p in range(term_start[terms[i]], term_start[terms[i] + 1]):
            pair = pairs[term_pair[p]]
            if in_scope[pair[0]]:
                n += pair[column]
        out[i] = n


@njit(cache=True, nogil=True)
def pairs_of_terms(terms, term_start, term_pair, pairs, in_scope, column, out, held, sums):
    """`out[m, i]`, −1 so far, becomes the pair of meeting m and term i where there is one in scope; `held[i]` counts these,
    and `sums[i]` sums a column of them. Cost: the pairs of the terms.
    """
    for i in range(terms.size):
        count = total = 0
        for p in range(term_start[terms[i]], term_start[terms[i] + 1]):
            number = term_pair[p]
            m = pairs[number, 0]
            if in_scope[m]:
                out[m, i] = number
                count += 1
                total += pairs[number, column]
        held[i], sums[i] = count, total


@njit(cache=True, nogil=True)
def _saturated(tf, length, mean):
    """One term's part of BM25, not yet weighed by its IDF: tf(k1+1) / (tf + k1(1 − b + b·length/mean))."""
    return tf * _GAIN / (tf + K1 * (_ONE - B + B * length / mean))


@njit(cache=True, nogil=True)
def _most_around(pair, reach_sum, least_smooth, mean):
    """What no turn of the pair's meeting can get of the pair's term, not yet weighed.

    A term's count around a turn is at most its whole count in the meeting, and at most its greatest count in a row
    times the kernel's sum.
    """
    return _saturated(min(np.float32(pair[3]), np.float32(pair[5]) * reach_sum), least_smooth, mean)


@njit(cache=True, nogil=True)
def survey_meetings(
    pairs_of, pairs, held, idf, n_scope, length, mean_length, reach_sum, least, mean_smooth, mean_own, words, most_spread,
    most_own, touched,
):  # fmt: skip
    """What the meetings say of the terms as wholes; returns how many are `touched`. Cost: meetings × terms.

    For each touched meeting m: `words[m]` is its BM25 as one document, with idf over the `n_scope` meetings in scope, of
    which `held[i]` say term i; `most_spread[m]` and `most_own[m]` are scores that no turn's spread BM25 and no row's own
    BM25 in it exceeds. These three come in zeroed.
    """
    weight = np.empty(idf.size, np.float32)
    for i in range(idf.size):
        weight[i] = math.log(1.0 + (n_scope - held[i] + 0.5) / (held[i] + 0.5))
    n_touched = 0
    for m in range(pairs_of.shape[0]):
        said = False
        for i in range(idf.size):
            number = pairs_of[m, i]
            if number < 0:
                continue
            said = True
            pair = pairs[number]
            most_spread[m] += idf[i] * _most_around(pair, reach_sum, least[m, 0], mean_smooth)
            most_own[m] += idf[i] * _saturated(np.float32(pair[5]), least[m, 1], mean_own)
            words[m] += weight[i] * _saturated(np.float32(pair[3]), length[m], mean_length)
        if said:
            touched[n_touched] = m
            n_touched += 1
    return n_touched


@njit(cache=True, nogil=True)
def _even(score):
    """A score without the last eight of its bits, which depend on the order in which its parts were summed."""
    return np.int32(np.float32(score).view(np.int32) & ~np.int32(0xFF)).view(np.float32)


@njit(cache=True, nogil=True)
def _goes_before(row, other, ids):
    """Whether the memory id of `row` is lower than that of the other."""
    if ids[row, 0] != ids[other, 0]:
        return ids[row, 0] < ids[other, 0]
    return ids[row, 1] < ids[other, 1]


@njit(cache=True, nogil=True)
def _keep(score, row, ids, scores, rows, n):
    """Puts (score, row) into the best `rows.size`, best first, ties to the lower id; returns how many there are."""
    if n == rows.size:
        if score < scores[n - 1] or (score == scores[n - 1] and not _goes_before(row, rows[n - 1], ids)):
            return n
        n -= 1
    at = n
    while at > 0 and (
        scores[at - 1] < score or (scores[at - 1] == score and _goes_before(row, rows[at - 1], ids))
    ):
        scores[at], rows[at] = scores[at - 1], rows[at - 1]
        at -= 1
    scores[at], rows[at] = score, row
    return n + 1


@njit(cache=True, nogil=True)
def _first_from(posting_row, low, high, row):
    """The first of the postings `low` to `high` whose row is at least `row`: binary search."""
    while low < high:
        middle = (low + high) // 2
        if posting_row[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _rest(bounds, held, least):
    """Turns `bounds[:held]` into the sums from each on; returns how many terms are essential.

    A term is essential if it and those after it could alone bring somebody to `least`: only where an essential term
    is found can anything be, and the others need to be looked up there only (MaxScore: Turtle and Flood 1995).
    """
    for i in range(held - 2, -1, -1):
        bounds[i] += bounds[i + 1]
    essential = held
    while essential > 0 and bounds[essential - 1] * _SLACK < least:
        essential -= 1
    return essential


@njit(cache=True, nogil=True)
def _send_for(values, begin, end):
    """The numbers of `values` from `begin` to `end` are on their way."""
    for place in range(begin, end, LINE_BYTES // values.itemsize):
        prefetch(values, place, 0)


@njit(cache=True, nogil=True)
def _send_for_postings(m, places, pairs_of, pairs, postings_of, posting_row, posting_count):
    """The first postings of each term in a meeting are on their way."""
    for i in places:
        number = pairs_of[m, i]
        if number >= 0:
            begin = postings_of[m] + pairs[number, 1]
            prefetch(posting_row, begin, 0)
            prefetch(posting_count, begin, 0)


@njit(cache=True, nogil=True)
def _light(low, high, weight, flow, smooth_length, mean, spread, lit, n_lit):
    """The flow of one term in turns `low` to `high` goes into their `spread` and is zero again; those that were dark are
    appended to `lit`. Returns how many are lit.
    """
    for j in range(low, high):
        if spread[j] == 0.0:
            lit[n_lit] = j
            n_lit += 1
        spread[j] += weight * _saturated(flow[j], smooth_length[j], mean)
        flow[j] = 0.0
    return n_lit


@njit(cache=True, nogil=True)
def strongest_turns(
    places, idf, pairs_of, pairs, postings_of, posting_row, posting_count, meeting_rows, meeting_turns,
    turn_of_row, row_of_turn, ids, speakers, types, speaker_ok, type_ok, kernel, least, smooth_length, mean, order, most,
    numbers, bounds, flow, spread, lit, scores, rows,
):  # fmt: skip
    """The rows of the best turns by spread BM25, best first, ties to the lower memory id; returns how many.

    With tf'_t(k) = Σ_d kernel[|d|] · tf_t(k+d) inside the meeting, a turn's score is
    Σ_t idf_t · tf'(k1+1) / (tf' + k1(1 − b + b·len'(k)/mean))   (DESIGN §3 point 2):
    saturation comes after the spread, so a turn lights up where several of the query's terms meet around it.
    Only rows that `speaker_ok` (by number + 1) and `type_ok` let pass are listed.

    `places` are those of the terms in `idf` and in the columns of `pairs_of` (`pairs_of_terms`), the highest idf first.
    Meetings are visited in `order`; one whose bound `most` does not reach what is held already is passed over, and in the
    others the commonest terms are looked up only where the rarer ones are found: the result is that of scoring everything.
    `numbers`, `bounds` (as long as the terms), `flow`, `spread` and `lit` (as long as the longest meeting has turns; `lit`
    is whatever it is) are scratch. Cost: the postings of the essential terms × (2·reach + 1).
    """
    reach = kernel.size - 1
    reach_sum = np.float32(2.0) * kernel.sum() - kernel[0]
    n = 0
    for o in range(order.size):
        m = order[o]
        bar = scores[n - 1] if n == rows.size else np.float32(0.0)
        if most[m] * _SLACK < bar:
            continue
        if o + 1 < order.size and most[order[o + 1]] * _SLACK >= bar:
            ahead = order[o + 1]
            _send_for(turn_of_row, meeting_rows[ahead], meeting_rows[ahead + 1])
            _send_for(smooth_length, meeting_turns[ahead], meeting_turns[ahead + 1])
            _send_for_postings(ahead, places, pairs_of, pairs, postings_of, posting_row, posting_count)
        row0, turn0 = meeting_rows[m], meeting_turns[m]
        size = meeting_turns[m + 1] - turn0
        held = 0
        for i in places:
            number = pairs_of[m, i]
            if number >= 0:
                numbers[held, 0], numbers[held, 1] = number, i
                bounds[held] = idf[i] * _most_around(pairs[number], reach_sum, least[m, 0], mean)
                held += 1
        essential = _rest(bounds, held, bar)
        n_lit = 0
        for h in range(essential):
            pair, weight = pairs[numbers[h, 0]], idf[numbers[h, 1]]
            begin = postings_of[m] + pair[1]
            low = high = np.int64(0)  # the turns whose flow is not yet in their score
            for p in range(begin, begin + pair[2]):
                k = np.int64(turn_of_row[row0 + posting_row[p]])
                if k < 0:
                    continue
                k -= turn0
                if k - reach >= high:
                    n_lit = _light(low, high, weight, flow, smooth_length[turn0:], mean, spread, lit, n_lit)
                    low = max(0, k - reach)
                high = min(size, k + reach + 1)
                tf = np.float32(posting_count[p])
                for d in range(1, min(reach, k) + 1):
                    flow[k - d] += kernel[d] * tf
                for d in range(min(reach + 1, size - k)):
                    flow[k + d] += kernel[d] * tf
            n_lit = _light(low, high, weight, flow, smooth_length[turn0:], mean, spread, lit, n_lit)
        for j in lit[:n_lit]:
            score = spread[j]
            spread[j] = 0.0
            for h in range(essential, held):
                if (score + bounds[h]) * _SLACK < bar:
                    score = np.float32(0.0)
                    break
                pair = pairs[numbers[h, 0]]
                begin = postings_of[m] + pair[1]
                end = begin + pair[2]
                k = turn0 + j
                last_row = row_of_turn[min(meeting_turns[m + 1] - 1, k + reach)] - row0
                p = _first_from(posting_row, begin, end, row_of_turn[max(turn0, k - reach)] - row0)
                tf = np.float32(0.0)
                while p < end and posting_row[p] <= last_row:
                    other = turn_of_row[row0 + posting_row[p]]
                    if other >= 0:
                        tf += kernel[abs(other - k)] * np.float32(posting_count[p])
                    p += 1
                score += idf[numbers[h, 1]] * _saturated(tf, smooth_length[k], mean)
            score = _even(score)
            if score > 0.0 and score >= bar:
                row = row_of_turn[turn0 + j]
                if speaker_ok[speakers[row] + 1] and type_ok[types[row]]:
                    n = _keep(score, row, ids, scores, rows, n)
                    if n == rows.size:
                        bar = scores[n - 1]
    return n


@njit(cache=True, nogil=True)
def strongest_rows(
    places, idf, pairs_of, pairs, postings_of, posting_row, posting_count, meeting_rows, ids, speakers, types,
    speaker_ok, type_ok, least, length, mean, order, most, numbers, bounds, own, scores, rows,
):  # fmt: skip
    """The best rows by the BM25 of their own words, best first, ties to the lower memory id; returns how many.

    As `strongest_turns`, without the spread. `own` (as long as the longest meeting has rows) is scratch.
    """
    n = 0
    for o in range(order.size):
        m = order[o]
        bar = scores[n - 1] if n == rows.size else np.float32(0.0)
        if most[m] * _SLACK < bar:
            continue
        if o + 1 < order.size and most[order[o + 1]] * _SLACK >= bar:
            ahead = order[o + 1]
            _send_for(length, meeting_rows[ahead], meeting_rows[ahead + 1])
            _send_for_postings(ahead, places, pairs_of, pairs, postings_of, posting_row, posting_count)
        row0 = meeting_rows[m]
        held = 0
        for i in places:
            number = pairs_of[m, i]
            if number >= 0:
                numbers[held, 0], numbers[held, 1] = number, i
                bounds[held] = idf[i] * _saturated(np.float32(pairs[number, 5]), least[m, 1], mean)
                held += 1
        essential = _rest(bounds, held, bar)
        for h in range(essential):
            pair, weight = pairs[numbers[h, 0]], idf[numbers[h, 1]]
            begin = postings_of[m] + pair[1]
            for p in range(begin, begin + pair[2]):
                row = posting_row[p]
                own[row] += weight * _saturated(
                    np.float32(posting_count[p]), np.float32(length[row0 + row]), mean
                )
        for h in range(essential):
            pair = pairs[numbers[h, 0]]
            begin = postings_of[m] + pair[1]
            for p in range(begin, begin + pair[2]):
                r = posting_row[p]
                score = own[r]
                own[r] = 0.0
                if score == 0.0:
                    continue
                for g in range(essential, held):
                    if (score + bounds[g]) * _SLACK < bar:
                        score = np.float32(0.0)
                        break
                    other = pairs[numbers[g, 0]]
                    low = postings_of[m] + other[1]
                    high = low + other[2]
                    at = _first_from(posting_row, low, high, r)
                    if at < high and posting_row[at] == r:
                        score += idf[numbers[g, 1]] * _saturated(
                            np.float32(posting_count[at]), np.float32(length[row0 + r]), mean
                        )
                score = _even(score)
                row = row0 + r
                if score > 0.0 and score >= bar and speaker_ok[speakers[row] + 1] and type_ok[types[row]]:
                    n = _keep(score, row, ids, scores, rows, n)
                    if n == rows.size:
                        bar = scores[n - 1]
    return n


@njit(cache=True, nogil=True)
def spread_terms(
    rows, idf, pairs_of, pairs, postings_of, posting_row, posting_count, meeting_of_row, meeting_rows,
    turn_of_row, kernel_m, kernel_l, smooth_m, smooth_l, mean_m, mean_l, length, mean_own, out_own, out_m, out_l,
):  # fmt: skip
    """BM25 of `rows` (ascending): by their own words, and spread along time by two kernels (see `strongest_turns`).

    `pairs_of` (meetings, terms) are those of `pairs_of_terms`.

    `out_own`, `out_m`, `out_l` come in zeroed; a row that is no turn gets only `out_own`. `kernel_l` reaches at least
    as far as `kernel_m`. Cost: rows × terms × the postings within reach of each.
    """
    reach_m, reach_l = kernel_m.size - 1, kernel_l.size - 1
    begin = 0
    while begin < rows.size:
        m = meeting_of_row[rows[begin]]
        end = begin
        while end < rows.size and meeting_of_row[rows[end]] == m:
            end += 1
        row0 = meeting_rows[m]
        for i in range(idf.size):
            number = pairs_of[m, i]
            if number < 0:
                continue
            low = postings_of[m] + pairs[number, 1]
            last = low + pairs[number, 2]
            for c in range(begin, end):
                row = rows[c]
                k = turn_of_row[row]
                # The first posting that may be within reach of this row; rows ascend, so it never moves back. A row
                # that is no turn lies between turns: it moves nothing.
                if k >= 0:
                    while (
                        low < last
                        and _turn_at_or_before(row0 + posting_row[low], turn_of_row, row0) < k - reach_l
                    ):
                        low += 1
                tf_m = tf_l = np.float32(0.0)
                p = low
                while p < last:
                    at = row0 + posting_row[p]
                    tf = np.float32(posting_count[p])
                    if at == row:
                        out_own[c] += (
                            idf[i] * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length[row] / mean_own))
                        )
                    j = turn_of_row[at]
                    if k < 0:
                        if at >= row:
                            break
                    elif j >= 0:
                        d = abs(j - k)
                        if j > k and d > reach_l:
                            break
                        if d <= reach_l:
                            tf_l += kernel_l[d] * tf
                        if d <= reach_m:
                            tf_m += kernel_m[d] * tf
                    p += 1
                if tf_l > 0.0:
                    out_m[c] += (
                        idf[i] * tf_m * (K1 + 1.0) / (tf_m + K1 * (1.0 - B + B * smooth_m[k] / mean_m))
                    )
                    out_l[c] += (
                        idf[i] * tf_l * (K1 + 1.0) / (tf_l + K1 * (1.0 - B + B * smooth_l[k] / mean_l))
                    )
        begin = end


@njit(cache=True, nogil=True)
def _turn_at_or_before(row, turn_of_row, row0):
    """The last turn at or before a row of the meeting that begins at `row0`, −1 if there is none."""
    while row >= row0:
        if turn_of_row[row] >= 0:
            return turn_of_row[row]
        row -= 1
    return np.int32(-1)


@njit(cache=True, nogil=True)
def around(
    seeds, also, reach, turn_of_row, row_of_turn, meeting_of_row, meeting_turns, speakers, types, meeting_ok, speaker_ok,
    type_ok,
):  # fmt: skip
    """The rows, ascending, of every turn within `reach` of one of `seeds` in its meeting, and `also`, as far as their
    meetings, speakers and types pass; `seeds` and `also` are rows, ascending.
    """
    rows = np.empty(also.size + seeds.size * (2 * reach + 1), np.int32)
    n = following = 0
    for seed in seeds:
        k = turn_of_row[seed]
        if k < 0:
            continue
        m = meeting_of_row[seed]
        begin, end = max(meeting_turns[m], k - reach, following), min(meeting_turns[m + 1], k + reach + 1)
        for j in range(begin, end):
            rows[n] = row_of_turn[j]
            n += 1
            following = j + 1
    near = rows[:n].copy()
    n = at = 0
    for i in range(also.size + 1):
        last = also[i] if i < also.size else turn_of_row.size
        while at < near.size and near[at] < last:
            rows[n] = near[at]
            n += 1
            at += 1
        if i < also.size:
            at += at < near.size and near[at] == last
            rows[n] = last
            n += 1
    kept = 0
    for row in rows[:n]:
        if meeting_ok[meeting_of_row[row]] and speaker_ok[speakers[row] + 1] and type_ok[types[row]]:
            rows[kept] = row
            kept += 1
    return rows[:kept]


@njit(cache=True, nogil=True)
def context_cosines(
    query, rows, turns, vectors, row_of_turn, meeting_of_row, meeting_turns, kernel_m, kernel_l, gain, norm_m, norm_l, out_m,
    out_l, out_own,
):  # fmt: skip
    """Cosines of `query` to the vectors averaged around each of `rows` (ascending) by two kernels, and to its own.

    ctx(k) = Σ_d kernel[|d|] · gain_j · (q·e_j) / norm_k with j = k+d and norm_k = ‖Σ_d kernel[|d|] gain_j e_j‖
    (DESIGN §3 point 3), so no second vector a memory is needed. `turns` are those of the rows, −1 for a row that is none, of
    which `out_m` and `out_l` are not written; `kernel_l` reaches at least as far as `kernel_m`. Cost: one inner product a
    turn within reach.
    """
    reach_m, reach_l = kernel_m.size - 1, kernel_l.size - 1
    dots = np.empty((2, rows.size * (2 * reach_l + 1)), np.float32)
    start = end = 0  # the turns whose products lie in `dots`
    last = row_of_turn.size - 1
    for i in range(rows.size):
        k = turns[i]
        if k < 0:
            out_own[i] = SCALE * dot(query, vectors[rows[i]])
            continue
        m = meeting_of_row[rows[i]]
        low, high = max(meeting_turns[m], k - reach_l), min(meeting_turns[m + 1], k + reach_l + 1)
        if low > end or start == end:
            start = end = low
        for j in range(end, high):
            prefetch_row(vectors, row_of_turn[min(j + _AHEAD, last)])
            dots[1, j - start] = dot(query, vectors[row_of_turn[j]])
            dots[0, j - start] = gain[j] * dots[1, j - start]
        end = max(end, high)
        total_m = total_l = np.float32(0.0)
        for j in range(low, high):
            d = abs(j - k)
            total_l += kernel_l[d] * dots[0, j - start]
            if d <= reach_m:
                total_m += kernel_m[d] * dots[0, j - start]
        out_m[i] = SCALE * total_m / norm_m[k] if norm_m[k] > 0.0 else 0.0
        out_l[i] = SCALE * total_l / norm_l[k] if norm_l[k] > 0.0 else 0.0
        out_own[i] = SCALE * dots[1, k - start]


@njit(cache=True, nogil=True)
def says(terms, rows, said_end, said_terms, out):
    """`out[i, j]` becomes True where `rows[j]` says `terms[i]`."""
    for j in range(rows.size):
        begin = said_end[rows[j] - 1] if rows[j] > 0 else 0
        for p in range(begin, said_end[rows[j]]):
            for i in range(terms.size):
                if said_terms[p] == terms[i]:
                    out[i, j] = True


@njit(cache=True, nogil=True)
def rare_terms(
    rows, said_end, said_terms, term_rows, speakers, speaker_term_start, speaker_terms, most, end, out
):  # fmt: skip
    """The terms of each of `rows` that at most `most` rows of the memory say: those of row i end at `end[i]` in `out`.

    The terms of the speaker's own name are left out: "Ann: …" is no mention of Ann. `out` has room for all terms.
    """
    n = 0
    for i in range(rows.size):
        begin = said_end[rows[i] - 1] if rows[i] > 0 else 0
        for p in range(begin, said_end[rows[i]]):
            term = said_terms[p]
            own = False
            speaker = speakers[rows[i]]
            if speaker >= 0:
                for q in range(speaker_term_start[speaker], speaker_term_start[speaker + 1]):
                    own = own or speaker_terms[q] == term
            if not own and term_rows[term] <= most:
                out[n] = term
                n += 1
        end[i] = n


@njit(cache=True, nogil=True)
def rare_concepts(rows, row_concept_start, row_concepts, concept_start, most, end, out):
    """The concepts of each of `rows` that at most `most` rows mention: those of row i end at `end[i]` in `out`."""
    n = 0
    for i in range(rows.size):
        for p in range(row_concept_start[rows[i]], row_concept_start[rows[i] + 1]):
            concept = row_concepts[p]
            if concept_start[concept + 1] - concept_start[concept] <= most:
                out[n] = concept
                n += 1
        end[i] = n


@njit(cache=True, nogil=True, fastmath=_LOOSE)
def _cosine(a, b):
    """The inner product of two fixed-point vectors."""
    total = np.float32(0.0)
    for d in range(a.size):
        total += np.float32(a[d]) * np.float32(b[d])
    return total * SCALE * SCALE


@njit(cache=True, nogil=True)
def strongest_links(
    rows, anchors, meetings, term_end, terms, idf, concept_end, concepts, vectors, semantic, least_cosine, least_strength,
    best, strength,
):  # fmt: skip
    """For each row after the first `anchors`, the anchor of another meeting that it is linked to most strongly.

    Row i has the terms that end at `term_end[i]` with their `idf`, and the concepts that end at `concept_end[i]`.
    Rows are linked if they share a concept, two terms, or one term and a cosine of `least_cosine`; with w the idf share
    of the row's terms that the anchor has too, the strength is ½ cosine + ½ min(1, w + ½ if a concept is shared), and
    one below `least_strength` is no link. The cosine is that of the first `semantic` numbers of the two `vectors`.
    `best[i]` becomes the anchor, −1 if there is none; ties go to the earlier. Cost: rows × anchors × terms².
    """
    # One bit a term or concept, modulo 64: rows without a common bit have nothing in common.
    marks = np.zeros(meetings.size, np.uint64)
    for i in range(meetings.size):
        for p in range(term_end[i - 1] if i else 0, term_end[i]):
            marks[i] |= np.uint64(1) << np.uint64(terms[p] % 64)
        for p in range(concept_end[i - 1] if i else 0, concept_end[i]):
            marks[i] |= np.uint64(1) << np.uint64(concepts[p] % 64)
    for i in range(anchors, meetings.size):
        best[i], strength[i] = -1, 0.0
        first = term_end[i - 1]
        first_concept = concept_end[i - 1]
        total = 0.0
        for p in range(first, term_end[i]):
            total += idf[p]
        for a in range(anchors):
            if meetings[a] == meetings[i] or marks[a] & marks[i] == 0:
                continue
            common, weight = 0, 0.0
            for p in range(first, term_end[i]):
                for q in range(term_end[a - 1] if a else 0, term_end[a]):
                    if terms[p] == terms[q]:
                        common += 1
                        weight += idf[p]
            shared = False
            for p in range(first_concept, concept_end[i]):
                for q in range(concept_end[a - 1] if a else 0, concept_end[a]):
                    shared = shared or concepts[p] == concepts[q]
            if not shared and common == 0:
                continue
            cosine = max(0.0, _cosine(vectors[rows[a], :semantic], vectors[rows[i], :semantic]))
            if not shared and common < 2 and cosine < least_cosine:
                continue
            found = min(
                1.0, 0.5 * cosine + 0.5 * min(1.0, weight / max(total, 1e-9) + (0.5 if shared else 0.0))
            )
            if found >= least_strength and found > strength[i]:
                best[i], strength[i] = a, found


@njit(cache=True, nogil=True)
def _half(node, half, ids, context_ids, concept_ids):
    """The high (0) or the low (1) half of a node's memory id."""
    if node < len(ids):
        return ids[node, half]
    node -= len(ids)
    return context_ids[node, half] if node < len(context_ids) else concept_ids[node - len(context_ids), half]


@njit(cache=True, nogil=True)
def ids_of(nodes, ids, context_ids, concept_ids, out):
    """`out[i]` becomes the memory id of `nodes[i]`."""
    for i in range(nodes.size):
        for half in range(2):
            out[i, half] = _half(nodes[i], half, ids, context_ids, concept_ids)


@njit(cache=True, nogil=True)
def write_ids(ids, out):
    """`out[i]` (36,) become the characters of `ids[i]`: 32 digits, and the hyphens of a uuid."""
    for i in range(ids.shape[0]):
        at = 0
        for digit in range(32):
            if digit == 8 or digit == 12 or digit == 16 or digit == 20:
                out[i, at] = 45
                at += 1
            value = (ids[i, digit // 16] >> np.uint64(60 - digit % 16 * 4)) & np.uint64(15)
            out[i, at] = value + np.uint64(48 if value < 10 else 87)
            at += 1


@njit(cache=True, nogil=True)
def _lower(node, other, ids, context_ids, concept_ids):
    """Whether the memory id of `node` is lower than that of the other."""
    for half in range(2):
        a = _half(node, half, ids, context_ids, concept_ids)
        b = _half(other, half, ids, context_ids, concept_ids)
        if a != b:
            return a < b
    return False


@njit(cache=True, nogil=True)
def best_places(scores, nodes, ids, context_ids, concept_ids, places):
    """`places` become those of the best `places.size` of `scores`, at least one, best first; equals up to six decimals go
    by the memory id of their node.
    """
    kept = np.empty(places.size, np.float32)
    n = 0
    for i in range(scores.size):
        score = np.rint(scores[i] * _MILLION)
        at = n
        while at > 0 and (
            kept[at - 1] < score
            or (
                kept[at - 1] == score
                and _lower(nodes[i], nodes[places[at - 1]], ids, context_ids, concept_ids)
            )
        ):
            at -= 1
        if at == places.size:
            continue
        n = min(n + 1, places.size)
        for k in range(n - 1, at, -1):
            kept[k], places[k] = kept[k - 1], places[k - 1]
        kept[at], places[at] = score, i


@njit(cache=True, nogil=True)
def nearest(
    vector, sketches, vectors, meetings, meeting_rows, inside, least, share, full, count, steps, first,
    ids, context_ids, concept_ids, limit,
):  # fmt: skip
    """(nodes, inner products) of the best `limit` rows of the meetings, at least one, best first; `first` is the node of row 0.

    Of the rows that are `inside` (each of them if that is empty), those are looked at whose sketches differ least from
    that of the query's `vector`, as many as `_rows_within` says, and of these about `full` compared, whose signs promise
    most. A vector with weights behind its semantic numbers is steered: `steered_steps` say who is looked at, and all are
    compared.
    """
    sketch_steps(sketch_of(vector, sketches.shape[1]), sketches, meetings, meeting_rows, steps)
    semantic = 64 * sketches.shape[1]
    steered = False
    for weight in vector[semantic:]:
        steered |= weight != 0.0
    query = vector if steered else vector[:semantic]
    if steered:
        steered_steps(vector[semantic:], vectors, meetings, meeting_rows, count, steps)
    if inside.size:
        for i in range(steps.size):
            if not inside[i]:
                steps[i] = count
    rows = _rows_within(meetings, meeting_rows, steps, count, least, share)
    if rows.size > full and not steered:
        rows = _weighed(query, sketches, rows, full)
    scores = np.empty(rows.size, np.float32)
    dots_of_rows(query, vectors, rows, scores)
    nodes = first + rows
    places = np.empty(min(limit, rows.size), np.int64)
    if places.size:
        best_places(scores, nodes, ids, context_ids, concept_ids, places)
    return nodes[places], scores[places]


@njit(cache=True, nogil=True)
def best_sums(keys, values, most, key, total):
    """For each run of equal `keys` its `key` and the `total` of its best `most` values; returns how many runs."""
    runs = 0
    best = np.empty(most, np.float32)
    begin = 0
    while begin < keys.size:
        end = begin
        held = 0
        while end < keys.size and keys[end] == keys[begin]:
            value = values[end]
            at = held if held < most else most - 1
            if held < most or value > best[most - 1]:
                while at > 0 and best[at - 1] < value:
                    best[at] = best[at - 1]
                    at -= 1
                best[at] = value
                held = min(held + 1, most)
            end += 1
        key[runs], total[runs] = keys[begin], 0.0
        for i in range(held):
            total[runs] += best[i]
        runs += 1
        begin = end
    return runs


@njit(cache=True, nogil=True)
def mentioned(
    concepts, concept_start, concept_rows, concept_projects, meeting_of_row, in_scope, projects, out
):
    """`out[i]` becomes whether a row of a meeting in scope mentions `concepts[i]`. All meetings in scope are of `projects`
    that are set, and all that mention one concept are of its own.
    """
    for i in range(concepts.size):
        out[i] = False
        if projects[concept_projects[concepts[i]]]:
            for p in range(concept_start[concepts[i]], concept_start[concepts[i] + 1]):
                if in_scope[meeting_of_row[concept_rows[p]]]:
                    out[i] = True
                    break


@njit(cache=True, nogil=True)
def unit_range(values, out):
    """`out` becomes `values` scaled so that the least is 0 and the greatest 1; equal values become 0."""
    if values.size == 0:
        return
    low = high = values[0]
    for i in range(values.size):
        low, high = min(low, values[i]), max(high, values[i])
    for i in range(values.size):
        out[i] = (values[i] - low) / (high - low) if high > low else 0.0


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
def group_terms(pairs, pair_term, alive, start, out, rows):
    """The pairs of living meetings by term: those of term t are `out[start[t]:start[t+1]]`, ascending; returns how many.

    `rows[t]` becomes the number of rows that say t. `start` (terms + 1) and `rows` come in zeroed.
    """
    for i in range(pair_term.size):
        if alive[pairs[i, 0]]:
            start[pair_term[i] + 1] += 1
            rows[pair_term[i]] += pairs[i, 2]
    for t in range(start.size - 1):
        start[t + 1] += start[t]
    cursor = start[:-1].copy()
    for i in range(pair_term.size):
        if alive[pairs[i, 0]]:
            out[cursor[pair_term[i]]] = i
            cursor[pair_term[i]] += 1
    return start[-1]


@njit(cache=True, nogil=True)
def group_mentions(concept, row, rows_alive, concept_alive, person, start, out_rows, row_start, out_concepts):
    """Living mentions both ways, in their order; returns how many there are, and how many are not of persons.

    The rows of concept c are `out_rows[start[c]:start[c+1]]`; the concepts of row r, persons left out, are
    `out_concepts[row_start[r]:row_start[r+1]]`. Both starts come in zeroed.
    """
    for i in range(concept.size):
        if rows_alive[row[i]] and concept_alive[concept[i]]:
            start[concept[i] + 1] += 1
            if not person[concept[i]]:
                row_start[row[i] + 1] += 1
    for c in range(start.size - 1):
        start[c + 1] += start[c]
    for r in range(row_start.size - 1):
        row_start[r + 1] += row_start[r]
    cursor, row_cursor = start[:-1].copy(), row_start[:-1].copy()
    for i in range(concept.size):
        if rows_alive[row[i]] and concept_alive[concept[i]]:
            out_rows[cursor[concept[i]]] = row[i]
            cursor[concept[i]] += 1
            if not person[concept[i]]:
                out_concepts[row_cursor[row[i]]] = concept[i]
                row_cursor[row[i]] += 1
    return start[-1], row_start[-1]


@njit(cache=True, nogil=True)
def link(
    n_rows, meeting_of_row, alive, context_of_row, part_weight, next_weight, row_concept_start, row_concepts, first_concept,
    concept_weight, source, target, weight, start, out_target, out_weight,
):  # fmt: skip
    """The edges of best-first activation as CSR, each in both directions, a node's strongest first; returns how many.

    Rows of living meetings are joined to the next of their meeting, to their context (node `n_rows` + its number, weight
    `part_weight` of it) and to their concepts (node `first_concept` + number, weight `concept_weight` of it);
    `source[i]`–`target[i]` are the other edges. `start` (nodes + 1) comes in zeroed; `out_target` and `out_weight` have
    room for all: 4 a row, 2 a mention and 2 an edge.
    """
    for sweep in range(2):
        if sweep == 1:
            for v in range(start.size - 1):
                start[v + 1] += start[v]
        # In the second sweep start[v] is where the next edge of v goes; afterwards it is where v + 1 begins.
        for row in range(n_rows):
            if not alive[meeting_of_row[row]]:
                continue
            context = n_rows + context_of_row[row]
            following = row + 1 < n_rows and meeting_of_row[row + 1] == meeting_of_row[row]
            if sweep == 0:
                start[row + 1] += 1
                start[context + 1] += 1
                if following:
                    start[row + 1] += 1
                    start[row + 2] += 1
            else:
                w = part_weight[context - n_rows]
                _put(row, context, w, start, out_target, out_weight)
                _put(context, row, w, start, out_target, out_weight)
                if following:
                    _put(row, row + 1, next_weight, start, out_target, out_weight)
                    _put(row + 1, row, next_weight, start, out_target, out_weight)
            for p in range(row_concept_start[row], row_concept_start[row + 1]):
                concept = first_concept + row_concepts[p]
                if sweep == 0:
                    start[row + 1] += 1
                    start[concept + 1] += 1
                else:
                    w = concept_weight[row_concepts[p]]
                    _put(row, concept, w, start, out_target, out_weight)
                    _put(concept, row, w, start, out_target, out_weight)
        for i in range(source.size):
            if sweep == 0:
                start[source[i] + 1] += 1
                start[target[i] + 1] += 1
            else:
                _put(source[i], target[i], weight[i], start, out_target, out_weight)
                _put(target[i], source[i], weight[i], start, out_target, out_weight)
    for v in range(start.size - 1, 0, -1):
        start[v] = start[v - 1]
    start[0] = 0
    for v in range(start.size - 1):
        _strongest_first(out_target, out_weight, start[v], start[v + 1])
    return start[-1]


@njit(cache=True, nogil=True)
def _strongest_first(target, weight, begin, end):
    """Sorts one node's edges in place; edges of a hub weigh the same, so that few ever move."""
    for i in range(begin + 1, end):
        t, w = target[i], weight[i]
        at = i
        while at > begin and weight[at - 1] < w:
            target[at], weight[at] = target[at - 1], weight[at - 1]
            at -= 1
        target[at], weight[at] = t, w


@njit(cache=True, nogil=True)
def _put(v, t, w, cursor, target, weight):
    at = cursor[v]
    target[at], weight[at] = t, w
    cursor[v] = at + 1


@njit(cache=True, nogil=True)
def _packed(strength, node):
    """A strength and a node as one number: greater where the strength is, and among equals where the node is lower.

    The bits of positive floats are in the order of the floats.
    """
    return (np.int64(np.float32(strength).view(np.int32)) << 32) | (0x7FFFFFFF - np.int64(node))


@njit(cache=True, nogil=True)
def _push(heap, size, item):
    at = size
    while at > 0:
        up = (at - 1) // 2
        if heap[up] >= item:
            break
        heap[at] = heap[up]
        at = up
    heap[at] = item


@njit(cache=True, nogil=True)
def _pop(heap, size):
    """Takes the greatest of `size` items out, which is returned."""
    best = heap[0]
    item = heap[size - 1]
    size -= 1
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= item:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = item
    return best


@njit(cache=True, nogil=True)
def _bin(strength):
    """The bin of a strength: 16 to each power of two."""
    return np.float32(strength).view(np.int32) >> 19


@njit(cache=True, nogil=True)
def spread_best_first(
    seeds, strengths, edge_start, edge_target, edge_weight, meeting_of_node, in_scope, floor, strength, parent, heap,
    touched, bins, order, out_strength, out_parent,
):  # fmt: skip
    """The strongest path from any seed to each of the first `order.size` nodes; returns how many were reached.

    strength(v) = max over paths of strength(seed) · Π weight(edge); with weights in (0, 1] the best-first order
    settles each node once (Dijkstra over −log). A node's edges come strongest first. Nodes weaker than `floor` stay asleep, and so do those of a meeting
    that is not in scope; a node beyond `meeting_of_node` belongs to no meeting. Ties go to the lower node.

    Place i of `order`, `out_strength` and `out_parent` holds the i-th node settled, its strength, and the place of the
    node it was reached from (−1 at a seed). `strength` (nodes) is scratch, `parent` (nodes) scratch that need not be
    zero; so are `heap`, which holds every push, and `touched`, which holds every node seen: what does not fit is
    dropped. `bins` (2048, int32) is scratch that counts the nodes seen by their strength: once `order.size` of them are
    in higher bins, a node can no longer be among the strongest, and is not pushed.
    Cost: O(reached · degree), and a logarithm for each node that may still be reached.
    """
    size = n_touched = 0
    limit = order.size
    cut = 0  # nodes in bins below this one are too weak
    above = 0  # nodes in bins from `cut` + 1 on
    for i in range(seeds.size):
        v, s = seeds[i], strengths[i]
        if s <= strength[v] or n_touched == touched.size or size == heap.size:
            continue
        b = _bin(s)
        if strength[v] == 0.0:
            touched[n_touched] = v
            n_touched += 1
        else:
            bins[_bin(strength[v])] -= 1
        bins[b] += 1
        strength[v] = s
        parent[v] = -1
        _push(heap, size, _packed(s, v))
        size += 1
        prefetch(edge_weight, edge_start[v], 0)
        prefetch(edge_target, edge_start[v], 0)
    for b in range(1, bins.size):
        above += bins[b]
    while above - bins[cut + 1] >= limit:
        cut += 1
        above -= bins[cut]
    reached = 0
    while size > 0 and reached < limit:
        item = _pop(heap, size)
        size -= 1
        v = 0x7FFFFFFF - (item & 0x7FFFFFFF)
        key = np.int32(item >> 32).view(np.float32)
        if key < strength[v]:
            continue
        order[reached] = v
        out_strength[reached] = key
        out_parent[reached] = parent[v]
        for e in range(edge_start[v], edge_start[v + 1]):
            s = key * edge_weight[e]
            b = _bin(s)
            if s < floor or b < cut:
                break
            t = edge_target[e]
            before = strength[t]
            if s <= before:
                continue
            if before == 0.0:
                if n_touched == touched.size or (
                    t < meeting_of_node.size and not in_scope[meeting_of_node[t]]
                ):
                    continue
                touched[n_touched] = t
                n_touched += 1
            else:
                bins[_bin(before)] -= 1
                above -= _bin(before) > cut
            bins[b] += 1
            above += b > cut
            while above - bins[cut + 1] >= limit:
                cut += 1
                above -= bins[cut]
            strength[t] = s
            parent[t] = reached
            if size < heap.size:
                _push(heap, size, _packed(s, t))
                size += 1
                prefetch(edge_weight, edge_start[t], 0)
                prefetch(edge_target, edge_start[t], 0)
        reached += 1
    for i in range(n_touched):
        bins[_bin(strength[touched[i]])] = 0
        strength[touched[i]] = 0.0
    return reached
