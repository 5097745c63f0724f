"""The command line."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.markup import escape

import cofio
from cofio import files, maintain, serving
from cofio.bench import command as benchmark
from cofio.bench.bench import FULL, QUICK, Bench
from cofio.client import connect
from cofio.errors import (
    CofioError,
    InvalidInput,
    InvalidSettings,
    ModelMissing,
    NotFound,
    Overloaded,
    StoreInUse,
    StoreTooNew,
    Unavailable,
)
from cofio.eval.command import CACHE, as_json, evaluate, shortfalls, show
from cofio.eval.datasets import read_dataset, read_samples
from cofio.eval.harness import AskedOf
from cofio.graphml import export_graphml
from cofio.loading import remember, send
from cofio.query import recall
from cofio.records import Answer, Question
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings, describe_settings, load_settings
from cofio.show import Outcome, show_answer, show_counts, show_outcomes
from cofio.telemetry import configure_logging

# Exit codes as sysexits.h names them; 1 is for files that failed while others did not. 2 is a usage error.
EXIT_CODES: Final[Mapping[type[CofioError], int]] = {
    CofioError: os.EX_SOFTWARE,
    InvalidInput: os.EX_DATAERR,
    NotFound: os.EX_NOINPUT,
    Unavailable: os.EX_UNAVAILABLE,
    ModelMissing: os.EX_OSFILE,
    Overloaded: os.EX_TEMPFAIL,
    StoreInUse: os.EX_TEMPFAIL,
    StoreTooNew: os.EX_CONFIG,
    InvalidSettings: os.EX_CONFIG,
}
SOME_FAILED: Final = 1

Result = TypeVar("Result")

app = typer.Typer(
    help="Meeting transcripts in, memories out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out: Final = Console()
err: Final = Console(stderr=True)

DataDir = Annotated[Path | None, typer.Option(help="Folder of the stores.")]
ModelDir = Annotated[Path | None, typer.Option(help="Folder of the encoder's files.")]
Url = Annotated[str | None, typer.Option(help="Ask the service at this URL instead of opening the store.")]


def main() -> None:
    """Runs the command line; a domain error is one line on stderr and its exit code."""
    try:
        app()
    except CofioError as error:
        err.print(f"[bold red]cofio:[/] {escape(error.detail)}", soft_wrap=True)
        sys.exit(exit_code(error))


def exit_code(error: CofioError) -> int:
    """The exit code of the nearest base class of `error` that is listed."""
    return next(EXIT_CODES[base] for base in type(error).__mro__ if base in EXIT_CODES)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port to listen on.")] = None,
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
        data_dir=data_dir,
        model_dir=model_dir,
        precision=precision,
        qdrant_url=qdrant_url,
        log_level=log_level,
        log_format=log_format,
    )
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving.serve(settings, load=load, example=example, console=err))


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Transcript files, or folders of them.")],
    url: Url = None,
    title: Annotated[str | None, typer.Option(help="Title; for one file only.")] = None,
    date: Annotated[datetime | None, typer.Option(help="Day of the meetings.", formats=["%Y-%m-%d"])] = None,
    series: Annotated[str | None, typer.Option(help="Series of the meetings.")] = None,
    project: Annotated[str | None, typer.Option(help="Project of the meetings.")] = None,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Remember transcript files; exits with 1 if any of them failed."""
    settings = load_settings(data_dir=data_dir, model_dir=model_dir)
    found = list(files.find(paths))
    if not found:
        raise InvalidInput(f"there is no transcript under {', '.join(map(str, paths))}")
    if title and len(found) > 1:
        raise InvalidInput(f"--title names one meeting, but there are {len(found)} files", field="title")
    given = {
        "title": title,
        "date": date.date() if date else None,
        "series": series,
        "project": project,
    }
    if url:
        outcomes = send(url, found, given, settings, err)
    else:

        async def ingest_here(runtime: Runtime) -> list[Outcome]:
            return await remember(runtime, found, given, err)

        outcomes = _with_runtime(settings, ingest_here)
    show_outcomes(out, outcomes)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


@app.command()
def query(
    text: Annotated[str, typer.Argument(help="The question.")],
    url: Url = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="Direct results of each level.")] = 5,
    activation: Annotated[bool, typer.Option(help="Spread activation through the graph.")] = True,
    bridges: Annotated[bool, typer.Option(help="Look for memories of other meetings.")] = True,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Ask the memory."""
    stripped = text.strip()
    if not 1 <= len(stripped) <= 1000:
        raise InvalidInput("a question has 1 to 1000 characters", field="query")
    question = Question(
        query=stripped, limit_per_level=limit, enable_activation=activation, enable_bridges=bridges
    )
    if url:
        with connect(url) as client:
            answer = client.ask(question)
    else:

        async def ask(runtime: Runtime) -> Answer:
            return await recall(runtime, question)

        answer = _with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), ask)
    show_answer(out, answer)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Compare database, vector index and graph; exits with 1 if problems remain."""

    async def diagnose(runtime: Runtime) -> maintain.Diagnosis:
        return await maintain.doctor(runtime, repair=repair)

    _show_diagnosis(_with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), diagnose))


@app.command()
def rebuild(data_dir: DataDir = None, model_dir: ModelDir = None) -> None:
    """Rebuild vector index and graph from the database alone."""
    _show_diagnosis(_with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), maintain.rebuild))


@app.command()
def graph(
    file: Annotated[Path, typer.Argument(help="GraphML file to write.")],
    data_dir: DataDir = None,
    model_dir: ModelDir = None,
) -> None:
    """Write the memory graph as GraphML."""

    async def export(runtime: Runtime) -> tuple[int, int]:
        return await export_graphml(runtime, file)

    nodes, edges = _with_runtime(load_settings(data_dir=data_dir, model_dir=model_dir), export)
    out.print(f"{nodes} memories and {edges} edges in {file}", highlight=False)


@app.command(name="eval")
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


@app.command(name="settings")
def show_settings() -> None:
    """Print every setting as a table in Markdown."""
    out.print(describe_settings(), markup=False, highlight=False, soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(cofio.__version__, highlight=False)


def _with_runtime(settings: Settings, use: Callable[[Runtime], Awaitable[Result]]) -> Result:
    """What `use` returns on an open runtime, which is closed again."""

    async def run() -> Result:
        async with open_runtime(settings) as runtime:
            return await use(runtime)

    configure_logging("warning", settings.log_format)
    return asyncio.run(run())


def _show_diagnosis(diagnosis: maintain.Diagnosis) -> None:
    for title, counts in (
        ("Database", diagnosis.truth),
        ("Index", diagnosis.index),
        ("Graph", diagnosis.graph),
    ):
        show_counts(out, title, counts)
    for problem in diagnosis.problems:
        sign = "[green]mended[/]" if problem in diagnosis.repaired else "[bold red]problem[/]"
        out.print(f"{sign} {escape(problem)}", soft_wrap=True)
    if any(problem not in diagnosis.repaired for problem in diagnosis.problems):
        out.print("`cofio doctor --repair` rebuilds index and graph from the database.", markup=False)
        raise typer.Exit(SOME_FAILED)
    if not diagnosis.problems:
        out.print("The three stores agree.")
