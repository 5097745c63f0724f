"""`cofio metrics`."""

from __future__ import annotations

import typer

from cofio.cli.terminal import out
from cofio.telemetry.metrics import describe_metrics

app = typer.Typer(add_completion=False)


@app.command()
def show_metrics() -> None:
    """Print every metric as a table in Markdown."""
    out.print(describe_metrics(), markup=False, highlight=False, soft_wrap=True)
