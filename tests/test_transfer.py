"""Everything leaves as JSON lines, and gives the same answers where it is taken in."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from command_line import cofio
from hash_encoder import HashEncoder
from in_process import client
from test_kill import meeting

from cofio.errors import DamagedExport, NotFound
from cofio.ingest import ingest
from cofio.maintain import doctor, list_audit, list_meetings
from cofio.query import recall
from cofio.records import Answer, Filters, Float32s, MeetingInput, Question
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store.database import queries
from cofio.transfer import Imported, import_export, open_export, write_export

QUESTIONS = (
    Question(query="Who calls the supplier?"),
    Question(query="What waits for the gasket?", filters=Filters(speaker=("Ben",))),
    Question(query="Aurora battery cover"),
    Question(query="When does the ferry leave?", enable_activation=False),
    Question(query="What did Cleo say about Rauma?"),
)
FERRY = "Cleo: When does the ferry to Rauma leave in the winter timetable?\nDan: Nobody knows yet."
REPLY = "Dan: The ferry to Rauma leaves at nine in the winter timetable, when the ferry is not late."


def _open(
    data_dir: Path, encoder: HashEncoder | None = None
) -> contextlib.AbstractAsyncContextManager[Runtime]:
    return open_runtime(Settings(data_dir=data_dir), encoder or HashEncoder())


async def _fill(runtime: Runtime) -> None:
    for i in range(4):
        await ingest(runtime, meeting(i))
    await ingest(
        runtime,
        MeetingInput(title="Ferry", transcript="Cleo: We meet.", project="sea", external_id="f", date=date(2026, 1, 5),
                     participants=("Cleo", "Dan"), metadata={"room": "å"}),
    )  # fmt: skip
    answer = MeetingInput(
        title="Reply", transcript=REPLY, project="sea", external_id="r", date=date(2026, 1, 12)
    )
    await ingest(runtime, answer)
    # The question comes into the earlier meeting later: in the order of the export, its answer is before it.
    await ingest(
        runtime,
        MeetingInput(title="Ferry", transcript=FERRY, project="sea", external_id="f", date=date(2026, 1, 5),
                     participants=("Cleo", "Dan"), metadata={"room": "å"}),
    )  # fmt: skip
    await ingest(runtime, replace(answer, transcript=REPLY + "\nCleo: Good."))
    document = json.dumps([{"text": "Rauma is a town on the coast, which the ferry reaches."}])
    await ingest(runtime, MeetingInput(title="Rauma", transcript=document, project="sea"))


async def _answers(runtime: Runtime) -> list[Answer]:
    answers = [await recall(runtime, question) for question in QUESTIONS]
    return [replace(answer, processing_time_ms=0.0, stages_ms={}) for answer in answers]


async def test_an_import_answers_as_the_original_does(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    async with _open(tmp_path / "from") as runtime:
        await _fill(runtime)
        await runtime.live.reload()
        expected, meetings = await _answers(runtime), await list_meetings(runtime)
        export = await asyncio.to_thread(open_export, runtime.settings, None)
        await ingest(runtime, meeting(99))  # after the export was opened: not in it
        await asyncio.to_thread(write_export, export.chunks(), file)
        assert {path.name for path in (tmp_path / "from" / "backups").iterdir()} == {"backups.lock"}
    async with _open(tmp_path / "to") as runtime:
        done = await import_export(runtime, file)
        assert done == Imported(added=7, replaced=0, unchanged=0, encoded_again=False)
        await runtime.live.reload()
        assert await _answers(runtime) == expected
        assert await list_meetings(runtime) == meetings
        assert (await doctor(runtime, repair=False)).problems == ()
        again = await import_export(runtime, file)
        assert again == Imported(added=0, replaced=0, unchanged=7, encoded_again=False)
        await asyncio.to_thread(
            write_export,
            (await asyncio.to_thread(open_export, runtime.settings, None)).chunks(),
            tmp_path / "back",
        )
    lines = [
        [
            line
            for line in path.read_text().splitlines()
            if json.loads(line)["kind"] not in ("export", "end", "concept")
        ]
        for path in (file, tmp_path / "back")
    ]
    assert lines[0] == lines[1]
    concepts = [
        {line for line in path.read_text().splitlines() if json.loads(line)["kind"] == "concept"}
        for path in (file, tmp_path / "back")
    ]
    assert concepts[0] == concepts[1]


async def test_an_interrupted_import_is_whole_after_another(tmp_path: Path) -> None:
    """The reply stands before its question in the export; the first import ends when both are there, but not tied."""
    file = tmp_path / "all.jsonl"
    async with _open(tmp_path / "from") as runtime:
        await _fill(runtime)
        expected = await runtime.database.rows(queries.all_edges)
    write_export(open_export(Settings(data_dir=tmp_path / "from"), None).chunks(), file)

    def end(done: int, meetings: int) -> None:
        if done == meetings:
            raise KeyboardInterrupt

    async with _open(tmp_path / "to") as runtime:
        with pytest.raises(KeyboardInterrupt):
            await import_export(runtime, file, on_meeting=end)
        imported = await import_export(runtime, file)
        assert (imported.added, imported.replaced) == (0, 0)
        assert sorted(map(tuple, await runtime.database.rows(queries.all_edges))) == sorted(
            map(tuple, expected)
        )
        version = await runtime.database.read(queries.version)
        await import_export(runtime, file)
        assert await runtime.database.read(queries.version) == version


async def test_an_import_goes_beside_what_is_there_and_keeps_to_its_project(tmp_path: Path) -> None:
    file = tmp_path / "sea.jsonl"
    async with _open(tmp_path / "from") as runtime:
        await _fill(runtime)
        await asyncio.to_thread(write_export, open_export(runtime.settings, "sea").chunks(), file)
    kinds = [json.loads(line)["kind"] for line in file.read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("export", "end")
    assert kinds.count("meeting") == 3
    assert "gasket" not in file.read_text()
    async with _open(tmp_path / "to") as runtime:
        await ingest(runtime, meeting(0))
        changed = MeetingInput(title="Ferry", transcript="Cleo: Other words.", project="sea", external_id="f")
        await ingest(runtime, changed)
        done = await import_export(runtime, file)
        assert (done.added, done.replaced) == (2, 1)
        assert runtime.live.current.counts["meetings"] == 4
        assert (await doctor(runtime, repair=False)).problems == ()


class OtherEncoder(HashEncoder):
    """The same directions in another order: vectors that do not compare with those of the first."""

    fingerprint = "other"

    def encode(self, texts: list[str]) -> Float32s:  # type: ignore[override]
        return np.ascontiguousarray(super().encode(texts)[:, ::-1])


class RebuiltEncoder(OtherEncoder):
    """Says that it makes such vectors as the first."""

    earlier = frozenset({HashEncoder.fingerprint})


async def test_vectors_of_what_an_encoder_was_before_are_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    async with _open(tmp_path / "from") as runtime:
        await _fill(runtime)
        await asyncio.to_thread(write_export, open_export(runtime.settings, None).chunks(), file)
    async with _open(tmp_path / "to", RebuiltEncoder()) as runtime:
        done = await import_export(runtime, file)
        assert (done.added, done.encoded_again) == (7, False)


async def test_another_encoder_encodes_again(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    async with _open(tmp_path / "from") as runtime:
        await _fill(runtime)
        expected = await recall(runtime, QUESTIONS[0])
        ids = {one.meeting_id for one in (await list_meetings(runtime)).meetings}
        await asyncio.to_thread(write_export, open_export(runtime.settings, None).chunks(), file)
    async with _open(tmp_path / "to", OtherEncoder()) as runtime:
        done = await import_export(runtime, file)
        assert (done.added, done.encoded_again) == (7, True)
        answer = await recall(runtime, QUESTIONS[0])
        assert [m.memory_id for m in answer.direct_results["L2"]] == [
            m.memory_id for m in expected.direct_results["L2"]
        ]
        assert {one.meeting_id for one in (await list_meetings(runtime)).meetings} == ids
        assert (await doctor(runtime, repair=False)).problems == ()


async def test_what_is_not_whole_is_not_imported(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    async with _open(tmp_path / "store") as runtime:
        await ingest(runtime, meeting(1))
        await asyncio.to_thread(write_export, open_export(runtime.settings, None).chunks(), file)
        whole = file.read_bytes()
        lines = whole.splitlines(keepends=True)
        damaged = {
            "cut off": b"".join(lines[:-1]),
            "a line less": b"".join([*lines[:3], *lines[4:]]),
            "a byte": whole.replace(b"gasket", b"basket", 1),
            "empty": b"",
            "no export": b"Ann: hello\n",
        }
        for name, content in damaged.items():
            file.write_bytes(content)
            with pytest.raises(DamagedExport):
                await import_export(runtime, file)
            assert runtime.live.current.counts["meetings"] == 1, name
        with pytest.raises(NotFound):
            await import_export(runtime, tmp_path / "none")


async def test_the_service_exports_what_it_holds(tmp_path: Path) -> None:
    async with _open(tmp_path / "from") as runtime, client(runtime.settings, runtime) as service:
        await _fill(runtime)
        response = await service.get("/admin/export", params={"project": "sea"})
        assert response.headers["content-type"] == "application/x-ndjson"
        (tmp_path / "sea.jsonl").write_bytes(response.content)
        assert (await list_audit(runtime)).entries[0].action == "export"
    async with _open(tmp_path / "to") as runtime:
        assert (await import_export(runtime, tmp_path / "sea.jsonl")).added == 3


def test_the_command_line_takes_a_memory_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "crane.txt").write_text("Ann: The crane on pier four is rusty and must be painted.\n")
    cofio("ingest", tmp_path / "crane.txt", "--data-dir", tmp_path / "a")
    cofio("export", tmp_path / "all.jsonl", "--data-dir", tmp_path / "a")
    assert "1 meetings added" in cofio("import", tmp_path / "all.jsonl", "--data-dir", tmp_path / "b")
    assert "rusty" in cofio("query", "What must be done about the crane?", "--data-dir", tmp_path / "b")
    assert "1 meetings whole" in cofio("erase", "speaker", "ann", "--data-dir", tmp_path / "b")
    assert "speaker_erased" in cofio("audit", "--data-dir", tmp_path / "b")
