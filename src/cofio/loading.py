"""Transcript files into the memory, here or at a running service, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from cofio import files
from cofio.client import Client, connect
from cofio.errors import CofioError, InvalidInput
from cofio.ingest import ingest
from cofio.records import MeetingInput, OperationItem
from cofio.runtime import Runtime
from cofio.settings import Settings
from cofio.show import Outcome, progress_bar

# Meetings sent to a service in one batch: enough to keep it busy, few enough to see progress early.
_BATCH_MEETINGS: Final = 50
_BATCH_CHARS: Final = 8_000_000

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
                meeting = _complete(source.meeting, given, runtime.settings)
                receipt = await ingest(runtime, meeting, on_encoded=count)
                outcomes.append(_outcome(path, asdict(receipt), source.warnings))
            except CofioError as error:
                outcomes.append(_failure(path, error.detail))
            progress.advance(task)
    return outcomes


def send(url: str, found: Found, given: Given, settings: Settings, console: Console) -> list[Outcome]:
    """The files are sent to the service in batches, and each batch is waited for.

    What fails is told in its file's outcome and keeps no other file back. Raises `InvalidInput` for what is no URL.
    """
    outcomes: list[Outcome] = []
    with connect(url, settings.api_key) as client, progress_bar(console) as progress:
        task = progress.add_task("Remembering", total=len(found), encoded=None)

        def count(done: int) -> None:
            progress.update(task, completed=len(outcomes) + done)

        for batch in _batches(found, given, settings, outcomes):
            for outcome in _sent(client, batch, count):
                outcomes.append(outcome)
                count(0)
        count(0)
    return outcomes


Sent = tuple[Path, tuple[str, ...], MeetingInput]


def _sent(client: Client, batch: Sequence[Sent], count: Callable[[int], None]) -> Iterator[Outcome]:
    """What became of each member, in their order; `count` is told how many of the batch are done."""
    try:
        results = _results(client, batch, count)
    except CofioError as error:
        if isinstance(error, InvalidInput) and len(batch) > 1:
            # The service takes a batch as a whole: sent one by one, only what it refuses stays out.
            for each in batch:
                yield from _sent(client, [each], count)
        else:
            yield from (_failure(path, error.detail) for path, _, _ in batch)
        return
    for (path, warnings, _), item in zip(batch, results, strict=True):
        if item.receipt is not None:
            yield _outcome(path, item.receipt, warnings)
        else:
            yield _failure(path, str((item.error or {}).get("detail", item.status)))


def _results(
    client: Client, batch: Sequence[Sent], count: Callable[[int], None]
) -> tuple[OperationItem, ...]:
    results: tuple[OperationItem, ...] = ()
    for operation in client.watch(client.submit([meeting for _, _, meeting in batch])):
        count(operation.done)
        results = operation.results
    return results


def _batches(found: Found, given: Given, settings: Settings, failures: list[Outcome]) -> Iterator[list[Sent]]:
    """The meetings in batches of bounded number and size; a file that cannot be read goes to `failures`."""
    batch: list[Sent] = []
    chars = 0
    for path, known in found:
        try:
            source = files.read(path, known)
            meeting = _complete(source.meeting, given, settings)
        except CofioError as error:
            failures.append(_failure(path, error.detail))
            continue
        if batch and (len(batch) == _BATCH_MEETINGS or chars + len(meeting.transcript) > _BATCH_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append((path, source.warnings, meeting))
        chars += len(meeting.transcript)
    if batch:
        yield batch


def _complete(meeting: MeetingInput, given: Given, settings: Settings) -> MeetingInput:
    """The meeting with what the caller says of it; raises InvalidInput beyond the settings' bounds."""
    complete = replace(meeting, **{name: value for name, value in given.items() if value is not None})
    files.check_bounds(complete, settings)
    return complete


def _outcome(path: Path, receipt: Mapping[str, Any], warnings: Sequence[str]) -> Outcome:
    return Outcome(
        name=str(path),
        outcome=receipt["outcome"],
        added=receipt["added"],
        kept=receipt["kept"],
        removed=receipt["removed"],
        notes=(*warnings, *receipt["warnings"]),
    )


def _failure(path: Path, reason: str) -> Outcome:
    return Outcome(name=str(path), outcome="failed", notes=(reason,))
