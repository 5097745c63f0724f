"""The graph on disk, so that a start need not read the whole truth again.

One uncompressed `.npz`: every array is an entry with its own checksum, and what is text is JSON in an array of bytes.
It is a cache: one that is missing, damaged, of another version of cofio or of another truth is not read, and the graph
is made from the truth instead.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

import cofio
from cofio.errors import InvalidVector
from cofio.graph.blocks import VECTOR_SCALE, MeetingHead
from cofio.graph.csr import ConceptHead
from cofio.graph.ids import written
from cofio.graph.ledger import COLUMNS, LedgerState
from cofio.records import SEMANTIC_DIMENSIONS, ConceptKind
from cofio.vector_rules import are_unit, check_vectors

_log = structlog.get_logger(__name__)

# Raised when columns, kernels or the reading of texts change: what was measured at ingest is measured anew.
LAYOUT: Final = 3
# What reading a damaged file raises: a cut one, one with a wrong checksum, one whose JSON is none, one that by a flipped
# bit seems to be encrypted or packed otherwise, or to have a header that is no Python.
_DAMAGED: Final = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    zipfile.BadZipFile,
    tokenize.TokenError,
)
_CHECKED_ROWS: Final = 1 << 14


def save(state: LedgerState, version: int, stamp: str, path: Path) -> None:
    """`path` holds the state of the truth's `version`, replaced as a whole or not at all.

    `stamp` is a fingerprint of the truth at that version. Raises `OSError`.
    """
    arrays: dict[str, NDArray[Any]] = {
        **{f"column.{name}": array for name, array in state.columns.items()},
        "alive": state.alive,
        "concept_alive": state.concept_alive,
        "concept_vectors": state.concept_vectors,
        "text": _bytes(
            {
                "heads": [_head(head) for head in state.heads],
                "concepts": [
                    [c.memory_id, c.project, c.label, c.kind.value, sorted(c.stems)] for c in state.concepts
                ],
                "words": dict(state.words),
            }
        ),
        "label": _bytes(_label(version, stamp)),
    }
    beside = _beside(path)
    try:
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # where the disk is full, half a snapshot must not take the last of it
        raise


def remove(path: Path) -> None:
    """There is no snapshot at `path`, nor a part of one beside it."""
    path.unlink(missing_ok=True)
    _beside(path).unlink(missing_ok=True)


def saved_version(path: Path) -> tuple[int, str] | None:
    """The version of the truth whose graph lies at `path`, and its stamp; None if there is none that can be read."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            label = orjson.loads(file["label"].tobytes())
    except FileNotFoundError:
        return None
    except _DAMAGED as error:
        _log.warning("graph_snapshot_unreadable", reason=type(error).__name__)
        return None
    if label != _label(label.get("version"), label.get("stamp")):
        return None
    return label["version"], label["stamp"]


def load(path: Path) -> LedgerState | None:
    """The state at `path`, None if it is damaged."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            text = orjson.loads(file["text"].tobytes())
            columns = _checked({name: file[f"column.{name}"] for name in COLUMNS})
            return LedgerState(
                columns=columns,
                heads=tuple(MeetingHead(**head) for head in text["heads"]),
                concepts=tuple(
                    ConceptHead(
                        memory_id=memory_id,
                        project=project,
                        label=label,
                        kind=ConceptKind(kind),
                        stems=frozenset(stems),
                    )
                    for memory_id, project, label, kind, stems in text["concepts"]
                ),
                alive=file["alive"],
                concept_alive=file["concept_alive"],
                concept_vectors=file["concept_vectors"],
                words={name: tuple(words) for name, words in text["words"].items()},
            )
    except InvalidVector as error:
        _log.warning("graph_snapshot_unreadable", reason=error.detail)
        return None
    except _DAMAGED as error:
        _log.warning("graph_snapshot_unreadable", reason=type(error).__name__)
        return None


def _checked(columns: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """The columns, each of its kind, no number in them NaN, the vectors as vectors must be.

    Raises ValueError or `InvalidVector`. Cost: one pass, a second for a million memories.
    """
    for name, (dtype, *shape) in COLUMNS.items():
        column = columns[name]
        if column.dtype != dtype or column.shape[1:] != tuple(shape):
            raise ValueError(f"{name} holds {column.dtype} of shape {column.shape}")
        if column.dtype.kind == "f" and np.isnan(column).any():
            raise ValueError(f"{name} holds NaN")
    for vectors, ids in (
        (columns["vectors"], columns["ids"]),
        (columns["context_vectors"], columns["context_ids"]),
    ):
        if len(vectors) != len(ids):
            raise ValueError(f"{len(vectors)} vectors for {len(ids)} memories")
        for start in range(0, len(vectors), _CHECKED_ROWS):
            rows = slice(start, start + _CHECKED_ROWS)
            held = vectors[rows].astype(np.float32) / np.float32(VECTOR_SCALE)
            if (
                not are_unit(held[:, :SEMANTIC_DIMENSIONS]).all()
                or (held[:, SEMANTIC_DIMENSIONS:] < 0.0).any()
            ):
                check_vectors(written(ids[rows]), held)  # which says whose
    return columns


def _beside(path: Path) -> Path:
    return path.with_suffix(".new")


def _label(version: int, stamp: str) -> dict[str, object]:
    return {"version": version, "stamp": stamp, "layout": LAYOUT, "cofio": cofio.__version__}


def _head(head: MeetingHead) -> dict[str, object]:
    return {name: getattr(head, name) for name in MeetingHead.__slots__}


def _bytes(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(orjson.dumps(value), np.uint8)
