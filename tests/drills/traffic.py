"""HTTP traffic at a service that will be killed: what was sent and what was answered is told to `Expected`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import httpx
import orjson

from cofio.records import MeetingInput
from drills.expected import Expected
from drills.life import Backup, Batch, Delete, Ingest, Work
from drills.meetings import ABSENT, edition_word, meeting, meeting_id, word

POLL_S: Final = 0.02


async def ready(client: httpx.AsyncClient, alive: Callable[[], bool]) -> bool:
    """Whether the service answers; it may also die before it does."""
    while alive():
        try:
            if (await client.get("/health/live")).status_code == 200:
                return True
        except httpx.TransportError:
            await asyncio.sleep(POLL_S)
    return False


async def send(client: httpx.AsyncClient, tasks: Sequence[Sequence[Work]], expected: Expected) -> list[str]:
    """The tasks were sent side by side, with questions between, until the service died; returns what was refused."""
    problems: list[str] = []
    asking = asyncio.create_task(_ask(client, problems))
    await asyncio.gather(*(_send(client, todo, expected, problems) for todo in tasks))
    asking.cancel()
    await asyncio.wait([asking])
    return problems


async def compare(
    client: httpx.AsyncClient, expected: Expected, rng: random.Random, samples: int
) -> list[str]:
    """What the service answers otherwise than it must about meetings whose edition is known."""
    problems: list[str] = []
    known = [(n, next(iter(editions))) for n, editions in expected.possible.items() if len(editions) == 1]
    known = [(n, edition) for n, edition in known if n not in expected.in_batches]
    try:
        for number, edition in rng.sample(known, min(samples, len(known))):
            status = (await client.get(f"/api/v2/meetings/{meeting_id(number)}")).status_code
            if status != (404 if edition == ABSENT else 200):
                problems.append(f"GET of meeting {number} answers {status}")
            asked = word(number) if edition == ABSENT else edition_word(number, edition)
            answered = await _query(client, asked)
            texts = [memory["content"] for memory in answered["direct_results"]["L2"]]
            if edition == ABSENT and any(asked in text for text in texts):
                problems.append(f"meeting {number} is deleted, but is answered with over HTTP")
            elif edition != ABSENT and not (texts and asked in texts[0]):
                problems.append(f"meeting {number} is not found over HTTP")
    except httpx.TransportError:  # the service was killed meanwhile
        pass
    return problems


async def _send(
    client: httpx.AsyncClient, todo: Sequence[Work], expected: Expected, problems: list[str]
) -> None:
    for work in todo:
        expected.begin(work)
        try:
            response = await _sent(client, work)
        except httpx.TransportError:
            return
        gone = (
            isinstance(work, Delete) and response.status_code == 404
        )  # a kill took back what was to be deleted
        if response.is_success or gone:
            expected.acknowledge(work)
        else:
            problems.append(f"{work} was answered {response.status_code}: {response.text[:200]}")


async def _sent(client: httpx.AsyncClient, work: Work) -> httpx.Response:
    match work:
        case Ingest():
            return await client.post("/ingest", json=_body(meeting(work.number, work.edition)))
        case Delete():
            return await client.delete(f"/api/v2/meetings/{meeting_id(work.number)}")
        case Backup():
            return await client.post("/admin/backups", json={"keep": 2})
        case Batch():
            bodies = [_body(meeting(item.number, item.edition)) for item in work.items]
            return await client.post("/ingest", json={"meetings": bodies})


async def _ask(client: httpx.AsyncClient, problems: list[str]) -> None:
    try:
        while True:
            await _query(client, "What does marketing say about the new date?")
    except httpx.TransportError:
        return
    except httpx.HTTPStatusError as error:
        problems.append(f"a question was answered {error.response.status_code}")


async def _query(client: httpx.AsyncClient, text: str) -> Any:
    response = await client.post("/api/v2/query", json={"query": f"{text}", "limit_per_level": 3})
    response.raise_for_status()
    return response.json()


def _body(of: MeetingInput) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(of).items() if value not in (None, (), {})}
    loaded: dict[str, Any] = orjson.loads(orjson.dumps(fields))
    return loaded
