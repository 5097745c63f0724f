"""`cofio export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cofio.cli.options import DataDir
from cofio.cli.terminal import out
from cofio.client import connect
from cofio.settings import load_settings
from cofio.transfer import open_export, write_export

app = typer.Typer(add_completion=False)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    url: Annotated[str | None, typer.Option(help="Export what the service at this URL holds.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write everything that is remembered as JSON lines."""
    if url:
        with connect(url, load_settings().api_key) as client:
            size = write_export(client.export(project), file)
    else:
        size = write_export(open_export(load_settings(data_dir=data_dir), project).chunks(), file)
    out.print(f"{size:,} bytes in {file}", highlight=False, soft_wrap=True)
