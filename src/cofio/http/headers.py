"""What every answer says to browsers: what to keep, what to load, and to whom it may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Answers hold what people said: no cache keeps them, no page frames them, no address leads back to them.
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The two pages of documentation load their scripts and styles from where FastAPI's templates say.
_PAGES: Final = frozenset({"/docs", "/redoc", "/docs/oauth2-redirect"})
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; worker-src blob:; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    "font-src https://fonts.gstatic.com; img-src data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    "connect-src 'self'; frame-ancestors 'none'"
)
_RAW: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
# A browser that saw this over TLS asks over nothing else for a year.
_TLS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """The app inside, with the headers of security on every answer; HSTS where the request came over TLS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = [*message["headers"], *_RAW]
                if scope["scheme"] == "https":
                    headers.append(_TLS_ONLY)
                if scope["path"] in _PAGES:
                    MutableHeaders(raw=headers)["Content-Security-Policy"] = _PAGE_POLICY
            await send(message)

        await self.app(scope, receive, send_with_headers)
