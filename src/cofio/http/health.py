"""/health and /metrics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Response

import cofio
from cofio.figures import publish, read_figures
from cofio.health import ComponentHealth, Status, measure_health, unready, worst
from cofio.http.problems import NotReady, describe
from cofio.http.state import OpenRuntime
from cofio.http.wire import answer
from cofio.telemetry.exposition import exposition

router = APIRouter(tags=["health"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The process answers."""

    status: Status
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of the whole, and of each part by name; `reasons` of the parts that are not `ok`.

    Anybody may ask for it: what the parts themselves said, files and addresses, is for admins.
    """

    status: Status
    version: str
    components: dict[str, Status]
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailedHealth:
    """The state of the whole, and of each part as it was measured just now."""

    status: Status
    version: str
    measured_at: datetime
    components: tuple[ComponentHealth, ...]


# Probes of load balancers ask by HEAD. OpenAPI documents have no use for it.
@router.head("/health", include_in_schema=False, response_model=None)
@router.get("/health", summary="State of the whole", response_model=None, responses={200: {"model": Health}})
async def health(runtime: OpenRuntime) -> Response:
    """Each store was asked; the encoder was not run. 200 also where a part is down: the body tells."""
    return answer(_health(await measure_health(runtime, thorough=False)))


def _health(parts: tuple[ComponentHealth, ...]) -> Health:
    return Health(
        status=worst(parts),
        version=cofio.__version__,
        components={part.name: part.status for part in parts},
        reasons={part.name: part.reason for part in parts if part.reason is not None},
    )


@router.head("/health/live", include_in_schema=False, response_model=None)
@router.get(
    "/health/live", summary="Is the process alive", response_model=None, responses={200: {"model": Alive}}
)
async def live() -> Response:
    """Without any input or output: it answers as long as the event loop turns."""
    return answer(Alive(status="ok", version=cofio.__version__))


@router.head("/health/ready", include_in_schema=False, response_model=None)
@router.get(
    "/health/ready",
    summary="Can queries be answered",
    response_model=None,
    responses={200: {"model": Health}, **describe(NotReady)},
)
async def ready(runtime: OpenRuntime) -> Response:
    """200 if questions can be answered, and the service is neither stopping nor rebuilding its index, else a problem.

    Where a part is degraded, `reasons` says why.
    """
    if (reason := await unready(runtime)) is not None:
        raise NotReady(reason)
    return answer(_health(await measure_health(runtime, thorough=False)))


@router.get(
    "/health/detailed",
    summary="Every part, measured now",
    response_model=None,
    responses={200: {"model": DetailedHealth}},
)
async def detailed(runtime: OpenRuntime) -> Response:
    """Each part but the encoder was used once; `response_ms` is what that took, of the encoder its last call."""
    parts = await measure_health(runtime)
    return answer(
        DetailedHealth(
            status=worst(parts),
            version=cofio.__version__,
            measured_at=datetime.now(UTC),
            components=parts,
        )
    )


@router.get(
    "/metrics",
    summary="Metrics in the text format of Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(runtime: OpenRuntime) -> Response:
    """All metrics, of all workers where there are several; the figures of the stores are read now."""
    await publish(runtime)
    text, content_type = await asyncio.to_thread(exposition, await read_figures(runtime))
    return Response(text, headers={"Content-Type": content_type})
