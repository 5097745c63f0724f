"""`cofio backup create|list|verify|restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cofio.backups import Backup, create_backup, list_backups, restore_backup, verify_backup
from cofio.cli.options import DataDir
from cofio.cli.terminal import SOME_FAILED, out
from cofio.client import connect
from cofio.data_dir import backup_dir
from cofio.settings import Settings, load_settings
from cofio.telemetry.logs import configure_logging

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list, verify and restore backups.")

Folder = Annotated[Path | None, typer.Option("--backup-dir", help="Folder of the backups.")]
Service = Annotated[str | None, typer.Option(help="Ask the service at this URL, for its own backups.")]
Which = Annotated[str, typer.Argument(help="Name of a backup as `list` shows it, or the path of a file.")]


@app.command()
def create(
    url: Service = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove all but so many of the newest backups afterwards.")
    ] = None,
    data_dir: DataDir = None,
    backup_dir: Folder = None,
) -> None:
    """Save what the store holds now, while it may be serving."""
    if url:
        with connect(url, load_settings().api_key) as client:
            made = client.create_backup(keep)
    else:
        settings = _settings(data_dir, backup_dir)
        made = create_backup(settings.data_dir, _folder(settings), keep=keep)
    _show([made])


@app.command(name="list")
def list_(url: Service = None, data_dir: DataDir = None, backup_dir: Folder = None) -> None:
    """List the backups, the newest first; exits with 1 if one cannot be read."""
    if url:
        with connect(url, load_settings().api_key) as client:
            found = client.list_backups()
    else:
        found = list_backups(_folder(_settings(data_dir, backup_dir)))
    _show(found)
    if any(backup.fault for backup in found):
        raise typer.Exit(SOME_FAILED)


@app.command()
def verify(backup: Which, data_dir: DataDir = None, backup_dir: Folder = None) -> None:
    """Restore a backup in a temporary place, and compare it with its manifest."""
    verified = verify_backup(_archive(backup, _settings(data_dir, backup_dir)))
    out.print(
        f"{verified.name} is whole: {verified.hashed_bytes:,} bytes have their hash, SQLite found "
        f"{verified.checked_pages:,} pages and all references in order, and {verified.compared_counts} counts are "
        "those of the manifest.",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def restore(
    backup: Which,
    data_dir: DataDir = None,
    backup_dir: Folder = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the store that the folder holds.")
    ] = False,
) -> None:
    """Make a store of a backup; index and graph follow when it is first opened."""
    settings = _settings(data_dir, backup_dir)
    restored = restore_backup(_archive(backup, settings), settings.data_dir, replace=replace)
    meetings = restored.manifest.counts.rows["meetings"]
    out.print(
        f"{settings.data_dir} holds the {meetings} meetings of {restored.name}.",
        highlight=False,
        soft_wrap=True,
    )


def _settings(data_dir: Path | None, backup_dir: Path | None) -> Settings:
    settings = load_settings(data_dir=data_dir, backup_dir=backup_dir)
    configure_logging("warning", settings.log_format)
    return settings


def _folder(settings: Settings) -> Path:
    return backup_dir(settings)


def _archive(backup: str, settings: Settings) -> Path:
    """A bare name is looked for in the folder of the backups, everything else is a path."""
    path = Path(backup)
    return _folder(settings) / path if path.name == backup and not path.exists() else path


def _show(backups: list[Backup] | tuple[Backup, ...]) -> None:
    if not backups:
        out.print("There is no backup.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("Backup", "MB", "Made", "Schema", "Meetings", "Memories", "Encoder"):
        table.add_column(
            column, overflow="fold", justify="right" if column in ("MB", "Meetings", "Memories") else "left"
        )
    for backup in backups:
        shown = [escape(backup.name), f"{backup.bytes / 1e6:,.1f}"]
        if (manifest := backup.manifest) is not None:
            shown += [
                manifest.created_at,
                manifest.migration or "",
                f"{manifest.counts.rows['meetings']:,}",
                f"{sum(manifest.counts.memories_by_level.values()):,}",
                manifest.encoder or "",
            ]
        else:
            shown.append(f"[bold red]{escape(backup.fault or '')}[/]")
        table.add_row(*shown)
    out.print(table)
