"""What the pages say holds: links lead somewhere, commands exist, figures are those of the pages that they come from."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from conftest import ROOT

import cofio
from cofio.cli import COMMANDS
from cofio.store.database import _MIGRATIONS

PAGES: Final = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
)
FENCED: Final = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
LINK: Final = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
# Where README.md and docs/operations.md state a figure, and the page that it comes from with the words beside it there.
QUOTED: Final = (
    ("README.md", r"ten results hold (\.\d+) on LoCoMo", "docs/evaluation.md", r"LoCoMo recall@10, within a conversation \| \S+ \| \*\*(\.\d+)"),
    ("README.md", r"plain hybrid search with the same\s+encoder finds (\.\d+)", "docs/evaluation.md", r"LoCoMo recall@10, within a conversation \| (\.\d+)"),
    ("README.md", r"nDCG@10 of (\.\d+) against", "docs/evaluation.md", r"QMSum nDCG@10 of spans, the turns of the contexts \| \S+ \| \*\*(\.\d+)"),
    ("README.md", r"nDCG@10 of \.\d+ against (\.\d+)", "docs/evaluation.md", r"QMSum nDCG@10 of spans, the turns of the contexts \| (\.\d+)"),
    ("docs/operations.md", r"after ([\d.]+) s with 100,000 memories", "docs/benchmarks.md", r"start to ready, 100,000 memories \| ([\d.]+) s"),
    ("docs/operations.md", r"([\d.]+) s with a million", "docs/benchmarks.md", r"start to ready, 1,000,000 memories \| ([\d.]+) s"),
    ("docs/operations.md", r"([\d.]+) s to restore", "docs/reliability.md", r"restored in \| ([\d.]+) s"),
    ("docs/operations.md", r"to restore ([\d,]+) memories", "docs/reliability.md", r"\| memories \| ([\d,]+) \|"),
    ("docs/operations.md", r"([\d.]+) s for the first start", "docs/reliability.md", r"index and graph made anew \| ([\d.]+) s"),
    ("docs/operations.md", r"memories \(([\d.]+) MB\)", "docs/reliability.md", r"\| database \| ([\d.]+) MB"),
    ("docs/operations.md", r"a backup took ([\d.]+) MB", "docs/reliability.md", r"\| backup \| ([\d.]+) MB"),
    ("docs/operations.md", r"The (\d+) meetings of the restore", "docs/reliability.md", r"\| meetings \| (\d+) \|"),
    ("docs/operations.md", r"(\d+) MB for an empty store", "docs/benchmarks.md", r"resident, empty store \| (\d+) MB"),
    ("docs/operations.md", r"([\d,]+) B a memory at a million", "docs/benchmarks.md", r"bytes a memory after 300 questions, 1,000,000 memories \| ([\d,]+) B"),
    *(
        ("docs/operations.md", rf"\| {size} \| {before}", "docs/benchmarks.md", there)
        for size in ("10,000", "100,000", "1,000,000")
        for before, there in (
            (r"([\d,]+) MB", rf"resident at the start, {size} memories \| ([\d,]+) MB"),
            (r"[^|]+\| ([\d.]+) s", rf"start to ready, {size} memories \| ([\d.]+) s"),
            (r"[^|]+\|[^|]+\| ([\d.]+) /", rf"query over HTTP: {size} memories \| ([\d.]+)"),
            (r"[^|]+\|[^|]+\| [\d.]+ / ([\d.]+) ms", rf"query over HTTP: {size} memories \| [\d.]+ \| [\d.]+ \| ([\d.]+)"),
        )
    ),
)  # fmt: skip


@cache
def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What `#…` may name on the page, as GitHub makes it of the headings."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(there), f"{target}: the page has no such heading"


def test_an_anchor_that_is_not_there_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `page`, told\n\n## Same\n\n## Same\n\n```sh\n# no heading\n```\n", encoding="utf-8")
    assert anchors(page) == {"a-page-told", "same", "same-1"}


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `cofio …` in the shell blocks of the page."""
    for language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language != "sh":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:;|\||&&)\s|;\s", line):
                words = part.strip().split(maxsplit=1)
                if words and words[0] in ("cofio", ".venv/bin/cofio"):
                    yield shlex.split(part.replace("…", ""), comments=True)[1:]


def check_command(arguments: list[str]) -> None:
    """The verb exists, and so does each of its options."""
    assert arguments, "a command without a verb"
    assert arguments[0] in COMMANDS, f"cofio {arguments[0]} does not exist"
    command: Any = typer.main.get_command(importlib.import_module(f"cofio.cli.{arguments[0]}").app)
    rest = arguments[1:]
    while getattr(command, "commands", None):
        assert rest, f"cofio {arguments[0]} needs a subcommand"
        assert rest[0] in command.commands, f"cofio {arguments[0]} {rest[0]} does not exist"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"cofio {' '.join(arguments)}: there is no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists_with_its_options(page: Path) -> None:
    for arguments in commands(page):
        check_command(arguments)


@pytest.mark.parametrize(
    "arguments", [["forget"], ["backup", "unmake"], ["query", "x", "--loud"], ["index"]], ids=" ".join
)
def test_a_command_that_does_not_exist_would_be_noticed(arguments: list[str]) -> None:
    with pytest.raises(AssertionError, match=r"not exist|no --loud|needs a subcommand"):
        check_command(arguments)


@pytest.mark.parametrize(("page", "here", "source", "there"), QUOTED)
def test_a_quoted_figure_is_that_of_the_page_it_comes_from(
    page: str, here: str, source: str, there: str
) -> None:
    quoted = re.findall(here, (ROOT / page).read_text(encoding="utf-8"))
    known = re.findall(there, (ROOT / source).read_text(encoding="utf-8"))
    assert quoted, f"{page} has no {here}"
    assert known, f"{source} has no {there}"
    digits = len(quoted[0].partition(".")[2])
    assert float(quoted[0].replace(",", "")) == round(float(known[0].replace(",", "")), digits)


def test_the_version_has_an_entry_in_the_changelog_and_its_schema_is_named() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, flags=re.M)
    assert versions[0] == cofio.__version__
    newest = max(path.name for path in Path(_MIGRATIONS).glob("*.sql"))
    assert f"schema {newest[:4]}" in changelog


def test_the_release_takes_its_notes_from_the_changelog() -> None:
    refused = subprocess.run(
        [ROOT / "scripts" / "release", "v0.0.1"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "another version than 0.0.1" in refused.stderr


def test_the_workflows_are_valid_and_call_scripts_that_exist() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    subprocess.run(
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows],
        check=True,
        env={"PATH": f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin"},
    )
    for workflow in workflows:
        text = workflow.read_text(encoding="utf-8")
        for script in re.findall(r"run: ((?:\.ci|scripts)/\w+)", text):
            assert (ROOT / script).exists(), f"{workflow.name} calls {script}"
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", action), f"{action} is not pinned by version"
