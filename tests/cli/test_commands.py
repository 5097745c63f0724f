"""The command line, as a process."""

from __future__ import annotations

import os
from pathlib import Path

import networkx as nx
import pytest
from command_line import cofio

from cofio import __version__


def test_files_go_in_and_answers_come_out(tmp_path: Path) -> None:
    store = tmp_path / "store"
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "crane.txt").write_text(
        "Ann: The crane on pier four is rusty and must be painted.\nBob: I will order the paint by Monday.\n"
    )
    (folder / "broken.srt").write_text("some text\n")
    told = cofio("ingest", folder, "--data-dir", store, "--series", "harbour", code=1)
    assert "crane" in told
    assert "broken" in told
    assert "created" in told
    (folder / "broken.srt").unlink()
    assert "unchanged" in cofio("ingest", folder, "--data-dir", store, "--series", "harbour")
    answer = cofio("query", "What has to be done about the crane?", "--data-dir", store)
    assert "rusty" in answer
    assert "Ann" in answer
    assert "agree" in cofio("doctor", "--data-dir", store)
    cofio("rebuild", "--data-dir", store)
    cofio("graph", tmp_path / "memory.graphml", "--data-dir", store)
    assert "cannot be written" in cofio("graph", tmp_path, "--data-dir", store, code=os.EX_UNAVAILABLE)
    graph = nx.read_graphml(tmp_path / "memory.graphml", force_multigraph=True)
    assert {"next", "part_of", "spoken_by"} <= {kind for _, _, kind in graph.edges(data="kind")}
    assert any("rusty" in str(content) for _, content in graph.nodes(data="content"))
    assert "rusty" in cofio("query", "What has to be done about the crane?", "--data-dir", store)


@pytest.mark.parametrize(
    "command", [["doctor"], ["query", "x"], ["rebuild"], ["audit"], ["graph", "g.graphml"]]
)
def test_a_mistyped_folder_is_no_empty_store(tmp_path: Path, command: list[str]) -> None:
    told = cofio(*command, "--data-dir", tmp_path / "typo", code=os.EX_NOINPUT)
    assert "There is no store in" in told
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ingest", "/no/such/file", "--data-dir", "{tmp}"], os.EX_DATAERR, "no file"),
        (
            ["ingest", "README.md", "--data-dir", "{tmp}", "--model-dir", "{tmp}"],
            os.EX_OSFILE,
            "scripts/setup_model.py",
        ),
        (["query", " ", "--data-dir", "{tmp}"], os.EX_DATAERR, "1 to 1000"),
        (["graph", "{tmp}/none/x", "--data-dir", "{tmp}/store"], os.EX_NOINPUT, "no folder"),
        (["query", "x", "--url", "http://127.0.0.1:9"], os.EX_UNAVAILABLE, "127.0.0.1:9"),
    ],
    ids=[
        "missing file",
        "missing model",
        "empty question",
        "missing folder",
        "no service",
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    told = cofio(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments), code=code)
    assert says in " ".join(told.split())


def test_the_version_is_the_package_s() -> None:
    assert cofio("version").strip() == __version__
