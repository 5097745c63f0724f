"""`cofio version`."""

from __future__ import annotations

import typer

import cofio
from cofio.cli.terminal import out

app = typer.Typer(add_completion=False)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(cofio.__version__, highlight=False)
