"""The encoder's ONNX graph, built from the weights: all-MiniLM-L6-v2 with pooling and normalisation inside.

A BERT encoder of 6 layers (Devlin et al. 2018), then the mean of the token vectors under the attention mask,
divided by its Euclidean norm. Inputs `input_ids` and, in fp32, `attention_mask`, int64, both (batch, length); output
`embedding`, float32, (batch, 384), unit rows. Token types are all zero, so their row is added to the positions. The
int8 graph takes no mask: its texts are run one by one, since the scale of its activations is that of the whole run.

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


def build(weights: Weights, precision: Precision) -> bytes:
    """The graph over `weights` (the tensors of model.safetensors by name), serialised.

    In "int8" every linear layer and the word embeddings hold 8-bit weights, symmetric with one scale per output
    column (per word); activations are quantised as they come, with one scale per tensor. Raises KeyError where a
    tensor is missing.
    """
    graph = _Graph(quantised=precision == "int8")
    x = _embeddings(graph, weights)
    mask = ""  # no mask
    if not graph.quantised:
        mask = graph.node("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.INT32)
    for layer in range(_LAYERS):
        x = _layer(graph, weights, f"encoder.layer.{layer}.", x, mask)
    _pool(graph, x)
    return graph.serialise()


@dataclass(slots=True, kw_only=True)
class _Graph:
    """Nodes and weights in the order in which they were added."""

    quantised: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
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
        if self.quantised:
            inputs = [x, *self.quantised_weight(name, matrix)]
            if bias is not None:
                inputs += ["", self.weight(f"{name}.bias", bias)]
            return self.node("DynamicQuantizeMatMul", inputs, name, _FUSED)
        product = self.node("MatMul", [x, self.weight(f"{name}.weight", matrix)], f"{name}.product")
        if bias is None:
            return product
        return self.node("Add", [product, self.weight(f"{name}.bias", bias)], name)

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
                for name in (("input_ids",) if self.quantised else ("input_ids", "attention_mask"))
            ],
            [helper.make_tensor_value_info("embedding", float32, ["batch", SEMANTIC_DIMENSIONS])],
            self.weights,
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
    if graph.quantised:
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
    attended = _attention(graph, weights, prefix, x, mask)
    x = _project_and_normalise(graph, weights, f"{prefix}attention.output", attended, x)
    name = f"{prefix}intermediate.dense"
    if graph.quantised:
        # Its product adds the bias in passing, and onnxruntime's Gelu knows AVX-512, which its BiasGelu does not.
        hidden = graph.linear(x, name, weights[f"{name}.weight"].T, weights[f"{name}.bias"])
        hidden = graph.node("Gelu", [hidden], f"{name}.gelu", _FUSED)
    else:
        hidden = graph.linear(x, name, weights[f"{name}.weight"].T)
        bias = graph.weight(f"{name}.bias", weights[f"{name}.bias"])
        hidden = graph.node("BiasGelu", [hidden, bias], f"{name}.gelu", _FUSED)
    return _project_and_normalise(graph, weights, f"{prefix}output", hidden, x)


def _attention(graph: _Graph, weights: Weights, prefix: str, x: str, mask: str) -> str:
    """Multi-head attention over the tokens under `mask`, before its output projection."""
    parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    matrix = np.concatenate([weights[f"{part}.weight"].T for part in parts], axis=1)
    name = f"{prefix}attention"
    bias = graph.weight(f"{name}.bias", np.concatenate([weights[f"{part}.bias"] for part in parts]))
    if not graph.quantised:
        inputs = [x, graph.weight(f"{name}.weight", matrix), bias, mask]
        return graph.node("Attention", inputs, name, _FUSED, num_heads=_HEADS)
    values, scale = graph.quantised_weight(name, matrix)
    zero = graph.weight(f"{name}.zero", np.zeros(matrix.shape[1], np.int8))
    quantised = [f"{name}.input", f"{name}.input.scale", f"{name}.input.zero"]
    graph.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], quantised, name=quantised[0]))
    inputs = [quantised[0], values, bias, quantised[1], scale, mask, quantised[2], zero]
    return graph.node("QAttention", inputs, name, _FUSED, num_heads=_HEADS)


def _project_and_normalise(graph: _Graph, weights: Weights, name: str, x: str, skip: str) -> str:
    """LayerNorm(x @ matrix + bias + skip)."""
    projected = graph.linear(x, name, weights[f"{name}.dense.weight"].T, weights[f"{name}.dense.bias"])
    return _normalise(
        graph, weights, f"{name}.LayerNorm", graph.node("Add", [projected, skip], f"{name}.sum")
    )


def _normalise(graph: _Graph, weights: Weights, name: str, x: str) -> str:
    gain, shift = (graph.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph.node("LayerNormalization", [x, gain, shift], name, axis=-1, epsilon=_NORM_EPSILON)


def _pool(graph: _Graph, x: str) -> None:
    """The sum of the token vectors (under the mask) at norm 1, which is also the mean at norm 1."""
    axis = graph.weight("pool.axis", np.ones(1, np.int64))
    if graph.quantised:
        total = graph.node("ReduceSum", [x, axis], "pool.total", keepdims=0)
    else:
        total = _masked_sum(graph, x, axis)
    graph.node("LpNormalization", [total], "embedding", axis=-1, p=2)


def _masked_sum(graph: _Graph, x: str, axis: str) -> str:
    mask = graph.node("Cast", ["attention_mask"], "pool.mask", to=onnx.TensorProto.FLOAT)
    row = graph.node("Unsqueeze", [mask, axis], "pool.row")
    total = graph.node("MatMul", [row, x], "pool.sum")
    return graph.node("Squeeze", [total, axis], "pool.total")
