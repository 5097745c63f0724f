"""What is loaded before a service is ready is all that questions and meetings need."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from conftest import ROOT
from hash_encoder import HashEncoder

from cofio.graph import kernels
from cofio.ingest import ingest
from cofio.query import recall
from cofio.records import Filters, MeetingInput, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.warm import warm

KERNELS: Final[Mapping[str, Any]] = {
    name: kernel for name, kernel in vars(kernels).items() if hasattr(kernel, "signatures")
}


def compiled() -> set[tuple[str, str]]:
    """Every kernel with every signature for which this process has it."""
    return {(name, str(signature)) for name, kernel in KERNELS.items() for signature in kernel.signatures}


async def compiled_by_questions(folder: Path) -> set[tuple[str, str]]:
    """What `warm` did not compile, and questions of the sample meetings in all their ways, and an ingest, did."""
    warm()
    before = compiled()
    asked = [each["question"] for each in json.loads((ROOT / "data" / "questions.json").read_text("utf-8"))][
        :8
    ]
    async with open_runtime(Settings(data_dir=folder), HashEncoder()) as runtime:
        for path in sorted((ROOT / "data" / "meetings").glob("*.[vt][tx]t")):
            said = path.read_text(encoding="utf-8")
            await ingest(runtime, MeetingInput(title=path.stem, transcript=said, series="samples"))
        meeting = next(iter(runtime.live.current.living.values())).meeting_id
        for narrow in (
            Filters(),
            Filters(speaker=("Ann",)),
            Filters(series=("samples",)),
            Filters(meeting_id=(meeting,)),
        ):
            for query in asked:
                await recall(runtime, Question(query=query, filters=narrow))
                await recall(
                    runtime, Question(query=query, steer=(("urgency", 0.2),), enable_activation=False)
                )
    return compiled() - before


def test_no_question_waits_for_a_kernel(tmp_path: Path) -> None:
    # In a process of its own: other tests have compiled what they needed in this one.
    code = "import sys, test_warm; test_warm.tell(sys.argv[1])"
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.splitlines()[-1] == "[]"


def tell(folder: str) -> None:
    """Prints what questions compiled."""
    print(sorted(asyncio.run(compiled_by_questions(Path(folder)))))
