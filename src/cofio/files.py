"""Transcript files, from a disk or an upload, as meetings to ingest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePath
from typing import Final

import orjson

from cofio.errors import (
    InvalidInput,
    MetadataTooDeep,
    MetadataTooLarge,
    TooManyParticipants,
    TranscriptTooLong,
)
from cofio.records import MeetingInput
from cofio.settings import Settings
from cofio.text.parse.decode import decode

INDEX_NAME: Final = "index.json"
SUFFIXES: Final = frozenset({".vtt", ".srt", ".sbv", ".txt", ".md", ".json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """The meeting of one file; `warnings` tell how its bytes were read, where that was not plain."""

    meeting: MeetingInput
    warnings: tuple[str, ...] = ()


def title_of(name: str) -> str:
    """A readable title from a file's name: its stem, dashes and underscores as spaces."""
    return PurePath(name).stem.replace("_", " ").replace("-", " ").strip() or "Untitled"


def find(paths: Iterable[Path]) -> Iterator[tuple[Path, MeetingInput | None]]:
    """Every transcript file under `paths` in order, with what an `index.json` beside it says of its meeting.

    Directories are searched to any depth for the known suffixes. Raises InvalidInput for a path that is not
    there and for an index that cannot be read.
    """
    for path in paths:
        if path.is_file():
            yield path, _index(path.parent).get(path.name)
        elif path.is_dir():
            for folder in sorted({path, *(found for found in path.rglob("*") if found.is_dir())}):
                known = _index(folder)
                for file in sorted(folder.iterdir()):
                    if file.suffix.lower() in SUFFIXES and file.name != INDEX_NAME and file.is_file():
                        yield file, known.get(file.name)
        else:
            raise InvalidInput(f"there is no file or folder {path}", field=str(path))


def read(path: Path, known: MeetingInput | None) -> SourceFile:
    """The meeting of one file; without an entry in an index its title is made from its name.

    Raises InvalidInput for a file that cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", field=str(path)) from error
    text, warnings = decode(content)
    meeting = known or MeetingInput(title=title_of(path.name), transcript="")
    return SourceFile(meeting=replace(meeting, transcript=text), warnings=tuple(warnings))


def check_bounds(meeting: MeetingInput, settings: Settings, prefix: str = "") -> None:
    """Raises InvalidInput, naming the field behind `prefix`, for what is beyond the settings' bounds."""
    participants, metadata = len(meeting.participants), dict(meeting.metadata)
    if not _nests_within(metadata, settings.max_metadata_depth):
        raise MetadataTooDeep(
            f"metadata has more than {settings.max_metadata_depth} objects and lists inside one another",
            field=f"{prefix}metadata",
        )
    for kind, size, limit, told in (
        (
            TranscriptTooLong,
            len(meeting.transcript),
            settings.max_transcript_chars,
            "transcript has {} characters",
        ),
        (TooManyParticipants, participants, settings.max_participants, "participants has {} names"),
        (
            MetadataTooLarge,
            len(orjson.dumps(metadata)),
            settings.max_metadata_bytes,
            "metadata has {} bytes as JSON",
        ),
    ):
        if size > limit:
            field = told.partition(" ")[0]
            raise kind(f"{told.format(size)}; at most {limit} are taken", field=prefix + field)


def _nests_within(value: object, depth: int) -> bool:
    """Whether at most `depth` dicts and lists lie inside one another in `value`, itself included."""
    containers = [value]
    for _ in range(depth):
        containers = [
            child
            for each in containers
            for child in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(child, dict | list)
        ]
        if not containers:
            return True
    return False


def _index(folder: Path) -> dict[str, MeetingInput]:
    """What `folder`'s index says, by file name; empty without one."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return {}
    try:
        return {str(entry["file"]): _entry(entry) for entry in orjson.loads(path.read_bytes())}
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{path} is not a list of {{file, title, date, series, project, participants, external_id}}: "
            f"{type(error).__name__} {error}",
            field=str(path),
        ) from error


def _entry(entry: Mapping[str, str | list[str] | None]) -> MeetingInput:
    given = {key: str(value) for key, value in entry.items() if value is not None}
    return MeetingInput(
        title=given.get("title") or title_of(given["file"]),
        transcript="",
        participants=tuple(map(str, entry.get("participants") or ())),
        date=datetime.fromisoformat(given["date"]).date() if "date" in given else None,
        series=given.get("series"),
        project=given.get("project", "default"),
        external_id=given.get("external_id"),
    )
