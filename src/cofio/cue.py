"""What a question asks for: its terms, the text for the encoder, the people and the dates that it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.records import Int32s
from cofio.text.clean import plain_text
from cofio.text.dates import DateSpan, named_dates
from cofio.text.terms import STOP_WORDS, WORD, bare_word, query_stems
from cofio.text.titles import names


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A question as the memory reads it.

    `encoded_text` is the question without participants' names (they pull the vector towards whoever speaks;
    DESIGN §3 point 1); `stems` keep them. `people` are the numbers of the speakers it names, `person` is the one
    if there is only one, else None. `documents` are the rows that begin the documents whose titles it names, ascending.
    """

    text: str
    encoded_text: str
    stems: tuple[str, ...]
    people: frozenset[int]
    dates: tuple[DateSpan, ...]
    documents: Int32s

    @property
    def person(self) -> int | None:
        """The one speaker that the question names."""
        return next(iter(self.people)) if len(self.people) == 1 else None


def read_cue(text: str, graph: MemoryGraph, scope: Scope) -> Cue:
    """The cue of a question asked of the part of `graph` in `scope`. What cannot be seen in it is not read."""
    text = plain_text(text)
    bare, people = _take_out_names(text, graph, scope)
    return Cue(
        text=text,
        encoded_text=bare,
        stems=tuple(query_stems(text)),
        people=people,
        dates=tuple(named_dates(text)),
        documents=_named_documents(text, graph, scope),
    )


def _named_documents(text: str, graph: MemoryGraph, scope: Scope) -> Int32s:
    holding = np.unique(graph.meeting_project[scope.meetings & graph.documents])
    projects = (graph.lexicons.projects[number] for number in holding)
    keys = [key for project in projects for key in names(project, text)]
    first, last = (
        np.searchsorted(graph.document_keys, np.array(keys, np.int64), side) for side in ("left", "right")
    )
    rows = [
        row for low, high in zip(first, last, strict=True) for row in graph.document_rows[low:high].tolist()
    ]
    named = np.unique(np.array(rows, np.int32))
    return named[scope.passes(graph, named)]


def _take_out_names(text: str, graph: MemoryGraph, scope: Scope) -> tuple[str, frozenset[int]]:
    found = list(WORD.finditer(text))
    words = [bare_word(match.group()) for match in found]
    cut: list[tuple[int, int]] = []
    named: list[frozenset[int]] = []
    at = 0
    while at < len(words):
        length, speakers = _name_at(words, at, found[at].group(), graph, scope)
        if speakers:
            cut.append((found[at].start(), found[at + length - 1].end()))
            named.append(speakers)
        at += length
    pieces = [
        text[a:b] for a, b in zip([0, *(b for _, b in cut)], [*(a for a, _ in cut), len(text)], strict=True)
    ]
    bare = " ".join("".join(pieces).split())
    return (bare if WORD.search(bare) else text), frozenset(chain.from_iterable(named))


def _name_at(
    words: list[str], at: int, written: str, graph: MemoryGraph, scope: Scope
) -> tuple[int, frozenset[int]]:
    """How many words from `at` on are a speaker's name, and whose; (1, none) if they are no name."""
    speakers = _in_scope(graph.speakers_of_word.get(words[at], ()), graph, scope)
    if not speakers:
        return 1, frozenset()
    names = {number: graph.words_of_speaker[number] for number in speakers}
    following = tuple(words[at:])
    longest = max((len(name) for name in names.values() if following[: len(name)] == name), default=0)
    if longest > 1:
        return longest, frozenset(n for n, name in names.items() if following[:longest] == name)
    # One word alone is a name if it is written as one: "Will asked" names Will, "will it work" does not.
    if not written[0].isupper() or (at == 0 and words[at] in STOP_WORDS):
        return 1, frozenset()
    alone = frozenset(n for n, name in names.items() if name == following[:1])
    return 1, alone or frozenset(n for n, name in names.items() if words[at] in name)


def _in_scope(speakers: Iterable[int], graph: MemoryGraph, scope: Scope) -> frozenset[int]:
    return frozenset(s for s in speakers if graph.spoke_in(s, scope.meetings))
