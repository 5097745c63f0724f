"""What a command imports: a start pays for every module, so what only another command needs stays out."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest
from typer.main import get_command

import cofio.cli

# Numba imports `scipy` itself, to see its version.
HEAVY = {
    "igraph",
    "networkx",
    "matplotlib",
    "scipy.sparse",
    "qdrant_client",
    "onnx",
    "ir_measures",
    "opentelemetry.sdk",
}
# Run in an interpreter of its own, for this one has imported everything already.
LOADED = "import importlib, json, sys; importlib.import_module({!r}); print(json.dumps(sorted(sys.modules)))"


def _loaded(module: str) -> set[str]:
    ran = subprocess.run([sys.executable, "-c", LOADED.format(module)], capture_output=True, check=True)
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("command", ["serve", "query", "ingest", "doctor"])
def test_a_command_on_the_store_imports_nothing_of_the_evaluation_nor_of_a_vector_server(
    command: str,
) -> None:
    loaded = _loaded(f"cofio.cli.{command}")
    assert "cofio.runtime" in loaded
    assert not HEAVY & loaded
    assert not {name for name in loaded if name.startswith(("cofio.bench", "cofio.eval"))}


def test_the_command_line_alone_imports_no_command() -> None:
    loaded = {name for name in _loaded("cofio.cli") if name.startswith("cofio.")}
    assert loaded == {"cofio.cli", "cofio.cli.terminal", "cofio.collector", "cofio.errors"}


def test_the_guard_sees_what_a_command_imports() -> None:
    assert "networkx" in HEAVY & _loaded("cofio.cli.graph")


@pytest.mark.parametrize("name", cofio.cli.COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    command = get_command(importlib.import_module(f"cofio.cli.{name}").app)
    assert (command.help or "").split("\n")[0] == cofio.cli.COMMANDS[name]


def test_every_module_with_a_command_is_listed() -> None:
    modules = {found.name for found in pkgutil.iter_modules(cofio.cli.__path__)}
    assert modules - {"opened", "options", "terminal"} == set(cofio.cli.COMMANDS)
