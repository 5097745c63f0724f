"""`cofio doctor`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from cofio import maintain
from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir
from cofio.cli.terminal import SOME_FAILED, out
from cofio.runtime import Runtime
from cofio.settings import load_settings
from cofio.show import show_counts

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Compare database, vector index and graph; exits with 1 if problems remain."""

    async def diagnose(runtime: Runtime) -> maintain.Diagnosis:
        return await maintain.doctor(runtime, repair=repair)

    show_diagnosis(with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), diagnose))


def show_diagnosis(diagnosis: maintain.Diagnosis) -> None:
    """Counts and problems are printed; exits with 1 if a problem remains."""
    for title, counts in (
        ("Database", diagnosis.truth),
        ("Index", diagnosis.index),
        ("Graph", diagnosis.graph),
    ):
        show_counts(out, title, counts)
    for problem in diagnosis.problems:
        sign = "[green]mended[/]" if problem in diagnosis.repaired else "[bold red]problem[/]"
        out.print(f"{sign} {escape(problem)}", soft_wrap=True)
    if any(problem not in diagnosis.repaired for problem in diagnosis.problems):
        out.print("`cofio doctor --repair` rebuilds index and graph from the database.", markup=False)
        raise typer.Exit(SOME_FAILED)
    if not diagnosis.problems:
        out.print("The three stores agree.")
