"""Every reader of texts reads drawn ones for a second; `scripts/drill fuzz-parsers` does it for minutes."""

from __future__ import annotations

import math

import pytest
from drills.fuzz_parsers import READERS, attempt


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses_what_it_cannot_read_and_breaks_on_nothing(reader: str) -> None:
    tried = attempt(reader, 0.7, 5, slowest_s=math.inf)
    assert not tried.failures, tried.failures
    assert tried.texts >= 10
