"""Every number of a vector in 16 or 8 bits: a scan of half or a quarter of the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from db.errors import RequestError
from db.indexes.base import Candidates, IndexSpec, add_all, named, sample
from db.vectors import SpaceVectors

TRAIN_ROWS = 50_000
HALF_ROUNDING = 2.0**-11


@dataclass(frozen=True)
class Scalar(IndexSpec):
    """All rows at half precision (``bits`` 16) or in bytes (8), then ``refine`` * k true vectors.

    Memory dim * bits / 8 bytes a row. With 16 bits the error of a score is bounded, so an answer is known to be exact
    where the rows beyond the candidates cannot be among the best: that is said in its plan. It takes about half the
    time of a scan of float32; 8 bits are bound by arithmetic instead, and not faster on every machine.
    """

    KIND: ClassVar[str] = "scalar"
    EFFORTS: ClassVar[Mapping[str, tuple[int, ...]]] = {"refine": (4, 16)}

    bits: int = 16
    refine: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in (8, 16):
            raise RequestError(f"scalar: bits is {self.bits}, expected 8 or 16")

    def memory(self, rows: int, dim: int) -> int:
        """The codes."""
        return rows * dim * self.bits // 8

    def fits(self, rows: int, dim: int) -> bool:
        """From 1,000 rows."""
        return rows >= 1_000 and dim > 0

    def build(self, vectors: SpaceVectors) -> Any:
        """Ranges from a sample (8 bits), then all codes."""
        import faiss

        kind = faiss.ScalarQuantizer.QT_fp16 if self.bits == 16 else faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexScalarQuantizer(vectors.dim, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(sample(vectors, TRAIN_ROWS))
        return add_all(index, vectors)

    def candidates(self, index: Any, query: NDArray[np.float32], k: int, widen: int) -> Candidates:
        """The best ``refine`` * k by code."""
        return named(index, *index.search(query[None], min(k * self.refine * widen, index.ntotal)))

    def error(self, dim: int) -> float | None:
        """Half precision rounds every number by 2^-11 of it at most, numbers under 2^-14 by 2^-25; then single
        precision sums.
        """
        return HALF_ROUNDING * 1.01 + dim**0.5 * 2.0**-25 + (dim + 8) * 2.0**-24 if self.bits == 16 else None
