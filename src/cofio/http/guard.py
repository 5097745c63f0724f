"""Who may pass: the caller of every request is known before its route, its cache or its body is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from cofio.access.callers import ANYONE, NOBODY, Caller, Permission
from cofio.access.gate import Gate, is_loopback
from cofio.errors import CofioError, Forbidden, Unauthenticated
from cofio.http.problems import NoSuchRoute, describe, problem
from cofio.http.state import CALLER, STILL_ADMITTED
from cofio.http.templates import Templates
from cofio.settings import Settings

# What each route needs. What is not listed needs an admin: a new route is closed until somebody writes it down here.
NEEDED: Final[Mapping[tuple[str, str], Permission]] = {
    ("POST", "/api/v2/query"): Permission.QUERY,
    ("GET", "/api/v2/memories/{memory_id}"): Permission.QUERY,
    ("GET", "/api/v2/meetings"): Permission.QUERY,
    ("GET", "/api/v2/meetings/{meeting_id}"): Permission.QUERY,
    ("POST", "/ingest"): Permission.INGEST,
    ("DELETE", "/api/v2/meetings/{meeting_id}"): Permission.INGEST,
    ("GET", "/operations/{operation_id}"): Permission.INGEST,
    ("GET", "/operations/{operation_id}/events"): Permission.INGEST,
}
# What everybody may read: whether the service lives, and what it can do. None of it tells anything of the memory.
OPEN: Final = frozenset(
    {"/health", "/health/live", "/health/ready", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
)
_READING: Final = frozenset({"GET", "HEAD"})
_BY_PATH: Final = {key: needed for key, needed in NEEDED.items() if "{" not in key[1]}
_BY_PATTERN: Final = [
    (method, compile_path(path)[0], needed) for (method, path), needed in NEEDED.items() if "{" in path
]

KEY_HEADER: Final = "X-API-Key"
_KEY: Final = KEY_HEADER.lower().encode()
_AUTHORIZATION: Final = b"authorization"
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="cofio"'}
# What a key or a token is written with; anything else is none, and is not looked up.
_CREDENTIAL: Final = re.compile(rb"[A-Za-z0-9._~+/=-]{1,8192}")
# A request that came through a proxy has one of these.
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-host"})


def needed_for(method: str, path: str) -> Permission | None:
    """The permission that a request needs, by its path or by a route's template; None for what is open."""
    if path in OPEN and method in _READING:
        return None
    method = "GET" if method == "HEAD" else method
    found = _BY_PATH.get((method, path))
    if found is not None:
        return found
    return next((n for m, pattern, n in _BY_PATTERN if m == method and pattern.match(path)), Permission.ADMIN)


class Guard:
    """The app inside, for those who may: each request has its caller in the scope, or is refused unread.

    While the gate is not closed, everybody is `ANYONE`, as long as the request comes from this machine and is no web
    page's doing: neither through a proxy, nor to another name than this machine's, nor from a page of another origin.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, settings: Settings, templates: Templates) -> None:
        self.app = app
        self._gate = gate
        self._anonymous_anywhere = settings.allow_anonymous
        self._origins = frozenset(settings.cors_origins)
        self._templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        needed = needed_for(scope["method"], scope["path"])
        try:
            scope[CALLER] = self._admitted(scope, needed)
        except CofioError as refusal:
            headers = _CHALLENGE if isinstance(refusal, Unauthenticated) else None
            response = problem(refusal, path=scope["path"], request_id=scope["request_id"], headers=headers)
            await response(scope, receive, send)
            return
        scope[STILL_ADMITTED] = partial(self._still_admits, scope, needed)
        await self.app(scope, receive, send)

    def _still_admits(self, scope: Scope, needed: Permission | None) -> bool:
        try:
            self._admitted(scope, needed)
        except (Unauthenticated, Forbidden):
            return False
        return True

    def _admitted(self, scope: Scope, needed: Permission | None) -> Caller:
        if needed is None:
            return NOBODY
        if not self._gate.closed:
            self._check_anonymous(scope)
            return ANYONE
        caller = self._gate.caller(_credential(scope["headers"]))
        if caller is None:
            raise Unauthenticated("The key is not valid: unknown, expired or revoked.")
        if caller.may(needed):
            return caller
        if self._templates.of(scope["path"]) is None:
            raise NoSuchRoute(f"There is nothing at {scope['path']}; /docs lists what there is.")
        bound = " and must not be bound to a project" if needed is Permission.ADMIN and caller.project else ""
        raise Forbidden(f"{scope['method']} {scope['path']} needs a key with the scope {needed}{bound}.")

    def _check_anonymous(self, scope: Scope) -> None:
        """Raises Forbidden for what may come from elsewhere, while nobody needs a key."""
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and origin not in self._origins and _place(origin) != host:
            raise Forbidden(
                "This service has no keys, so it answers no web page of another origin. Name the page's origin in "
                "cors_origins, or make a key with `cofio keys create`."
            )
        if self._anonymous_anywhere:
            return
        if any(name in _FORWARDED for name, _ in scope["headers"]):
            raise Forbidden(
                "This service has no keys, so it answers this machine alone, and this request came through a proxy. "
                "Make a key with `cofio keys create`, or set allow_anonymous."
            )
        # A page can make its own name lead here (DNS rebinding); the browser still says which name it asked.
        if host and not _names_this_machine(host):
            raise Forbidden(
                "This service has no keys, so it answers to the names of this machine alone (127.0.0.1, localhost). "
                "Make a key with `cofio keys create`, or set allow_anonymous."
            )


def _place(origin: str) -> str | None:
    """The host and port of an origin; None for one that is malformed, which no browser sends."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _names_this_machine(host: str) -> bool:
    """Whether the name in a `Host` header, without its port, is reached from this machine alone; not if it is malformed."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _credential(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The one key or token of a request; raises Unauthenticated if there is none, or several."""
    found: list[bytes] = []
    for name, value in headers:
        if name == _KEY:
            found.append(value)
        elif name == _AUTHORIZATION:
            scheme, _, rest = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthenticated(f"Send the key as `Authorization: Bearer …` or as `{KEY_HEADER}: …`.")
            found.append(rest.strip())
    if not found:
        raise Unauthenticated(f"Send a key as `{KEY_HEADER}: …` or `Authorization: Bearer …`.")
    if len(found) > 1:
        raise Unauthenticated("Send one key, not several.")
    if not _CREDENTIAL.fullmatch(found[0]):
        raise Unauthenticated("The key is not valid: unknown, expired or revoked.")
    return found[0].decode("ascii")


def describe_access(document: dict[str, Any]) -> None:
    """The OpenAPI document says of each route which key it needs, and how it refuses others."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
        "bearer": {"type": "http", "scheme": "bearer", "description": "A key, or a JSON Web Token."},
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needed = needed_for(method.upper(), path)
            if needed is not None:
                operation["security"] = [{"key": [needed.value]}, {"bearer": [needed.value]}]
                refusals = describe(Unauthenticated, Forbidden)
                operation["responses"] |= {str(status): told for status, told in refusals.items()}
