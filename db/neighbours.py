"""Clips that are too much alike: near doubles in a library, and clips of one split that another split has as well.

- All pairs are looked at, in blocks, by matrix products; a pair counts by its score in double precision. The work
  grows with the square of the clips: 10,000 take a second or two, 100,000 some minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.plan import row_products
from db.vectors import SpaceVectors

BLOCK = 2048
SLACK = 1e-4  # of sums in single precision


@dataclass(frozen=True)
class Pair:
    """Two clips and the inner product of their vectors."""

    one: str
    other: str
    score: float


def close_pairs(
    vectors: SpaceVectors, ones: NDArray[np.int64], others: NDArray[np.int64] | None, floor: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows whose inner product is ``floor`` or more: one of ``ones`` with one of ``others``, or among
    ``ones``.
    """
    for start in range(0, len(ones), BLOCK):
        own = ones[start : start + BLOCK]
        mine = vectors.take(own).astype(np.float32)
        second = ones[start:] if others is None else others
        for at in range(0, len(second), BLOCK):
            there = second[at : at + BLOCK]
            theirs = vectors.take(there).astype(np.float32)
            near = mine @ theirs.T >= floor - SLACK
            near &= own[:, None] < there[None] if others is None else own[:, None] != there[None]
            for i in np.flatnonzero(near.any(axis=1)).tolist():
                hits = np.flatnonzero(near[i])
                scores = row_products(theirs[hits], mine[i]).astype(np.float32)
                for j, score in zip(hits[scores >= floor].tolist(), scores[scores >= floor].tolist(), strict=True):
                    yield int(own[i]), int(there[j]), score
