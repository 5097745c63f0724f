"""`cofio rebuild`."""

from __future__ import annotations

import typer

from cofio import maintain
from cofio.cli.doctor import show_diagnosis
from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir
from cofio.settings import load_settings

app = typer.Typer(add_completion=False)


@app.command()
def rebuild(data_dir: DataDir = None, model_dir: ModelDir = None) -> None:
    """Rebuild vector index and graph from the database alone."""
    show_diagnosis(with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), maintain.rebuild))
