"""The service as its users see it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cofio.http.guard import OPEN
from cofio.http.schemas import QueryRequest

DATA = Path(__file__).parents[2] / "data"
TRANSCRIPT = "\n".join(
    [
        "[00:00:04] Nora Blix: The zeppelin hangar needs a new roof before the winter storms.",
        "[00:00:11] Otto Lund: Who pays for the hangar roof, the harbour or the club?",
        "[00:00:16] Nora Blix: The harbour pays two thirds, that was agreed with the council last year.",
        "[00:00:24] Otto Lund: I will ask three roofers for an offer by Friday.",
    ]
)


def _ingest(service: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = service.post("/ingest", json={"title": "Hangar", "transcript": TRANSCRIPT, **fields})
    assert response.status_code == 200, response.text
    receipt: dict[str, Any] = response.json()
    return receipt


def _query(service: httpx.Client, query: str, **fields: Any) -> dict[str, Any]:
    response = service.post("/api/v2/query", json={"query": query, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_meeting_is_ingested_recalled_and_deleted(service: httpx.Client) -> None:
    receipt = _ingest(service, external_id="hangar-1", date="2026-05-04", series="harbour")
    assert receipt["outcome"] == "created"
    assert receipt["memories_by_level"]["L2"] == 4
    assert (
        _ingest(service, external_id="hangar-1", date="2026-05-04", series="harbour")["outcome"]
        == "unchanged"
    )

    answer = _query(service, "Who pays for the roof of the zeppelin hangar?", filters={"series": "harbour"})
    best = answer["direct_results"]["L2"][0]
    assert any("two thirds" in m["content"] for m in answer["direct_results"]["L2"][:3])
    assert best["metadata"]["title"] == "Hangar"
    assert best["metadata"]["speaker"] in ("Nora Blix", "Otto Lund")
    assert {m["metadata"]["start_s"] for m in answer["direct_results"]["L2"]} == {4.0, 11.0, 16.0, 24.0}
    assert 0.0 <= answer["confidence"] <= 1.0
    assert len(answer["query_dimensions"]) == 16

    meeting = service.get(f"/api/v2/meetings/{receipt['meeting_id']}").json()
    assert (meeting["date"], meeting["series"]) == ("2026-05-04", "harbour")
    assert service.delete(f"/api/v2/meetings/{receipt['meeting_id']}").status_code == 200
    assert service.get(f"/api/v2/meetings/{receipt['meeting_id']}").status_code == 404
    assert service.get(f"/api/v2/memories/{best['memory_id']}").status_code == 404
    after = json.dumps(_query(service, "Who pays for the roof of the zeppelin hangar?"))
    assert "zeppelin hangar needs" not in after
    assert "Nora Blix" not in after


def test_paths_run_along_edges_of_the_graph(service: httpx.Client) -> None:
    answer = _query(service, "Why was the coin cell replaced?", limit_per_level=3, max_activations=20)
    steps = [
        (a, b) for m in answer["activated_memories"] for a, b in zip(m["path"], m["path"][1:], strict=False)
    ]
    assert steps
    for a, b in steps[:25]:
        neighbours = service.get(f"/api/v2/memories/{a}").json()["neighbours"]
        assert b in {neighbour["memory_id"] for neighbour in neighbours}
    for memory in answer["activated_memories"]:
        assert memory["path"][-1] == memory["memory_id"]
        assert memory["depth"] == len(memory["path"]) - 1
        strength = memory["activation_strength"]
        wanted = "core" if strength >= 0.7 else "contextual" if strength >= 0.4 else "peripheral"
        assert memory["classification"] == wanted
    strengths = [m["activation_strength"] for m in answer["activated_memories"]]
    assert strengths == sorted(strengths, reverse=True)


def test_a_hit_that_plain_search_misses_beside_one_that_it_finds_is_a_bridge(service: httpx.Client) -> None:
    beside = [
        bridge
        for question in (
            "Who will order the samples?",
            "What did the supplier say?",
            "How long does it take?",
        )
        for bridge in _query(service, question, limit_per_level=2, enable_activation=False)["bridge_memories"]
        if "says this" in bridge["explanation"]
    ]
    assert beside
    for bridge in beside:
        anchor = service.get(f"/api/v2/memories/{bridge['connecting_memories'][0]}").json()
        assert bridge["metadata"]["meeting_id"] == anchor["metadata"]["meeting_id"]
        turns = bridge["metadata"]["position"] - anchor["metadata"]["position"]
        side = "after" if turns > 0 else "before"
        assert f"says this {abs(turns)} turn" in bridge["explanation"]
        assert f"{side} {anchor['metadata']['speaker']}" in bridge["explanation"]


def test_bridges_of_a_question_to_one_meeting_lead_out_of_it(service: httpx.Client) -> None:
    question = "What did Grimvik Plast offer for the enclosure?"
    (meeting,) = {
        m["metadata"]["meeting_id"]
        for m in _query(service, question, limit_per_level=1)["direct_results"]["L2"]
    }
    answer = _query(service, question, filters={"meeting_id": [meeting]})
    assert {m["metadata"]["meeting_id"] for m in answer["direct_results"]["L2"]} == {meeting}
    assert {m["metadata"]["meeting_id"] for m in answer["activated_memories"]} <= {meeting, None}
    assert answer["bridge_memories"]
    assert meeting not in {bridge["metadata"]["meeting_id"] for bridge in answer["bridge_memories"]}
    dates = {bridge["metadata"]["date"] for bridge in answer["bridge_memories"]}
    early = _query(service, question, filters={"meeting_id": [meeting], "date_to": min(dates)})
    assert all(bridge["metadata"]["date"] <= min(dates) for bridge in early["bridge_memories"])


def test_bridges_lead_from_one_meeting_to_another_and_say_what_is_true(service: httpx.Client) -> None:
    answer = _query(service, "What did Grimvik Plast offer for the enclosure?", limit_per_level=3)
    assert answer["bridge_memories"]
    for bridge in answer["bridge_memories"]:
        assert bridge["metadata"]["title"] in bridge["explanation"]
        anchor = service.get(f"/api/v2/memories/{bridge['connecting_memories'][0]}").json()
        assert bridge["metadata"]["meeting_id"] != anchor["metadata"]["meeting_id"]
        assert anchor["metadata"]["title"] in bridge["explanation"]
        assert 0 <= bridge["novelty_score"] <= 1
        assert 0 < bridge["connection_score"] <= 1
        for concept in bridge["connecting_memories"][1:]:
            label = service.get(f"/api/v2/memories/{concept}").json()["metadata"]["label"]
            assert f"“{label}”" in bridge["explanation"]
            ends = {
                n["memory_id"]
                for n in service.get(f"/api/v2/memories/{bridge['memory_id']}").json()["neighbours"]
            }
            assert concept in ends
    ids = [m["memory_id"] for k in ("activated_memories", "bridge_memories") for m in answer[k]]
    ids += [m["memory_id"] for found in answer["direct_results"].values() for m in found]
    assert len(ids) == len(set(ids)) == answer["total_results"]


def test_switches_do_what_they_say(service: httpx.Client) -> None:
    plain = _query(service, "What does a puck cost?", enable_activation=False, enable_bridges=False)
    assert plain["activated_memories"] == plain["bridge_memories"] == []
    few = _query(service, "What does a puck cost?", max_activations=10, limit_per_level=2)
    assert len(few["activated_memories"]) <= 10
    assert all(len(found) <= 2 for found in few["direct_results"].values())
    only = _query(service, "What does a puck cost?", filters={"level": "L1"})
    assert only["direct_results"]["L1"]
    assert only["direct_results"]["L2"] == only["direct_results"]["L0"] == []


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"speaker": "Tomas Keller"}, lambda m: m["metadata"]["speaker"] == "Tomas Keller"),
        ({"memory_type": ["action", "decision"]}, lambda m: m["memory_type"] in ("action", "decision")),
        ({"series": "heron-app"}, lambda m: m["metadata"]["series"] == "heron-app"),
        ({"date_from": "2026-04-01"}, lambda m: m["metadata"]["date"] >= "2026-04-01"),
        ({"date_to": "2026-03-05"}, lambda m: m["metadata"]["date"] <= "2026-03-05"),
        ({"project": "heron"}, lambda m: m["metadata"]["project"] == "heron"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_filters_hold_for_every_episode(service: httpx.Client, filters: dict[str, Any], holds: Any) -> None:
    answer = _query(service, "What about the battery and the date?", filters=filters)
    episodes = list(answer["direct_results"]["L2"])
    episodes += answer["bridge_memories"]
    activated = [memory for memory in answer["activated_memories"] if memory["level"] == "L2"]
    assert answer["direct_results"]["L2"]
    assert activated
    episodes += activated
    assert all(holds(memory) for memory in episodes)


def test_filters_of_nothing_find_nothing(service: httpx.Client) -> None:
    answer = _query(service, "battery", filters={"project": "no such project"})
    assert answer["total_results"] == 0
    assert answer["confidence"] == 0.0


def test_steering_lifts_what_has_the_feature(service: httpx.Client) -> None:
    plain = _query(service, "What is to be done?", enable_activation=False)
    steered = _query(service, "What is to be done?", enable_activation=False, steer={"urgency": 1.0})

    def urgency(answer: dict[str, Any]) -> float:
        ids = [m["memory_id"] for m in answer["direct_results"]["L2"]]
        return sum(float(service.get(f"/api/v2/memories/{i}").json()["features"]["urgency"]) for i in ids)

    assert urgency(steered) > urgency(plain)


def test_equal_questions_have_equal_answers_and_the_second_is_cached(service: httpx.Client) -> None:
    def hits() -> float:
        detail = service.get("/health/detailed").json()["components"]
        cache = (
            detail["cache"] if isinstance(detail, dict) else next(c for c in detail if c["name"] == "cache")
        )
        return float(cache["detail"]["hits"])

    before = hits()
    first = _query(service, "Who signs for Kestrel, and when?")
    second = _query(service, "Who signs for Kestrel, and when?")
    assert hits() == before + 1
    volatile = {"processing_time_ms", "stages_ms"}
    assert {k: v for k, v in first.items() if k not in volatile} == {
        k: v for k, v in second.items() if k not in volatile
    }
    receipt = _ingest(
        service, title="Kestrel signature", transcript="Ann: Kestrel signs on the ninth of May, said Karin."
    )
    third = _query(service, "Who signs for Kestrel, and when?")
    assert any("ninth of May" in m["content"] for m in third["direct_results"]["L2"]), (
        "an ingest is seen at once"
    )
    service.delete(f"/api/v2/meetings/{receipt['meeting_id']}")


def test_sample_questions_are_answered(service: httpx.Client) -> None:
    """A floor that recall on the project's own questions must not fall through; .69 when it was set. No benchmark."""
    shares, unanswerable, answerable = [], [], []
    for question in json.loads((DATA / "questions.json").read_text()):
        answer = _query(service, question["question"])
        found = [m["content"] for m in answer["direct_results"]["L2"]]
        if question["gold"]:
            shares.append(
                sum(any(g["quote"] in text for text in found) for g in question["gold"])
                / len(question["gold"])
            )
            answerable.append(answer["confidence"])
        else:
            unanswerable.append(answer["confidence"])
    assert sum(shares) / len(shares) >= 0.6
    assert max(unanswerable) < min(sorted(answerable)[3:])


def test_questions_that_look_like_code_are_questions(service: httpx.Client) -> None:
    for text in (
        "What did we drop; select the vendor's plan -- or not?",
        "' OR 1=1 --",
        "<script>alert(1)</script> cost?",
    ):
        assert _query(service, text)["query"] == text


def test_a_batch_is_accepted_worked_off_and_streamed(service: httpx.Client) -> None:
    meetings = [
        {"title": f"Batch {i}", "transcript": f"Ann: The crate number {i} left the yard."} for i in range(5)
    ]
    meetings.append({"title": "Empty", "transcript": "WEBVTT\n"})
    response = service.post("/ingest", json={"meetings": meetings})
    assert response.status_code == 202
    accepted = response.json()
    with service.stream("GET", f"{accepted['status_url']}/events") as events:
        lines = [line for line in events.iter_lines() if line]
    assert "event: finished" in lines
    operation = service.get(accepted["status_url"]).json()
    assert (operation["status"], operation["total"], operation["done"], operation["failed"]) == (
        "failed",
        6,
        6,
        1,
    )
    assert operation["results"][5]["error"]["code"] == "empty_transcript"
    for item in operation["results"][:5]:
        assert item["receipt"]["outcome"] == "created"
        service.delete(f"/api/v2/meetings/{item['receipt']['meeting_id']}")
    deadline = time.monotonic() + 10
    while "Batch 1" in service.get(accepted["status_url"]).text:
        assert time.monotonic() < deadline, "a deleted meeting's title stays in its operation"
        time.sleep(0.1)


def test_files_are_uploaded(service: httpx.Client) -> None:
    vtt = "WEBVTT\n\n00:00:01.000 --> 00:00:04.000\n<v Zed Ono>The lighthouse lamp burns again since Tuesday.</v>\n"
    response = service.post(
        "/ingest", files={"file": ("lamp_report.vtt", vtt)}, data={"series": "lights", "date": "2026-05-01"}
    )
    assert response.status_code == 200, response.text
    receipt = response.json()
    assert (receipt["format"], receipt["title"]) == ("webvtt", "lamp report")
    answer = _query(service, "Does the lighthouse lamp burn?", filters={"series": "lights"})
    assert answer["direct_results"]["L2"][0]["metadata"]["speaker"] == "Zed Ono"
    service.delete(f"/api/v2/meetings/{receipt['meeting_id']}")


BAD_UPLOADS: list[tuple[list[tuple[str, bytes]], dict[str, str], str]] = [
    ([("a.txt", b"Ann: hi"), ("b.txt", b"%PDF-1.7")], {}, "file.1.transcript"),
    ([("a.txt", b"Ann: hi"), ("b.json", b"[" * 200)], {}, "file.1.transcript"),
    ([("a.json", b"[" + b"[" * 200)], {"format": "turns_json"}, "transcript"),
    ([("a.txt", b"%PDF-1.7")], {}, "transcript"),
    ([("a" * 400 + ".txt", b"Ann: hi")], {}, "filename"),
    ([("a.txt", b"Ann: hi"), ("b" * 400 + ".txt", b"Bob: hi")], {}, "file.1.filename"),
    ([("a" * 400 + ".txt", b"Ann: hi")], {"title": "t" * 400}, "title"),
    ([("a.txt", b"Ann: hi"), ("b.txt", b"Bob: hi")], {"series": "s" * 400}, "series"),
    ([("a.txt", b"Ann: hi"), ("b.txt", b"Bob: hi")], {"format": "docx"}, "format"),
    ([("a.txt", b"Ann: hi")], {"metadata": "{not json"}, "metadata"),
    ([("a.txt", b"Ann: hi")], {"metadata": "[" * 100}, "metadata"),
    (
        [("a.txt", b"Ann: hi"), ("b.txt", b"Bob: hi")],
        {"metadata": '{"a": "' + "x" * 20_000 + '"}'},
        "metadata",
    ),
    ([("a.txt", b"Ann: hi")], {"participants": "\u200b," * 600}, "participants"),
]


@pytest.mark.parametrize(("files", "fields", "field"), BAD_UPLOADS)
def test_of_an_upload_the_file_or_the_field_that_is_wrong_is_told(
    service: httpx.Client, files: list[tuple[str, bytes]], fields: dict[str, str], field: str
) -> None:
    response = service.post("/ingest", files=[("file", file) for file in files], data=fields)
    assert response.is_client_error, response.text
    assert [error["field"] for error in response.json()["errors"]] == [field], response.text


BAD: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/api/v2/query", {"json": {"query": ""}}, 422, "query"),
    ("POST", "/api/v2/query", {"json": {"query": "x" * 1001}}, 422, "query"),
    ("POST", "/api/v2/query", {"json": {"query": "x", "limit_per_level": 51}}, 422, "limit_per_level"),
    ("POST", "/api/v2/query", {"json": {"query": "x", "max_activations": 9}}, 422, "max_activations"),
    ("POST", "/api/v2/query", {"json": {"query": "x", "colour": 1}}, 422, "colour"),
    ("POST", "/api/v2/query", {"json": {"query": "x", "filters": {"mood": "bad"}}}, 422, "filters.mood"),
    ("POST", "/api/v2/query", {"json": {"query": "x", "steer": {"mood": 1}}}, 422, "steer"),
    (
        "POST",
        "/api/v2/query",
        {"content": b"{not json", "headers": {"content-type": "application/json"}},
        400,
        "",
    ),
    ("POST", "/ingest", {"json": {"title": "x"}}, 422, "transcript"),
    ("POST", "/ingest", {"json": {"title": "x", "transcript": "   "}}, 422, "transcript"),
    ("POST", "/ingest", {"json": {"title": "x", "transcript": "Ann: hi", "format": "docx"}}, 422, "format"),
    ("POST", "/ingest", {"json": {"title": "x", "transcript": "Ann: hi", "date": "soon"}}, 422, "date"),
    ("GET", "/operations/none", {}, 404, "operation_id"),
    ("GET", "/api/v2/meetings/none", {}, 404, "meeting_id"),
    ("DELETE", "/api/v2/meetings/none", {}, 404, "meeting_id"),
    ("GET", "/api/v2/memories/none", {}, 404, "memory_id"),
    ("GET", "/api/v2/meetings?cursor=nonsense", {}, 422, "cursor"),
    ("GET", "/nowhere", {}, 404, ""),
    ("GET", "/ingest/", {}, 404, ""),
    ("POST", "/ingest/", {"json": {"title": "x", "transcript": "Ann: hi"}}, 404, ""),
    ("GET", "/docs/", {}, 404, ""),
    ("PUT", "/ingest", {}, 405, ""),
]


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "field"), BAD, ids=[f"{m} {p} {f}" for m, p, _, _, f in BAD]
)
def test_every_error_is_a_problem(
    service: httpx.Client, method: str, path: str, request_: dict[str, Any], status: int, field: str
) -> None:
    response = service.request(method, path, **request_)
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    problem = response.json()
    assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= problem.keys()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    if field:
        assert any(field in error["field"] for error in problem["errors"]), problem


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("GET", "/api/v2/meetings?x=1", "limit, cursor, project, series"),
        ("DELETE", "/admin/speakers/nobody?x=1", "project"),
    ],
)
def test_an_unknown_parameter_is_told_with_those_that_are_known(
    service: httpx.Client, method: str, path: str, known: str
) -> None:
    refused = service.request(method, path)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {
            "field": "x",
            "rule": f"unknown field; known are {known}",
            "remedy": f"Remove it, or use one of: {known}.",
        }
    ]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/health", "GET, HEAD"),
        ("POST", "/metrics", "GET"),
        ("GET", "/admin/speakers/x", "DELETE"),
        ("HEAD", "/api/v2/meetings/x", "DELETE, GET"),
        ("DELETE", "/docs", "GET, HEAD"),
    ],
)
def test_a_refused_method_is_told_all_that_are_allowed(
    service: httpx.Client, method: str, path: str, allowed: str
) -> None:
    refused = service.request(method, path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert refused.json()["detail"] == f"This address takes {allowed} only."


@pytest.mark.parametrize("path", sorted(OPEN))
def test_what_everybody_may_read_may_be_probed(service: httpx.Client, path: str) -> None:
    probed, read = service.head(path), service.get(path)
    assert (probed.status_code, probed.content) == (read.status_code, b"")
    assert probed.headers["content-type"] == read.headers["content-type"]


def test_health_and_metrics_tell_the_truth(service: httpx.Client) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        assert service.get(path).status_code == 200
    detailed = service.get("/health/detailed").json()
    text = json.dumps(detailed)
    for part in ("database", "vector_store", "encoder", "graph", "cache"):
        assert part in text
    assert "ExecutionProvider" in text
    metrics = service.get("/metrics").text
    meetings = service.get("/api/v2/meetings?limit=1").json()["total"]
    assert f'cofio_graph_size{{kind="meetings"}} {float(meetings)}' in metrics
    for name in (
        "api_requests_total",
        "api_request_duration_seconds",
        "memory_count_by_level",
        "cofio_query_stage_seconds",
    ):
        assert name in metrics


def test_the_openapi_document_describes_the_query(service: httpx.Client) -> None:
    document = service.get("/openapi.json").json()
    assert {"/ingest", "/api/v2/query", "/operations/{operation_id}"} <= document["paths"].keys()
    properties = QueryRequest.model_json_schema()["properties"]
    assert properties.keys() == document["components"]["schemas"]["QueryRequest"]["properties"].keys()
