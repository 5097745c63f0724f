"""`cofio ingest`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cofio import files
from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir, Url
from cofio.cli.terminal import SOME_FAILED, err, out
from cofio.errors import InvalidInput
from cofio.loading import remember
from cofio.runtime import Runtime
from cofio.sending import send
from cofio.settings import load_settings
from cofio.show import Outcome, show_outcomes

app = typer.Typer(add_completion=False)


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Transcript files, or folders of them.")],
    url: Url = None,
    title: Annotated[str | None, typer.Option(help="Title; for one file only.")] = None,
    date: Annotated[datetime | None, typer.Option(help="Day of the meetings.", formats=["%Y-%m-%d"])] = None,
    series: Annotated[str | None, typer.Option(help="Series of the meetings.")] = None,
    project: Annotated[str | None, typer.Option(help="Project of the meetings.")] = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Remember transcript files; exits with 1 if any of them failed."""
    settings = load_settings(data_dir=data_dir, model_dir=model_dir)
    found = list(files.find(paths))
    if not found:
        raise InvalidInput(f"there is no transcript under {', '.join(map(str, paths))}")
    if title and len(found) > 1:
        raise InvalidInput(f"--title names one meeting, but there are {len(found)} files", field="title")
    given = {
        "title": title,
        "date": date.date() if date else None,
        "series": series,
        "project": project,
    }
    if url:
        outcomes = send(url, found, given, settings, err)
    else:

        async def ingest_here(runtime: Runtime) -> list[Outcome]:
            return await remember(runtime, found, given, err)

        outcomes = with_runtime(settings, ingest_here, may_begin=True)
    show_outcomes(out, outcomes)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)
