"""A key that is bound to a project: for it, there is nothing else in the store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hash_encoder import HashEncoder
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from in_process import client
from keyed import header, keyed

from cofio.access.callers import Permission
from cofio.access.keys import KeyRing
from cofio.runtime import open_runtime
from cofio.settings import Settings

QUERY: Final = "/api/v2/query"
NO_ID: Final = "00000000-0000-0000-0000-000000000000"
WORDS: Final = (
    "Grimvik",
    "hangar",
    "roof",
    "Postgres",
    "deposit",
    "valve",
    "Kestrel",
    "lantern",
    "pier",
    "invoice",
)
SPEAKERS: Final = ("Ann Lee", "Bob Ruiz", "Cy Noor")
TITLES: Final = ("Grimvik", "Kestrel", "Weekly sync", "Postgres")
NUMBERS: Final = itertools.count()

SAID: Final = st.builds(
    lambda opening, words: f"{opening} {' and '.join(words)}",
    st.sampled_from(
        [
            "We decided to buy",
            "Who pays for",
            "I will check",
            "Grimvik is a firm that makes",
            "The deadline for",
        ]
    ),
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=5),
)
MEETINGS: Final = st.fixed_dictionaries(
    {
        "title": st.sampled_from(TITLES),
        "lines": st.lists(st.tuples(st.sampled_from(SPEAKERS), SAID), min_size=1, max_size=12),
        "document": st.booleans(),
        "external_id": st.sampled_from(["one", "two", "three", "four"]),
    },
    optional={
        "date": st.sampled_from(["2026-01-05", "2026-02-06", "2026-03-07"]),
        "series": st.sampled_from(["weekly", "board"]),
    },
)
QUESTIONS: Final = st.fixed_dictionaries(
    {
        "query": st.one_of(
            SAID, st.sampled_from(["What did Ann Lee say about the hangar?", "Kestrel in February"])
        )
    },
    optional={
        "limit_per_level": st.sampled_from([1, 3, 50]),
        "enable_activation": st.booleans(),
        "max_activations": st.sampled_from([10, 100]),
        "steer": st.just({"urgency": 0.5}),
        "filters": st.fixed_dictionaries(
            {},
            optional={
                "series": st.just("weekly"),
                "speaker": st.just(["Ann Lee"]),
                "level": st.sampled_from(["L0", "L1", "L2"]),
                "date_from": st.just("2026-02-01"),
            },
        ),
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The same service twice: one holds every project, the other one project at a time."""

    runner: asyncio.Runner
    shared: httpx.AsyncClient
    alone: httpx.AsyncClient
    settings: dict[str, Settings]
    rings: dict[str, KeyRing]

    def of(self, where: str) -> httpx.AsyncClient:
        return self.shared if where == "shared" else self.alone


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Both need keys."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()

        async def enter(chosen: Settings) -> httpx.AsyncClient:
            runtime = await stack.enter_async_context(open_runtime(chosen, HashEncoder()))
            return await stack.enter_async_context(client(chosen, runtime))

        chosen = {
            name: Settings(
                data_dir=tmp_path_factory.mktemp(name),
                keys_file=tmp_path_factory.mktemp("keys") / "keys.sqlite3",
                query_rate="",
                ingest_rate="",
            )
            for name in ("shared", "alone")
        }
        for each in chosen.values():
            header(each, Permission.ADMIN)
        clients = {name: runner.run(enter(each)) for name, each in chosen.items()}
        yield Stores(runner=runner, settings=chosen, rings={}, **clients)
        runner.run(stack.aclose())


async def bound(asked: httpx.AsyncClient, chosen: Settings, project: str) -> dict[str, str]:
    """The header of a key that the running service knows."""
    made = header(chosen, Permission.QUERY, Permission.INGEST, project=project)
    while (await asked.get("/api/v2/meetings", headers=made)).status_code == 401:
        await asyncio.sleep(0.01)
    return made


def body_of(meeting: dict[str, Any], mark: str) -> dict[str, Any]:
    """The request that ingests a drawn meeting; `mark` is in every line, name and title of it."""
    lines = meeting["lines"]
    if meeting["document"]:
        text = ". ".join(said for _, said in lines)
        told = {"title": meeting["title"], "transcript": json.dumps([{"text": f"{text} {mark}"}])}
    else:
        told = {
            "title": f"{meeting['title']} {mark}",
            "transcript": "\n".join(f"{who}: {said} {mark}" for who, said in lines),
        }
    return {**told, **{name: meeting[name] for name in ("date", "series", "external_id") if name in meeting}}


def lasting(value: Any) -> Any:
    """The value without what differs from one run to the next."""
    volatile = {"processing_time_ms", "stages_ms", "request_id", "ingested_at"}
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if name not in volatile}
    return [lasting(each) for each in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """Where two values of JSON differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from differences(one[name], other[name], f"{at}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{at}.{place}")
    elif one != other:
        yield f"{at}: {one} is not {other}"


async def seen(
    asked: httpx.AsyncClient, key: dict[str, str], questions: list[dict[str, Any]]
) -> tuple[list[Any], str]:
    """All that a bound key can see, and the text of it."""
    told: list[httpx.Response] = [await asked.get("/api/v2/meetings", headers=key)]
    ids = {meeting["meeting_id"] for meeting in told[0].json()["meetings"]}
    told += [await asked.get(f"/api/v2/meetings/{each}", headers=key) for each in sorted(ids)]
    page: dict[str, Any] = {"next_cursor": None}
    while page["next_cursor"] or "meetings" not in page:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        told.append(await asked.get("/api/v2/meetings", params={"limit": 1, **cursor}, headers=key))
        page = told[-1].json()
    memories: set[str] = set()
    for question in [
        *questions,
        *({"query": "hangar", "filters": {"meeting_id": [each]}} for each in sorted(ids)),
    ]:
        answers = [await asked.post(QUERY, json=question, headers=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert lasting(answers[0].json()) == lasting(answers[1].json())
        told.append(answers[1])
        found = answers[1].json()
        for hit in itertools.chain(
            *found["direct_results"].values(), found["activated_memories"], found["bridge_memories"]
        ):
            memories |= {hit["memory_id"], *hit.get("path", ()), *hit.get("connecting_memories", ())}
    told += [await asked.get(f"/api/v2/memories/{each}", headers=key) for each in sorted(memories)]
    assert {answer.status_code for answer in told} == {200}
    return [lasting(answer.json()) for answer in told], "".join(answer.text for answer in told)


# A failing example is told as it was drawn: making it smaller takes minutes.
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(
    mine=st.lists(MEETINGS, min_size=1, max_size=4),
    others=st.lists(st.tuples(st.sampled_from("bc"), MEETINGS), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    questions=st.lists(QUESTIONS, min_size=1, max_size=3),
)
def test_a_bound_key_sees_what_a_store_of_its_project_alone_would_show(
    stores: Stores,
    mine: list[dict[str, Any]],
    others: list[tuple[str, dict[str, Any]]],
    order: Any,
    questions: list[dict[str, Any]],
) -> None:
    number = next(NUMBERS)
    # No name is in another one, nor in an id.
    project, *names = (f"{letter}x{number}x" for letter in "pqr")
    rest = dict(zip("bc", names, strict=True))
    mixed = [(project, meeting) for meeting in mine]
    for owner, meeting in others:
        mixed.insert(order.randrange(len(mixed) + 1), (rest[owner], meeting))

    async def run() -> None:
        keys = {
            name: await bound(stores.shared, stores.settings["shared"], name)
            for name in (project, *rest.values())
        }
        own = await bound(stores.alone, stores.settings["alone"], project)
        meetings: dict[str, list[str]] = {}
        for owner, meeting in mixed:
            receipts = []
            body = body_of(meeting, f"zq{owner}")
            receipts.append(await stores.shared.post("/ingest", json=body, headers=keys[owner]))
            if owner == project:
                receipts.append(await stores.alone.post("/ingest", json=body, headers=own))
            assert all(receipt.status_code == 200 for receipt in receipts), receipts[0].text
            assert lasting(receipts[0].json()) == lasting(receipts[-1].json())
            meetings.setdefault(owner, []).append(receipts[0].json()["meeting_id"])
        shared, text = await seen(stores.shared, keys[project], questions)
        alone, _ = await seen(stores.alone, own, questions)
        assert list(differences(shared, alone)) == []
        for name in rest.values():
            assert name not in text
        # What the others see is as little mine.
        for name in {rest[owner] for owner, _ in others}:
            assert project not in (await seen(stores.shared, keys[name], questions))[1]
            for meeting_id in meetings[name]:
                assert await unknown(stores.shared, keys[project], "meetings", meeting_id)
        for meeting_id in set(meetings[project]):
            assert (
                await stores.alone.delete(f"/api/v2/meetings/{meeting_id}", headers=own)
            ).status_code == 200

    stores.runner.run(run())


async def unknown(asked: httpx.AsyncClient, key: dict[str, str], kind: str, given: str) -> bool:
    """Whether an id is refused exactly as one that there is not."""
    told = []
    for each in (given, NO_ID):
        answer = await asked.get(f"/api/v2/{kind}/{each}", headers=key)
        assert answer.status_code == 404
        told.append(json.dumps(lasting(answer.json())).replace(each, "ID"))
    return told[0] == told[1]


async def test_ids_and_names_of_another_project_are_as_if_there_were_none(tmp_path: Path) -> None:
    async with keyed(tmp_path, projects=("pxone", "pxtwo")) as (asked, _, headers):
        mine, theirs, admin = headers["pxone"], headers["pxtwo"], headers["admin"]
        meeting = {
            "title": "Secret zqtwo",
            "external_id": "same",
            "transcript": "Ann: The zqtwo hangar roof costs nine thousand.\nBob: I will pay the zqtwo roof by Friday.",
        }
        receipt = (await asked.post("/ingest", json=meeting, headers=theirs)).json()
        found = (await asked.post(QUERY, json={"query": "zqtwo roof"}, headers=theirs)).json()
        memories = [hit["memory_id"] for level in found["direct_results"].values() for hit in level]
        assert memories
        batch = {"meetings": [{"title": "Later", "transcript": "Ann: Later zqtwo."}]}
        operation = (await asked.post("/ingest", json=batch, headers=theirs)).json()["operation_id"]
        while (await asked.get(f"/operations/{operation}", headers=theirs)).json()["finished_at"] is None:
            await asyncio.sleep(0.02)

        async def told(method: str, path: str, **request: Any) -> tuple[int, str]:
            answer = await asked.request(method, path, headers=mine, **request)
            text = answer.text.replace(path, "").replace(path.rsplit("/", 1)[-1], "")
            return answer.status_code, json.dumps(lasting(json.loads(text)))

        for method, path, theirs_of_it in (
            ("GET", "/api/v2/meetings/{}", [receipt["meeting_id"]]),
            ("DELETE", "/api/v2/meetings/{}", [receipt["meeting_id"]]),
            ("GET", "/api/v2/memories/{}", memories),
            ("GET", "/operations/{}", [operation]),
        ):
            missing = await told(method, path.format(NO_ID))
            assert missing[0] == 404
            for each in theirs_of_it:
                assert await told(method, path.format(each)) == missing
        assert (await asked.get(f"/operations/{operation}/events", headers=mine)).status_code == 404

        # A project that there is and one that there is not are refused alike, wherever one can be named.
        for named in ("pxtwo", "pxnone", "default", "PXONE"):
            for method, path, request in (
                ("POST", QUERY, {"json": {"query": "roof", "filters": {"project": named}}}),
                ("POST", QUERY, {"json": {"query": "roof", "filters": {"project": ["pxone", named]}}}),
                ("GET", "/api/v2/meetings", {"params": {"project": named}}),
                ("POST", "/ingest", {"json": {**meeting, "project": named}}),
                ("POST", "/ingest", {"json": {"meetings": [meeting, {**meeting, "project": named}]}}),
                ("POST", "/ingest", {"files": {"file": ("a.txt", "Ann: Hi.")}, "data": {"project": named}}),
            ):
                answer = await asked.request(method, path, headers=mine, **request)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (path, named)
                assert "pxtwo" not in answer.text
        answer = await asked.post(
            QUERY, json={"query": "zqtwo", "filters": {"meeting_id": receipt["meeting_id"]}}, headers=mine
        )
        assert answer.json()["total_results"] == 0

        # The same meeting of another sender is another meeting.
        own = (await asked.post("/ingest", json={**meeting, "title": "Mine"}, headers=mine)).json()
        assert own["outcome"] == "created"
        assert own["meeting_id"] != receipt["meeting_id"]
        stored = (await asked.get("/api/v2/meetings", params={"project": "pxtwo"}, headers=admin)).json()
        assert [each["title"] for each in stored["meetings"] if each["external_id"]] == ["Secret zqtwo"]
        own = (await asked.get("/api/v2/meetings", headers=mine)).json()
        assert (own["total"], [each["project"] for each in own["meetings"]]) == (1, ["pxone"])


async def test_the_cache_keeps_projects_apart(tmp_path: Path) -> None:
    async with keyed(tmp_path, projects=("pxone", "pxtwo")) as (asked, _, headers):
        for name in ("pxone", "pxtwo"):
            meeting = {"title": "Roof", "transcript": f"Ann: The {name} roof is leaking again."}
            assert (await asked.post("/ingest", json=meeting, headers=headers[name])).status_code == 200
        body = {"query": "Is the roof leaking?"}
        for way in ("miss", "hit"):
            for name, other in (("pxone", "pxtwo"), ("pxtwo", "pxone")):
                answer = await asked.post(QUERY, json=body, headers=headers[name])
                assert answer.headers["x-cofio-cache"] == way
                assert f"The {name} roof" in answer.text
                assert other not in answer.text
        everything = await asked.post(QUERY, json=body, headers=headers["admin"])
        assert everything.headers["x-cofio-cache"] == "miss"
        assert all(name in everything.text for name in ("pxone", "pxtwo"))


@pytest.mark.parametrize(("project", "stored"), [("a\x1fb", "a b"), ("a\x00b", "ab"), ("a\x7fb", "ab")])
async def test_a_project_s_name_holds_nothing_that_ids_are_put_together_with(
    tmp_path: Path, project: str, stored: str
) -> None:
    async with keyed(tmp_path, projects=(stored,)) as (asked, _, headers):
        body = {"title": "Roof", "transcript": "Ann: Leaking.", "project": project}
        assert (await asked.post("/ingest", json=body, headers=headers["ingest"])).status_code == 200
        assert (await asked.get("/api/v2/meetings", headers=headers[stored])).json()["total"] == 1


async def test_an_erased_project_is_not_named_by_its_batches(tmp_path: Path) -> None:
    async with keyed(tmp_path, projects=("pxone",)) as (asked, chosen, headers):
        batch = {"meetings": [{"title": "Roof", "transcript": "Ann: Leaking."}]}
        operation = (await asked.post("/ingest", json=batch, headers=headers["pxone"])).json()["operation_id"]
        while (await asked.get(f"/operations/{operation}", headers=headers["pxone"])).json()[
            "finished_at"
        ] is None:
            await asyncio.sleep(0.02)
        erased = await asked.delete("/admin/projects/pxone", headers=headers["admin"])
        assert erased.status_code == 200
        assert (await asked.get(f"/operations/{operation}", headers=headers["pxone"])).status_code == 404
    stored = b"".join(file.read_bytes() for file in chosen.data_dir.glob("cofio.sqlite3*"))
    assert b"pxone" not in stored
