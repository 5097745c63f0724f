"""`cofio keys`: they are made, listed and revoked, also while a service runs on the same data directory."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from cofio.access.callers import Permission
from cofio.access.keys import create_key, keys_path, read_keys, revoke_key
from cofio.cli.options import DataDir
from cofio.cli.terminal import err, out
from cofio.errors import InvalidInput
from cofio.settings import load_settings

app = typer.Typer(
    help="Make, list and revoke the keys of those who may ask a service.",
    no_args_is_help=True,
    add_completion=False,
)

_SPAN: Final = re.compile(r"([1-9]\d{0,4})([hdwy])")
_UNITS: Final = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}


@app.command()
def create(
    scope: Annotated[
        list[Permission],
        typer.Option(help="query, ingest or admin (which includes both); may be given several times."),
    ],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    project: Annotated[
        str | None, typer.Option(help="The only project that it sees and writes; without, all of them.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 12h, 90d, 2w, 1y or a date; without, never.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key. It is printed once, and nobody can find it out again."""
    path = keys_path(load_settings(data_dir=data_dir))
    key, text = create_key(
        path,
        name=name,
        permissions=frozenset(scope),
        project=project,
        expires_at=_expiry(expires) if expires else None,
    )
    err.print(
        f"Key {key.key_id} in {path}. Keep what follows: it is shown this once. Send it as the header X-API-Key; "
        "commands with --url send the one in COFIO_API_KEY.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    # Alone on standard output, so that a script can take it.
    print(text)


@app.command(name="list")
def list_keys(data_dir: DataDir = None) -> None:
    """Show the keys that were made, without their secrets."""
    now = datetime.now(UTC)
    table = Table("id", "name", "scopes", "project", "made", "expires", "state")
    for key in read_keys(keys_path(load_settings(data_dir=data_dir))):
        table.add_row(
            key.key_id,
            escape(key.name),
            " ".join(sorted(key.permissions)),
            escape(key.project) if key.project else "all",
            f"{key.created_at:%Y-%m-%d %H:%M}",
            f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never",
            key.state(now),
        )
    out.print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `cofio keys list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """End a key; a running service refuses it within a second."""
    key = revoke_key(keys_path(load_settings(data_dir=data_dir)), key_id)
    out.print(f"Key {key.key_id} is revoked.", highlight=False)


def _expiry(text: str) -> datetime:
    now = datetime.now(UTC)
    try:
        span = _SPAN.fullmatch(text)
        expiry = now + int(span[1]) * _UNITS[span[2]] if span else datetime.fromisoformat(text)
        expiry = expiry.astimezone(UTC) if expiry.tzinfo else expiry.replace(tzinfo=UTC)
    except OverflowError:
        raise InvalidInput(
            f"{text} is beyond the calendar, which ends with the year 9999; a key without --expires never ends",
            field="expires",
        ) from None
    except ValueError:
        raise InvalidInput(f"{text!r} is no time such as 90d or 2027-01-31", field="expires") from None
    if expiry <= now:
        raise InvalidInput(f"{text} is over already", field="expires")
    return expiry
