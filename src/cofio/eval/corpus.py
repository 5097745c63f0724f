"""A labelled set in a store of its own, ingested by the real pipeline and kept between runs."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import accumulate
from pathlib import Path
from typing import Final

import orjson
from filelock import FileLock, Timeout
from rich.console import Console

from cofio.data_dir import LOCK_NAME
from cofio.eval.datasets import Dataset, LabelledMeeting, TurnKey
from cofio.ingest import ingest
from cofio.memories import named_id
from cofio.records import Filters, MeetingInput
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.show import progress_bar
from cofio.store.meetings import episode_texts
from cofio.text.clean import clean_text

PROJECT: Final = "eval"
# What turns transcripts into stored memories: a change in any of these makes kept stores stale.
MAKERS: Final = (
    "text",
    "store",
    "embed",
    "ingest.py",
    "memorise.py",
    "memories.py",
    "records.py",
    "eval/corpus.py",
    "eval/datasets.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """An open store that holds a set. `turns_of` names the labelled turns that a row of its graph stands for."""

    dataset: Dataset
    runtime: Runtime
    turns_of: tuple[tuple[TurnKey, ...], ...]
    row_of_memory: Mapping[str, int]
    meeting_ids: Mapping[str, str]  # labelled meeting → meeting of the store

    def scope(self, *, meeting_id: str | None = None, series: str | None = None) -> Filters:
        """The filters for one labelled meeting, one series, or everything."""
        return Filters(
            meeting_id=(self.meeting_ids[meeting_id],) if meeting_id is not None else (),
            series=(series,) if series is not None else (),
        )

    def turns(self, memory_ids: Sequence[str]) -> list[TurnKey]:
        """The labelled turns of these episodes, in their order, each once; contexts and concepts have none."""
        rows = (self.row_of_memory.get(memory_id) for memory_id in memory_ids)
        return self.turns_of_rows([row for row in rows if row is not None])

    def turns_of_rows(self, rows: Sequence[int]) -> list[TurnKey]:
        """The labelled turns of these rows of the graph, in their order, each once."""
        return list(dict.fromkeys(turn for row in rows for turn in self.turns_of[row]))


@contextlib.asynccontextmanager
async def open_corpus(
    dataset: Dataset, settings: Settings, cache: Path, console: Console
) -> AsyncIterator[Corpus]:
    """The set is ingested; a store of the same meetings, encoder and code that is under `cache` is used again.

    A run that was broken off is taken up where it stopped. Older stores of the same set are removed, unless another
    run has them open. The vectors are embedded, whatever server the settings name.
    """
    home = cache / f"{dataset.name}-{settings.precision}"
    folder = home / _key(dataset, settings)
    for other in home.iterdir() if home.exists() else ():
        if other != folder and other.is_dir():
            with contextlib.suppress(Timeout), FileLock(other / LOCK_NAME, timeout=0):
                shutil.rmtree(other)
    here = {"data_dir": folder, "qdrant_url": None}
    async with open_runtime(settings.model_copy(update=here)) as runtime:
        done = folder / "complete"
        if not done.exists():
            await _ingest_all(dataset, runtime, console)
            done.touch()
        yield await _corpus(dataset, runtime)


def meeting_input(meeting: LabelledMeeting) -> MeetingInput:
    """The meeting as an importer would send it."""
    turns = [
        {
            name: value
            for name, value in (("speaker", turn.speaker), ("text", turn.text), ("start", turn.start_s))
            if value is not None
        }
        for turn in meeting.turns
    ]
    return MeetingInput(
        title=meeting.title,
        transcript=orjson.dumps(turns).decode(),
        participants=meeting.participants,
        date=meeting.date,
        series=meeting.series,
        project=PROJECT,
        external_id=meeting.meeting_id,
    )


async def _ingest_all(dataset: Dataset, runtime: Runtime, console: Console) -> None:
    with progress_bar(console) as progress:
        task = progress.add_task(f"Remembering {dataset.name}", total=len(dataset.meetings), encoded=0)
        encoded = 0

        def count(texts: int) -> None:
            nonlocal encoded
            encoded += texts
            progress.update(task, encoded=encoded)

        for number, meeting in enumerate(dataset.meetings, 1):
            if any(turn.text.strip() for turn in meeting.turns):
                await ingest(runtime, meeting_input(meeting), on_encoded=count, settle=number % 200 == 0)
            progress.advance(task)
        await runtime.settle()


async def _corpus(dataset: Dataset, runtime: Runtime) -> Corpus:
    graph = runtime.live.current
    text_of = await episode_texts(runtime.database)
    meeting_ids = {m.meeting_id: named_id("meeting", PROJECT, m.meeting_id) for m in dataset.meetings}
    turns_of: list[tuple[TurnKey, ...]] = [()] * graph.episodes
    for meeting in dataset.meetings:
        number = graph.meeting_of_id.get(meeting_ids[meeting.meeting_id])
        if number is None:
            continue
        first, last = int(graph.meeting_rows[number]), int(graph.meeting_rows[number + 1])
        texts = [text_of[graph.memory_id(row)] for row in range(first, last)]
        for row, turns in zip(range(first, last), align(texts, meeting), strict=True):
            turns_of[row] = turns
    return Corpus(
        dataset=dataset,
        runtime=runtime,
        turns_of=tuple(turns_of),
        row_of_memory={graph.memory_id(row): row for row in range(graph.episodes)},
        meeting_ids=meeting_ids,
    )


def align(texts: Sequence[str], meeting: LabelledMeeting) -> list[tuple[TurnKey, ...]]:
    """For each episode, by its text in the order of the meeting, the turns that it stands for.

    A long turn becomes several episodes, and an episode may hold several turns: what counts is whose letters
    it holds. An episode whose text is not in the meeting stands for nothing.
    """
    letters = [_letters(turn.text) for turn in meeting.turns]
    ends = list(accumulate(map(len, letters)))
    said = "".join(letters)
    found: list[tuple[TurnKey, ...]] = []
    at = 0
    for text in texts:
        wanted = _letters(text)
        place = said.find(wanted, at) if wanted else -1
        if place < 0:
            found.append(())
            continue
        at = place + len(wanted)
        first, last = bisect_right(ends, place), bisect_left(ends, at)
        found.append(
            tuple(
                (meeting.meeting_id, meeting.turns[i].turn_id) for i in range(first, last + 1) if letters[i]
            )
        )
    return found


def _letters(text: str) -> str:
    return "".join(character for character in clean_text(text).casefold() if character.isalnum())


def _key(dataset: Dataset, settings: Settings) -> str:
    digest = hashlib.sha256(dataset.digest.encode())
    for path in sorted(settings.model_dir.iterdir()) if settings.model_dir.is_dir() else ():
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    for content in code_of_makers():
        digest.update(content)
    return digest.hexdigest()[:16]


def code_of_makers() -> Iterator[bytes]:
    """The content of every file of code that decides what is stored, always in the same order."""
    for name in MAKERS:
        yield from _contents(files("cofio").joinpath(name))


def _contents(node: Traversable) -> Iterator[bytes]:
    if node.is_file():
        if node.name.endswith((".py", ".sql", ".json")):
            yield node.read_bytes()
    else:
        for child in sorted(node.iterdir(), key=lambda child: child.name):
            yield from _contents(child)
