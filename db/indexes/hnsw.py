"""A graph of near neighbours: fastest at high recall, dear to build, blind to filters.

After Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs" (2018), as FAISS has it, over float16 vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from db.indexes.base import Candidates, IndexSpec, add_all, named, sample
from db.vectors import SpaceVectors


@dataclass(frozen=True)
class Hnsw(IndexSpec):
    """Every row linked to some ``links`` near ones, walked with ``ef`` open places; up to some 200,000 rows.

    Memory 2 * dim + 8 * links + 4 * links / 16 bytes a row (1.3 KB at 512 numbers). Some 3,000 rows a second are
    built on two cores; a search takes about 0.3 ms at recall 0.99 among 100,000 rows and grows slowly with them.
    """

    KIND: ClassVar[str] = "hnsw"
    EFFORTS: ClassVar[Mapping[str, tuple[int, ...]]] = {"ef": (32, 64, 128, 256)}

    links: int = 32
    build_ef: int = 100
    ef: int = 64

    def memory(self, rows: int, dim: int) -> int:
        """Vectors at half precision and links."""
        return rows * (2 * dim + 8 * self.links + self.links // 4)

    def fits(self, rows: int, dim: int) -> bool:
        """From 1,000 rows; above 250,000 building takes minutes to hours."""
        return 1_000 <= rows <= 250_000 and dim > 0

    def build(self, vectors: SpaceVectors) -> Any:
        """All rows in their order."""
        import faiss

        index = faiss.IndexHNSWSQ(vectors.dim, faiss.ScalarQuantizer.QT_fp16, self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.build_ef
        index.train(sample(vectors, 1))
        return add_all(index, vectors)

    def candidates(self, index: Any, query: NDArray[np.float32], k: int, widen: int) -> Candidates:
        """All that the walk has open at its end."""
        import faiss

        ef = max(self.ef, k) * widen
        parameters = faiss.SearchParametersHNSW(efSearch=ef)
        return named(index, *index.search(query[None], min(ef, index.ntotal), params=parameters))
