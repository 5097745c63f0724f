"""The vector index moves to a server and back: nothing is lost on the way, and a killed move changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from command_line import cofio
from hash_encoder import HashEncoder
from processes import ROOT, vector_server

from cofio.errors import InvalidInput
from cofio.index_move import Move, move_index, present_place
from cofio.ingest import ingest
from cofio.maintain import delete_meeting, doctor
from cofio.records import SEMANTIC_DIMENSIONS, VECTOR_DIMENSIONS, Filters, Level, MeetingInput
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store.audit import page_of_audit

QUESTION: Final = "Who paints the crane on the pier?"
# Begins to move a store to a server, and dies when the first memories have arrived.
MOVER: Final = """
import asyncio, os, signal, sys
from pathlib import Path
from hash_encoder import HashEncoder
from cofio.index_move import move_index
from cofio.runtime import open_runtime
from cofio.settings import Settings
async def move():
    settings = Settings(data_dir=Path(sys.argv[1]))
    target = settings.model_copy(update={"qdrant_url": sys.argv[2]})
    async with open_runtime(settings, HashEncoder()) as runtime:
        await move_index(runtime, target, lambda held, total: os.kill(os.getpid(), signal.SIGKILL))
asyncio.run(move())
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vector_server(tmp_path_factory.mktemp("server")) as served:
        yield served


def meeting(number: int) -> MeetingInput:
    lines = [
        f"Ann: The crane on pier {number} is rusty since the storm.",
        f"Bob: I will paint the crane of pier {number} before Friday.",
        f"Cleo: And who pays the paint for pier {number}?",
    ]
    return MeetingInput(
        title=f"Pier {number}",
        transcript="\n".join(lines),
        date=date(2026, 5, number + 1),
        project="harbour",
    )


async def filled(settings: Settings) -> list[str]:
    """The store has some meetings; returns their ids."""
    async with open_runtime(settings, HashEncoder()) as runtime:
        return [(await ingest(runtime, meeting(number))).meeting_id for number in range(12)]


async def named(runtime: Runtime) -> set[str]:
    """What the index itself finds; in so small a memory questions do not ask it."""
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[:SEMANTIC_DIMENSIONS] = HashEncoder().encode([QUESTION])[0]
    found = await runtime.index.search(vector, dict.fromkeys(Level, 10), Filters())
    return {hit.memory_id for hits in found.values() for hit in hits}


async def moved(source: Settings, target: Settings) -> Move:
    async with open_runtime(source, HashEncoder()) as runtime:
        steps: list[tuple[int, int]] = []
        move = await move_index(runtime, target, lambda held, total: steps.append((held, total)))
        assert steps[-1] == (sum(move.memories.values()),) * 2
        return move


async def test_to_the_server_and_back_gives_the_same_answers(tmp_path: Path, url: str) -> None:
    embedded = Settings(data_dir=tmp_path / "store")
    server = embedded.model_copy(update={"qdrant_url": url})
    ids = await filled(embedded)
    assert await present_place(embedded) == "embedded"
    async with open_runtime(embedded, HashEncoder()) as runtime:
        before = await named(runtime)

    there = await moved(embedded, server)
    assert there.problems == ()
    assert there.asked_before
    assert there.emptied
    assert there.questions == there.same == 40
    assert there.named == there.shared > 0
    assert await present_place(embedded) == url
    async with open_runtime(server, HashEncoder()) as runtime:
        assert await named(runtime) == before
        assert (await doctor(runtime, repair=False)).problems == ()
        with pytest.raises(InvalidInput, match="already"):
            await move_index(runtime, server, lambda held, total: None)
        # What the embedded index would not know of.
        await delete_meeting(runtime, ids[0])
        await ingest(runtime, meeting(20))
        changed = await named(runtime)
        told = (await page_of_audit(runtime.database, limit=10, before=None)).entries
        assert [(entry.action, entry.subject) for entry in told if entry.action == "move-index"] == [
            ("move-index", url)
        ]
    assert not (embedded.data_dir / "vectors").exists()

    back = await moved(server, embedded)
    assert back.problems == ()
    assert back.same == back.questions
    async with open_runtime(embedded, HashEncoder()) as runtime:
        assert await named(runtime) == changed
        assert (await doctor(runtime, repair=False)).problems == ()


async def test_a_place_where_the_index_was_long_ago_is_filled_anew(tmp_path: Path, url: str) -> None:
    """The counts are the same, so nothing but the store's own note tells that the embedded index is an old one."""
    embedded = Settings(data_dir=tmp_path / "store")
    server = embedded.model_copy(update={"qdrant_url": url})
    ids = await filled(embedded)
    (tmp_path / "old").mkdir()
    (embedded.data_dir / "vectors").rename(tmp_path / "old" / "vectors")
    async with open_runtime(server, HashEncoder()) as runtime:
        await delete_meeting(runtime, ids[3])
        await ingest(runtime, meeting(3))
        await delete_meeting(runtime, ids[0])
        await ingest(runtime, meeting(21))
        now = await named(runtime)
    (tmp_path / "old" / "vectors").rename(embedded.data_dir / "vectors")
    async with open_runtime(embedded, HashEncoder()) as runtime:
        assert (await doctor(runtime, repair=False)).problems == ()
        assert await named(runtime) == now


async def test_a_killed_move_changes_nothing_and_can_be_begun_again(tmp_path: Path, url: str) -> None:
    embedded = Settings(data_dir=tmp_path / "store")
    await filled(embedded)
    async with open_runtime(embedded, HashEncoder()) as runtime:
        before = await named(runtime)
    command = [sys.executable, "-c", MOVER, str(embedded.data_dir), url]
    paths = os.pathsep.join((str(ROOT / "tests"), str(ROOT / "src")))
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert await present_place(embedded) == "embedded"
    async with open_runtime(embedded, HashEncoder()) as runtime:
        assert await named(runtime) == before
    again = await moved(embedded, embedded.model_copy(update={"qdrant_url": url}))
    assert again.problems == ()
    assert again.same == again.questions


async def test_another_store_s_server_is_not_emptied(tmp_path: Path) -> None:
    ours = Settings(data_dir=tmp_path / "ours")
    await filled(ours)
    with vector_server(tmp_path) as theirs_too:
        theirs = Settings(data_dir=tmp_path / "theirs", qdrant_url=theirs_too)
        async with open_runtime(theirs, HashEncoder()) as runtime:
            for number in range(20, 23):
                await ingest(runtime, meeting(number))
            held = await runtime.index.counts()
        server = ours.model_copy(update={"qdrant_url": theirs_too})
        async with open_runtime(ours, HashEncoder()) as runtime:
            with pytest.raises(InvalidInput, match="another store's"):
                await move_index(runtime, server, lambda held, total: None)
        assert await present_place(ours) == "embedded"
        async with open_runtime(theirs, HashEncoder()) as runtime:
            assert await runtime.index.counts() == held
        async with open_runtime(ours, HashEncoder()) as runtime:
            taken = await move_index(runtime, server, lambda held, total: None, replace=True)
        assert taken.problems == ()


async def test_an_index_that_is_lost_with_its_server_is_made_anew_here(tmp_path: Path) -> None:
    embedded = Settings(data_dir=tmp_path / "store")
    with vector_server(tmp_path) as gone:
        server = embedded.model_copy(update={"qdrant_url": gone})
        await filled(server)
    back = await moved(server, embedded)
    assert back.problems == ()
    assert not back.asked_before
    assert not back.emptied
    assert back.shared == back.named
    async with open_runtime(embedded, HashEncoder()) as runtime:
        assert (await runtime.index.counts())[Level.EPISODE] == 36
        assert runtime.breaker.reason is None


def test_one_command_each_way(tmp_path: Path, url: str) -> None:
    store, folder = tmp_path / "store", tmp_path / "exports"
    folder.mkdir()
    (folder / "crane.txt").write_text("Ann: The crane is rusty.\nBob: I will order the paint by Monday.\n")
    cofio("ingest", folder, "--data-dir", store)
    there = cofio("index", "to-server", url, "--data-dir", store, "--replace")  # other tests' is there
    assert "4 questions asked before and after: 4 find the same memories" in there
    assert f"cofio serve --qdrant-url {url}" in there
    back = cofio("index", "to-embedded", "--data-dir", store)
    assert "4 find the same memories" in back
