"""`cofio import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir
from cofio.cli.terminal import out
from cofio.runtime import Runtime
from cofio.settings import load_settings
from cofio.transfer import Imported, import_export

app = typer.Typer(add_completion=False)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="File that `cofio export` has written.")],
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Remember what another store has exported."""

    async def take_in(runtime: Runtime) -> Imported:
        return await import_export(runtime, file)

    done = with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), take_in, may_begin=True)
    encoded = (
        " Another encoder had made their vectors, so they were encoded again." if done.encoded_again else ""
    )
    out.print(
        f"{done.added} meetings added, {done.replaced} replaced, {done.unchanged} unchanged.{encoded}",
        highlight=False,
        soft_wrap=True,
    )
