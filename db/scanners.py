"""First passes on a graphics card: a scanner reads all vectors of a space and names candidates; the last word stays
on the CPU.

- A scanner says how far its scores may lie from the true ones. The planner asks for more candidates until the rows
  beyond them cannot be among the best, ranks them by sums in double precision from the vectors themselves, and so
  answers as the CPU does, ties too.
- A scanner that cannot filter is never asked with a filter; one that fails is left, once said, for the CPU.
- FAISS's own card support is here; one on torch lives above this room, which knows no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from db.vectors import SpaceVectors

log = logging.getLogger(__name__)

HALF_ROUNDING = 2.0**-11
GPU_LARGEST_K = 2048  # of FAISS's kernels


class Scanner(Protocol):
    """Reads all vectors of a space for many queries."""

    name: str
    filters: bool  # whether it can leave rows out
    largest: int  # candidates a query at most
    error: float  # of a score of unit vectors, at most

    def best(
        self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and rows [n, count] of the best for unit queries [n, D] among ``keep`` [N], best first."""
        ...


ScannerFactory = Callable[[SpaceVectors], Scanner]


def probe_faiss_gpu() -> tuple[bool, str]:
    """Whether FAISS can use a graphics card here, and why (not)."""
    try:
        import faiss
    except ModuleNotFoundError:
        return False, "FAISS is not installed"
    if not hasattr(faiss, "StandardGpuResources"):
        return False, "this FAISS is built for the CPU; make install GPU=1"
    count = faiss.get_num_gpus()
    return count > 0, f"FAISS sees {count} graphics cards"


class FaissGpuScanner:
    """A flat index in half precision on the first card; its kernels ignore filters, so it is not asked with one."""

    name = "faiss-gpu"
    filters = False
    largest = GPU_LARGEST_K
    error = 4 * HALF_ROUNDING

    def __init__(self, vectors: SpaceVectors) -> None:
        import faiss

        self._resources = faiss.StandardGpuResources()
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = True
        self._index: Any = faiss.GpuIndexFlatIP(self._resources, vectors.dim, config)
        for _, piece in vectors.chunks():
            self._index.add(np.ascontiguousarray(piece))

    def best(
        self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See :class:`Scanner`; ``keep`` must be None."""
        if keep is not None:
            raise ValueError("FAISS's card kernels ignore filters; ask the CPU")
        scores, rows = self._index.search(queries, count)
        return scores, rows
