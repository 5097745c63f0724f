"""`cofio graph`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir
from cofio.cli.terminal import out
from cofio.errors import NotFound
from cofio.graphml import export_graphml
from cofio.runtime import Runtime
from cofio.settings import load_settings

app = typer.Typer(add_completion=False)


@app.command()
def graph(
    file: Annotated[Path, typer.Argument(help="GraphML file to write.")],
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Write the memory graph as GraphML."""

    async def export(runtime: Runtime) -> tuple[int, int]:
        return await export_graphml(runtime, file)

    if not file.absolute().parent.is_dir():
        # Before the whole store is opened for nothing.
        raise NotFound(f"There is no folder {file.parent}.", field="file")
    nodes, edges = with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), export)
    out.print(f"{nodes} memories and {edges} edges in {file}", highlight=False)
