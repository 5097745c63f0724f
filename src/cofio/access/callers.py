"""Callers: what one may do, and the one project that it may be bound to."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Permission(enum.StrEnum):
    """What a key or a token allows, called its scopes there. `admin` includes the others."""

    QUERY = "query"  # ask, and read memories and meetings
    INGEST = "ingest"  # remember, follow batches, forget meetings
    ADMIN = "admin"  # look after the whole store: never bound to a project


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request.

    `name` tells callers apart and holds no secret; None is whoever sends no key, told apart by address alone.
    A caller that is bound to a `project` sees and writes nothing else.
    """

    name: str | None
    permissions: frozenset[Permission]
    project: str | None = None

    def may(self, needed: Permission) -> bool:
        """Whether this caller has the permission; one that is bound to a project is never an admin."""
        if self.project is not None and needed is Permission.ADMIN:
            return False
        return needed in self.permissions or Permission.ADMIN in self.permissions


# Who asks a service that nobody has made a key for; and who asks for what everybody may read.
ANYONE: Final = Caller(name=None, permissions=frozenset(Permission))
NOBODY: Final = Caller(name=None, permissions=frozenset())
