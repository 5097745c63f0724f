"""Every limit on a request: beyond it a problem with a code of its own, within it an answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import in_process
import orjson
import pytest
import pytest_asyncio
import uvicorn
from hash_encoder import HashEncoder
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from cofio.http.bodies import SMALL_JSON_VALUES
from cofio.http.bounds import LIMITS, describe_limits
from cofio.http.ingest import MAX_FORM_FIELDS, MAX_KEYS
from cofio.http.json_shape import bound_of, shape_of
from cofio.http.problems import MAX_TOLD_ERRORS, BodyTooSlow, HeadTooLarge, mapped
from cofio.http.protocol import MAX_HEAD_BYTES, BoundedConnection
from cofio.runtime import open_runtime
from cofio.settings import Settings

MEETING: dict[str, Any] = {"title": "Yard", "transcript": "Ann: The crate left the yard."}
in_one_loop = pytest.mark.asyncio(loop_scope="module")
JSON: dict[str, Any] = {"content-type": "application/json"}
QUERY = "/api/v2/query"


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("limits") / "store",
        max_body_bytes=300_000,
        max_transcript_chars=2_000,
        max_batch_meetings=3,
        max_participants=3,
        max_metadata_bytes=200,
        max_metadata_depth=3,
        max_json_depth=12,
        max_json_values=5_000,
        query_rate="",
        ingest_rate="",
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(chosen: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        open_runtime(chosen, HashEncoder()) as runtime,
        in_process.client(chosen, runtime) as asked,
    ):
        yield asked


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def _file(content: bytes) -> tuple[str, tuple[str, bytes]]:
    return ("file", ("notes.txt", content))


# One request beyond each limit, and one that just keeps it: (code, path, beyond, within).
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("body_too_large", "/ingest", {"content": b"{" + b" " * 300_000, "headers": JSON}, {"json": MEETING}),
    (
        "decompressed_too_large",
        "/ingest",
        {"content": gzip.compress(b" " * 2_000_000), "headers": {**JSON, "content-encoding": "gzip"}},
        {"content": gzip.compress(orjson.dumps(MEETING)), "headers": {**JSON, "content-encoding": "gzip"}},
    ),
    (
        "unsupported_content_encoding",
        "/ingest",
        {"content": b"{}", "headers": {**JSON, "content-encoding": "br"}},
        {"content": zlib.compress(orjson.dumps(MEETING)), "headers": {**JSON, "content-encoding": "deflate"}},
    ),
    (
        "json_too_deep",
        "/ingest",
        {"content": b"[" * 200_000, "headers": JSON},
        {"json": {**MEETING, "transcript": [{"text": "Ann says hello.", "words": _nested(9)}]}},
    ),
    (
        "too_many_json_values",
        "/ingest",
        {"json": {**MEETING, "transcript": [0] * 5_000}},
        {"json": {**MEETING, "transcript": [{"text": "Ann says hello.", "words": [0] * 900}]}},
    ),
    (
        "too_many_keys",
        "/ingest",
        {"json": {**MEETING, **{f"key{i}": 1 for i in range(MAX_KEYS)}}},
        {"json": {**MEETING, "metadata": {"key": 1}}},
    ),
    (
        "too_many_meetings",
        "/ingest",
        {"json": {"meetings": [MEETING] * 4}},
        {"json": {"meetings": [MEETING] * 3}},
    ),
    (
        "transcript_too_long",
        "/ingest",
        {"json": {**MEETING, "transcript": "Ann: " + "x" * 1_996}},
        {"json": {**MEETING, "transcript": "Ann: " + "x" * 1_995}},
    ),
    (
        "too_many_participants",
        "/ingest",
        {"json": {**MEETING, "participants": ["Ann", "Bob", "Cid", "Dee"]}},
        {"json": {**MEETING, "participants": ["Ann", "Bob", "Cid"]}},
    ),
    (
        "metadata_too_large",
        "/ingest",
        {"json": {**MEETING, "metadata": {"key": "x" * 200}}},
        {"json": {**MEETING, "metadata": {"key": "x" * 190}}},
    ),
    (
        "metadata_too_deep",
        "/ingest",
        {"json": {**MEETING, "metadata": {"key": _nested(3)}}},
        {"json": {**MEETING, "metadata": {"key": _nested(2)}}},
    ),
    (
        "too_many_parts",
        "/ingest",
        {"files": [_file(b"Ann: hello there") for _ in range(4)]},
        {"files": [_file(b"Ann: hello there") for _ in range(3)]},
    ),
    (
        "part_too_large",
        "/ingest",
        {"files": [_file(b"Ann: " + b"hello " * 1_400)]},
        {"files": [_file(b"Ann: " + "é".encode() * 1_900)]},
    ),
    ("field_too_long", QUERY, {"json": {"query": "x" * 1_001}}, {"json": {"query": "x" * 1_000}}),
    (
        "too_many_items",
        QUERY,
        {"json": {"query": "x", "filters": {"series": ["a"] * 101}}},
        {"json": {"query": "x", "filters": {"series": ["a"] * 100}}},
    ),
]


@pytest.mark.parametrize(("code", "path", "beyond", "within"), CASES, ids=[case[0] for case in CASES])
@in_one_loop
async def test_each_limit_has_its_code_and_what_keeps_it_is_answered(
    client: httpx.AsyncClient, code: str, path: str, beyond: dict[str, Any], within: dict[str, Any]
) -> None:
    refused = await client.post(path, **beyond)
    status = next(mapped(limit.kind).status for limit in LIMITS if limit.kind.code == code)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert len(refused.content) < 10_000
    answered = await client.post(path, **within)
    assert answered.status_code in (200, 202), answered.text


def test_every_limit_is_tried_and_on_the_page() -> None:
    assert {limit.kind.code for limit in LIMITS} == {case[0] for case in CASES} | {
        HeadTooLarge.code,
        BodyTooSlow.code,  # tests/http/test_slow_clients.py
    }
    assert describe_limits() in (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")


AROUND: list[tuple[str, str, dict[str, Any]]] = [
    ("body_too_large", QUERY, {"content": b" " * 400_000, "headers": JSON}),
    ("json_too_deep", QUERY, {"content": b'{"query":' + b"[" * 100_000, "headers": JSON}),
    (
        "json_too_deep",
        QUERY,
        {"content": b'{"query":' + b'{"a":' * 20 + b"1" + b"}" * 21, "headers": JSON},
    ),
    ("too_many_json_values", QUERY, {"json": {f"k{i}": i for i in range(SMALL_JSON_VALUES)}}),
    (
        "json_too_deep",
        QUERY,
        {"content": gzip.compress(b"[" * 100_000), "headers": {**JSON, "content-encoding": "gzip"}},
    ),
    ("too_many_participants", "/ingest", {"json": {"meetings": [{**MEETING, "participants": [1] * 4}]}}),
    ("too_many_keys", "/ingest", {"json": {"meetings": [{f"k{i}": 1 for i in range(MAX_KEYS + 1)}]}}),
    (
        "too_many_parts",
        "/ingest",
        {"files": [(f"field{i}", (None, b"x")) for i in range(MAX_FORM_FIELDS + 1)]},
    ),
    ("part_too_large", "/ingest", {"files": [("title", (None, b"x" * 70_000)), _file(b"Ann: hello")]}),
    (
        "metadata_too_deep",
        "/ingest",
        {"files": [_file(b"Ann: hi")], "data": {"metadata": '{"a":[[[1]]]}'}},
    ),
    ("json_too_deep", "/ingest", {"files": [_file(b"Ann: hi")], "data": {"metadata": "[" * 50}}),
    ("field_too_long", "/ingest", {"json": {**MEETING, "external_id": "x" * 301}}),
    ("json_too_deep", "/ingest", {"json": {**MEETING, "transcript": '{"a":' * 13 + "1" + "}" * 13}}),
    ("json_too_deep", "/ingest", {"files": [_file(b"[" + b"[" * 500)], "data": {"format": "turns_json"}}),
    ("field_too_long", "/ingest", {"json": {**MEETING, "participants": ["x" * 301]}}),
]


@pytest.mark.parametrize(("code", "path", "request_"), AROUND)
@in_one_loop
async def test_no_way_around_a_limit(
    client: httpx.AsyncClient, code: str, path: str, request_: dict[str, Any]
) -> None:
    refused = await client.post(path, **request_)
    assert refused.json()["code"] == code, refused.text
    assert len(refused.content) < 10_000


# Transcripts that a reader of JSON would be given, with thousands of values in few characters.
MANY = "[" + "{}," * 2_600 + '{"text": "Ann says hello."}]'
DRESSED: list[dict[str, Any]] = [
    {"transcript": MANY},
    {"transcript": "\ufeff \u2028\n" + MANY},
    {"transcript": "\0[\0" + MANY[1:]},
    {"transcript": MANY[:-1]},  # broken at its end
    {"transcript": "[1" + ",1" * 5_100 + "]", "format": "turns_json"},
    # For a reader that takes out the null, the quotes behind it end no string.
    {"transcript": '["a\\\0"", ' + MANY[1:]},
]


@pytest.mark.parametrize("dressed", DRESSED)
@in_one_loop
async def test_a_transcript_in_json_is_not_read_before_its_shape_is_known(
    chosen: Settings, dressed: dict[str, Any], tmp_path: Path
) -> None:
    wide = chosen.model_copy(update={"data_dir": tmp_path / "store", "max_transcript_chars": 20_000})
    meeting = {**MEETING, **dressed}
    file = meeting["transcript"].encode()
    form = {"format": meeting["format"]} if "format" in meeting else {}
    async with open_runtime(wide, HashEncoder()) as runtime, in_process.client(wide, runtime) as asked:
        told = [
            (await asked.post("/ingest", **request)).json()
            for request in (
                {"json": meeting},
                {"json": {"meetings": [MEETING, meeting]}},
                {"files": [_file(file)], "data": form},
            )
        ]
    assert [each["code"] for each in told] == ["too_many_json_values"] * 3, told
    assert [each["errors"][0]["field"] for each in told[:2]] == ["transcript", "meetings.1.transcript"]


@in_one_loop
async def test_brackets_in_a_plain_transcript_are_no_json(client: httpx.AsyncClient) -> None:
    plain = "[00:00:01] Ann: It says " + "[" * 50 + ' and " so on.\n[00:00:09] Bob: Odd.'
    answered = await client.post("/ingest", json={**MEETING, "transcript": plain})
    assert answered.status_code == 200, answered.text
    broken = await client.post("/ingest", json={**MEETING, "transcript": '[{"text": "Ann says'})
    assert (broken.status_code, broken.json()["code"]) == (422, "unreadable_transcript"), broken.text


UNREADABLE: list[dict[str, Any]] = [
    {"content": b"no gzip", "headers": {**JSON, "content-encoding": "gzip"}},
    {"content": gzip.compress(b"{}")[:-6], "headers": {**JSON, "content-encoding": "gzip"}},
    {"content": gzip.compress(b"{}") + b"more", "headers": {**JSON, "content-encoding": "gzip"}},
    {"content": b"--x\r\nno header", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    {"content": b"{}", "headers": {"content-type": "multipart/form-data"}},
    *(
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\na-!\r\n--x--\r\n',
            "headers": {"content-type": f"multipart/form-data; boundary=x; charset={charset}"},
        }
        for charset in ("undefined", "punycode")
    ),
    {"content": b'{"title": "\\ud800"}', "headers": JSON},
    {"content": '{"title": "x"}'.encode("utf-16"), "headers": JSON},
]


@pytest.mark.parametrize("request_", UNREADABLE)
@in_one_loop
async def test_what_cannot_be_read_is_told_so(client: httpx.AsyncClient, request_: dict[str, Any]) -> None:
    refused = await client.post("/ingest", **request_)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed_body"), refused.text


@in_one_loop
async def test_a_compressed_question_is_answered_as_the_plain_one(client: httpx.AsyncClient) -> None:
    plain = orjson.dumps({"query": "Where did the crate go?"})
    first = await client.post(QUERY, content=plain, headers=JSON)
    # A body that claims to be compressed is read as such, also where its bytes are those of a known question.
    false = await client.post(QUERY, content=plain, headers={**JSON, "content-encoding": "gzip"})
    packed = await client.post(
        QUERY, content=gzip.compress(plain), headers={**JSON, "content-encoding": "gzip"}
    )
    assert (first.status_code, false.status_code, packed.status_code) == (200, 400, 200)
    assert packed.json()["direct_results"] == first.json()["direct_results"]


@in_one_loop
async def test_of_many_broken_rules_some_are_told(client: httpx.AsyncClient) -> None:
    refused = await client.post(QUERY, json={"query": 1, **{"k" * 2_000 + str(i): i for i in range(100)}})
    problem = refused.json()
    assert (refused.status_code, len(problem["errors"])) == (422, MAX_TOLD_ERRORS)
    assert len(refused.content) < 20_000


async def _empty(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def _answered(pieces: list[bytes]) -> bytes:
    """What a service with a bound on heads answers to these pieces, sent one by one."""
    config = uvicorn.Config(_empty, http=BoundedConnection, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answered = await reader.read()
        writer.close()
        server.should_exit = True
        await running
    return answered


LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "head",
    [
        LAST + b"X-Long: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        LAST + b"X: y\r\n" * (MAX_HEAD_BYTES // 6) + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_head_that_is_too_long_and_comes_at_once_is_refused(head: bytes) -> None:
    assert MAX_HEAD_BYTES < len(head) < MAX_HEAD_BYTES + 200
    answered = await _answered([head + LAST + b"\r\n"])
    assert answered.startswith(b"HTTP/1.1 431 ")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert orjson.loads(answered.partition(b"\r\n\r\n")[2])["code"] == HeadTooLarge.code


async def test_an_earlier_request_is_answered_where_the_next_head_is_too_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = LAST + b"X-Long: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"
    answered = await _answered([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + long])
    assert (answered.count(b" 204 "), answered.count(b" 431 ")) == (1, 1)
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_head_within_its_bound_is_taken_whatever_follows_it() -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nX-Long: " + b"x" * 60_000 + b"\r\n\r\n"
    long = LAST + b"X-Long: " + b"x" * 60_000 + b"\r\n\r\n"
    assert (await _answered([post + b"b" * 100_000 + long])).count(b" 204 ") == 2


async def test_a_trailer_without_end_is_refused() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Long: "
    answered = await _answered([chunked, *[b"x" * MAX_HEAD_BYTES] * 3])
    assert answered.count(b" 431 ") == 1


async def test_what_cannot_be_parsed_is_refused() -> None:
    assert (await _answered([b"no request\r\n\r\n"])).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("endless", [b"X-Long: " + b"x" * 500_000, b"X-More: y\r\n" * 50_000, b""])
async def test_a_head_without_end_is_refused(endless: bytes) -> None:
    config = uvicorn.Config(_empty, http=BoundedConnection, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        # A short head is answered first: the count begins anew with each request of a connection.
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET /" + b"a" * (0 if endless else 500_000) + b" HTTP/1.1\r\nHost: a\r\n" + endless)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 431 " in head
        body = await reader.read()
        assert orjson.loads(body)["code"] == HeadTooLarge.code
        writer.close()
        server.should_exit = True
        await running


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('"\\{}[],:a', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\{[', max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


def _depth(value: object) -> int:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, inside), default=0)
    return 0


def _count(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, inside))


@given(JSON_VALUES)
def test_the_shape_of_json_is_told_from_its_bytes(value: Any) -> None:
    text = orjson.dumps(value)
    shape = shape_of(text)
    assert shape.depth == _depth(value)
    # An empty list counts the value that might have been in it.
    assert _count(value) <= shape.values <= 2 * _count(value)
    assert shape.depth <= bound_of(text).depth
    assert shape.values <= bound_of(text).values


@given(st.binary(max_size=50))
def test_the_shape_of_anything_is_told(text: bytes) -> None:
    assert shape_of(text).depth <= len(text)
