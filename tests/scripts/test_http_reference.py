"""The reference is that of the present interface, and every example in it does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from command_line import cofio
from conftest import ROOT
from served import service

PAGE: Final = ROOT / "docs" / "http-reference.md"


def sections(page: str) -> dict[str, str]:
    """What the page says of each operation, such as `GET /health`."""
    parts = re.split(r"^## `(.+)`$", page, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_committed_page_is_the_one_that_the_code_has() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts" / "http_reference.py"], capture_output=True, text=True, check=True
    ).stdout
    assert PAGE.read_text(encoding="utf-8") == printed


def test_every_operation_has_examples_and_each_is_answered_as_documented(tmp_path: Path) -> None:
    told = sections(PAGE.read_text(encoding="utf-8"))
    examples = {name: re.findall(r"```sh\n(.+?)\n```", text, flags=re.S) for name, text in told.items()}
    assert all(examples.values()), "an operation has no example"
    made = cofio("keys", "create", "--scope", "admin", "--data-dir", tmp_path / "store")
    (key,) = re.findall(r"cofio_\S+", made)
    environment = {**os.environ, "COFIO_API_KEY": key, "NAME": "Dana", "PROJECT": "atlas"}
    done: set[str] = set()

    with service(tmp_path) as served:
        environment["COFIO"] = served.url

        def answer(name: str, number: int = 0) -> Any:
            """The body of the answer to an example, which has one of the documented statuses of success."""
            command = examples[name][number].replace("curl ", "curl -w '\\n%{http_code}' ", 1)
            run = subprocess.run(
                ["bash", "-euc", command],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            )
            body, _, status = run.stdout.rpartition("\n")
            assert status.startswith("2"), f"{command}\n{run.stdout}"
            assert f"\n| {status} |" in told[name]
            done.add(name)
            return json.loads(body) if body.startswith("{") and "\n" not in body else body

        environment["MEETING_ID"] = answer("POST /ingest", 0)["meeting_id"]
        environment["OPERATION_ID"] = answer("POST /ingest", 1)["operation_id"]
        found = answer("POST /api/v2/query", 0)
        environment["MEMORY_ID"] = found["direct_results"]["L2"][0]["memory_id"]
        for name, given in examples.items():
            if not name.startswith("DELETE"):
                for number in range(len(given)):
                    answer(name, number)
        assert answer("GET /operations/{operation_id}")["status"] == "succeeded"
        for name in examples:
            if name.startswith("DELETE"):
                answer("POST /ingest", 0)  # what the one before has taken with it
                answer(name)
    assert done == set(examples)
