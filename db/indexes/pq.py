"""Product quantisation read by fast scan, over all rows or by lists: short codes in memory, the true vectors for the
last word.

After Jégou et al., "Product quantization for nearest neighbor search" (2011) and André et al., "Quicker ADC" (2019),
as FAISS has them (``PQ{m}x4fs``, ``IVF{lists},PQ{m}x4fs``). Measured on this kind of data in docs/store.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from db.indexes.base import TRAIN_ROWS_A_LIST, Candidates, IndexSpec, add_all, named, sample
from db.vectors import SpaceVectors

PQ_TRAIN_ROWS = 16_384


def pieces_of(dim: int, wide: int) -> int:
    """The largest number of pieces a vector of ``dim`` numbers can be cut into, ``wide`` numbers a piece or more."""
    count = max(1, dim // wide)
    while dim % count:
        count -= 1
    return count


@dataclass(frozen=True)
class Pq(IndexSpec):
    """All rows by short codes: no lists to mistune, keeps its recall under any query; from some 20,000 to 300,000 rows.

    Memory dim / (2 * wide) bytes a row (64 bytes at 512 numbers and ``wide`` 4). A search reads all codes (some 1 ms
    a 100,000 rows) and then ``refine`` * k true vectors.
    """

    KIND: ClassVar[str] = "pq"
    EFFORTS: ClassVar[Mapping[str, tuple[int, ...]]] = {"refine": (4, 16, 64, 256)}

    wide: int = 4
    refine: int = 16

    def memory(self, rows: int, dim: int) -> int:
        """Codes and codebook."""
        return rows * pieces_of(dim, self.wide) // 2 + 16 * dim * 4

    def fits(self, rows: int, dim: int) -> bool:
        """From 2,000 rows."""
        return rows >= 2_000 and dim >= self.wide

    def build(self, vectors: SpaceVectors) -> Any:
        """Codebooks from a sample, then all codes: seconds for 100,000 rows."""
        import faiss

        index = faiss.IndexPQFastScan(vectors.dim, pieces_of(vectors.dim, self.wide), 4, faiss.METRIC_INNER_PRODUCT)
        index.train(sample(vectors, PQ_TRAIN_ROWS))
        return add_all(index, vectors)

    def candidates(self, index: Any, query: NDArray[np.float32], k: int, widen: int) -> Candidates:
        """The best ``refine`` * k by code."""
        return named(index, *index.search(query[None], min(k * self.refine * widen, index.ntotal)))


@dataclass(frozen=True)
class IvfPq(IndexSpec):
    """Short codes in ``lists`` lists of which a search reads ``probes``: from some 200,000 rows on.

    Memory as :class:`Pq` plus 8 bytes a row and dim * 4 bytes a list. A search reads the share ``probes`` / ``lists``
    of the codes (under 1 ms a million rows at 64 of 1024), then ``refine`` * k true vectors. Rows in lists it does
    not read are missed.
    """

    KIND: ClassVar[str] = "ivf-pq"
    EFFORTS: ClassVar[Mapping[str, tuple[int, ...]]] = {"probes": (8, 32, 64, 128, 256), "refine": (16, 64, 256)}

    lists: int = 1024
    wide: int = 4
    probes: int = 64
    refine: int = 64

    def memory(self, rows: int, dim: int) -> int:
        """Codes, row numbers, centroids."""
        return rows * (pieces_of(dim, self.wide) // 2 + 8) + (self.lists + 16) * dim * 4

    def fits(self, rows: int, dim: int) -> bool:
        """When there are enough rows to learn the lists from."""
        return rows >= TRAIN_ROWS_A_LIST * self.lists and dim >= self.wide

    def build(self, vectors: SpaceVectors) -> Any:
        """Lists and codebooks from a sample, then all codes: some 20 s for a million rows on two cores."""
        import faiss

        quantizer = faiss.IndexFlatIP(vectors.dim)
        index = faiss.IndexIVFPQFastScan(
            quantizer, vectors.dim, self.lists, pieces_of(vectors.dim, self.wide), 4, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.spherical = True
        index.train(sample(vectors, TRAIN_ROWS_A_LIST * self.lists))
        return add_all(index, vectors)

    def candidates(self, index: Any, query: NDArray[np.float32], k: int, widen: int) -> Candidates:
        """The best ``refine`` * k by code in the ``probes`` nearest lists."""
        import faiss

        parameters = faiss.SearchParametersIVF(nprobe=min(self.probes * widen, self.lists))
        return named(index, *index.search(query[None], min(k * self.refine * widen, index.ntotal), params=parameters))
