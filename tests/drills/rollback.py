"""Upgrades a store that an older cofio wrote, and goes back to the older one from the backup that was made on the way.

The older version is a commit of this repository whose schema is older, in a worktree of its own, with the dependencies and the model that its own
`scripts/setup` gives it. It remembers the sample meetings and answers their questions. The present version opens the store, which brings the schema forward after a backup, answers, and
remembers a meeting more. The older one must then refuse the store in a sentence; given the backup from before the migration, it must answer
every question as it did, to the letter. What was remembered since is not in it: send it again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
from backports import zstd

from cofio.data_dir import BACKUPS_NAME, DATABASE_NAME
from drills.figures import ROOT, Figure, Found

# The last commit before this migration was added is the older version.
MIGRATION: Final = "src/cofio/store/migrations/0005-owners.sql"
QUESTIONS: Final = [one["question"] for one in orjson.loads((ROOT / "data" / "questions.json").read_bytes())]
LATER: Final = "Ann: The turbine in the annex is called Boreas.\nBob: Then Boreas needs a sign.\n"
_TIMES: Final = re.compile(r"in [\d.]+ ms")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this drill."""
    parser.add_argument(
        "--old", help="commit of the older version; the last one before migration 0005 if none is given"
    )
    parser.add_argument("--questions", type=int, default=8, help="how many of the sample questions are asked")


def run(options: argparse.Namespace) -> Found:
    """What going forward and back took, and whether the answers are the same."""
    old_commit = options.old or _git("log", "-1", "--diff-filter=A", "--format=%h", "--", MIGRATION) + "^"
    questions = QUESTIONS[: options.questions]
    failures: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="cofio-rollback-") as place,
        _worktree(old_commit, Path(place)) as tree,
    ):
        old, new = _Version(tree), _Version(ROOT)
        store, again = Path(place, "store"), Path(place, "again")
        subprocess.run([tree / "scripts" / "setup"], stdout=subprocess.DEVNULL, check=True)
        old.cofio("ingest", ROOT / "data" / "meetings", "--data-dir", store)
        before = [old.answer(question, store) for question in questions]

        started = time.perf_counter()
        first = new.answer(questions[0], store)
        upgrade_s = time.perf_counter() - started
        after = [first, *(new.answer(question, store) for question in questions[1:])]
        same_best = sum(_best(one) == _best(other) for one, other in zip(before, after, strict=True))
        agrees = "agree" in new.cofio("doctor", "--data-dir", store)
        (Path(place) / "later.txt").write_text(LATER, encoding="utf-8")
        new.cofio("ingest", Path(place) / "later.txt", "--data-dir", store)
        remembers = "Boreas" in new.answer("What is the turbine called?", store)

        refusal = old.refused("query", questions[0], "--data-dir", store)
        if "migration" not in refusal or "Traceback" in refusal:
            failures.append(f"the older version says of the newer store: {refusal[-300:]!r}")
        (archive,) = (store / BACKUPS_NAME).glob("*-before-*.zst")

        started = time.perf_counter()
        again.mkdir()
        with (
            zstd.open(archive, "rb") as packed,
            (again / DATABASE_NAME).open("wb") as database,
        ):  # as `zstd -d` does
            shutil.copyfileobj(packed, database)
        back = [old.answer(questions[0], again)]
        rollback_s = time.perf_counter() - started
        back += [old.answer(question, again) for question in questions[1:]]
        same = sum(one == other for one, other in zip(before, back, strict=True))
        old_agrees = "agree" in old.cofio("doctor", "--data-dir", again)
    return Found(
        settings={"older version": _git("rev-parse", "--short", old_commit), "backup": archive.name},
        figures=[
            Figure(name="questions", value=len(questions)),
            Figure(
                name="opened by the newer version, migrated and answered in",
                value=round(upgrade_s, 2),
                unit="s",
            ),
            Figure(name="questions whose best answer the newer version gives too", value=same_best),
            Figure(name="the newer version's stores agree (`cofio doctor`)", value=agrees, must="= 1"),
            Figure(name="the newer version finds what it remembered since", value=remembers, must="= 1"),
            Figure(
                name="restored for the older version and answered in", value=round(rollback_s, 2), unit="s"
            ),
            Figure(
                name="questions that the older version answers from the backup to the letter as before",
                value=same,
                must=f"= {len(questions)}",
            ),
            Figure(name="the older version's stores agree", value=old_agrees, must="= 1"),
        ],
        failures=failures,
    )


class _Version:
    """The command line of the code under one folder."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._env = {**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "200", "NO_COLOR": "1"}

    def cofio(self, *arguments: str | Path) -> str:
        """What the command printed; it has to succeed."""
        run = self._run(*arguments)
        if run.returncode != 0:
            raise RuntimeError(f"{arguments} exited with {run.returncode}: {run.stdout}{run.stderr}")
        return run.stdout

    def answer(self, question: str, store: Path) -> str:
        """The answer as it is printed, without the time that it took."""
        return _TIMES.sub("", self.cofio("query", question, "--data-dir", store))

    def refused(self, *arguments: str | Path) -> str:
        """What the command said; it has to fail."""
        run = self._run(*arguments)
        if run.returncode == 0:
            raise RuntimeError(f"{arguments} succeeded")
        return run.stdout + run.stderr

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(self._tree / ".venv" / "bin" / "python"), "-m", "cofio", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self._tree, env=self._env, capture_output=True, text=True, check=False
        )


def _best(answer: str) -> str:
    """The first thing that was said."""
    _, _, said = answer.partition("Said\n")
    return said.partition("·")[0].partition("  ")[2]


@contextlib.contextmanager
def _worktree(commit: str, place: Path) -> Iterator[Path]:
    tree = place / "older"
    _git("worktree", "add", "--detach", str(tree), commit)
    try:
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
