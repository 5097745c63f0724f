"""The encoder: all-MiniLM-L6-v2 on ONNX Runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime as ort
import structlog
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail, RuntimeException
from tokenizers import Tokenizer

from cofio.embed.model_files import Precision, verify
from cofio.records import SEMANTIC_DIMENSIONS, Float32s

_log = structlog.get_logger(__name__)

MAX_WORD_PIECES: Final = 256  # the reference model's limit; its tokenizer file says 128
CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_OUTPUT: Final = "embedding"
# TF32 would round what it multiplies to ten bits: a store that was begun on a CPU keeps its vectors on a GPU.
_CUDA_OPTIONS: Final = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
# onnxruntime's own errors derive from Exception alone.
_ERRORS: Final = (EPFail, Fail, RuntimeException, RuntimeError, ValueError)


class SessionFailed(Exception):
    """The model could not be run: what onnxruntime says of it, which has seen numbers only, and no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How texts are run: similar lengths together, at most `tokens` with the padding, though always one text.

    The width of a run is a multiple of `width_step`; where texts are not `padded`, a run holds one length only. One call
    of an encoder should take some twenty milliseconds, since so long may a question have to wait for it: `questions` share
    one, and a piece of an import has `call_tokens`, though always one run.
    """

    tokens: int
    width_step: int
    padded: bool
    questions: int
    call_tokens: int


# Processors: short runs keep the activations in the cache (132 texts/s at 256 tokens a run, 44 at 4,096). With pieces of
# some 400 tokens, a question during an import took 45 ms (p95 110); with these 14 ms (p95 32), and the import was no
# slower.
_ON_CPU: Final = Batching(tokens=256, width_step=1, padded=True, questions=8, call_tokens=96)
# int8 takes no mask, so that what a text is run with leaves no trace in its vector (docs/decisions/0002). With 160 tokens
# an import was a tenth faster, and a question beside two of them took 7.4 ms (p95 17) instead of 5.7 (p95 13).
_IN_BYTES: Final = Batching(tokens=96, width_step=1, padded=False, questions=4, call_tokens=96)
# A GPU is idle on less than thousands of tokens. Few widths: each new one costs it a search for kernels and memory.
ON_GPU: Final = Batching(tokens=16_384, width_step=16, padded=True, questions=256, call_tokens=16_384)


class TextEncoder(Protocol):
    """What turns texts into vectors.

    `fingerprint` names the model and precision that the vectors come from, `earlier` what made such vectors before.
    `questions` may share a call.
    """

    dimension: int
    provider: str
    precision: str
    fingerprint: str
    earlier: frozenset[str]
    questions: int

    def pieces(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """The places of all the texts, in pieces of which each is to be one call, so that none takes long."""
        ...

    def encode(self, texts: Sequence[str]) -> Float32s:
        """One unit vector a text: float32 (n, 384), C-contiguous, row i for `texts[i]`."""
        ...


def comparable(encoder: TextEncoder, fingerprint: str | None) -> bool:
    """Whether vectors of what has this `fingerprint` may be compared with those of `encoder`."""
    return fingerprint == encoder.fingerprint or fingerprint in encoder.earlier


class OnnxEncoder:
    """An open session. `encode` and `pieces` may be called from several threads at once.

    fp32 runs texts of similar length together, on a GPU many; int8 runs those of one length together. A text has the same
    vector whatever it is encoded with: in int8 to the last bit, in fp32 to 1e-6.
    """

    dimension: int = SEMANTIC_DIMENSIONS

    def __init__(
        self,
        session: ort.InferenceSession,
        tokenizer: Tokenizer,
        *,
        precision: Precision,
        fingerprint: str,
        earlier: frozenset[str] = frozenset(),
        batching: Batching | None = None,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self.precision: str = precision
        self.provider: str = session.get_providers()[0]
        self.fingerprint: str = fingerprint
        self.earlier: frozenset[str] = earlier
        self._inputs = [taken.name for taken in session.get_inputs()]
        self._device = "cuda" if self.provider == CUDA else "cpu"
        if batching is None:
            batching = _IN_BYTES if precision == "int8" else ON_GPU if self._device == "cuda" else _ON_CPU
        self._batching = batching
        self.questions: int = batching.questions

    @classmethod
    def open(
        cls, model_dir: Path, *, precision: Precision, threads: int = 1, batching: Batching | None = None
    ) -> OnnxEncoder:
        """The verified model of this precision is loaded; raises `ModelMissing`. `threads` serve one run.

        `batching` is what suits precision and device unless it is given.
        """
        files = verify(model_dir, precision)
        tokenizer = Tokenizer.from_file(str(files.tokenizer))
        tokenizer.enable_truncation(MAX_WORD_PIECES)
        tokenizer.no_padding()
        return cls(
            _session(files.model, precision, threads),
            tokenizer,
            precision=precision,
            fingerprint=files.fingerprint,
            earlier=files.earlier,
            batching=batching,
        )

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The places of all the texts, shorter ones first, in pieces of at most `call_tokens` or of one run."""
        pieces: list[list[int]] = []
        left = 0
        for run, width in self._runs([len(tokens) for tokens in self._tokens(texts)]):
            if len(run) * width > left:
                pieces.append([])
                left = self._batching.call_tokens
            pieces[-1] += run
            left -= len(run) * width
        return pieces

    def encode(self, texts: Sequence[str]) -> Float32s:
        """One unit vector a text: float32 (n, 384), row i for `texts[i]`; beyond 256 word pieces a text is cut."""
        vectors = np.empty((len(texts), SEMANTIC_DIMENSIONS), np.float32)
        tokens = self._tokens(texts)
        for run, width in self._runs([len(one) for one in tokens]):
            ids = np.zeros((len(run), width), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(run):
                ids[row, : len(tokens[i])] = tokens[i]
                mask[row, : len(tokens[i])] = 1
            vectors[run] = self._run(ids, mask)
        return vectors

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Float32s:
        """The vectors of one run: inputs and outputs lie where the session computes, and cross over once."""
        try:
            binding = self._session.io_binding()
            for name, values in zip(self._inputs, (ids, mask), strict=False):  # int8 takes no mask
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(values, self._device, 0))
            binding.bind_output(_OUTPUT, self._device, 0)
            self._session.run_with_iobinding(binding)
            vectors: Float32s = binding.copy_outputs_to_cpu()[0]
        except _ERRORS as error:
            raise SessionFailed(_in_a_line(error)) from error
        return vectors

    def _runs(self, lengths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
        """The texts of each run and its width, shorter ones first."""
        batching = self._batching
        run: list[int] = []
        width = 0
        for i in sorted(range(len(lengths)), key=lengths.__getitem__):
            wider = -(-lengths[i] // batching.width_step) * batching.width_step
            if run and (wider * (len(run) + 1) > batching.tokens or not (batching.padded or wider == width)):
                yield run, width
                run = []
            run.append(i)
            width = wider
        if run:
            yield run, width


def _session(graph: Path, precision: Precision, threads: int) -> ort.InferenceSession:
    """A session on the GPU where one works, else on the CPU.

    int8 stays on the CPU: its operators have no CUDA kernels, so that every layer would cross to the CPU and back.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if precision == "fp32" and CUDA in ort.get_available_providers() and _has_cuda_driver():
        session = _on_cuda(graph, options)
        if session is not None:
            return session
    # The graph is fused as far as it pays on a processor; more would put the slow SkipLayerNormalization in.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(str(graph), options, providers=[_CPU])


def _on_cuda(graph: Path, options: Any) -> ort.InferenceSession | None:
    """A session that has run on the GPU; None, with one warning, where the GPU cannot be used.

    Where CUDA's libraries are missing, onnxruntime raises nothing and quietly opens the session on the CPU.
    """
    try:
        session = ort.InferenceSession(
            str(graph), options, providers=[(CUDA, _CUDA_OPTIONS), _CPU], enable_fallback=0
        )
        token = np.ones((1, 1), np.int64)
        session.run([_OUTPUT], {"input_ids": token, "attention_mask": token})
    except _ERRORS as error:
        reason = _in_a_line(error)
    else:
        if session.get_providers()[0] == CUDA:
            return session
        reason = "its libraries did not load"
    _log.warning("cuda_unusable", reason=reason)
    return None


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
