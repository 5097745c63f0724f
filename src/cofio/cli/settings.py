"""`cofio settings`."""

from __future__ import annotations

import typer

from cofio.cli.terminal import out
from cofio.settings import describe_settings

app = typer.Typer(add_completion=False)


@app.command()
def show_settings() -> None:
    """Print every setting as a table in Markdown."""
    out.print(describe_settings(), markup=False, highlight=False, soft_wrap=True)
