"""When Python's collector of cycles runs."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from cofio import collector


def test_it_goes_on_after_the_block_however_that_ends() -> None:
    assert gc.isenabled()
    with collector.paused(), collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collector.paused():
        raise KeyError
    assert gc.isenabled()


def test_one_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_settled_is_not_looked_at_again() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import gc; from cofio import collector; collector.settle(); print(len(gc.get_objects()), gc.isenabled())",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert int(told[0]) < 1000
    assert told[1] == "True"
