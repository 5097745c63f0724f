"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path | None, typer.Option(help="Folder of the stores.")]
ModelDir = Annotated[Path | None, typer.Option(help="Folder of the encoder's files.")]
Url = Annotated[str | None, typer.Option(help="Ask the service at this URL instead of opening the store.")]
