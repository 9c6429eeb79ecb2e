"""All vectors of a space where they lie: the blocks of its segments, mapped files read by FAISS's kernels, nothing
copied.

- float32 blocks are read in place by one thread, which is as fast as the memory is; what may lie in a cache row by row, for
  there FAISS's kernel is the slower one. Not by a matrix product: on two busy cores the threads of BLAS wait for one another
  fifty times longer than they work; only many queries at once are one.
- float16 blocks go into FAISS's half precision index (its codes are the same bytes), piece by piece, since there one core
  is slower than the memory: large scans are shared among cores (db/pool).
- Neighbouring small blocks are laid together: a call a block costs more than copying a few thousand rows once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.pool import each

SMALL_ROWS = 4096
CHUNK_ROWS = 65_536
CACHE_BYTES = 64 << 20
PIECE_ROWS = 32_768  # of float16 that a core scans at a time

Block = NDArray[np.floating[Any]]


class SpaceVectors:
    """Vectors [N, D] in blocks; rows are numbered through."""

    def __init__(self, blocks: Sequence[Block], dim: int) -> None:
        self.dim = dim
        whole = [np.ascontiguousarray(block) for block in _joined([b for b in blocks if len(b)])]
        self.blocks = [
            block[start : start + PIECE_ROWS] for block in whole for start in range(0, len(block), PIECE_ROWS)
        ] if whole and whole[0].dtype == np.float16 else whole  # fmt: skip
        self._starts = np.cumsum([0, *(len(block) for block in self.blocks)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def half(self) -> bool:
        """Whether the vectors are float16."""
        return bool(self.blocks) and self.blocks[0].dtype == np.float16

    def placed(self) -> Iterator[tuple[int, Block]]:
        """The blocks as they lie, each with its first row."""
        yield from zip(self._starts.tolist(), self.blocks, strict=False)

    def take(self, rows: NDArray[np.int64]) -> Block:
        """Vectors [M, D] of ``rows``, a copy."""
        if len(self.blocks) == 1:
            return self.blocks[0][rows]
        out = np.empty((len(rows), self.dim), self.blocks[0].dtype if self.blocks else np.float32)
        for number, mine, own in self._split(rows):
            out[mine] = self.blocks[number][own]
        return out

    def _split(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """For each block that has some of ``rows``: its number, which of them, and their rows inside it."""
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            yield number, mine, rows[mine] - self._starts[number]

    def chunks(
        self, rows: NDArray[np.int64] | None = None, step: int = CHUNK_ROWS
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """All vectors, or those of ``rows``, as float32 pieces [at most step, D] with the place of their first one."""
        if rows is not None:
            for start in range(0, len(rows), step):
                yield start, self.take(rows[start : start + step]).astype(np.float32, copy=False)
            return
        for first, block in self.placed():
            for start in range(0, len(block), step):
                yield first + start, block[start : start + step].astype(np.float32, copy=False)

    def products(self, query: NDArray[np.float32], rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Inner products [M] of a query [D] with the vectors of ``rows`` [M], or with all, in single precision."""
        import faiss

        out = np.empty(len(self) if rows is None else len(rows), np.float32)
        if self.half:
            for start, piece in self.chunks(rows):
                own = out[start : start + len(piece)]
                faiss.fvec_inner_products_ny(*map(faiss.swig_ptr, (own, query, piece)), self.dim, len(piece))
        elif rows is None:
            for first, block in self.placed():
                own = out[first : first + len(block)]
                faiss.fvec_inner_products_ny(*map(faiss.swig_ptr, (own, query, block)), self.dim, len(block))
        else:
            for number, mine, inside in self._split(rows):
                own = np.empty(len(mine), np.float32)
                given = [faiss.swig_ptr(array) for array in (own, query, self.blocks[number])]
                faiss.fvec_inner_products_by_idx(*given, faiss.swig_ptr(inside), self.dim, 1, len(mine))
                out[mine] = own
        return out

    def best(
        self, query: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and rows, at most ``count``, of the best among ``keep`` [N], best first, in single precision."""

        def best_of(number: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            return self._best_of(number, query, min(count, len(self.blocks[number])), keep)

        numbers = range(len(self.blocks))
        found = each(best_of, numbers, least=1) if self.half else [best_of(number) for number in numbers]
        scores, rows = (np.concatenate(pieces) for pieces in zip(*found, strict=True))
        order = np.argsort(-scores, kind="stable")[:count]
        return scores[order], rows[order]

    def _best_of(
        self, number: int, query: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        import faiss

        block, first = self.blocks[number], self._starts[number]
        if not self.half and block.nbytes <= CACHE_BYTES:
            return self._best_by_rows(number, query, count, keep)
        selector = None
        if keep is not None:
            bits = np.packbits(keep[first : first + len(block)], bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        if self.half:
            parameters = None if selector is None else faiss.SearchParameters(sel=selector)
            found, places = self._half_indexes[number].search(query[None], count, params=parameters)
            scores, rows = found[0], places[0]
        else:
            scores, rows = np.empty(count, np.float32), np.empty(count, np.int64)
            faiss.knn_inner_product(
                faiss.swig_ptr(query), faiss.swig_ptr(block), self.dim, 1, len(block), count,
                faiss.swig_ptr(scores), faiss.swig_ptr(rows), selector,
            )  # fmt: skip
        there = rows >= 0
        return scores[there], rows[there] + first

    def _best_by_rows(
        self, number: int, query: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        block, first = self.blocks[number], self._starts[number]
        products = np.vecdot(block, query)
        if keep is not None:
            products[~keep[first : first + len(block)]] = -np.inf
        rows = np.argpartition(products, len(block) - count)[len(block) - count :]
        rows = rows[np.argsort(-products[rows])]
        scores = products[rows]
        there = np.isfinite(scores)
        return scores[there], rows[there] + first

    @cached_property
    def _half_indexes(self) -> list[Any]:
        """A block's float16 vectors as FAISS reads them."""
        import faiss

        indexes = []
        for block in self.blocks:
            index = faiss.IndexScalarQuantizer(self.dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            index.add_sa_codes(np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1))
            indexes.append(index)
        return indexes


def _joined(blocks: Sequence[Block]) -> list[Block]:
    """Neighbouring blocks of less than :data:`SMALL_ROWS` rows as one."""
    out: list[Block] = []
    run: list[Block] = []
    for block in [*blocks, None]:
        if block is not None and len(block) < SMALL_ROWS:
            run.append(block)
            continue
        if run:
            out.append(run[0] if len(run) == 1 else np.concatenate(run))
            run = []
        if block is not None:
            out.append(block)
    return out
