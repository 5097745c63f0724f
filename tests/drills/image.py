"""Replays the Dockerfile step by step where there is no Docker, and serves from the result with nothing to write to.

`FROM` is a minimal Debian with its own Python (debootstrap), where an image registry would give python:3.11-slim; each other step
is carried out in a tree of its own (chroot, overlayfs) with the variables, the user and the folder that it has in the file, and the
files that .dockerignore lets through. Then the image's own command is started as its user, without capabilities, on a root file
system that is mounted read-only, with a temporary /tmp and folders for the data and the backups, and is asked over HTTP: once with the
embedded engine, once with two workers on the tests' stand-in for a vector server. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Final

import dockerfile
import httpx
import pathspec
from ports import free_port
from processes import vector_server

from drills.figures import ROOT, Figure, Found, Table

PLAIN_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,python3-pip,ca-certificates"
# What this machine's package client was told by its environment; the addresses themselves are in no file of ours.
PASSED_ON: Final = re.compile(r"PIP_|(HTTPS?|NO)_PROXY$|SSL_CERT_FILE$", re.IGNORECASE)
NETWORK_FILES: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/etc/pip.conf")
WRITABLE: Final = ("/var/lib/cofio", "/var/backups/cofio")
WAIT_S: Final = 300.0
QUESTIONS: Final[Sequence[Mapping[str, object]]] = (
    {"query": "When does the product ship, and why did the date move?"},
    {"query": "What did Priya Nair say of Grimvik in April?", "limit_per_level": 20},
    {"query": "Who owns the gasket?", "filters": {"series": ["Heron device sync"]}},
    {"query": "What is urgent?", "steer": {"urgency": 0.2}},
    {"query": "deposit", "enable_activation": False},
)


@dataclass(kw_only=True)
class Stage:
    """A tree that grows by one stage's steps: what it began with and, in `layer`, what was added."""

    below: Path
    layer: Path
    work: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    said: dict[str, tuple[str, ...]] = field(default_factory=dict)  # ENTRYPOINT, CMD, HEALTHCHECK

    def words(self, written: str) -> str:
        """A word of the file with its variables filled in and its quotes taken off."""
        filled = Template(written).safe_substitute({"PATH": PLAIN_PATH, **self.arguments, **self.environment})
        return "".join(shlex.split(filled)) if filled[:1] in ("'", '"') else filled


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this drill."""
    parser.add_argument(
        "--base", type=Path, help="tree of Debian to begin with; made by debootstrap where it is missing"
    )
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as `docker build` takes it"
    )
    parser.add_argument(
        "--keep", type=Path, help="empty folder for the trees, which stay there; temporary otherwise"
    )


def run(options: argparse.Namespace) -> Found:
    """What the steps took and made, and whether the result serves from a tree that it cannot write to."""
    with contextlib.ExitStack() as stack:
        place = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cofio-image-")))
        place.mkdir(parents=True, exist_ok=True)
        base = options.base or place / "base"
        if not base.exists():
            _make_base(base)
        steps: list[tuple[str, float]] = []
        context = place / "context"
        _copy_context(context)
        image = _replay(base, context, place, dict(one.split("=", 1) for one in options.build_arg), steps)
        added, kernels = _megabytes(image.layer), _compiled(image.layer / "opt/cofio/kernels")
        parts = sorted(_parts(image.layer / "opt/cofio"), key=lambda part: -part[1])[:12]
        vectors = stack.enter_context(vector_server(_made(place)))
        served = [
            _serve(image, place / "alone", "alone", {"QDRANT_URL": ""}),
            _serve(image, place / "workers", "two workers", {"QDRANT_URL": vectors, "WORKERS": 2}),
        ]
    return Found(
        settings={
            f"build argument {name}": value for name, value in image.arguments.items() if name != "BASE"
        },
        figures=[
            Figure(name="steps of the Dockerfile replayed", value=len(steps)),
            Figure(name="what the image adds to its base", value=round(added), unit="MB"),
            Figure(name="kernels that were compiled by the build", value=kernels),
            *(figure for each in served for figure in each.figures),
        ],
        tables=[
            Table(title="Steps", header=("step", "s"), rows=[(told, f"{took:.0f}") for told, took in steps]),
            Table(
                title="Largest parts",
                header=("part", "MB"),
                rows=[(name, f"{size:.0f}") for name, size in parts],
            ),
        ],
        failures=[failure for each in served for failure in each.failures],
    )


def _make_base(base: Path) -> None:
    """A minimal Debian with Python stands in `base`, `python` and `pip` by the names that the Python image gives them."""
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, str(base)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in ("python", "pip"):
        link = base / "usr/local/bin" / name
        if not link.is_symlink():
            link.symlink_to(f"/usr/bin/{name}3")


def _copy_context(context: Path) -> None:
    """`context` holds the files of the working tree that .dockerignore lets through."""
    # Docker's patterns begin at the root of the context, Git's at any depth; the last one that matches decides in both.
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    ignored = pathspec.PathSpec.from_lines(
        "gitignore", [re.sub(r"^(!?)(?!\*\*/|#)(?=.)", r"\1/", line) for line in lines]
    )
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if not ignored.match_file(name) and (ROOT / name).is_file():
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def _replay(
    base: Path, context: Path, place: Path, given: Mapping[str, str], steps: list[tuple[str, float]]
) -> Stage:
    """The last stage after all its steps."""
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for command in dockerfile.parse_file(str(ROOT / "Dockerfile")):
        started = time.perf_counter()
        if command.cmd == "FROM":
            name = command.value[2] if len(command.value) == 3 else str(len(stages))
            current = stages[name] = Stage(
                below=base, layer=_made(place / name / "layer"), work=_made(place / name / "work")
            )
        elif current is not None:
            _step(current, command, context, stages, given)
        if command.cmd in ("RUN", "COPY"):
            steps.append(
                (" ".join(command.original.split())[:60].replace("|", "¦"), time.perf_counter() - started)
            )
    assert current is not None
    return current


def _step(
    stage: Stage,
    command: dockerfile.Command,
    context: Path,
    stages: Mapping[str, Stage],
    given: Mapping[str, str],
) -> None:
    """The stage is as this command of the file leaves it. A command that nobody has taught this drill raises KeyError."""
    value = command.value
    match command.cmd:
        case "ARG":
            name, _, default = value[0].partition("=")
            stage.arguments[name] = given.get(name, default)
        case "ENV":
            for name, written in zip(value[::2], value[1::2], strict=True):
                stage.environment[name] = stage.words(written)
        case "WORKDIR":
            stage.folder = value[0]
            _in_tree(stage, f"mkdir -p {shlex.quote(stage.folder)}", folder="/")
        case "USER":
            stage.user = value[0]
        case "RUN":
            _in_tree(stage, value[0], folder=stage.folder)
        case "COPY":
            named = dict(flag.removeprefix("--").split("=", 1) for flag in command.flags)
            source = stages[named["from"]].layer if "from" in named else context
            *wanted, target = value
            _copy(source, [stage.words(one) for one in wanted], stage, stage.words(target))
        case "ENTRYPOINT" | "CMD" | "HEALTHCHECK":
            stage.said[command.cmd] = value
        case "EXPOSE":
            pass
        case _:
            raise KeyError(command.cmd)


def _copy(source: Path, wanted: Sequence[str], stage: Stage, target: str) -> None:
    """As COPY does it: of a folder its content, of files themselves, all of it root's."""
    to = Path(stage.folder, target)
    into_folder = target.endswith("/") or target == "." or len(wanted) > 1
    for one in wanted:
        found = source / one.lstrip("/")
        inside = stage.layer / to.relative_to("/")
        if found.is_dir():
            shutil.copytree(found, inside, symlinks=True, dirs_exist_ok=True)
        else:
            _made(inside if into_folder else inside.parent)
            shutil.copy2(found, inside / found.name if into_folder else inside)


def _in_tree(stage: Stage, command: str, *, folder: str) -> None:
    """The shell command has succeeded inside the tree, whose mounts end with it."""
    tree = _made(stage.work.parent / "tree")
    over = f"lowerdir={stage.below},upperdir={stage.layer},workdir={stage.work}"
    script = [
        "set -eu",
        f"mount -t overlay overlay -o {over} {tree}",
        f"mount -t proc proc {tree}/proc",
        f"mount --rbind /dev {tree}/dev",
        f"mount -t tmpfs tmpfs {tree}/tmp",
    ]
    script += [
        f"mount --bind {path} {tree}{path}"
        for path in NETWORK_FILES
        if Path(path).exists() and (stage.below / path.lstrip("/")).exists()
    ]
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
    variables = {"PATH": PLAIN_PATH, "HOME": "/root", **passed, **stage.arguments, **stage.environment}
    inside = f"cd {shlex.quote(folder)} && {command}"
    script.append(
        shlex.join(
            [
                "exec",
                "chroot",
                str(tree),
                "env",
                "-i",
                *(f"{k}={v}" for k, v in variables.items()),
                "sh",
                "-c",
                inside,
            ]
        )
    )
    finished = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "\n".join(script)], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise RuntimeError(f"{command}\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}")


def _serve(image: Stage, place: Path, how: str, chosen: Mapping[str, object]) -> Found:
    """What the image's own command does on a tree that is mounted read-only, with these settings."""
    place.mkdir()
    log = place / "log"
    port = free_port()
    uid, _, gid = image.user.partition(":")
    for path in WRITABLE:
        owner = (image.layer / path.lstrip("/")).stat()
        folder = _made(place / "volumes" / path.lstrip("/"))
        os.chown(folder, owner.st_uid, owner.st_gid)
    settings = {"HOST": "127.0.0.1", "PORT": port, "QUERY_RATE": "", "INGEST_RATE": "", **chosen}
    variables = {
        "PATH": PLAIN_PATH,
        **image.environment,
        **{f"COFIO_{k}": str(v) for k, v in settings.items()},
    }
    tree = _made(place / "served")
    script = [
        "set -eu",
        # Without a folder for changes an overlay is read-only.
        f"mount -t overlay overlay -o ro,lowerdir={image.layer}:{image.below} {tree}",
        f"mount -t proc proc {tree}/proc",
        f"mount --rbind /dev {tree}/dev",
        f"mount -t tmpfs -o mode=1777,noexec,nosuid tmpfs {tree}/tmp",
        *(f"mount --bind {place}/volumes{path} {tree}{path}" for path in WRITABLE),
    ]
    as_user = [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ]
    as_image = [*as_user, "env", "-i", f"--chdir={image.folder}", *(f"{k}={v}" for k, v in variables.items())]
    started = [*image.said["ENTRYPOINT"], *image.said["CMD"]]
    script.append(shlex.join(["exec", "chroot", str(tree), *as_image, *started]))
    failures: list[str] = []
    figures: list[Figure] = []
    began = time.perf_counter()
    with log.open("wb") as written:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "\n".join(script)], stdout=written, stderr=written
        )

    def inside(*command: str) -> subprocess.CompletedProcess[str]:
        """A command beside the service, as its user and with its variables."""
        entered = ["nsenter", f"--target={process.pid}", "--mount", "--root", *as_image, *command]
        return subprocess.run(entered, capture_output=True, text=True, check=False, timeout=WAIT_S)

    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            while _ready(client) != 200:
                if process.poll() is not None or time.perf_counter() - began > WAIT_S:
                    return Found(settings={}, figures=[], failures=[log.read_text()[-3000:]])
                time.sleep(0.1)
            figures.append(Figure(name="ready after", value=round(time.perf_counter() - began, 1), unit="s"))
            health = inside(*image.said["HEALTHCHECK"][1:])
            figures.append(Figure(name="exit code of HEALTHCHECK", value=health.returncode, must="= 0"))
            files = [
                ("file", (path.name, path.read_bytes()))
                for path in sorted((ROOT / "data/meetings").glob("*.vtt"))
            ]
            for name in files:
                client.post("/ingest", files=[name]).raise_for_status()
            results = [client.post("/api/v2/query", json=question) for question in QUESTIONS]
            failures += [response.text for response in results if response.status_code != 200]
            figures.append(
                Figure(
                    name="questions answered", value=len(results) - len(failures), must=f"= {len(QUESTIONS)}"
                )
            )
            backup = inside("cofio", "backup", "create")
            figures.append(Figure(name="exit code of a backup", value=backup.returncode, must="= 0"))
        for path in ("/", "/opt/cofio", "/opt/cofio/kernels", "/etc", "/var/lib", "/usr/local/bin"):
            if inside("sh", "-c", f": > {path}/written").returncode == 0:
                failures.append(f"{path} could be written")
        status = Path(f"/proc/{process.pid}/status").read_text()
        figures += [
            Figure(
                name="user id of the service",
                value=int(re.findall(r"Uid:\s+(\d+)", status)[0]),
                must=f"= {uid}",
            ),
            Figure(
                name="capabilities it may ever have",
                value=int(re.findall(r"CapBnd:\s+(\w+)", status)[0], 16),
                must="= 0",
            ),
        ]
        kernels = Path(f"/proc/{process.pid}/root{image.environment['NUMBA_CACHE_DIR']}")
        figures.append(
            Figure(name="kernels that had to be compiled at run time", value=_compiled(kernels), must="= 0")
        )
        resident = sum(map(_resident, _family(process.pid)))
        figures.append(
            Figure(
                name="resident memory of its processes after that",
                value=round(resident),
                unit="MB",
            )
        )
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(WAIT_S)
    figures.append(Figure(name="exit code after SIGTERM", value=code, must="= 0"))
    told = [replace(figure, name=f"{how}: {figure.name}") for figure in figures]
    return Found(settings={}, figures=told, failures=failures)


def _ready(client: httpx.Client) -> int | None:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health/ready").status_code
    return None


def _compiled(folder: Path) -> int:
    """How many compiled kernels lie in the folder themselves, links to others not counted."""
    return sum(not path.is_symlink() for path in folder.rglob("*.nbc"))


def _family(pid: int) -> list[int]:
    """The process and all that came of it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _resident(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def _parts(folder: Path) -> Iterator[tuple[str, float]]:
    """The packages of the virtual environment, and what lies beside it, with their sizes in MB."""
    for path in folder.glob("venv/lib/python*/site-packages/*"):
        yield path.name, _megabytes(path)
    for path in folder.iterdir():
        if path.name != "venv":
            yield path.name, _megabytes(path)


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink()) / 1e6


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
