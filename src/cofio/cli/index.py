"""`cofio index to-server|to-embedded`."""

from __future__ import annotations

from typing import Annotated

import typer
import uvloop
from rich.markup import escape

from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir
from cofio.cli.terminal import SOME_FAILED, out
from cofio.index_move import Move, move_index, present_place
from cofio.runtime import EMBEDDED, Runtime, index_place
from cofio.settings import Settings, load_settings
from cofio.show import progress_bar, show_counts

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Move the vector index to a Qdrant server, and back."
)


@app.command(name="to-server")
def to_server(
    url: Annotated[str, typer.Argument(help="URL of the Qdrant server, such as http://qdrant:6333.")],
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Empty the server also if it holds another store's memories.")
    ] = False,
) -> None:
    """Fill a Qdrant server from the database, verify it, and empty the place where the index was."""
    target = load_settings(data_dir=data_dir, model_dir=model_dir, qdrant_url=url)
    otherwise = target.model_copy(update={"qdrant_url": None})
    _show(_moved(target, otherwise=otherwise, replace=replace))
    out.print(f"From now on: cofio serve --qdrant-url {url}", markup=False, highlight=False, soft_wrap=True)


@app.command(name="to-embedded")
def to_embedded(
    qdrant_url: Annotated[
        str | None, typer.Option(help="URL of the Qdrant server where the index is.")
    ] = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Fill the embedded index from the database, verify it, and empty the server's."""
    source = load_settings(data_dir=data_dir, model_dir=model_dir, qdrant_url=qdrant_url)
    target = source.model_copy(update={"workers": 1, "qdrant_url": None})
    _show(_moved(target, otherwise=source, replace=True))
    out.print("From now on: cofio serve without --qdrant-url", highlight=False, soft_wrap=True)


def _moved(target: Settings, *, otherwise: Settings, replace: bool) -> Move:
    """The move from where the index is by the store's own note, or else by the settings `otherwise`."""
    place = uvloop.run(present_place(target))
    source = otherwise
    if place == EMBEDDED:
        source = target.model_copy(update={"workers": 1, "qdrant_url": None})
    elif place is not None and place != index_place(otherwise):
        source = target.model_copy(update={"qdrant_url": place})

    async def move(runtime: Runtime) -> Move:
        with progress_bar(out) as progress:
            task = progress.add_task("Filling", total=None, encoded=None)
            return await move_index(
                runtime,
                target,
                lambda held, total: progress.update(task, completed=held, total=total),
                replace=replace,
            )

    return with_runtime(source, move)


def _show(move: Move) -> None:
    show_counts(out, f"Index at {move.place}", move.memories)
    before = "" if move.asked_before else ", before without the index, which did not answer"
    out.print(
        f"{move.questions} questions asked before and after{before}: {move.same} find the same memories, "
        f"{move.shared:,} of {move.named:,} memories are the same.",
        highlight=False,
        soft_wrap=True,
    )
    for problem in move.problems:
        out.print(f"[bold red]problem[/] {escape(problem)}", soft_wrap=True)
    if move.problems:
        out.print("Nothing was changed: go on as before, or try again.")
        raise typer.Exit(SOME_FAILED)
    if not move.emptied:
        out.print("[yellow]warning[/] the old index did not answer, and was not emptied.", soft_wrap=True)
