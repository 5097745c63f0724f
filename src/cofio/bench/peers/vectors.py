"""Vector search elsewhere: qdrant-client's local mode, and hnswlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import hnswlib
import numpy as np
from qdrant_client import QdrantClient, models

from cofio.bench.corpus import Stored
from cofio.records import SEMANTIC_DIMENSIONS, VECTOR_DIMENSIONS, Float32s, Level

# hnswlib's own recommendations for its first graph, and a search width that finds almost everything.
HNSW_LINKS: Final = 16
HNSW_BUILD: Final = 200
HNSW_SEARCH: Final = 128

_UPLOAD: Final = 1000


class LocalMode:
    """qdrant-client without a server, in memory: one collection a level, inner product, `project` as payload."""

    def __init__(self, levels: Mapping[Level, Stored]) -> None:
        self._client = QdrantClient(":memory:")
        for level, stored in levels.items():
            self._client.create_collection(
                level.label,
                vectors_config=models.VectorParams(size=VECTOR_DIMENSIONS, distance=models.Distance.DOT),
            )
            for start in range(0, len(stored.ids), _UPLOAD):
                part = slice(start, start + _UPLOAD)
                self._client.upsert(
                    level.label,
                    models.Batch(
                        ids=list(stored.ids[part]),
                        vectors=stored.vectors[part].tolist(),
                        payloads=[{"project": project} for project in stored.projects[part]],
                    ),
                )

    def search(self, vector: Float32s, limit: int, project: str | None) -> Mapping[Level, Sequence[str]]:
        """The ids of the best `limit` of each level, best first."""
        only = None
        if project is not None:
            match = models.FieldCondition(key="project", match=models.MatchValue(value=project))
            only = models.Filter(must=[match])
        return {
            level: [
                str(point.id)
                for point in self._client.query_points(
                    level.label, query=vector.tolist(), limit=limit, query_filter=only, with_payload=False
                ).points
            ]
            for level in Level
        }

    def close(self) -> None:
        """The collections are gone."""
        self._client.close()


class Hnsw:
    """One index of hnswlib a level, in this process, with ids and nothing else; one thread.

    It holds the semantic 384 dimensions only. A question has zeros in the other 16, so the ranking is the same, but
    between stored vectors these features would weigh more than the meaning, and the graph would lead nowhere
    (recall@10 of .7 at 600 vectors).
    """

    def __init__(self, levels: Mapping[Level, Stored]) -> None:
        self._levels: dict[Level, tuple[hnswlib.Index, Stored]] = {}
        for level, stored in levels.items():
            index = hnswlib.Index(space="ip", dim=SEMANTIC_DIMENSIONS)
            index.init_index(len(stored.ids), ef_construction=HNSW_BUILD, M=HNSW_LINKS)
            index.set_num_threads(1)
            index.add_items(stored.vectors[:, :SEMANTIC_DIMENSIONS], np.arange(len(stored.ids)))
            index.set_ef(HNSW_SEARCH)
            self._levels[level] = (index, stored)

    def search(self, vector: Float32s, limit: int) -> Mapping[Level, Sequence[str]]:
        """The ids of about the best `limit` of each level, best first."""
        found = {}
        for level, (index, stored) in self._levels.items():
            labels, _ = index.knn_query(
                vector[:SEMANTIC_DIMENSIONS], k=min(limit, len(stored.ids)), num_threads=1
            )
            found[level] = [stored.ids[label] for label in labels[0]]
        return found
