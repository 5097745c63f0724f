"""Some hundred requests drawn from the OpenAPI document; `scripts/drill fuzz-http` sends tens of thousands."""

from __future__ import annotations

from pathlib import Path

from drills.fuzz_http import fuzz, served


def test_no_answer_is_an_error_or_unlike_the_document(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        found = fuzz(server, tmp_path, cases=300, seed=11, examples=3, slowest_s=None)
    assert found.passed, (found.figures, found.failures)
