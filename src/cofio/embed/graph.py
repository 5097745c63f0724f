"""The encoder's ONNX graph, built from the weights: all-MiniLM-L6-v2 with pooling and normalisation inside.

A BERT encoder of 6 layers (Devlin et al. 2018), then the mean of the token vectors under the attention mask,
divided by its Euclidean norm. Inputs `input_ids` and, in fp32, `attention_mask`, int64, both (batch, length); output
`embedding`, float32, (batch, 384), unit rows. Token types are all zero, so their row is added to the positions. The
int8 graph takes no mask: only texts of one length share a run, and then no vector depends on what it is run with.

In int8 a linear layer multiplies bytes by bytes. Each column of its input is divided by what is known of its range
(`cofio.embed.ranges`), so that the few that are far larger than the others take none of their precision, and the
weights are multiplied by it instead (SmoothQuant: Xiao et al. 2023). Behind GELU, where ranges depend on what is said,
each row is divided by its own greatest number. Nothing depends on what else is in the run.

Attention and the exact (erf) GELU are onnxruntime's own operators ("com.microsoft"), so only onnxruntime runs these
graphs. Skip connections are not: its SkipLayerNormalization takes three times as long as what it fuses. The same
weights give the same bytes on every machine: nodes and weights have a fixed order, and quantisation uses only exactly
rounded operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from cofio.embed.ranges import Ranges
from cofio.records import SEMANTIC_DIMENSIONS, Float32s

MAX_TOKENS: Final = 256  # the reference model's limit, [CLS] and [SEP] included

_LAYERS: Final = 6
_HEADS: Final = 12
_NORM_EPSILON: Final = 1e-12
_FUSED: Final = "com.microsoft"
_OPSET: Final = 18
_IR_VERSION: Final = 9  # read by onnxruntime 1.15 and later

Weights = Mapping[str, Float32s]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """How bytes stand for numbers up to 1: `steps` of them from 0, whose byte is `zero`."""

    zero: int
    steps: int


AROUND_ZERO: Final = Code(zero=128, steps=127)
ABOVE_ZERO: Final = Code(zero=48, steps=207)  # behind GELU, which is never below -.17
_GELU_LEAST: Final = 0.17


def build(weights: Weights, precision: Precision, ranges: Ranges) -> bytes:
    """The graph over `weights` (the tensors of model.safetensors by name), serialised.

    In "int8" every linear layer and the word embeddings hold 8-bit weights, symmetric with one scale per output
    column (per word), and `ranges` tell what the layers' inputs are divided by. Raises KeyError where a tensor or a
    range is missing.
    """
    graph = _Graph(in_bytes=precision == "int8", ranges=ranges)
    x = _embeddings(graph, weights)
    mask = ""  # no mask
    if not graph.in_bytes:
        mask = graph.node("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.INT32)
    for layer in range(_LAYERS):
        x = _layer(graph, weights, f"encoder.layer.{layer}.", x, mask)
    _pool(graph, x)
    return graph.serialise()


@dataclass(slots=True, kw_only=True)
class _Graph:
    """Nodes and weights in the order in which they were added."""

    in_bytes: bool
    ranges: Ranges
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def node(
        self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: int | float
    ) -> str:
        node = helper.make_node(operator, inputs, [output], name=output, domain=domain)
        # As make_node does it with keyword arguments, which its annotations do not allow for.
        node.attribute.extend(helper.make_attribute(key, attributes[key]) for key in sorted(attributes))
        self.nodes.append(node)
        return output

    def linear(self, x: str, name: str, matrix: Float32s, bias: Float32s | None = None) -> str:
        """`x @ matrix + bias`; where no bias is given, the operator that follows adds it."""
        product = self.node("MatMul", [x, self.weight(f"{name}.weight", matrix)], f"{name}.product")
        if bias is None:
            return product
        return self.node("Add", [product, self.weight(f"{name}.bias", bias)], name)

    def quantised_linear(self, x: str, name: str, matrix: Float32s, bias: Float32s) -> str:
        """`(x * range) @ matrix + bias` in bytes."""
        weight, scale = self.quantised_weight(name, matrix * self.ranges[name][:, None])
        given, step, zero = self.quantised(x, name, AROUND_ZERO)
        inputs = [given, weight, step, scale, zero, "", self.weight(f"{name}.bias", bias)]
        return self.node("MatMulIntegerToFloat", inputs, name, _FUSED)

    def quantised_by_row(self, x: str, name: str, matrix: Float32s, bias: Float32s) -> str:
        """`x @ matrix + bias` in bytes, each row of `x`, which is behind GELU, by its own greatest number."""
        weight, scale = self.quantised_weight(name, matrix)
        last = self.weight("last", np.array([-1]))
        most = self.node("ReduceMax", [x, last], f"{name}.most", keepdims=1)
        least = self.weight("least", np.array(_GELU_LEAST * ABOVE_ZERO.steps / ABOVE_ZERO.zero, np.float32))
        span = self.node("Max", [most, least], f"{name}.span")
        given, step, zero = self.quantised(self.node("Div", [x, span], f"{name}.narrowed"), name, ABOVE_ZERO)
        product = self.node(
            "MatMulIntegerToFloat", [given, weight, step, scale, zero], f"{name}.product", _FUSED
        )
        spread = self.node("Mul", [product, span], f"{name}.spread")
        return self.node("Add", [spread, self.weight(f"{name}.bias", bias)], name)

    def quantised(self, x: str, name: str, code: Code) -> tuple[str, str, str]:
        """`x` in bytes of this code, as the input of the layer `name`; their step, and the byte of 0."""
        step = self.weight(f"step.{code.steps}", np.array(1 / code.steps, np.float32))
        zero = self.weight(f"zero.{code.zero}", np.array(code.zero, np.uint8))
        return self.node("QuantizeLinear", [x, step, zero], f"{name}.input"), step, zero

    def narrowed(self, x: str, name: str) -> str:
        """`x` by the range of the layer `name`: at most 1 but for what was never seen, which is cut off."""
        return self.node("Mul", [x, self.weight(f"{name}.narrow", 1 / self.ranges[name])], f"{name}.narrowed")

    def quantised_weight(self, name: str, matrix: Float32s) -> tuple[str, str]:
        """`matrix` (n, m) as int8 and one scale a column: values · scale ≈ matrix."""
        values, scales = _quantise(matrix)
        return self.weight(f"{name}.weight", values), self.weight(f"{name}.scale", scales)

    def serialise(self) -> bytes:
        int64, float32 = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "all-MiniLM-L6-v2",
            [
                helper.make_tensor_value_info(name, int64, ["batch", "length"])
                for name in (("input_ids",) if self.in_bytes else ("input_ids", "attention_mask"))
            ],
            [helper.make_tensor_value_info("embedding", float32, ["batch", SEMANTIC_DIMENSIONS])],
            list(self.weights.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="cofio")
        return bytes(model.SerializeToString(deterministic=True))


def _quantise(matrix: Float32s) -> tuple[NDArray[np.int8], Float32s]:
    """`matrix` (n, m) as int8 and one scale per column (m,): values · scale ≈ matrix."""
    scales = np.abs(matrix).max(axis=0) / np.float32(127)
    return np.rint(matrix / scales).astype(np.int8), scales


def _embeddings(graph: _Graph, weights: Weights) -> str:
    """Word + position + type embedding, layer-normalised: (batch, length, 384)."""
    words = weights["embeddings.word_embeddings.weight"]
    if graph.in_bytes:
        values, scales = _quantise(words.T)
        rows = graph.node("Gather", [graph.weight("words", values.T), "input_ids"], "words.rows")
        cast = graph.node("Cast", [rows], "words.float", to=onnx.TensorProto.FLOAT)
        scale = graph.node(
            "Gather", [graph.weight("words.scale", scales[:, None]), "input_ids"], "words.scales"
        )
        word = graph.node("Mul", [cast, scale], "words.values")
    else:
        word = graph.node("Gather", [graph.weight("words", words), "input_ids"], "words.values")
    types = weights["embeddings.token_type_embeddings.weight"]
    table = weights["embeddings.position_embeddings.weight"][:MAX_TOKENS] + types[0]
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    zero = graph.weight("zero", np.zeros(1, np.int64))
    position = graph.node("Slice", [graph.weight("positions", table), zero, length, zero], "positions.rows")
    both = graph.node("Add", [word, position], "embeddings.sum")
    return _normalise(graph, weights, "embeddings.LayerNorm", both)


def _layer(graph: _Graph, weights: Weights, prefix: str, x: str, mask: str) -> str:
    """One layer of the encoder: attention and feed-forward network, each with its skip connection and norm."""
    narrow = _quantised_attention if graph.in_bytes else _attention
    x = _skip(graph, weights, f"{prefix}attention.output", narrow(graph, weights, prefix, x, mask), x)
    wide = _quantised_feed_forward if graph.in_bytes else _feed_forward
    return _skip(graph, weights, f"{prefix}output", wide(graph, weights, prefix, x), x)


def _attention(graph: _Graph, weights: Weights, prefix: str, x: str, mask: str) -> str:
    """Multi-head attention over the tokens under `mask`."""
    matrix, bias = _queries_keys_values(weights, prefix)
    name, out = f"{prefix}attention", f"{prefix}attention.output"
    added = graph.weight(f"{name}.bias", bias)
    inputs = [x, graph.weight(f"{name}.weight", matrix), added, mask]
    attended = graph.node("Attention", inputs, name, _FUSED, num_heads=_HEADS)
    return graph.linear(attended, out, weights[f"{out}.dense.weight"].T, weights[f"{out}.dense.bias"])


def _quantised_attention(graph: _Graph, weights: Weights, prefix: str, x: str, mask: str) -> str:
    """The same in bytes. What comes out of it is narrowed in the weights of the values, which costs nothing."""
    name, out = f"{prefix}attention.self", f"{prefix}attention.output.dense"
    matrix, bias = _queries_keys_values(weights, prefix)
    matrix[:, -SEMANTIC_DIMENSIONS:] /= graph.ranges[out]
    bias[-SEMANTIC_DIMENSIONS:] /= graph.ranges[out]
    weight, scale = graph.quantised_weight(name, matrix * graph.ranges[name][:, None])
    given, step, zero = graph.quantised(graph.narrowed(x, name), name, AROUND_ZERO)
    zeros = graph.weight(f"{name}.zero", np.zeros(matrix.shape[1], np.int8))
    inputs = [given, weight, graph.weight(f"{name}.bias", bias), step, scale, mask, zero, zeros]
    attended = graph.node("QAttention", inputs, name, _FUSED, num_heads=_HEADS)
    return graph.quantised_linear(attended, out, weights[f"{out}.weight"].T, weights[f"{out}.bias"])


def _queries_keys_values(weights: Weights, prefix: str) -> tuple[Float32s, Float32s]:
    """The three matrices side by side, (384, 1152), and their biases."""
    parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    matrix = np.concatenate([weights[f"{part}.weight"].T for part in parts], axis=1)
    return matrix, np.concatenate([weights[f"{part}.bias"] for part in parts])


def _feed_forward(graph: _Graph, weights: Weights, prefix: str, x: str) -> str:
    name, out = f"{prefix}intermediate.dense", f"{prefix}output"
    hidden = graph.linear(x, name, weights[f"{name}.weight"].T)
    bias = graph.weight(f"{name}.bias", weights[f"{name}.bias"])
    hidden = graph.node("BiasGelu", [hidden, bias], f"{name}.gelu", _FUSED)
    return graph.linear(hidden, out, weights[f"{out}.dense.weight"].T, weights[f"{out}.dense.bias"])


def _quantised_feed_forward(graph: _Graph, weights: Weights, prefix: str, x: str) -> str:
    """The same in bytes. The product adds the bias in passing: onnxruntime's Gelu knows AVX-512, its BiasGelu does not."""
    name, out = f"{prefix}intermediate.dense", f"{prefix}output.dense"
    hidden = graph.quantised_linear(
        graph.narrowed(x, name), name, weights[f"{name}.weight"].T, weights[f"{name}.bias"]
    )
    hidden = graph.node("Gelu", [hidden], f"{name}.gelu", _FUSED)
    return graph.quantised_by_row(hidden, out, weights[f"{out}.weight"].T, weights[f"{out}.bias"])


def _skip(graph: _Graph, weights: Weights, name: str, x: str, skip: str) -> str:
    """LayerNorm(x + skip)."""
    return _normalise(graph, weights, f"{name}.LayerNorm", graph.node("Add", [x, skip], f"{name}.sum"))


def _normalise(graph: _Graph, weights: Weights, name: str, x: str) -> str:
    gain, shift = (graph.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph.node("LayerNormalization", [x, gain, shift], name, axis=-1, epsilon=_NORM_EPSILON)


def _pool(graph: _Graph, x: str) -> None:
    """The sum of the token vectors (under the mask) at norm 1, which is also the mean at norm 1."""
    axis = graph.weight("pool.axis", np.ones(1, np.int64))
    if graph.in_bytes:
        # A product: onnxruntime's sums over one text and over several differ in their last bits.
        ones = graph.weight("pool.ones", np.ones((1, MAX_TOKENS), np.float32))
        row = graph.node("Slice", [ones, "zero", "length", axis], "pool.row")
    else:
        mask = graph.node("Cast", ["attention_mask"], "pool.mask", to=onnx.TensorProto.FLOAT)
        row = graph.node("Unsqueeze", [mask, axis], "pool.row")
    total = graph.node("Squeeze", [graph.node("MatMul", [row, x], "pool.sum"), axis], "pool.total")
    graph.node("LpNormalization", [total], "embedding", axis=-1, p=2)
