"""The encoder reproduces the reference model, whatever it is batched with."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import structlog

from cofio.embed import onnx
from cofio.embed.model_files import verify
from cofio.embed.onnx import ON_GPU, Batching, OnnxEncoder
from cofio.errors import ModelMissing

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
GOLDEN = ROOT.parent / "shared" / "golden" / "minilm.jsonl.gz"

TEXTS = [
    "Ann: We ship in June.",
    "What did we decide?",
    "x",
    "The battery " * 200,
    "Ünïcode, 12.5 % and 東京",
]


@pytest.fixture(scope="module")
def exact() -> OnnxEncoder:
    return OnnxEncoder.open(MODELS, precision="fp32")


@pytest.fixture(scope="module")
def quantised() -> OnnxEncoder:
    return OnnxEncoder.open(MODELS, precision="int8")


@pytest.fixture(scope="module")
def golden() -> list[dict[str, Any]]:
    if not GOLDEN.exists():
        pytest.skip(f"the golden embeddings are not at {GOLDEN}")
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_fp32_reproduces_every_golden_embedding(exact: OnnxEncoder, golden: list[dict[str, Any]]) -> None:
    expected = np.array([row["embedding"] for row in golden], np.float32)
    found = exact.encode([row["text"] for row in golden])
    cosine = (found * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.9999


def test_int8_stays_near_the_golden_embeddings(
    quantised: OnnxEncoder, golden: list[dict[str, Any]], record_property: Any
) -> None:
    expected = np.array([row["embedding"] for row in golden], np.float32)
    cosine = (quantised.encode([row["text"] for row in golden]) * expected).sum(axis=1)
    record_property("int8_cosine_mean", float(cosine.mean()))
    print(f"int8 cosine to the reference: mean {cosine.mean():.4f}, min {cosine.min():.4f}")
    assert cosine.mean() >= 0.998
    assert cosine.min() >= 0.99


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_vector_depends_on_its_text_alone(precision: str, request: pytest.FixtureRequest) -> None:
    encoder: OnnxEncoder = request.getfixturevalue("exact" if precision == "fp32" else "quantised")
    together = encoder.encode(TEXTS)
    singly = np.concatenate([encoder.encode([text]) for text in TEXTS])
    backwards = encoder.encode(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(together, singly, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


def test_int8_gives_a_text_one_vector_to_the_last_bit(quantised: OnnxEncoder) -> None:
    """However texts share runs: of one length many do, and what is cut into pieces shares other ones."""
    words = ["the", "quarterly", "review", "of", "our", "gateway", "battery", "supplier", "came", "late"]
    texts = [" ".join(words[i % 5 : i % 5 + 1 + i % 9]) + "!" * (i % 3) for i in range(120)] + TEXTS
    together = quantised.encode(texts)
    assert np.array_equal(together, np.concatenate([quantised.encode([text]) for text in texts]))
    in_pieces = np.empty_like(together)
    pieces = quantised.pieces(texts)
    for piece in pieces:
        in_pieces[piece] = quantised.encode([texts[i] for i in piece])
    assert np.array_equal(together, in_pieces)
    assert 3 < len(pieces) < len(texts) / 4
    assert max(map(len, pieces)) < 60


@pytest.mark.parametrize(
    "batching",
    [ON_GPU, Batching(tokens=100, width_step=16, padded=True, questions=1, call_tokens=1)],
    ids=["gpu", "small"],
)
def test_vectors_are_the_same_however_texts_are_run_together(exact: OnnxEncoder, batching: Batching) -> None:
    texts = [" ".join(TEXTS[i % 2].split() * (i % 7 + 1)) for i in range(40)] + TEXTS
    other = OnnxEncoder.open(MODELS, precision="fp32", batching=batching)
    assert sorted(i for piece in other.pieces(texts) for i in piece) == list(range(len(texts)))
    np.testing.assert_allclose(other.encode(texts), exact.encode(texts), atol=1e-5)


def test_a_gpu_that_does_not_work_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a driver is there, but CUDA's libraries or the device are not. A machine with a GPU runs on it.

    A driver without its device cannot be installed for a test: it is claimed to be there, and the rest is real.
    """
    monkeypatch.setattr(onnx, "_has_cuda_driver", lambda: True)
    with structlog.testing.capture_logs() as lines:
        encoder = OnnxEncoder.open(MODELS, precision="fp32")
    warnings = [line for line in lines if line["event"] == "cuda_unusable"]
    on_gpu = encoder.provider == "CUDAExecutionProvider"
    has_build = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert len(warnings) == (1 if has_build and not on_gpu else 0)
    assert encoder.encode(TEXTS).shape == (len(TEXTS), 384)


def test_no_text_gives_no_row(exact: OnnxEncoder) -> None:
    assert exact.encode([]).shape == (0, 384)


def test_what_runs_is_told(exact: OnnxEncoder, quantised: OnnxEncoder) -> None:
    assert exact.provider.endswith("ExecutionProvider")
    assert exact.fingerprint != quantised.fingerprint
    for encoder in (exact, quantised):
        assert encoder.fingerprint not in encoder.earlier
        assert {name.rsplit("/", 1)[0] for name in encoder.earlier} == {encoder.fingerprint.rsplit("/", 1)[0]}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.int8.onnx", "missing"),
        ("model.int8.onnx", "altered"),
        ("tokenizer.json", "missing"),
        ("tokenizer.json", "altered"),
        ("manifest.toml", "missing"),
    ],
)
def test_a_damaged_model_is_refused_with_its_remedy(tmp_path: Path, name: str, damage: str) -> None:
    for file in ("model.int8.onnx", "tokenizer.json", "manifest.toml"):
        shutil.copy(MODELS / file, tmp_path / file)
    verify(tmp_path, "int8")
    if damage == "missing":
        (tmp_path / name).unlink()
    else:
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 0x15
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelMissing, match=r"scripts/setup_model\.py"):
        OnnxEncoder.open(tmp_path, precision="int8")


def test_files_that_vanish_are_missed_by_the_next_start_only(tmp_path: Path, quantised: OnnxEncoder) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("manifest.toml", "tokenizer.json", "model.int8.onnx"):
        shutil.copy(MODELS / name, models)
    opened = OnnxEncoder.open(models, precision="int8")
    shutil.rmtree(models)
    assert np.array_equal(opened.encode(TEXTS), quantised.encode(TEXTS))
    with pytest.raises(ModelMissing):
        OnnxEncoder.open(models, precision="int8")


def test_a_session_that_fails_says_why(exact: OnnxEncoder) -> None:
    with pytest.raises(onnx.SessionFailed, match="indices element out of data bounds"):
        exact._run(np.full((1, 4), 10**9), np.ones((1, 4), np.int64))  # no such word piece
