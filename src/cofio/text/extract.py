"""From a transcript to its episodes: one for each utterance, several for a long one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from cofio.records import Episode, Transcript, Utterance
from cofio.text.sentences import sentence_ends
from cofio.text.terms import count_words

# The encoder reads 256 word pieces, about 190 English words with the speaker's name before them. Retrieval
# wants less: a vector of three or four sentences still says one thing.
PART_WORDS: Final = 60
DOCUMENT_WORDS: Final = 150
# More than this in one piece is talk that nobody cut, not a passage.
LONGEST_DOCUMENT: Final = 1000
# A single sentence stays whole up to here; beyond it the encoder would not see its end.
SENTENCE_WORDS: Final = 180

_CLAUSE_MARKS: Final = (",", ";", ":", "…", "–", "—", "...")


def is_document(transcript: Transcript) -> bool:
    """Whether this is a passage under a title rather than talk: one piece of at most a thousand words, said by
    nobody at no time.
    """
    if len(transcript.utterances) != 1:
        return False
    (piece,) = transcript.utterances
    return (
        piece.speaker is None
        and piece.start_s is None
        and piece.end_s is None
        and count_words(piece.text) <= LONGEST_DOCUMENT
    )


def episodes(transcript: Transcript, *, document_title: str | None = None) -> tuple[Episode, ...]:
    """Every utterance of `transcript` stands in one episode, or in several with its speaker if it is long.

    In a document, whose title is then given, longer parts stay whole: a paragraph is written about one thing.

    The texts of an utterance's parts, joined with spaces, are its text. A part starts when the fragment in
    which it begins starts (`Utterance.marks`). Without marks, times between a known start and end are shared
    out by words; with a start alone, every part has that start, since a later one would be made up.
    """
    longest = PART_WORDS if document_title is None else DOCUMENT_WORDS
    parts = (part for utterance in transcript.utterances for part in _parts(utterance, longest))
    return tuple(
        Episode(
            text=text,
            position=position,
            words=words,
            speaker=speaker,
            title=document_title,
            start_s=start_s,
            end_s=end_s,
        )
        for position, (text, words, speaker, start_s, end_s) in enumerate(parts)
    )


def _parts(
    utterance: Utterance, longest: int
) -> Iterator[tuple[str, int, str | None, float | None, float | None]]:
    total = count_words(utterance.text)
    if total <= longest:
        yield utterance.text, total, utterance.speaker, utterance.start_s, utterance.end_s
        return
    tokens = utterance.text.split(" ")
    # A token counts at least one, so that a row of dashes has a length too.
    sizes = [max(1, count_words(token)) for token in tokens]
    offset = 0
    before = 0
    for first, last in _cuts(tokens, sizes, longest):
        text = " ".join(tokens[first:last])
        words = count_words(text)
        start_s, end_s = _times(
            utterance, offset, offset + len(text), before / total, (before + words) / total
        )
        yield text, words, utterance.speaker, start_s, end_s
        offset += len(text) + 1
        before += words


def _cuts(tokens: Sequence[str], sizes: Sequence[int], longest: int) -> list[tuple[int, int]]:
    """Spans of tokens, together all of them: whole sentences, in parts of about equal length."""
    spans: list[tuple[int, int, int]] = []
    first = 0
    for end in sentence_ends(tokens):
        size = sum(sizes[first:end])
        spans.extend(_clauses(tokens, sizes, first, end) if size > SENTENCE_WORDS else [(first, end, size)])
        first = end
    total = sum(sizes)
    # Equal parts rather than full ones: 62 words become 31 + 31, not 60 + 2.
    target = total / -(-total // longest)
    cuts: list[tuple[int, int]] = []
    start, length = 0, 0
    for first, end, size in spans:
        if length and (length + size > longest or length >= target):
            cuts.append((start, first))
            start, length = first, 0
        length += size
        if end == len(tokens):
            cuts.append((start, end))
    return cuts


def _clauses(tokens: Sequence[str], sizes: Sequence[int], first: int, end: int) -> list[tuple[int, int, int]]:
    """A monstrous sentence cut after commas and the like, or else after `PART_WORDS` words."""
    spans = []
    while first < end:
        stop, length, clause, clause_length = first, 0, 0, 0
        while stop < end and (length == 0 or length + sizes[stop] <= PART_WORDS):
            length += sizes[stop]
            stop += 1
            if length >= PART_WORDS // 2 and tokens[stop - 1].endswith(_CLAUSE_MARKS):
                clause, clause_length = stop, length
        if clause and stop < end:
            stop, length = clause, clause_length
        spans.append((first, stop, length))
        first = stop
    return spans


def _times(
    utterance: Utterance, first: int, last: int, share_before: float, share_after: float
) -> tuple[float | None, float | None]:
    start_s, end_s = utterance.start_s, utterance.end_s
    if utterance.marks:
        offsets = [offset for offset, _ in utterance.marks]
        begun = bisect_right(offsets, first) - 1
        following = bisect_left(offsets, last)
        return (
            utterance.marks[begun][1] if begun >= 0 else start_s,
            utterance.marks[following][1] if following < len(offsets) else end_s,
        )
    if start_s is None or end_s is None:
        return start_s, end_s if last == len(utterance.text) else None
    span = end_s - start_s
    return round(start_s + span * share_before, 3), round(start_s + span * share_after, 3)
