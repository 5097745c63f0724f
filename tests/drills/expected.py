"""What a store must hold, by what was begun and acknowledged before its process was killed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Final

from drills.life import Backup, Batch, Delete, Ingest, Verified, Work
from drills.meetings import ABSENT, EDITIONS

TASKS: Final = 3
WORKS: Final = 40  # a task's, more than a life has time for
BATCH_MEETINGS: Final = 4


class Expected:
    """The editions that each meeting may be in: one, or several while something is under way."""

    def __init__(self, numbers: int) -> None:
        self._possible = {number: {ABSENT} for number in range(numbers)}
        self._batches: dict[
            int, tuple[Batch, bool]
        ] = {}  # which may still be under way, and were acknowledged
        self._batch_number = 0
        self._under_way = 0
        self.acknowledged = 0

    @property
    def possible(self) -> Mapping[int, set[int]]:
        """The editions that each meeting may be in."""
        return self._possible

    @property
    def under_way(self) -> int:
        """How many pieces of work were begun and not acknowledged since the last life began."""
        return self._under_way

    @property
    def in_batches(self) -> set[int]:
        """The meetings of batches that may be under way."""
        return {item.number for batch, _ in self._batches.values() for item in batch.items}

    def tasks(self, rng: random.Random, works: int = WORKS) -> list[list[Work]]:
        """Work for the next life: no meeting in two tasks, none that a batch may be writing; every fifth comes in batches."""
        free = [number for number in self._possible if number not in self.in_batches]
        rng.shuffle(free)
        batched, single = ([n for n in free if (n % 5 == 0) is wanted] for wanted in (True, False))
        tasks: list[list[Work]] = []
        for task in range(TASKS):
            numbers = single[task::TASKS]
            now = {number: max(self._possible[number]) for number in numbers}
            todo: list[Work] = []
            for _ in range(works if numbers else 0):
                number = rng.choice(numbers)
                deleted = now[number] != ABSENT and rng.random() < 0.3
                now[number] = ABSENT if deleted else rng.choice(EDITIONS)
                todo.append(Delete(number=number) if deleted else Ingest(number=number, edition=now[number]))
            tasks.append(todo)
        items = tuple(Ingest(number=n, edition=rng.choice(EDITIONS)) for n in batched[:BATCH_MEETINGS])
        if items and works:
            self._batch_number += 1
            tasks[0].insert(rng.randrange(4), Batch(number=self._batch_number, items=items))
        if works:
            tasks[-1].insert(rng.randrange(6), Backup())
        return tasks

    def begin(self, work: Work) -> None:
        """The work may be done from now on, or not."""
        self._under_way += 1
        for number, edition in _effects(work):
            self._possible[number].add(edition)
        if isinstance(work, Batch):
            self._batches[work.number] = (work, False)

    def acknowledge(self, work: Work) -> None:
        """The work must be done; a batch's, once the batches are said to be done."""
        self._under_way -= 1
        self.acknowledged += 1
        if isinstance(work, Batch):
            self._batches[work.number] = (work, True)
        else:
            for number, edition in _effects(work):
                self._possible[number] = {edition}

    def batches_done(self, begun_before: int) -> None:
        """No batch up to that number is under way."""
        for number, (batch, acknowledged) in list(self._batches.items()):
            if number <= begun_before:
                del self._batches[number]
                if acknowledged:
                    for item in batch.items:
                        self._possible[item.number] = {item.edition}

    @property
    def last_batch(self) -> int:
        """The number of the newest batch."""
        return self._batch_number

    def compare(self, verified: Verified) -> Iterator[str]:
        """What the store holds otherwise than it must; what it holds is from now on what it must hold."""
        self._under_way = 0
        in_batches = self.in_batches
        for number, edition in verified.observed.items():
            if edition not in self._possible[number]:
                yield f"meeting {number} is {_named(edition)}, and must be {self._named(number)}"
            if number not in in_batches:
                self._possible[number] = {edition}

    def _named(self, number: int) -> str:
        return " or ".join(_named(edition) for edition in sorted(self._possible[number]))


def _effects(work: Work) -> list[tuple[int, int]]:
    match work:
        case Ingest():
            return [(work.number, work.edition)]
        case Delete():
            return [(work.number, ABSENT)]
        case Backup():
            return []
        case Batch():
            return [(item.number, item.edition) for item in work.items]


def _named(edition: int) -> str:
    return "absent" if edition == ABSENT else f"edition {edition}"
