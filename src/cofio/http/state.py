"""What the lifespan hands to every request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypedDict

from fastapi import Depends, Request

from cofio.access.callers import Caller
from cofio.runtime import Runtime

# Their keys in the scope of a request.
CALLER: Final = "cofio.caller"
STILL_ADMITTED: Final = "cofio.still_admitted"
CACHED: Final = "cofio.cached"  # there if the answer came from the cache


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


async def _still_admitted(request: Request) -> Callable[[], bool]:
    asked: Callable[[], bool] = request.scope[STILL_ADMITTED]
    return asked


# Whether the sender would be let in again now: an answer that takes minutes ends when its key is revoked.
StillAdmitted = Annotated[Callable[[], bool], Depends(_still_admitted)]


async def _actor(sender: Sender) -> str:
    return sender.name or "anonymous"


# Who sends the request, as the audit names them.
Actor = Annotated[str, Depends(_actor)]
