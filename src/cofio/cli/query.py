"""`cofio query`."""

from __future__ import annotations

from typing import Annotated

import typer

from cofio.cli.opened import with_runtime
from cofio.cli.options import DataDir, ModelDir, Url
from cofio.cli.terminal import out
from cofio.client import connect
from cofio.errors import InvalidInput
from cofio.query import recall
from cofio.records import Answer, Question
from cofio.runtime import Runtime
from cofio.settings import load_settings
from cofio.show import show_answer
from cofio.text.clean import plain_text

app = typer.Typer(add_completion=False)


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
    stripped = plain_text(text)
    if not 1 <= len(stripped) <= 1000:
        raise InvalidInput("a question has 1 to 1000 characters", field="query")
    question = Question(
        query=stripped, limit_per_level=limit, enable_activation=activation, enable_bridges=bridges
    )
    settings = load_settings(data_dir=data_dir, model_dir=model_dir)
    if url:
        with connect(url, settings.api_key) as client:
            answer = client.ask(question)
    else:

        async def ask(runtime: Runtime) -> Answer:
            return await recall(runtime, question)

        answer = with_runtime(settings, ask)
    show_answer(out, answer)
