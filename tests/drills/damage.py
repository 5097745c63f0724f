"""Damage a store in every way that was thought of, and look whether cofio mends it or refuses it in one sentence.

A store of some meetings is closed, copied, damaged, and opened by another process, which must either hold and answer
everything as before (the comparison of the kill drill: every memory and edge, index, graph, questions), or refuse with a
sentence that names the remedy, or tell the damage when `cofio doctor` asks. It must never die, hang, or answer wrong.

Damaged are the files of the vector index (each one deleted and cut in half, each collection deleted), the graph's snapshot (bits
flipped, cut, deleted, of an earlier truth, of another store, of another version) and the database (pages overwritten with noise, cut,
deleted). SQLite has no checksums: noise inside a text or a vector that leaves the page well-formed is not noticed by SQLite, so
overwritten pages count here, single flipped bits do not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

from cofio.data_dir import DATABASE_NAME, GRAPH_NAME, VECTORS_NAME
from drills import kill, life
from drills.figures import Figure, Found, Table
from drills.verify import References

MEETINGS: Final = 6
PAGE_BYTES: Final = 4096
OPENING_S: Final = 60.0
SAMPLES: Final = 16

MENDED: Final = "mended"
REFUSED: Final = "refused"
TOLD: Final = "told by doctor"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A way to damage a store: `kind` sums ways up, `name` tells this one, `do` changes the copy at a path."""

    kind: str
    name: str
    do: Callable[[Path], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a damaged store; `detail` is the sentence of a refusal, or what failed."""

    damage: Damage
    kind: str
    detail: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """`parser` takes the drill's options."""
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flips", type=int, default=60, help="snapshots with a flipped bit")
    parser.add_argument("--pages", type=int, default=40, help="databases with an overwritten page")
    parser.add_argument("--files", type=int, default=120, help="files of the index that are deleted or cut")
    parser.add_argument("--folder", type=Path, help="where the stores lie")


def run(options: argparse.Namespace) -> Found:
    """The figures of every damage that the options ask for."""
    rng = random.Random(options.seed)
    with (
        tempfile.TemporaryDirectory(prefix="cofio-damage-", dir=options.folder) as folder,
        kill.lives() as lives,
    ):
        bench = Bench.of(lives, Path(folder))
        ways = list(bench.damages(rng, flips=options.flips, pages=options.pages, files=options.files))
        outcomes = [bench.try_(damage) for damage in ways]
    return _found(options, outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A whole store, an older one and another one, and what the whole one holds."""

    lives: ForkServerContext
    folder: Path
    references: References
    truth: Mapping[int, int]

    @classmethod
    def of(cls, lives: ForkServerContext, folder: Path) -> Bench:
        """The stores lie in `folder`, closed: `whole`, `older` (which has missed a deletion) and `other`."""
        references = kill.refer(lives, folder / "reference", MEETINGS)
        all_of_them = [life.Ingest(number=n, edition=1 + n % 3) for n in range(1, MEETINGS)]
        live(lives, references, folder / "other", [life.Ingest(number=0, edition=1), *all_of_them[:2]])
        live(lives, references, folder / "whole", all_of_them)
        shutil.copytree(folder / "whole", folder / "older")
        found = live(lives, references, folder / "whole", [life.Delete(number=1)])
        assert isinstance(found, life.Verified)
        assert not found.problems
        return cls(lives=lives, folder=folder, references=references, truth=found.observed)

    def damages(self, rng: random.Random, *, flips: int, pages: int, files: int) -> Iterator[Damage]:
        """So many ways of each kind, and all those that there are only one of."""
        yield from self._of_the_index(rng, files)
        yield from self._of_the_snapshot(rng, flips)
        yield from self._of_the_database(rng, pages)

    def try_(self, damage: Damage) -> Outcome:
        """What became of a copy of the whole store that was damaged so."""
        store = self.folder / "damaged"
        shutil.copytree(self.folder / "whole", store)
        damage.do(store)
        found = live(self.lives, self.references, store, [])
        shutil.rmtree(store)
        match found:
            case life.Verified(observed=self.truth, problems=[]):
                return Outcome(damage=damage, kind=MENDED, detail="")
            case life.Verified(problems=problems) if any(
                "the database is damaged" in told for told in problems
            ):
                return Outcome(damage=damage, kind=TOLD, detail=problems[0])
            case life.Failed(refused=True, reason=reason):
                return Outcome(damage=damage, kind=REFUSED, detail=reason.replace(str(store), "DIR"))
        return Outcome(damage=damage, kind=FAILED, detail=str(found).replace(str(store), "DIR")[:500])

    def _of_the_index(self, rng: random.Random, files: int) -> Iterator[Damage]:
        root = self.folder / "whole" / VECTORS_NAME
        yield Damage(kind="index", name="deleted", do=_on(VECTORS_NAME, shutil.rmtree))
        for collection in sorted(path for path in root.glob("v*/*") if path.is_dir()):
            at = collection.relative_to(self.folder / "whole")
            yield Damage(
                kind="a collection of the index",
                name=f"{at.name} deleted",
                do=_on(at, shutil.rmtree),
            )
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        ways = [(path, how) for path in paths for how in ("deleted", "cut in half")]
        for path, how in rng.sample(ways, min(files, len(ways))):
            at = path.relative_to(self.folder / "whole")
            yield Damage(
                kind="a file of the index",
                name=f"{at} {how}",
                do=_on(at, Path.unlink if how == "deleted" else _cut),
            )

    def _of_the_snapshot(self, rng: random.Random, flips: int) -> Iterator[Damage]:
        yield Damage(kind="snapshot", name="deleted", do=_on(GRAPH_NAME, Path.unlink))
        yield Damage(kind="snapshot", name="empty", do=_on(GRAPH_NAME, partial(_cut, share=0)))
        yield Damage(kind="snapshot", name="cut in half", do=_on(GRAPH_NAME, _cut))
        for origin in ("older", "other"):
            yield Damage(
                kind="snapshot",
                name=f"of the {origin} store",
                do=_on(GRAPH_NAME, partial(shutil.copy, self.folder / origin / GRAPH_NAME)),
            )
        size = (self.folder / "whole" / GRAPH_NAME).stat().st_size
        for _ in range(flips):
            bit = rng.randrange(8 * size)
            yield Damage(
                kind="snapshot",
                name=f"bit {bit} flipped",
                do=_on(GRAPH_NAME, partial(_flip, bit=bit)),
            )

    def _of_the_database(self, rng: random.Random, pages: int) -> Iterator[Damage]:
        yield Damage(kind="database", name="cut in half", do=_on(DATABASE_NAME, _cut))
        size = (self.folder / "whole" / DATABASE_NAME).stat().st_size
        numbers = range(size // PAGE_BYTES)
        for number in rng.sample(numbers, min(pages, len(numbers))):
            noise = rng.randbytes(PAGE_BYTES)
            yield Damage(
                kind="a page of the database",
                name=f"{number} overwritten",
                do=_on(DATABASE_NAME, partial(_overwrite, at=number * PAGE_BYTES, content=noise)),
            )


def live(
    lives: ForkServerContext, references: References, store: Path, works: Sequence[life.Work]
) -> life.Event | None:
    """The last that a life told which opened the store, did the work and closed it; None if it hung or died without a word."""
    plan = life.Plan(
        store=store, references=references, tasks=[works], fault=None, order=None, samples=SAMPLES, seed=1
    )
    receive, send = lives.Pipe(duplex=False)
    process = lives.Process(target=life.live, args=(plan, send))
    process.start()
    send.close()
    last: life.Event | None = None
    while receive.poll(OPENING_S):
        try:
            last = receive.recv()
        except EOFError:
            break
    else:
        last = None
        process.kill()
    process.join()
    return last if process.exitcode == 0 or isinstance(last, life.Failed) else None


def _on(name: str | Path, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """`change` done to what bears the name in a store."""
    return lambda store: change(store / name)


def _cut(path: Path, share: float = 0.5) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def _found(options: argparse.Namespace, outcomes: list[Outcome]) -> Found:
    kinds = list(dict.fromkeys(outcome.damage.kind for outcome in outcomes))
    counted = Counter((outcome.damage.kind, outcome.kind) for outcome in outcomes)
    sentences = Counter(outcome.detail for outcome in outcomes if outcome.kind in (REFUSED, TOLD))
    failures = [f"{o.damage.kind}, {o.damage.name}: {o.detail}" for o in outcomes if o.kind == FAILED]
    return Found(
        settings={"seed": options.seed},
        figures=[
            Figure(name="damaged stores opened", value=len(outcomes)),
            Figure(name="of them mended", value=sum(o.kind == MENDED for o in outcomes)),
            Figure(name="of them refused in one sentence", value=sum(o.kind == REFUSED for o in outcomes)),
            Figure(
                name="of them opened, the damage told by doctor", value=sum(o.kind == TOLD for o in outcomes)
            ),
            Figure(name="crashes, hangs, disagreements and wrong answers", value=len(failures), must="= 0"),
        ],
        tables=[
            Table(
                title="What became of it",
                header=("damaged", MENDED, REFUSED, TOLD, FAILED),
                rows=[
                    (kind, *(counted[kind, outcome] for outcome in (MENDED, REFUSED, TOLD, FAILED)))
                    for kind in kinds
                ],
            ),
            Table(
                title="What was said",
                header=("times", "sentence"),
                rows=[(n, told) for told, n in sentences.most_common(8)],
            ),
        ],
        failures=failures,
    )
