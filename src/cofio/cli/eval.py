"""`cofio eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cofio.cli.options import ModelDir
from cofio.cli.terminal import SOME_FAILED, err, out
from cofio.errors import InvalidInput
from cofio.eval.command import CACHE, as_json, evaluate, shortfalls, show
from cofio.eval.datasets import read_dataset, read_samples
from cofio.eval.harness import AskedOf
from cofio.settings import load_settings
from cofio.telemetry.logs import configure_logging

app = typer.Typer(add_completion=False)


@app.command()
def measure(
    data: Annotated[
        Path, typer.Option(help="Folder that holds the sets; the sample meetings' with --quick.")
    ] = Path("data"),
    set_name: Annotated[str | None, typer.Option("--set", help="Name of the set: its folder.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure the sample meetings; exits with 1 when quality dropped.")
    ] = False,
    scope: Annotated[
        AskedOf, typer.Option(help="Ask each question of its meeting, or of the whole set.")
    ] = "meeting",
    limit: Annotated[int | None, typer.Option(min=1, help="Ask so many questions, spread evenly.")] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Take each ingredient of the ranking out in turn, too.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of the stores that are kept between runs.")] = CACHE,
    precision: Annotated[str | None, typer.Option(help="Encoder arithmetic: int8 or fp32.")] = None,
    model_dir: ModelDir = None,
) -> None:
    """Measure recall on labelled meetings."""
    settings = load_settings(model_dir=model_dir, precision=precision)
    configure_logging("warning", settings.log_format)
    if quick == (set_name is not None):
        raise InvalidInput("ask for either a --set or --quick", field="set")
    if quick and limit is not None:
        raise InvalidInput("--quick asks all of its questions; leave --limit out", field="limit")
    if json is not None and not json.absolute().parent.is_dir():
        raise InvalidInput(f"there is no folder {json.absolute().parent} for the figures", field="json")
    dataset = read_samples(data) if set_name is None else read_dataset(data, set_name)
    evaluation = evaluate(
        dataset,
        settings,
        asked_of="pooled" if quick else scope,
        limit=limit,
        ablation=ablation,
        cache=cache,
        console=err,
    )
    show(out, evaluation)
    if json is not None:
        json.write_bytes(as_json(evaluation))
    dropped = shortfalls(evaluation) if quick else []
    for sentence in dropped:
        err.print(f"[bold red]cofio:[/] {escape(sentence)}", soft_wrap=True)
    if dropped:
        raise typer.Exit(SOME_FAILED)
