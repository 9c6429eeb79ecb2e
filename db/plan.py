"""How a search is carried out: one index a space, a filter engine, and the choice between them.

- A filter becomes a list of rows before any vector is looked at.
- A first pass over all candidates uses FAISS's kernels on one thread: the heap of a flat index where all or most rows count,
  inner products by row number otherwise (measured: faster than a bitmap up to two rows in three). Not BLAS: on two busy cores
  its threads wait for one another fifty times longer than they work. Many queries at once are one matrix product.
- That pass decides only who may be among the best k, with the rounding error of its sums allowed for. Scores and order come
  from sums in double precision, row by row: equal vectors score equally, ties are broken by clip id, and the answer depends
  neither on the method nor on threads or on what else is in the library.
- DuckDB runs in memory, without access to files, and is started only by the first filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import FilterError
from db.filters import COLUMNS, Filter, parse_filter, to_sql

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 2 / 3  # of the rows: above this share, scanning all and leaving some out is faster
BATCH = 16  # queries; from here on one matrix product
BLOCK_SCORES = 2**24  # first-pass scores held at a time (64 MB)
EXACT_ROWS = 4096  # rows summed in double precision at a time
TIE_MARGIN = 16


class SpaceIndex:
    """All vectors of a space, [N, D] float32 in one block, in a FAISS flat index."""

    def __init__(self, blocks: Sequence[NDArray[np.floating[Any]]], dim: int) -> None:
        import faiss

        self._faiss = faiss.IndexFlatIP(dim)
        for block in blocks:
            if len(block):
                self._faiss.add(np.ascontiguousarray(block, np.float32))
        count = self._faiss.ntotal
        flat = faiss.rev_swig_ptr(self._faiss.get_xb(), count * dim) if count else np.zeros(0, np.float32)
        self.vectors: NDArray[np.float32] = flat.reshape(count, dim)  # a view, no copy

    def best(self, queries: NDArray[np.float32], k: int, keep: NDArray[np.bool_] | None) -> tuple[Any, Any]:
        """Scores and rows [n, k] of the best rows among ``keep`` [N], best first."""
        import faiss

        parameters = None
        if keep is not None:
            bits = np.packbits(keep, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        scores, rows = self._faiss.search(queries, k, params=parameters)
        return scores, rows

    def products(self, query: NDArray[np.float32], rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Inner products [M] of a query [D] with the vectors of ``rows`` [M], or with all."""
        import faiss

        dim = self.vectors.shape[1]
        out = np.empty(len(self.vectors) if rows is None else len(rows), np.float32)
        given = [faiss.swig_ptr(array) for array in (out, query, self.vectors)]
        if rows is None:
            faiss.fvec_inner_products_ny(*given, dim, len(out))
        else:
            faiss.fvec_inner_products_by_idx(*given, faiss.swig_ptr(rows), dim, 1, len(out))
        return out


@dataclass(frozen=True)
class Part:
    """One space of a search: its index, the queries [n, D] and the weight of their inner products."""

    index: SpaceIndex
    queries: NDArray[np.float32]
    weight: float


Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]


def best_rows(
    parts: Sequence[Part], keep: NDArray[np.bool_], k: int, names: NDArray[np.object_]
) -> tuple[list[NDArray[np.int64]], NDArray[np.float32], str]:
    """Rows (best first) and scores [n, min(k, matching)] of each query, and the name of the method."""
    queries, matching = len(parts[0].queries), int(np.count_nonzero(keep))
    k = min(k, matching)
    if k == 0 or queries == 0:
        return [np.zeros(0, np.int64)] * queries, np.zeros((queries, 0), np.float32), "empty"
    full, most = matching == len(keep), matching > MOST * len(keep)
    rows = None if full else np.flatnonzero(keep)
    found: dict[int, Ranked] = {}
    if len(parts) == 1 and most and parts[0].weight > 0 and queries < BATCH:
        found = _scan(parts[0], None if full else keep, min(k + TIE_MARGIN, matching), k, names)
        method = "flat" if full else "flat+bitmap"
    else:
        method = "product" if full else "rows"
    left = np.array([query for query in range(queries) if query not in found], np.int64)
    for query, scores in _first_pass(parts, left, rows, most=most):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = np.flatnonzero(scores >= edge - 2 * _error(parts, query))
        found[query] = _rank(parts, query, near if rows is None else rows[near], k, names)
    return [found[query][0] for query in range(queries)], np.stack([found[q][1] for q in range(queries)]), method


def _scan(
    part: Part, keep: NDArray[np.bool_] | None, ask: int, k: int, names: NDArray[np.object_]
) -> dict[int, Ranked]:
    """Answers by FAISS; a query is left out where the rows beyond the last one found might still be among the best."""
    scores, rows = part.index.best(part.queries, ask, keep)
    everybody = ask == (len(part.index.vectors) if keep is None else np.count_nonzero(keep))
    found = {}
    for query in range(len(part.queries)):
        own = scores[query]
        edge = own[k - 1] - 2 * _error([part], query) / part.weight
        if everybody or own[-1] < edge:
            found[query] = _rank([part], query, rows[query, : np.count_nonzero(own >= edge)], k, names)
    return found


def _first_pass(
    parts: Sequence[Part], queries: NDArray[np.int64], rows: NDArray[np.int64] | None, *, most: bool
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each query with its weighted sums [M] in single precision over ``rows`` [M], or over all."""
    count = len(parts[0].index.vectors) if rows is None else len(rows)
    if len(queries) < BATCH:
        taken = None if most else rows
        for query in queries.tolist():
            pieces = [np.float32(part.weight) * part.index.products(part.queries[query], taken) for part in parts]
            total = pieces[0] if len(pieces) == 1 else np.add.reduce(pieces)
            yield query, total if rows is None or not most else total[rows]
        return
    step = max(1, BLOCK_SCORES // count)
    blocks = [part.index.vectors if rows is None else part.index.vectors[rows] for part in parts]
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        sums = np.zeros((len(some), count), np.float32)
        for part, block in zip(parts, blocks, strict=True):
            sums += np.float32(part.weight) * (part.queries[some] @ block.T)
        yield from zip(some.tolist(), sums, strict=True)


def _error(parts: Sequence[Part], query: int) -> float:
    """How far a weighted sum in single precision may lie from the true one: D roundings of at most the product of lengths."""
    spread = sum(abs(part.weight) * float(np.linalg.norm(part.queries[query])) for part in parts)
    terms = max(part.queries.shape[1] for part in parts) + 2 * len(parts) + 4
    return float(terms * 2.0**-24 * 1.01 * spread)


def _rank(parts: Sequence[Part], query: int, rows: NDArray[np.int64], k: int, names: NDArray[np.object_]) -> Ranked:
    """The best ``k`` of ``rows``, ties by name, with scores that do not depend on which other rows are looked at."""
    scores = exact_scores(parts, query, rows)
    if k < len(scores):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = scores >= edge
        rows, scores = rows[near], scores[near]
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.array(sorted(range(len(scores)), key=lambda i: (-scores[i], names[rows[i]])), np.int64)
    order = order[:k]
    return rows[order], scores[order]


def exact_scores(parts: Sequence[Part], query: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weighted sums [M] for ``rows`` [M], each summed in double precision by itself, rounded once."""
    pieces = []
    for start in range(0, len(rows), EXACT_ROWS):
        some = rows[start : start + EXACT_ROWS]
        total = np.zeros(len(some))
        for part in parts:
            total += part.weight * row_products(part.index.vectors[some], part.queries[query])
        pieces.append(total.astype(np.float32))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def row_products(vectors: NDArray[np.floating[Any]], query: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Inner products [M] of a query [D] with ``vectors`` [M, D], summed along each row alone: no kernel mixes rows."""
    found: NDArray[np.float64] = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return found


class FilterEngine:
    """Rows and captions of a snapshot in an in-memory DuckDB that can do nothing else."""

    def __init__(self, *, rows: Sequence[pa.Table], captions: Sequence[pa.Table], starts: Sequence[int]) -> None:
        import duckdb
        import pyarrow as pa

        columns = [name for name in COLUMNS if name != "caption"]
        self._connection = duckdb.connect(config={"threads": 1, "temp_directory": ""})
        numbered = [
            table.select(columns).append_column("g", pa.array(np.arange(start, start + len(table))))
            for table, start in zip(rows, starts, strict=True)
        ]
        said = [
            pa.table({"g": pa.array(table["row"].to_numpy() + start), "text": table["text"]})
            for table, start in zip(captions, starts, strict=True)
        ]
        for name, tables in (("t", numbered), ("c", said)):
            if tables:
                self._connection.register("incoming", pa.concat_tables(tables))
                self._connection.execute(f"create table {name} as select * from incoming")
                self._connection.unregister("incoming")
        self._empty = not numbered
        self._connection.execute("set enable_external_access=false")
        self._connection.execute("set lock_configuration=true")

    def mask(self, where: str | Filter, count: int) -> NDArray[np.bool_]:
        """Rows [count] that pass."""
        import duckdb

        condition, values = to_sql(parse_filter(where) if isinstance(where, str) else where)
        out = np.zeros(count, bool)
        if self._empty:
            return out
        try:
            with self._connection.cursor() as own:  # a connection serves one thread at a time
                found = own.execute(f"select t.g from t where {condition}", values).fetchnumpy()
        except duckdb.Error as error:
            raise FilterError(f"the filter cannot be applied: {str(error).splitlines()[0]}") from error
        out[np.asarray(found["g"], np.int64)] = True
        return out
