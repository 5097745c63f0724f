"""Transcript files into the memory of a running service, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from cofio import files
from cofio.client import Client, connect
from cofio.errors import CofioError, InvalidInput
from cofio.loading import Found, Given, completed, failure_of, outcome_of
from cofio.records import MeetingInput, OperationItem
from cofio.settings import Settings
from cofio.show import Outcome, progress_bar

# Meetings sent to a service in one batch: enough to keep it busy, few enough to see progress early.
_BATCH_MEETINGS: Final = 50
_BATCH_CHARS: Final = 8_000_000


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
            yield from (failure_of(path, error.detail) for path, _, _ in batch)
        return
    for (path, warnings, _), item in zip(batch, results, strict=True):
        if item.receipt is not None:
            yield outcome_of(path, item.receipt, warnings)
        else:
            yield failure_of(path, str((item.error or {}).get("detail", item.status)))


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
            meeting = completed(source.meeting, given, settings)
        except CofioError as error:
            failures.append(failure_of(path, error.detail))
            continue
        if batch and (len(batch) == _BATCH_MEETINGS or chars + len(meeting.transcript) > _BATCH_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append((path, source.warnings, meeting))
        chars += len(meeting.transcript)
    if batch:
        yield batch
