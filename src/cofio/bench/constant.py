"""A FastAPI app that answers every question with the same bytes: the floor under any service of this kind.

    python -m cofio.bench.constant PORT FILE

Served by uvicorn with the options of `cofio.serving`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response


def create_app(body: bytes) -> FastAPI:
    """The app; it reads the body of a request and looks at none of it."""
    app = FastAPI()

    @app.post("/api/v2/query", response_model=None)
    async def ask(request: Request) -> Response:
        await request.body()
        return Response(body, media_type="application/json")

    @app.get("/health/ready", response_model=None)
    async def ready() -> Response:
        return Response(b"{}", media_type="application/json")

    return app


def main() -> None:
    """Serves until it is told to end."""
    uvicorn.run(
        create_app(Path(sys.argv[2]).read_bytes()),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
