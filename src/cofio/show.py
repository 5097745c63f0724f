"""Answers, receipts and diagnoses for people, in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from cofio.records import Answer, Bridge, MemoryMetadata, Recalled

_LEVELS = {"L2": "Said", "L1": "Topics", "L0": "Concepts"}
_CONTENT_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file: an outcome of ingest, or `failed` with the reason as its only note."""

    name: str
    outcome: str
    added: int = 0
    kept: int = 0
    removed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Nothing of this file was stored."""
        return self.outcome == "failed"


def show_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """A table with one row a file, the notes under it, and a line that sums up."""
    table = Table(box=None, pad_edge=False)
    for heading in ("File", "Outcome"):
        table.add_column(heading, overflow="fold")
    for heading in ("Added", "Kept", "Removed", "Warnings"):
        table.add_column(heading, justify="right")
    for each in outcomes:
        table.add_row(
            escape(each.name),
            Text(each.outcome, style="bold red" if each.failed else ""),
            *(str(number) for number in (each.added, each.kept, each.removed)),
            "" if each.failed else str(len(each.notes)),
        )
    console.print(table)
    for each in outcomes:
        for note in each.notes:
            sign = "[bold red]failed[/]" if each.failed else "[yellow]warning[/]"
            console.print(f"{sign} {escape(each.name)}: {escape(note)}", soft_wrap=True)
    failed = sum(each.failed for each in outcomes)
    console.print(
        f"{len(outcomes) - failed} of {len(outcomes)} meetings remembered, "
        f"{sum(each.added for each in outcomes)} episodes added."
    )


def show_answer(console: Console, answer: Answer) -> None:
    """The direct results by level, what they woke with its path, the bridges, and the confidence."""
    contents = {memory.memory_id: memory.content for memory in _memories(answer)}
    console.print(
        f"[bold]{escape(answer.query)}[/]  confidence {answer.confidence:.2f}, "
        f"{answer.total_results} results in {answer.processing_time_ms:.1f} ms"
    )
    for part in answer.missing:
        console.print(f"[yellow]degraded[/] {escape(part.detail)}", soft_wrap=True)
    for level, heading in _LEVELS.items():
        _show_part(console, heading, (_memory(each) for each in answer.direct_results.get(level, ())))
    _show_part(
        console,
        "Woken",
        (
            Group(
                _memory(each),
                Text(
                    f"{each.classification} {each.activation_strength:.2f}: {_path(each.path, contents)}",
                    style="dim",
                ),
            )
            for each in answer.activated_memories
        ),
    )
    _show_part(console, "Bridges", (_bridge(each) for each in answer.bridge_memories))


def show_counts(console: Console, title: str, counts: Mapping[str, object]) -> None:
    """One table of names and values."""
    table = Table(title=title, box=None, show_header=False, title_justify="left", title_style="bold")
    for name, value in counts.items():
        table.add_row(escape(name.replace("_", " ")), escape(str(value)))
    console.print(table)


def _memories(answer: Answer) -> Iterable[Recalled]:
    for found in answer.direct_results.values():
        yield from found
    yield from answer.activated_memories
    yield from answer.bridge_memories


def _show_part(console: Console, heading: str, parts: Iterable[RenderableType]) -> None:
    shown = [Padding(part, (0, 0, 0, 2)) for part in parts]
    if shown:
        console.print(f"\n[bold cyan]{heading}[/]")
        console.print(Group(*shown))


def _memory(memory: Recalled) -> RenderableType:
    line = Text(f"{memory.score:.3f}  ", style="green")
    line.append(_short(memory.content, _CONTENT_CHARS), style="default")
    origin = _origin(memory.metadata)
    return Group(line, Text(f"{memory.memory_type} · {origin}", style="dim")) if origin else line


def _bridge(bridge: Bridge) -> RenderableType:
    return Group(_memory(bridge), Text(bridge.explanation, style="italic"))


def _origin(metadata: MemoryMetadata) -> str:
    start = "" if metadata.start_s is None else _clock(metadata.start_s)
    parts = (metadata.label, metadata.speaker, metadata.title, metadata.date, start)
    return ", ".join(part for part in parts if part)


def _path(path: Sequence[str], contents: Mapping[str, str]) -> str:
    return " → ".join(f"“{_short(contents[step], 40)}”" if step in contents else step[:8] for step in path)


def _short(text: str, chars: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= chars else flat[: chars - 1].rstrip() + "…"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def progress_bar(console: Console) -> Progress:
    """A bar that is gone when it is done; a task's field `encoded`, unless None, counts texts beside it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Encoded(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class _Encoded(ProgressColumn):
    """How many texts were encoded, where that is known: it moves also inside one long meeting."""

    def render(self, task: Task) -> Text:
        encoded = task.fields.get("encoded")
        return Text("" if encoded is None else f"{encoded} texts", style="dim")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Cells under their columns: names on the left, all else aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
