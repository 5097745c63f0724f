"""Which points were written while an index was built beside: their ids only, their state is read when needed."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cofio.store.vectors import COLLECTIONS

SPILL_BYTES: Final = 1 << 20  # 60,000 ids; what is more goes to a file without a name

_NAMES: Final = tuple(COLLECTIONS.values())
_RECORD_BYTES: Final = 17  # which collection, and the uuid


class Journal:
    """A queue of collections and ids. A point written twice may be there twice.

    Where the disk is full for it, nothing that was noted can be taken any more: who writes points need not care, who
    builds the index has to begin again.
    """

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPILL_BYTES, dir=str(directory))  # noqa: SIM115
        self._taken = 0
        self._failure: OSError | None = None
        self.noted = 0

    @property
    def waiting(self) -> bool:
        """Whether there are ids that were not taken."""
        return self._taken < self.noted

    def note(self, collection: str, ids: Sequence[str]) -> None:
        """The ids stand at the end of the queue."""
        kind = bytes([_NAMES.index(collection)])
        self.noted += len(ids)
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"".join(kind + bytes.fromhex(memory_id.replace("-", "")) for memory_id in ids))
        except OSError as error:
            self._failure = error

    def take(self, count: int) -> Mapping[str, tuple[str, ...]]:
        """The next `count` ids, by collection and each once, and no longer in the queue.

        Raises the OSError that an earlier `note` met.
        """
        if self._failure is not None:
            raise self._failure
        self._file.seek(self._taken * _RECORD_BYTES)
        data = self._file.read(count * _RECORD_BYTES)
        self._taken += len(data) // _RECORD_BYTES
        found: dict[str, dict[str, None]] = {}
        for start in range(0, len(data), _RECORD_BYTES):
            memory_id = str(uuid.UUID(bytes=data[start + 1 : start + _RECORD_BYTES]))
            found.setdefault(_NAMES[data[start]], {})[memory_id] = None
        return {collection: tuple(ids) for collection, ids in found.items()}

    def close(self) -> None:
        """What was noted is forgotten."""
        self._file.close()
