"""What the lifespan hands to every request."""

from __future__ import annotations

from typing import Annotated, TypedDict

from fastapi import Depends, Request

from cofio.runtime import Runtime


class State(TypedDict):
    """The state of a running app, copied into each request."""

    runtime: Runtime


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.state.runtime
    return runtime


OpenRuntime = Annotated[Runtime, Depends(_runtime)]


async def _actor(request: Request) -> str:
    actor: str = request.scope.get("actor", "anonymous")
    return actor


# Who sends the request, as the audit names them.
Actor = Annotated[str, Depends(_actor)]
