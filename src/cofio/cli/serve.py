"""`cofio serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from cofio import serving
from cofio import workers as worker_group
from cofio.cli.options import DataDir, ModelDir
from cofio.cli.terminal import err
from cofio.settings import load_settings
from cofio.telemetry.logs import configure_logging
from cofio.telemetry.traces import check_traces

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port to listen on.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that serve; several need --qdrant-url.")
    ] = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
    precision: Annotated[str | None, typer.Option(help="Encoder arithmetic: int8 or fp32.")] = None,
    qdrant_url: Annotated[str | None, typer.Option(help="URL of a Qdrant server.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.")] = None,
    load: Annotated[
        Path | None,
        typer.Option(help="Remember these transcripts first, once for a data directory.", exists=True),
    ] = None,
    example: Annotated[
        str, typer.Option(help="Question of the command that is printed once the service is ready.")
    ] = "What was decided?",
) -> None:
    """Serve HTTP until interrupted."""
    settings = load_settings(
        host=host,
        port=port,
        workers=workers,
        data_dir=data_dir,
        model_dir=model_dir,
        precision=precision,
        qdrant_url=qdrant_url,
        log_level=log_level,
        log_format=log_format,
    )
    configure_logging(settings.log_level, settings.log_format)
    check_traces(settings)
    if settings.workers > 1:
        worker_group.serve(settings, load=load, example=example, console=err)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving.serve(settings, load=load, example=example, console=err))
