"""Memories elsewhere: Chroma and txtai, each as its documentation recommends, with the same encoder's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import chromadb
import numpy as np
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction
from txtai import Embeddings

from cofio.bench.peers.encoders import Reference
from cofio.records import Float32s


class Chroma:
    """A persistent collection that encodes documents and questions itself; its own defaults otherwise."""

    def __init__(self, folder: Path, model: Path) -> None:
        client = chromadb.PersistentClient(
            str(folder), settings=chromadb.Settings(anonymized_telemetry=False)
        )
        self._collection = client.create_collection(
            "memories",
            embedding_function=SentenceTransformerEmbeddingFunction(str(model)),
        )

    def add(self, ids: Sequence[str], texts: Sequence[str], vectors: Float32s | None = None) -> None:
        """The texts can be found; they are encoded unless their vectors are given."""
        at_once = 5000  # Chroma refuses more
        for start in range(0, len(ids), at_once):
            part = slice(start, start + at_once)
            given = {} if vectors is None else {"embeddings": vectors[part]}
            self._collection.add(ids=list(ids[part]), documents=list(texts[part]), **given)

    def ask(self, question: str, limit: int) -> list[str]:
        """The ids of the best `limit` texts."""
        found: list[str] = self._collection.query(query_texts=[question], n_results=limit)["ids"][0]
        return found


class Txtai:
    """Hybrid search (dense and BM25) with the texts kept; its own defaults otherwise."""

    def __init__(self, model: Path) -> None:
        self._embeddings = Embeddings(path=str(model), content=True, hybrid=True)

    def add(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """The texts can be found."""
        self._embeddings.upsert(zip(ids, texts, strict=True))

    def ask(self, question: str, limit: int) -> list[str]:
        """The ids of the best `limit` texts."""
        return [found["id"] for found in self._embeddings.search(question, limit)]

    def close(self) -> None:
        """The stores are closed."""
        self._embeddings.close()


class FilledTxtai(Txtai):
    """txtai over texts whose vectors are given, so that filling it takes no encoder; questions are encoded."""

    def __init__(
        self, reference: Reference, ids: Sequence[str], texts: Sequence[str], vectors: Float32s
    ) -> None:
        self._known: Mapping[str, Float32s] = dict(zip(texts, vectors, strict=True))
        self._reference = reference
        # A plain function: of anything else txtai makes an instance first.
        self._embeddings = Embeddings(
            method="external", transform=lambda texts: self._encode(texts), content=True, hybrid=True
        )
        self._embeddings.index(zip(ids, texts, strict=True))
        self._known = {}

    def _encode(self, texts: Sequence[str]) -> Float32s:
        return np.stack(
            [self._known[text] if text in self._known else self._reference.encode(text) for text in texts]
        )
