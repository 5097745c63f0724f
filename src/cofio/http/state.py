"""What the lifespan hands to every request."""

from __future__ import annotations

from typing import Annotated, Final, TypedDict

from fastapi import Depends, Request

from cofio.access.callers import Caller
from cofio.runtime import Runtime

CALLER: Final = "cofio.caller"  # its key in the scope of a request


class State(TypedDict):
    """The state of a running app, copied into each request."""

    runtime: Runtime


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.state.runtime
    return runtime


async def _caller(request: Request) -> Caller:
    caller: Caller = request.scope[CALLER]
    return caller


OpenRuntime = Annotated[Runtime, Depends(_runtime)]
# Who sends the request, as `http/guard.py` found out before anything else read it.
Sender = Annotated[Caller, Depends(_caller)]


async def _actor(sender: Sender) -> str:
    return sender.name or "anonymous"


# Who sends the request, as the audit names them.
Actor = Annotated[str, Depends(_actor)]
