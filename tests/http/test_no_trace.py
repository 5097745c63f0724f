"""What people said and asked, and their keys, are in no log line, no metric and no error."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from hash_encoder import HashEncoder
from in_process import client
from keyed import header

from cofio.access.callers import Permission
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.telemetry.logs import configure_logging

QUERY: Final = "/api/v2/query"
SAID: Final = "Xylographer"
ASKED: Final = "Quagmirefield"
NAMED: Final = "Zorblatt"


@pytest.fixture
def debugging(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The process logs as `log_level = "debug"` has it log."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    configure_logging("debug", "json")
    root.addHandler(caplog.handler)
    yield
    root.handlers, root.level = before, level
    structlog.reset_defaults()


async def _broken(*_: object, **__: object) -> Any:
    raise RuntimeError(f"the lookup of {SAID} broke")


async def test_nothing_of_a_transcript_a_question_or_a_key_is_told(
    tmp_path: Path,
    debugging: None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = Settings(data_dir=tmp_path / "store", query_rate="30/hour", log_level="debug")
    admin = header(chosen, Permission.ADMIN)
    key, secret = admin["X-API-Key"], admin["X-API-Key"].rsplit("_", 1)[1]
    nobodys = f"cofio_0123456789ab_{'Sesame' * 7}"
    meeting = {"title": f"{NAMED} sync", "transcript": f"{NAMED} Ann: The {SAID} needs a new roof."}
    errors = []
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        assert (await asked.post("/ingest", json=meeting, headers=admin)).status_code == 200
        for _ in range(2):
            answer = await asked.post(QUERY, json={"query": f"{ASKED} {SAID}?"}, headers=admin)
            assert SAID in answer.text
        bad: list[dict[str, Any]] = [
            {"json": {"query": ASKED * 200}},
            {"json": {"query": [ASKED]}},
            {"json": {"query": "roof", "limit_per_level": ASKED}},
            {
                "json": {
                    "query": "roof",
                    "filters": {"level": ASKED, "date_from": ASKED, "speaker": {ASKED: 1}},
                }
            },
            {"json": {"query": "roof", "steer": {"urgency": ASKED}}},
            {"content": f'{{"query": "{ASKED}', "headers": {"content-type": "application/json"}},
            {"content": f'"{ASKED}"', "headers": {"content-type": "application/json"}},
        ]
        for request in bad:
            request["headers"] = {**request.get("headers", {}), **admin}
            errors.append(await asked.post(QUERY, **request))
        wrongs: list[dict[str, Any]] = [
            {"title": ASKED, "transcript": ASKED, "format": "docx"},
            {"title": ASKED, "transcript": "WEBVTT\n"},
            {"title": ASKED, "transcript": {ASKED: [ASKED]}},
            {"title": [ASKED], "transcript": f"Ann: {ASKED}", "date": ASKED},
            {"title": ASKED, "transcript": f"Ann: {ASKED}", "participants": [{ASKED: 1}]},
        ]
        errors += [await asked.post("/ingest", json=wrong, headers=admin) for wrong in wrongs]
        errors.append(
            await asked.post(
                "/ingest",
                content=f"--{ASKED}",
                headers={**admin, "content-type": "multipart/form-data; boundary=x"},
            )
        )
        dressed = [{"X-API-Key": nobodys}, {"Authorization": f"Basic {nobodys}"}, {"X-API-Key": f"{key}x"}]
        errors += [await asked.post(QUERY, json={"query": ASKED}, headers=each) for each in dressed]
        errors.append(await asked.get(f"/nothing?query={ASKED}&key={key}", headers=admin))
        # An error that nobody foresaw: those that can be brought about from outside are all foreseen.
        monkeypatch.setattr(Runtime, "settle", _broken)
        with pytest.raises(RuntimeError):
            await asked.post("/ingest", json={**meeting, "external_id": ASKED}, headers=admin)
        monkeypatch.undo()
        while (answer := await asked.post(QUERY, json={"query": ASKED}, headers=admin)).status_code == 200:
            pass
        errors.append(answer)
        metrics = (await asked.get("/metrics", headers=admin)).text
        health = (await asked.get("/health/detailed", headers=admin)).text
    assert all(answer.status_code in (400, 401, 404, 413, 415, 422, 429) for answer in errors)
    lines = [json.dumps(record.__dict__, default=str) + record.getMessage() for record in caplog.records]
    out, err = capfd.readouterr()
    told = {
        "errors": "".join(answer.text + str(answer.headers) for answer in errors),
        "metrics": metrics,
        "health": health,
        "log": "".join(lines) + out + err,
    }
    for where, text in told.items():
        assert text or where == "log"
        for marker in (SAID, ASKED, NAMED, secret, "SesameSesame"):
            assert marker.lower() not in text.lower(), (where, marker)
