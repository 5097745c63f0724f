"""People under pseudonyms in the vector index: it filters by speaker, yet holds nobody's name.

The engine gives up the space of a deleted point when it sees fit, so what must be gone after a deletion may not
be written there at all. Text and names are in SQLite alone, which overwrites what it deletes.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from cofio.records import Filters


def pseudonym(name: str) -> str:
    """The same 24 hexadecimal digits for the same name, from which the name cannot be read."""
    return hashlib.blake2b(name.encode(), digest_size=12, person=b"cofio speaker").hexdigest()


def in_pseudonyms(filters: Filters) -> Filters:
    """The filters as the vector index understands them."""
    return replace(filters, speaker=tuple(pseudonym(name) for name in filters.speaker))
