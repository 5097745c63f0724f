"""The graphs compute what the papers say, and the same weights give the same bytes."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from cofio.embed.graph import build
from cofio.embed.ranges import Ranges, read_ranges
from cofio.records import Float32s

WORDS, WIDTH, HIDDEN, HEADS, LAYERS = 40, 384, 1536, 12, 6
TEXTS = [[1, 7, 7, 30, 2], [1, 2], [1, *range(3, 20), 2]]

Float64s = NDArray[np.float64]


@pytest.fixture(scope="module")
def weights() -> dict[str, Float32s]:
    """Random weights with the names and shapes of the model, but a small vocabulary."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (512, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}."
        for part, rows, columns in [
            *((f"attention.self.{name}", WIDTH, WIDTH) for name in ("query", "key", "value")),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", HIDDEN, WIDTH),
            ("output.dense", WIDTH, HIDDEN),
        ]:
            shapes[f"{layer}{part}.weight"] = (rows, columns)
            shapes[f"{layer}{part}.bias"] = (rows,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{layer}{part}.weight"] = shapes[f"{layer}{part}.bias"] = (WIDTH,)
    random = np.random.default_rng(7)
    return {name: 0.1 * random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def reference(
    weights: dict[str, Float32s], ids: list[int], seen: dict[str, Float64s] | None = None
) -> Float64s:
    """BERT, mean pooling and norm for one text, as the formulas have it, in float64.

    `seen` is told the greatest numbers of what each linear layer is given.
    """
    w = {name: values.astype(np.float64) for name, values in weights.items()}

    def linear(x: Float64s, name: str) -> Float64s:
        if seen is not None:
            seen[name] = np.maximum(seen.get(name, 0.0), np.abs(x).max(axis=0))
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def normalise(x: Float64s, name: str) -> Float64s:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        normed: Float64s = centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]
        return normed

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
    x = normalise(x + w["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}."
        query, key, value = (
            linear(x, f"{layer}attention.self.{name}").reshape(len(ids), HEADS, -1).swapaxes(0, 1)
            for name in ("query", "key", "value")
        )
        shares = np.exp(query @ key.swapaxes(1, 2) / sqrt(WIDTH / HEADS))
        shares /= shares.sum(axis=-1, keepdims=True)
        attended = (shares @ value).swapaxes(0, 1).reshape(len(ids), WIDTH)
        x = normalise(
            x + linear(attended, f"{layer}attention.output.dense"), f"{layer}attention.output.LayerNorm"
        )
        inner = linear(x, f"{layer}intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(erf)(inner / sqrt(2)))
        x = normalise(x + linear(inner, f"{layer}output.dense"), f"{layer}output.LayerNorm")
    mean = x.mean(axis=0)
    unit: Float64s = mean / np.linalg.norm(mean)
    return unit


def run(graph: bytes, texts: list[list[int]]) -> Float32s:
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = {"input_ids": ids, "attention_mask": mask}
    vectors: Float32s = session.run(
        ["embedding"], {taken.name: given[taken.name] for taken in session.get_inputs()}
    )[0]
    return vectors


@pytest.fixture(scope="module")
def ranges(weights: dict[str, Float32s]) -> Ranges:
    """What these texts bring about between the layers."""
    seen: dict[str, Float64s] = {}
    for text in TEXTS:
        reference(weights, text, seen)
    for i in range(LAYERS):
        seen[f"encoder.layer.{i}.attention.self"] = seen[f"encoder.layer.{i}.attention.self.query"]
    return {name: seen[name].astype(np.float32) for name in read_ranges()}


def test_fp32_computes_the_reference_with_and_without_padding(weights: dict[str, Float32s]) -> None:
    graph = build(weights, "fp32", {})
    expected = np.array([reference(weights, text) for text in TEXTS])
    np.testing.assert_allclose(run(graph, TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(run(graph, TEXTS[:1]), expected[:1], atol=1e-5)


def test_int8_stays_near_the_reference_at_a_quarter_of_the_size(
    weights: dict[str, Float32s], ranges: Ranges
) -> None:
    exact, quantised = build(weights, "fp32", {}), build(weights, "int8", ranges)
    for text in TEXTS:
        assert float(run(quantised, [text])[0] @ reference(weights, text)) > 0.995
    assert len(quantised) < 0.3 * len(exact)


def test_int8_gives_a_text_one_vector_in_any_company(weights: dict[str, Float32s], ranges: Ranges) -> None:
    graph = build(weights, "int8", ranges)
    rng = np.random.default_rng(3)
    for length in (1, 2, 5, 17, 40):
        texts = rng.integers(WORDS, size=(9, length)).tolist()
        assert np.array_equal(run(graph, texts), np.concatenate([run(graph, [text]) for text in texts]))


def test_numbers_beyond_their_range_are_cut_off(weights: dict[str, Float32s], ranges: Ranges) -> None:
    narrow = {name: numbers / np.float32(2) for name, numbers in ranges.items()}
    for text in TEXTS:
        assert float(run(build(weights, "int8", narrow), [text])[0] @ reference(weights, text)) > 0.9


def test_every_layer_of_the_model_has_its_ranges(weights: dict[str, Float32s], ranges: Ranges) -> None:
    held = read_ranges()
    assert len(held) == 3 * LAYERS
    assert all(numbers.shape == (WIDTH,) and (numbers > 0).all() for numbers in held.values())
    with pytest.raises(KeyError, match=r"encoder\.layer\.0\.attention\.output\.dense"):
        build(weights, "int8", {})


def test_the_same_weights_give_the_same_bytes(weights: dict[str, Float32s], ranges: Ranges) -> None:
    backwards = dict(reversed(weights.items()))
    assert build(weights, "fp32", {}) == build(backwards, "fp32", {})
    assert build(weights, "int8", ranges) == build(backwards, "int8", ranges)


def test_a_missing_tensor_is_named(weights: dict[str, Float32s]) -> None:
    rest = {name: values for name, values in weights.items() if name != "encoder.layer.5.output.dense.bias"}
    with pytest.raises(KeyError, match=r"encoder\.layer\.5\.output\.dense\.bias"):
        build(rest, "fp32", {})
