"""What README.md and docs/quickstart.md tell a newcomer to type does what they say, line by line, on a service of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest
from conftest import ROOT
from served import service

BLOCK: Final = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
DEFAULT_URL: Final = "http://127.0.0.1:8000"
# The two commands set up the very environment that the tests run in; workers on a Qdrant server are test_workers.py's.
NOT_RUN: Final = re.compile(
    r"scripts/(?:run|test)\b|\.venv/bin/cofio serve --host 0\.0\.0\.0 .* --qdrant-url"
)
STANDUP: Final = "WEBVTT\n\n00:00:01.000 --> 00:00:04.000\n<v Ann>The valve on tank nine sticks again.\n"


def lines(page: str) -> Iterator[str]:
    """The lines of the page's shell blocks that are run; one that goes on in the next is one."""
    for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if not NOT_RUN.match(line))


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What each line of the quickstart, then of the README, printed, in a newcomer's folder, on the sample meetings."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "standup.vtt").write_text(STANDUP, encoding="utf-8")
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "stores.txt").write_text(
        "Bob: The stores have no gaskets left.\n", encoding="utf-8"
    )
    with service(tmp_path) as serving:
        environment = {**os.environ, "COFIO_DATA_DIR": str(tmp_path / "store")}
        printed: dict[str, str] = {}
        samples = f".venv/bin/cofio ingest {ROOT / 'data' / 'meetings'} --url {DEFAULT_URL}"
        for line in (samples, *lines("docs/quickstart.md"), *lines("README.md")):
            typed = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line.replace(DEFAULT_URL, serving.url)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert typed.returncode == 0, f"{line}\n{typed.stdout}\n{typed.stderr}"
            printed[line] = typed.stdout
        yield printed


def test_every_line_does_what_the_page_says(told: dict[str, str]) -> None:
    def of(part: str) -> str:
        (found,) = [printed for line, printed in told.items() if part in line]
        return found

    assert "drum roll" in " ".join(of("money back from Grimvik").split())
    answer = orjson.loads(of("How long are alarms kept"))
    assert set(answer) >= {"direct_results", "activated_memories", "bridge_memories", "confidence"}
    assert any("alarm" in hit["content"].lower() for hit in answer["direct_results"]["L2"])
    assert orjson.loads(of("Who pays for the certification?"))["direct_results"]["L2"]
    assert "rusty" in of("What has to be done about the crane?")
    receipt = orjson.loads(of("-F file=@standup.vtt"))
    assert (receipt["outcome"], receipt["added"]) == ("created", 1)
    assert "stores" in of("cofio ingest exports/")
    assert "cofio_" in of("cofio keys create")
