"""What a caller that is bound to a project may name: its own, or none, which means its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cofio.access.callers import Caller
from cofio.errors import Forbidden
from cofio.records import Question


def within_project(question: Question, caller: Caller) -> Question:
    """The question asked of the caller's project alone; as it is from a caller that is not bound.

    Raises Forbidden if it names another project, whether there is such a one or not.
    """
    if caller.project is None:
        return question
    check_projects(caller, question.filters.project, "filters.project")
    return replace(question, filters=replace(question.filters, project=(caller.project,)))


def check_projects(caller: Caller, named: Iterable[str], field: str) -> None:
    """Raises Forbidden if the caller is bound to a project and one of `named` is another."""
    if caller.project is not None and any(project != caller.project for project in named):
        raise Forbidden(
            f"This key is bound to the project {caller.project}. Name that one, or leave {field} out.",
            field=field,
        )
