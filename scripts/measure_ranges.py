"""Measures how large the numbers between the encoder's layers become, for `src/cofio/embed/ranges.json`.

    python scripts/measure_ranges.py --data ../shared/eval [--write]

Runs the fp32 graph over the questions and utterances of the labelled sets, and over what these lack: single word
pieces, pieces drawn from the whole vocabulary and from its letters of other scripts, and texts of full length. Prints
the largest range of each layer's input; `--write` replaces the file. `scripts/setup_model.py --write-manifest` then builds
the int8 graph anew, whose vectors are others: its old fingerprint belongs under `earlier` in `models/manifest.toml`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cofio.bench.corpus import read_source, spoken
from cofio.embed.graph import MAX_TOKENS
from cofio.embed.model_files import verify
from cofio.records import Float32s

REPOSITORY: Final = Path(__file__).resolve().parents[1]
RANGES_FILE: Final = REPOSITORY / "src/cofio/embed/ranges.json"
LAYERS: Final = 6
UTTERANCES: Final = 6_000
OTHERS: Final = 1_000
SEED: Final = 20_261_122
FIRST, LAST = 101, 102  # the pieces that begin and end a text
WORDS: Final = (1_996, 29_000)  # word pieces of the vocabulary
LETTERS: Final = (1_024, 1_996)  # of other scripts
# A range is c^.8 · (max c)^.2 of a column's greatest number c: with exponents of .6 and 1 vectors were less exact, and so
# they were with ranges a fifth larger.
SHARE: Final = 0.8
LEAST: Final = 0.01  # of the greatest column's

Ids = NDArray[np.int64]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of labelled sets")
    parser.add_argument("--write", action="store_true", help="replace the file of ranges")
    options = parser.parse_args()
    files = verify(REPOSITORY / "models", "fp32")
    tokenizer = Tokenizer.from_file(str(files.tokenizer))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    greatest = measured(onnx.load(files.model), texts(options.data, tokenizer))
    ranges = {name: _range(columns) for name, columns in greatest.items()}
    for name, columns in greatest.items():
        print(f"{name}: {columns.max():.1f} at most, {np.median(columns):.2f} in the median column")
    if options.write:
        lines = (f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in ranges.items())
        RANGES_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        print(f"written to {RANGES_FILE}")
    return 0


def texts(data: Path, tokenizer: Tokenizer) -> Iterator[Ids]:
    """The word pieces of each text, (1, length)."""
    rng = np.random.default_rng(SEED)
    source = read_source(data)
    said = [
        encoding.ids for encoding in tokenizer.encode_batch([*spoken(source, UTTERANCES), *source.questions])
    ]
    yield from (np.array([ids]) for ids in said)
    for _ in range(OTHERS):
        low, high = WORDS if rng.random() < 0.5 else LETTERS
        yield _text(rng.integers(low, high, rng.integers(1, 40)))
        yield _text(rng.integers(WORDS[0], WORDS[1], rng.integers(1, 3)))
    for _ in range(OTHERS // 10):
        joined = np.concatenate([said[i][1:-1] for i in rng.integers(len(said), size=40)])
        yield _text(joined[: MAX_TOKENS - 2])


def measured(model: onnx.ModelProto, texts: Iterator[Ids]) -> Mapping[str, Float32s]:
    """By layer, the greatest absolute number of each column of its input."""
    inputs = _inputs()
    for node in inputs.values():
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(node))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    greatest: dict[str, Float32s] = {}
    for ids in texts:
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        for layer, numbers in zip(inputs, session.run(list(inputs.values()), given), strict=True):
            columns = np.abs(numbers[0]).max(axis=0)
            greatest[layer] = np.maximum(greatest.get(layer, columns), columns)
    return greatest


def _inputs() -> Mapping[str, str]:
    """The node of the fp32 graph that each layer takes its input from."""
    before, found = "embeddings.LayerNorm", {}
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        found[f"{prefix}attention.self"] = before
        found[f"{prefix}attention.output.dense"] = f"{prefix}attention"
        found[f"{prefix}intermediate.dense"] = f"{prefix}attention.output.LayerNorm"
        before = f"{prefix}output.LayerNorm"
    return found


def _range(columns: Float32s) -> list[float]:
    """Three digits are enough, and mean the same on every machine."""
    held = np.maximum(columns.astype(np.float64), LEAST * columns.max())
    return [float(f"{number:.3g}") for number in held**SHARE * held.max() ** (1 - SHARE)]


def _text(pieces: NDArray[np.int64]) -> Ids:
    return np.concatenate([[FIRST], pieces, [LAST]])[None].astype(np.int64)


if __name__ == "__main__":
    raise SystemExit(main())
