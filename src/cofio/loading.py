"""Transcript files into the memory of this process, with a progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cofio import files
from cofio.errors import CofioError
from cofio.ingest import ingest
from cofio.records import MeetingInput
from cofio.runtime import Runtime
from cofio.settings import Settings
from cofio.show import Outcome, progress_bar

Found = Sequence[tuple[Path, MeetingInput | None]]
Given = Mapping[str, Any]


async def remember(runtime: Runtime, found: Found, given: Given, console: Console) -> list[Outcome]:
    """Each file is remembered; what fails is told in its outcome and keeps no other file back."""
    outcomes = []
    with progress_bar(console) as progress:
        task = progress.add_task("Remembering", total=len(found), encoded=0)
        encoded = 0

        def count(texts: int) -> None:
            nonlocal encoded
            encoded += texts
            progress.update(task, encoded=encoded)

        for path, known in found:
            try:
                source = files.read(path, known)
                meeting = completed(source.meeting, given, runtime.settings)
                receipt = await ingest(runtime, meeting, on_encoded=count)
                outcomes.append(outcome_of(path, asdict(receipt), source.warnings))
            except CofioError as error:
                outcomes.append(failure_of(path, error.detail))
            progress.advance(task)
    return outcomes


def completed(meeting: MeetingInput, given: Given, settings: Settings) -> MeetingInput:
    """The meeting with what the caller says of it; raises InvalidInput beyond the settings' bounds."""
    complete = replace(meeting, **{name: value for name, value in given.items() if value is not None})
    files.check_bounds(complete, settings)
    return complete


def outcome_of(path: Path, receipt: Mapping[str, Any], warnings: Sequence[str]) -> Outcome:
    """What became of a file that was read with these warnings and remembered."""
    return Outcome(
        name=str(path),
        outcome=receipt["outcome"],
        added=receipt["added"],
        kept=receipt["kept"],
        removed=receipt["removed"],
        notes=(*warnings, *receipt["warnings"]),
    )


def failure_of(path: Path, reason: str) -> Outcome:
    """What became of a file that was not remembered."""
    return Outcome(name=str(path), outcome="failed", notes=(reason,))
