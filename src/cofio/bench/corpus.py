"""Real utterances, and stores of any size drawn from them.

Up to a few thousand memories everything is real. Larger stores are drawn from a pool of whole real meetings: each
drawn meeting is one of them, with some words of every utterance swapped for words of others, and with its real
vectors moved a little along the differences of other real vectors. What is drawn goes through the real ingest; only
the encoder is replaced, by one that knows the vectors of what was drawn.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from filelock import FileLock, Timeout
from rich.console import Console

from cofio.bench.bench import Bench
from cofio.bench.indexed import wait_until_indexed
from cofio.data_dir import DATABASE_NAME, LOCK_NAME
from cofio.embed.onnx import OnnxEncoder, TextEncoder
from cofio.errors import InvalidInput
from cofio.eval.corpus import code_of_makers, meeting_input
from cofio.eval.datasets import Dataset, read_dataset, read_samples
from cofio.ingest import ingest
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Level, MeetingInput
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.show import progress_bar
from cofio.text.extract import episodes
from cofio.text.parse import parse_transcript

SEED: Final = 20_260
# Sets of meetings in a labelled folder; qmsum_sent and ami_icsi hold the meetings of qmsum again.
SETS: Final = ("qmsum", "ethpm", "locomo")

# Share of the words of an utterance that are swapped, of those that are plain lower-case words.
SWAPPED: Final = 0.2
# How far a vector is moved along the difference of two others, before it gets unit norm again: the cosine to the
# vector that it was is .9 or so, about as much as swapping a fifth of the words moves a real one.
MOVED: Final = 0.35
PROJECT_MEETINGS: Final = 40
SERIES: Final = 8  # a project
FIRST_DAY: Final = date(2020, 1, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Real meetings, the questions that people asked of them, and a name of the content."""

    name: str
    digest: str
    meetings: tuple[MeetingInput, ...]
    questions: tuple[str, ...]


def read_source(folder: Path) -> Source:
    """The sets of a labelled folder that hold meetings, or the sample meetings where `folder` holds these.

    Meetings and questions come in a fixed random order. Raises InvalidInput where there are none.
    """
    sets: list[Dataset] = []
    if (folder / "questions.json").is_file():
        sets = [read_samples(folder)]
    elif folder.is_dir():
        sets = [read_dataset(folder, name) for name in SETS if (folder / name).is_dir()]
    if not sets:
        raise InvalidInput(
            f"{folder} holds neither the sample meetings nor one of the sets {', '.join(SETS)}", field="data"
        )
    shuffle = np.random.default_rng(SEED).permutation
    meetings = [meeting_input(meeting) for one in sets for meeting in one.meetings if meeting.turns]
    questions = list(dict.fromkeys(question.text for one in sets for question in one.questions))
    return Source(
        name="+".join(one.name for one in sets),
        digest=hashlib.sha256("".join(one.digest for one in sets).encode()).hexdigest(),
        meetings=tuple(meetings[i] for i in shuffle(len(meetings))),
        questions=tuple(questions[i] for i in shuffle(len(questions))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One utterance of the pool, as the extraction leaves it."""

    speaker: str | None
    text: str
    encoded_text: str


def utterances(meeting: MeetingInput) -> list[Said]:
    """What the meeting's transcript becomes: one entry an episode."""
    found = episodes(parse_transcript(meeting.transcript, format=meeting.format), document_title=None)
    return [Said(speaker=e.speaker, text=e.text, encoded_text=e.encoded_text) for e in found]


def spoken(source: Source, count: int) -> list[str]:
    """The first `count` real utterances as the encoder sees them, in the order of the source's meetings."""
    texts: list[str] = []
    for meeting in source.meetings:
        if len(texts) >= count:
            break
        texts += [said.encoded_text for said in utterances(meeting)]
    return texts[:count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Whole real meetings with the vectors of their utterances: row i of `vectors` (n, 384) for the i-th of all."""

    meetings: tuple[tuple[MeetingInput, tuple[Said, ...]], ...]
    starts: tuple[int, ...]  # the first row of each meeting
    vectors: Float32s
    words: tuple[str, ...]  # plain lower-case words of the whole source, as often as they were said
    digest: str


def read_pool(bench: Bench, source: Source) -> Pool:
    """Real meetings of at least `effort.pool` utterances together, encoded once and kept in the cache."""
    meetings: list[tuple[MeetingInput, tuple[Said, ...]]] = []
    starts, count = [], 0
    for meeting in source.meetings:
        if count >= bench.effort.pool:
            break
        said = tuple(utterances(meeting))
        if said:
            meetings.append((meeting, said))
            starts.append(count)
            count += len(said)
    texts = [one.encoded_text for _, said in meetings for one in said]
    encoder = OnnxEncoder.open(bench.settings.model_dir, precision=bench.settings.precision)
    digest = hashlib.sha256("\n".join([encoder.fingerprint, *texts]).encode()).hexdigest()[:16]
    kept = bench.cache / f"pool-{digest}.npy"
    if not kept.exists():
        vectors = _encoded(texts, encoder, bench.console)
        bench.cache.mkdir(parents=True, exist_ok=True)
        written = kept.with_suffix(".new.npy")
        np.save(written, vectors)
        written.rename(kept)
    return Pool(
        meetings=tuple(meetings),
        starts=tuple(starts),
        vectors=np.load(kept),
        words=tuple(
            word for _, said in meetings for one in said for word in one.text.split() if _plain(word)
        ),
        digest=digest,
    )


def _encoded(texts: Sequence[str], encoder: TextEncoder, console: Console) -> Float32s:
    piece = 64
    vectors = np.empty((len(texts), SEMANTIC_DIMENSIONS), np.float32)
    with progress_bar(console) as progress:
        task = progress.add_task("Encoding the pool", total=len(texts), encoded=0)
        for start in range(0, len(texts), piece):
            vectors[start : start + piece] = encoder.encode(texts[start : start + piece])
            progress.update(task, advance=piece, encoded=min(start + piece, len(texts)))
    return vectors


def _words(source: Source) -> tuple[str, ...]:
    return tuple(
        word
        for meeting in source.meetings
        for turn in orjson.loads(meeting.transcript)
        for word in turn["text"].split()
        if _plain(word)
    )


def _plain(word: str) -> bool:
    return word.isalpha() and word.islower()


@dataclass(slots=True, kw_only=True)
class DrawnEncoder:
    """An encoder that knows the vectors of the meetings drawn last, and no others.

    A text that the extraction cut otherwise than expected gets the vector of one of the meeting's utterances;
    `unknown` counts these.
    """

    fingerprint: str
    precision: str
    dimension: int = SEMANTIC_DIMENSIONS
    provider: str = "drawn"
    earlier: frozenset[str] = frozenset()
    known: dict[str, Float32s] = field(default_factory=dict)
    fallback: Float32s = field(default_factory=lambda: np.empty((0, SEMANTIC_DIMENSIONS), np.float32))
    unknown: int = 0
    questions: int = 1

    def pieces(self, texts: Sequence[str]) -> list[range]:
        """All in one."""
        return [range(len(texts))] if texts else []

    def encode(self, texts: Sequence[str]) -> Float32s:
        """The vectors of `texts`, float32 (n, 384), unit rows."""
        found = np.empty((len(texts), SEMANTIC_DIMENSIONS), np.float32)
        for i, text in enumerate(texts):
            vector = self.known.get(text)
            if vector is None:
                self.unknown += 1
                digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
                vector = self.fallback[int.from_bytes(digest) % len(self.fallback)]
            found[i] = vector
        return found


def draw(pool: Pool, number: int) -> tuple[MeetingInput, list[str], Float32s]:
    """Drawn meeting `number`, the texts of its utterances as the encoder sees them, and their unit vectors.

    The same number gives the same meeting, so that a smaller store is the beginning of a larger one.
    """
    rng = np.random.default_rng((SEED, number))
    which = int(rng.integers(len(pool.meetings)))
    original, said = pool.meetings[which]
    first = pool.starts[which]
    turns, texts = [], []
    for one in said:
        text = _swapped(one.text, pool.words, rng)
        turns.append({"text": text} if one.speaker is None else {"speaker": one.speaker, "text": text})
        texts.append(text if one.speaker is None else f"{one.speaker}: {text}")
    n = len(pool.vectors)
    away = pool.vectors[rng.integers(n, size=len(said))] - pool.vectors[rng.integers(n, size=len(said))]
    vectors = pool.vectors[first : first + len(said)] + np.float32(MOVED) * away
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    meeting = MeetingInput(
        title=f"{original.title} {number}",
        transcript=orjson.dumps(turns).decode(),
        participants=original.participants,
        date=FIRST_DAY + timedelta(days=number % 1500),
        series=f"series-{number % SERIES}",
        project=project(number),
        external_id=f"drawn-{number}",
    )
    return meeting, texts, vectors


def project(number: int) -> str:
    """The project of drawn meeting `number`."""
    return f"project-{number // PROJECT_MEETINGS}"


def _swapped(text: str, words: Sequence[str], rng: np.random.Generator) -> str:
    parts = text.split()
    chances = rng.random(len(parts))
    for i, part in enumerate(parts):
        if chances[i] < SWAPPED and _plain(part):
            parts[i] = words[int(rng.integers(len(words)))]
    return " ".join(parts)


async def drawn_store(bench: Bench, source: Source, size: int) -> Path:
    """The folder of a store of at least `size` utterances, written by the real ingest and indexed.

    A store of the same content, encoder and code that is in the cache is used again; one that was broken off is
    taken up where it stopped; stale ones of the same size are removed unless a process has them open.
    """
    pool = read_pool(bench, source)
    home = bench.cache / f"drawn-{bench.settings.precision}-{size}"
    folder = home / hashlib.sha256(f"{pool.digest} {SWAPPED} {MOVED} {_code()}".encode()).hexdigest()[:16]
    for other in home.iterdir() if home.exists() else ():
        if other != folder and other.is_dir():
            with contextlib.suppress(Timeout), FileLock(other / LOCK_NAME, timeout=0):
                shutil.rmtree(other)
    done = folder / "complete"
    if not done.exists():
        await _write(bench, pool, folder, size)
        done.touch()
    return folder


async def _write(bench: Bench, pool: Pool, folder: Path, size: int) -> None:
    real = OnnxEncoder.open(bench.settings.model_dir, precision=bench.settings.precision)
    encoder = DrawnEncoder(fingerprint=real.fingerprint, precision=real.precision, fallback=pool.vectors)
    async with open_runtime(settings_for(bench.settings, folder), encoder) as runtime:
        with progress_bar(bench.console) as progress:
            task = progress.add_task(f"Writing {size} drawn memories", total=size, encoded=0)
            number = written = 0
            while written < size:
                meeting, texts, vectors = draw(pool, number)
                encoder.known = dict(zip(texts, vectors, strict=True))
                receipt = await ingest(runtime, meeting, settle=False)
                written += receipt.added + receipt.kept
                number += 1
                progress.update(task, completed=min(written, size), encoded=written)
        await runtime.settle()
        await wait_until_indexed(runtime)
    bench.console.print(
        f"{written} utterances of {number} meetings, {encoder.unknown} of them with another's vector",
        highlight=False,
    )


def settings_for(settings: Settings, folder: Path) -> Settings:
    """The settings with their stores in `folder`, the vectors embedded."""
    return settings.model_copy(update={"data_dir": folder, "qdrant_url": None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The memories of one level as the database holds them, in the order of meetings and positions.

    Row i of `vectors` (n, 400) belongs to `ids[i]`; `meetings` is −1 for concepts.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    speakers: tuple[str | None, ...]
    words: np.ndarray[tuple[int], np.dtype[np.int32]]
    meetings: np.ndarray[tuple[int], np.dtype[np.int32]]
    projects: tuple[str, ...]
    types: tuple[str, ...]
    vectors: Float32s


def read_stored(folder: Path, level: Level, limit: int = -1) -> Stored:
    """The first `limit` memories of a level (all if negative), read from the database file without cofio."""
    with contextlib.closing(
        sqlite3.connect(f"file:{folder / DATABASE_NAME}?mode=ro", uri=True)
    ) as connection:
        rows = connection.execute(
            "SELECT memory_id, content, speaker, words, coalesce(meeting, -1), project, memory_type, vector"
            " FROM memories WHERE level = ? ORDER BY meeting, position, memory_id LIMIT ?",
            (int(level), limit),
        ).fetchall()
    return Stored(
        ids=tuple(row[0] for row in rows),
        texts=tuple(row[1] for row in rows),
        speakers=tuple(row[2] for row in rows),
        words=np.array([row[3] for row in rows], np.int32),
        meetings=np.array([row[4] for row in rows], np.int32),
        projects=tuple(row[5] for row in rows),
        types=tuple(row[6] for row in rows),
        vectors=np.frombuffer(b"".join(row[7] for row in rows), "<f4").reshape(len(rows), -1),
    )


def count_stored(folder: Path) -> dict[str, int]:
    """How many memories the database file holds, by the label of their level."""
    with contextlib.closing(
        sqlite3.connect(f"file:{folder / DATABASE_NAME}?mode=ro", uri=True)
    ) as connection:
        rows = connection.execute(
            "SELECT level, count(*) FROM memories GROUP BY level ORDER BY level"
        ).fetchall()
    return {Level(level).label: count for level, count in rows}


def _code() -> str:
    """A name of the code that writes stores."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for content in code_of_makers():
        digest.update(content)
    return digest.hexdigest()
