"""`cofio bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cofio.bench import command as benchmark
from cofio.bench.bench import FULL, QUICK, Bench
from cofio.cli.options import ModelDir
from cofio.cli.terminal import SOME_FAILED, err, out
from cofio.errors import InvalidInput
from cofio.settings import load_settings

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    part: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(benchmark.PARTS)}; without, all of them.")
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Measure the peers beside it (dependency group `peers`).")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
    data: Annotated[
        Path, typer.Option(help="Folder of real meetings: labelled sets, or the sample meetings.")
    ] = Path("data"),
    sizes: Annotated[str, typer.Option(help="Memories of the stores of `scale`, with commas.")] = ",".join(
        map(str, benchmark.SIZES)
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Few rounds over little: shows that it works, measures nothing.")
    ] = False,
    cache: Annotated[
        Path, typer.Option(help="Folder of the stores that are kept between runs.")
    ] = benchmark.CACHE,
    precision: Annotated[str | None, typer.Option(help="Encoder arithmetic: int8 or fp32.")] = None,
    model_dir: ModelDir = None,
) -> None:
    """Measure speed, beside what else one could take; exits with 1 where results differ."""
    settings = load_settings(model_dir=model_dir, precision=precision, encoder_threads=1)
    if json is not None and not json.absolute().parent.is_dir():
        raise InvalidInput(f"there is no folder {json.absolute().parent} for the figures", field="json")
    run = Bench(
        data=data.absolute(),
        cache=cache.absolute() / "quick" if quick else cache.absolute(),
        settings=settings.model_copy(update={"model_dir": settings.model_dir.absolute()}),
        peers=peers,
        effort=QUICK if quick else FULL,
        sizes=_sizes(sizes),
    )
    parts = benchmark.run_parts(run, [part] if part else list(benchmark.PARTS))
    for measured in parts:
        benchmark.show(out, measured)
    if json is not None:
        json.write_bytes(benchmark.as_json(parts))
    differences = benchmark.disagreements(parts)
    for sentence in differences:
        err.print(f"[bold red]cofio:[/] {escape(sentence)}", soft_wrap=True)
    if differences:
        raise typer.Exit(SOME_FAILED)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no list of numbers with commas", field="sizes") from error
    if sizes[0] < 1:
        raise InvalidInput("a store holds at least one memory", field="sizes")
    return tuple(sizes)
