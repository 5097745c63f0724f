"""Refusals count as what they were refused from, by the route's template, and nothing else a client has written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from keyed import keyed
from prometheus_client import REGISTRY
from starlette.routing import Route

from cofio.http.templates import Templates

QUERY = "/api/v2/query"
MEETING = "/api/v2/meetings/{meeting_id}"


def counted(method: str, endpoint: str, status: int) -> float:
    labels = {"method": method, "endpoint": endpoint, "status": str(status)}
    return REGISTRY.get_sample_value("api_requests_total", labels) or 0.0


def timed(method: str, endpoint: str) -> float:
    labels = {"method": method, "endpoint": endpoint}
    return REGISTRY.get_sample_value("api_request_duration_seconds_count", labels) or 0.0


async def refused(
    asked: httpx.AsyncClient,
    method: str,
    path: str,
    headers: Mapping[str, str],
    status: int,
    endpoint: str,
    **more: Any,
) -> None:
    """The request is refused with this status before its route, and counts as one of this endpoint."""
    before = counted(method, endpoint, status), timed(method, endpoint), timed(method, "unrouted")
    answer = await asked.request(method, path, headers=headers, **more)
    assert answer.status_code == status, answer.text
    after = counted(method, endpoint, status), timed(method, endpoint), timed(method, "unrouted")
    assert after == (before[0] + 1, before[1], before[2] + 1)


async def test_what_is_refused_before_its_route_counts_as_one_of_the_route(tmp_path: Path) -> None:
    async with keyed(tmp_path, query_rate="1/hour", cors_origins=("https://app.example",)) as (
        asked,
        _,
        headers,
    ):
        query, ingest = headers["query"], headers["ingest"]
        await refused(asked, "POST", QUERY, {}, 401, QUERY, json={"query": "roof"})
        await refused(asked, "GET", "/api/v2/meetings/of-some-id", {}, 401, MEETING)
        await refused(asked, "DELETE", "/api/v2/meetings/of-some-id", query, 403, MEETING)
        await refused(asked, "DELETE", "/admin/projects/a/b", query, 403, "/admin/projects/{project:path}")
        assert (await asked.post(QUERY, json={"query": "roof"}, headers=query)).status_code == 200
        await refused(asked, "POST", QUERY, query, 429, QUERY, json={"query": "roof"})
        large = {**ingest, "content-length": str(10**9)}
        await refused(asked, "POST", "/ingest", large, 413, "/ingest", content=b"{}")
        asks = {"origin": "https://app.example", "access-control-request-method": "POST"}
        await refused(asked, "OPTIONS", QUERY, asks, 200, QUERY)
        await refused(asked, "GET", "/no/such/path/1234", headers["admin"], 404, "unmatched")
        await refused(asked, "GET", "/no/such/path/1234", {}, 401, "unmatched")


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/a", "/a"),
        ("/a/b", "/a/{id}"),
        ("/a/fixed", "/a/fixed"),
        ("/a/b/c", None),
        ("/p/b/c", "/p/{rest:path}"),
        ("/a/", None),
        ("/", None),
        ("/a/{id}", "/a/{id}"),
    ],
)
def test_a_path_fits_the_template_of_its_route(path: str, template: str | None) -> None:
    router = APIRouter()
    for each in ("/a", "/a/{id}", "/a/fixed", "/p/{rest:path}"):
        router.add_api_route(each, lambda: None)
    routes = [route for route in router.routes if isinstance(route, Route)]
    assert Templates(routes).of(path) == template
