"""Which routes a request may be for by its path alone: for those that are refused before they have a route."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.routing import Route

# What a request is named by whose path no route has.
UNMATCHED: Final = "unmatched"


class Templates:
    """The templates of the app's routes, each of them a name that no client has written."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ours = list(routes)
        self._fixed = frozenset(route.path for route in ours if "{" not in route.path)
        self._methods = [(route.path_regex, frozenset(route.methods or ())) for route in ours]
        self._patterns = [(route.path_regex, route.path) for route in ours if route.path not in self._fixed]

    def of(self, path: str) -> str | None:
        """The template that a request to `path` fits, whatever its method; None if there is no such route."""
        if path in self._fixed:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), None)

    def methods_at(self, path: str) -> frozenset[str]:
        """The methods that requests to `path` may have, of all its routes: there may be one a method."""
        return frozenset[str]().union(*(methods for pattern, methods in self._methods if pattern.match(path)))
