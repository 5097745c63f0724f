"""`cofio audit`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cofio import maintain
from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir, Url
from cofio.cli.terminal import out
from cofio.client import connect
from cofio.runtime import Runtime
from cofio.settings import load_settings
from cofio.store.audit import AuditPage

app = typer.Typer(add_completion=False)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=500, help="Entries at most.")] = 50,
    url: Url = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Tell who did what to the store, the latest first."""
    if url:
        with connect(url, load_settings().api_key) as client:
            page = client.list_audit(limit)
    else:

        async def read(runtime: Runtime) -> AuditPage:
            return await maintain.list_audit(runtime, limit=limit)

        page = with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), read)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("Entry", "At", "Who", "What", "Subject", "Numbers"):
        table.add_column(column, overflow="fold")
    for entry in page.entries:
        numbers = ", ".join(f"{name} {number}" for name, number in entry.details.items())
        table.add_row(
            str(entry.entry), entry.at, escape(entry.actor), entry.action, escape(entry.subject), numbers
        )
    out.print(table)
