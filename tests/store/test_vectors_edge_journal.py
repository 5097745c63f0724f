"""Ids come out in the order in which they went in, and survive being too many for memory."""

import resource
import uuid
from pathlib import Path

import pytest

from cofio.store.vectors import COLLECTIONS
from cofio.store.vectors_edge_journal import SPILL_BYTES, Journal

CONCEPTS, CONTEXTS, EPISODES = COLLECTIONS.values()


def made(count: int) -> list[str]:
    return [str(uuid.UUID(int=number)) for number in range(count)]


def test_ids_are_taken_once_by_collection(tmp_path: Path) -> None:
    one, two, three = made(3)
    journal = Journal(tmp_path)
    journal.note(EPISODES, [one, two])
    journal.note(CONCEPTS, [three])
    journal.note(EPISODES, [one])
    assert journal.take(3) == {EPISODES: (one, two), CONCEPTS: (three,)}
    assert journal.waiting
    journal.note(CONTEXTS, [two])
    assert journal.take(10) == {EPISODES: (one,), CONTEXTS: (two,)}
    assert not journal.waiting
    assert journal.take(10) == {}
    assert journal.noted == 5
    journal.close()


def test_what_is_written_twice_in_a_row_is_taken_once(tmp_path: Path) -> None:
    (one,) = made(1)
    journal = Journal(tmp_path)
    journal.note(EPISODES, [one, one])
    assert journal.take(2) == {EPISODES: (one,)}
    journal.close()


def test_many_ids_go_to_a_file_that_nobody_sees(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    ids = made(SPILL_BYTES // 16)
    for start in range(0, len(ids), 4096):
        journal.note(EPISODES, ids[start : start + 4096])
    taken: list[str] = []
    while journal.waiting:
        taken += journal.take(5000)[EPISODES]
    assert taken == ids
    assert list(tmp_path.iterdir()) == []
    journal.close()


def test_what_cannot_be_noted_troubles_who_builds_and_not_who_writes(tmp_path: Path) -> None:
    """A bound on the size of files stands for a disk that is full."""
    journal = Journal(tmp_path)
    ids = made(SPILL_BYTES // 16)
    bound = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SPILL_BYTES // 2, bound[1]))
    try:
        for start in range(0, len(ids), 4096):
            journal.note(EPISODES, ids[start : start + 4096])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bound)
    assert journal.waiting
    with pytest.raises(OSError, match="large"):
        journal.take(1)
    journal.close()
