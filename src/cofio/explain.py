"""A bridge's link, told as a sentence that the two memories bear out."""

from __future__ import annotations

from datetime import date

from cofio.graph.bridges import Link
from cofio.graph.csr import MemoryGraph
from cofio.records import ConceptKind
from cofio.store.recalled import Shown
from cofio.text.terms import WORD, stem
from cofio.text.titles import names


def bridge(graph: MemoryGraph, link: Link, there: Shown, here: Shown) -> str:
    """One sentence: who spoke where and when, what links it to which woken memory, and how that is known."""
    if link.turns:
        turns = f"{abs(link.turns)} turn{'s' if abs(link.turns) != 1 else ''}"
        side = "after" if link.turns > 0 else "before"
        return f"{_speaker(there, 'Someone')} in {_where(there)} says this {turns} {side} {_speaker(here, 'a speaker')}."
    if link.defines:
        return f"“{there.metadata.title}” is a document of that name, and “{here.metadata.title}” names it."
    if link.names:
        project = graph.heads[graph.meeting_of_row[link.row]].project
        held = names(project, there.content)
        name = max((held[key] for key in link.names if key in held), key=len, default="the same")
        return f"“{there.metadata.title}” names “{name}”, as does “{here.metadata.title}”."
    return (
        f"{_source(graph, link.row, there, 'Someone')}{_when(there, here)} {_links(graph, link, there)}, "
        f"as does {_source(graph, link.anchor, here, 'a speaker')}."
    )


def _links(graph: MemoryGraph, link: Link, there: Shown) -> str:
    if link.concept is not None:
        concept = graph.concepts[link.concept]
        # A question's mentions are the question itself and what answers it.
        verb = "belongs to the open question" if concept.kind is ConceptKind.QUESTION else "mentions"
        return f"{verb} “{concept.label}”"
    words = [word for s in link.stems if (word := _as_said(s, there.content))]
    return "speaks of " + " and ".join(f"“{word}”" for word in words)


def _as_said(wanted: str, content: str) -> str | None:
    # A stem begins as its word does: few words need be stemmed.
    alike = (word for word in WORD.findall(content) if word[0].lower() == wanted[0])
    return next((word for word in alike if stem(word.lower()) == wanted), None)


def _speaker(shown: Shown, nobody: str) -> str:
    return shown.metadata.speaker or nobody


def _source(graph: MemoryGraph, row: int, shown: Shown, nobody: str) -> str:
    """Who spoke where; a document speaks for itself."""
    if graph.documents[graph.meeting_of_row[row]]:
        return _where(shown)
    return f"{_speaker(shown, nobody)} in {_where(shown)}"


def _where(shown: Shown) -> str:
    dated = f" ({shown.metadata.date})" if shown.metadata.date else ""
    return f"“{shown.metadata.title}”{dated}"


def _when(there: Shown, here: Shown) -> str:
    if not there.metadata.date or not here.metadata.date:
        return ""
    days = (date.fromisoformat(there.metadata.date) - date.fromisoformat(here.metadata.date)).days
    if days == 0:
        return ", on the same day,"
    span = f"{abs(days)} day{'s' if abs(days) != 1 else ''}"
    return f", {span} {'later' if days > 0 else 'earlier'},"
