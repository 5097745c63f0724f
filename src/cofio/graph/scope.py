"""What part of the memory a question may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.blocks import TYPE_CODES
from cofio.graph.csr import MemoryGraph
from cofio.records import Bools, Filters, Int32s

_EVERY_TYPE: Final = np.ones(len(TYPE_CODES), np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`meetings` (m,) bounds the spread and its statistics; speakers and types bound what may be returned.

    A filter on speaker or type narrows the rows only: the question before an answer still lights it up. Nothing here
    is as long as the memory, so that a narrow question costs no more of a large one.
    """

    meetings: Bools
    speakers: Bools  # (speakers+1,) by number + 1: place 0 is for nobody
    types: Bools  # (types,)
    some_speakers: bool  # whether `speakers` may leave anybody out
    some_types: bool

    def whole(self, graph: MemoryGraph) -> bool:
        """Whether all meetings are inside because no filter bounds them."""
        return self.meetings is graph.alive

    def passes(self, graph: MemoryGraph, rows: Int32s) -> Bools:
        """Which of `rows` may be returned."""
        return np.asarray(
            self.meetings[graph.meeting_of_row[rows]]
            & self.speakers[graph.speakers[rows] + 1]
            & self.types[graph.types[rows]]
        )

    def mentions(self, graph: MemoryGraph, concepts: Int32s) -> Bools:
        """Which of `concepts` are alive and mentioned in a meeting of the scope."""
        if self.whole(graph):
            return np.asarray(graph.mentioned[concepts])
        projects = np.zeros(len(graph.lexicons.projects), np.bool_)
        projects[graph.meeting_project[self.meetings]] = True
        out = np.empty(concepts.size, np.bool_)
        kernels.mentioned(
            concepts, graph.concept_start, graph.concept_rows, graph.concept_projects, graph.meeting_of_row, self.meetings,
            projects, out,
        )  # fmt: skip
        return out


def scope(graph: MemoryGraph, filters: Filters) -> Scope:
    """The part of `graph` that passes `filters`. Cost: a few passes over the meetings."""
    meetings = graph.alive
    if filters.project:
        meetings = meetings & _named(graph.meeting_project, graph.lexicons.projects.find, filters.project)
    if filters.series:
        meetings = meetings & _named(graph.meeting_series, graph.lexicons.series.find, filters.series)
    if filters.meeting_id:
        wanted = np.zeros(meetings.size, np.bool_)
        numbers = (graph.meeting_of_id.get(meeting_id, meetings.size) for meeting_id in filters.meeting_id)
        wanted[[number for number in numbers if number < meetings.size]] = True
        meetings = meetings & wanted
    if filters.date_from is not None:
        meetings = meetings & (graph.meeting_day >= filters.date_from.toordinal())
    if filters.date_to is not None:
        day = graph.meeting_day
        meetings = meetings & (day > 0) & (day <= filters.date_to.toordinal())
    speakers, types = graph.everybody, _EVERY_TYPE
    if filters.speaker:
        speakers = np.zeros_like(speakers)
        found = (graph.lexicons.speakers.find(name) for name in filters.speaker)
        speakers[[number + 1 for number in found if 0 <= number < speakers.size - 1]] = True
    if filters.memory_type:
        types = np.zeros_like(types)
        types[[TYPE_CODES[kind] for kind in filters.memory_type]] = True
    return Scope(
        meetings=meetings,
        speakers=speakers,
        types=types,
        some_speakers=bool(filters.speaker),
        some_types=bool(filters.memory_type),
    )


def _named(numbers: Int32s, find: Callable[[str], int], names: Iterable[str]) -> Bools:
    wanted = [number for name in names if (number := find(name)) >= 0]
    return np.isin(numbers, wanted)
