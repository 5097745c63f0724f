"""`cofio erase meeting|speaker|project`."""

from __future__ import annotations

from typing import Annotated

import typer

from cofio import erasure, maintain
from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir
from cofio.cli.terminal import SOME_FAILED, out
from cofio.client import connect
from cofio.erasure import Erasure
from cofio.records import Deletion
from cofio.runtime import Runtime
from cofio.settings import load_settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Erase a meeting, a speaker or a project, and prove it."
)

Service = Annotated[str | None, typer.Option(help="Erase at the service at this URL.")]


@app.command()
def meeting(
    meeting_id: Annotated[str, typer.Argument(help="Id of the meeting.")],
    url: Service = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Erase one meeting."""
    if url:
        with connect(url, load_settings().api_key) as client:
            deletion = client.delete_meeting(meeting_id)
    else:

        async def delete(runtime: Runtime) -> Deletion:
            deleted = await maintain.delete_meeting(runtime, meeting_id)
            await runtime.purge()
            return deleted

        deletion = with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), delete)
    removed = ", ".join(f"{count} {level}" for level, count in deletion.removed_memories.items())
    out.print(f"Erased: {removed}, {deletion.removed_edges} edges.", highlight=False)


@app.command()
def speaker(
    name: Annotated[str, typer.Argument(help="Name of the speaker; capitals do not matter.")],
    project: Annotated[str | None, typer.Option(help="Only in this project.")] = None,
    url: Service = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Erase all that somebody said; exits with 1 if some of it was found again."""
    if url:
        with connect(url, load_settings().api_key) as client:
            erased = client.erase_speaker(name, project)
    else:

        async def erase(runtime: Runtime) -> Erasure:
            told = await erasure.erase_speaker(runtime, name, project=project)
            await runtime.purge()
            return told

        erased = with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), erase)
    _show(erased)


@app.command()
def project(
    name: Annotated[str, typer.Argument(help="Name of the project.")],
    url: Service = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Erase a project; exits with 1 if some of it was found again."""
    if url:
        with connect(url, load_settings().api_key) as client:
            erased = client.erase_project(name)
    else:

        async def erase(runtime: Runtime) -> Erasure:
            told = await erasure.erase_project(runtime, name)
            await runtime.purge()
            return told

        erased = with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), erase)
    _show(erased)


def _show(erased: Erasure) -> None:
    removed = ", ".join(f"{count} {level}" for level, count in erased.removed_memories.items())
    proof = erased.proof
    lines = [
        f"Erased: {erased.meetings_deleted} meetings whole, {erased.meetings_changed} in part; {removed}, "
        f"{erased.removed_edges} edges.",
        f"Looked for again in the database, the graph, the vector index and by a question: {proof.found} found.",
    ]
    if proof.index is None:
        lines.append("The vector index does not answer now: nothing was looked for in it.")
    if proof.search is None:
        lines.append("Too many others asked: no question was asked.")
    if (named := erased.still_named) is not None and (named.utterances or named.concepts or named.meetings):
        lines.append(
            f"The name is still in {named.utterances} utterances of others, {named.concepts} concepts, and the titles or "
            f"metadata of {named.meetings} meetings."
        )
    if erased.older_backups:
        lines.append(f"{len(erased.older_backups)} older backups may still hold it.")
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
    if proof.found:
        raise typer.Exit(SOME_FAILED)
