"""What part of the memory a question may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cofio.graph.blocks import TYPE_CODES
from cofio.graph.csr import MemoryGraph
from cofio.records import Bools, Filters, Int32s


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`meetings` (m,) bounds the spread and its statistics; `rows` (n,) what may be returned; `nodes` both.

    A filter on speaker or type narrows the rows only: the question before an answer still lights it up.
    """

    meetings: Bools
    rows: Bools
    nodes: Bools


def scope(graph: MemoryGraph, filters: Filters) -> Scope:
    """The part of `graph` that passes `filters`. Cost: a few passes over meetings and rows."""
    if filters == Filters(level=filters.level):
        return Scope(meetings=graph.everything[0], rows=graph.everything[1], nodes=graph.everything[2])
    meetings = np.ones(len(graph.blocks), np.bool_)
    if filters.project:
        meetings &= _named(graph.meeting_project, graph.lexicons.projects.find, filters.project)
    if filters.series:
        meetings &= _named(graph.meeting_series, graph.lexicons.series.find, filters.series)
    if filters.meeting_id:
        wanted = frozenset(filters.meeting_id)
        meetings &= np.fromiter(
            (block.head.meeting_id in wanted for block in graph.blocks), np.bool_, meetings.size
        )
    if filters.date_from is not None:
        meetings &= graph.meeting_day >= filters.date_from.toordinal()
    if filters.date_to is not None:
        meetings &= (graph.meeting_day > 0) & (graph.meeting_day <= filters.date_to.toordinal())
    inside = meetings[graph.meeting_of_row]
    rows = inside
    if filters.speaker:
        rows = rows & _named(graph.speakers, graph.lexicons.speakers.find, filters.speaker)
    if filters.memory_type:
        rows = rows & np.isin(graph.types, [TYPE_CODES[kind] for kind in filters.memory_type])
    concepts = np.ones(len(graph.concepts), np.bool_)
    if not meetings.all():
        # A concept is in scope if a meeting in scope mentions it.
        mentioned = np.concatenate(([0], np.cumsum(inside[graph.concept_rows])))
        concepts = mentioned[graph.concept_start[1:]] > mentioned[graph.concept_start[:-1]]
    return Scope(
        meetings=meetings,
        rows=rows,
        nodes=np.concatenate((inside, meetings[graph.context_meeting], concepts)),
    )


def _named(numbers: Int32s, find: Callable[[str], int], names: Iterable[str]) -> Bools:
    wanted = [number for name in names if (number := find(name)) >= 0]
    return np.isin(numbers, wanted)
