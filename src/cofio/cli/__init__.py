"""The command line. Only the module of the command that runs is imported, for some take seconds to import.

A command NAME is a module `cofio.cli.NAME` with `app`, a `typer.Typer` of one command or of several subcommands,
and a line in `COMMANDS`. The module imports at its top what the command needs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any, Final

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from cofio import collector
from cofio.cli.terminal import err, exit_code
from cofio.errors import CofioError

# In the order of `cofio --help`, with what it says of each: the first sentence of the command's own help.
COMMANDS: Final[Mapping[str, str]] = {
    "serve": "Serve HTTP until interrupted.",
    "ingest": "Remember transcript files; exits with 1 if any of them failed.",
    "query": "Ask the memory.",
    "doctor": "Compare database, vector index and graph; exits with 1 if problems remain.",
    "rebuild": "Rebuild vector index and graph from the database alone.",
    "index": "Move the vector index to a Qdrant server, and back.",
    "backup": "Make, list, verify and restore backups.",
    "export": "Write everything that is remembered as JSON lines.",
    "import": "Remember what another store has exported.",
    "erase": "Erase a meeting, a speaker or a project, and prove it.",
    "audit": "Tell who did what to the store, the latest first.",
    "graph": "Write the memory graph as GraphML.",
    "keys": "Make, list and revoke the keys of those who may ask a service.",
    "eval": "Measure recall on labelled meetings.",
    "bench": "Measure speed, beside what else one could take; exits with 1 where results differ.",
    "settings": "Print every setting as a table in Markdown.",
    "metrics": "Print every metric as a table in Markdown.",
    "version": "Print the version.",
}


class LazyGroup(TyperGroup):
    """Lists what `COMMANDS` says, and imports the command that is called."""

    # The types of Typer's own commands and contexts are private to it, hence Any.
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = {name: TyperCommand(name, help=sentence) for name, sentence in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The name of the command that the arguments call, the command itself, and its own arguments."""
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None:
            return name, listed, rest
        with collector.paused():
            module = importlib.import_module(f"cofio.cli.{name}")
        command = typer.main.get_command(module.app)
        command.name = name
        return name, command, rest


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def cofio() -> None:
    """Meeting transcripts in, memories out."""


def main() -> None:
    """Runs the command line; a domain error is one line on stderr and its exit code."""
    try:
        app()
    except CofioError as error:
        err.print(f"[bold red]cofio:[/] {escape(error.detail)}", soft_wrap=True)
        sys.exit(exit_code(error))
