"""How a search is carried out: one index a space, a filter engine, and the choice between them.

- A filter becomes a bitmap before any vector is looked at.
- Few matching rows are gathered and multiplied; many are scanned by FAISS with the bitmap; both are exact.
- Weighted sums over several spaces are matrix products over the same rows.
- DuckDB runs in memory, without access to files, and is started only by the first filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import FilterError
from db.filters import COLUMNS, Filter, parse_filter, to_sql

if TYPE_CHECKING:
    import pyarrow as pa

GATHER_BELOW = 20_000  # rows; measured: gathering beats scanning a bitmap up to here
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

    def search(self, queries: NDArray[np.float32], k: int, keep: NDArray[np.bool_] | None) -> tuple[Any, Any]:
        """Scores and rows [n, k] of the best rows among ``keep``."""
        import faiss

        parameters = None
        if keep is not None:
            bits = np.packbits(keep, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        scores, rows = self._faiss.search(queries, k, params=parameters)
        return scores, rows


Parts = Sequence[tuple[SpaceIndex, NDArray[np.float32], float]]


def best_rows(
    parts: Parts, keep: NDArray[np.bool_], k: int, names: NDArray[np.object_]
) -> tuple[list[NDArray[np.int64]], NDArray[np.float32], str]:
    """Rows (best first) and scores [n, min(k, matching)] of each query, and the name of the method."""
    matching = int(keep.sum())
    queries = len(parts[0][1])
    k = min(k, matching)
    if k == 0 or queries == 0:
        return [np.zeros(0, np.int64)] * queries, np.zeros((queries, 0), np.float32), "empty"
    full = matching == len(keep)
    if len(parts) == 1 and (full or matching > GATHER_BELOW):
        index, vectors, weight = parts[0]
        found = _scan(index, vectors, keep, k, names, full=full)
        if found is not None:
            rows, scores = found
            return rows, scores * np.float32(weight), "flat" if full else "flat+bitmap"
    rows_kept = np.flatnonzero(keep)
    total = np.zeros((queries, len(rows_kept)), np.float32)
    for index, vectors, weight in parts:
        block = index.vectors if full else index.vectors[rows_kept]
        total += np.float32(weight) * (vectors @ block.T)
    rows, scores = [], np.zeros((queries, k), np.float32)
    for query in range(queries):
        best = _top(total[query], k, names, rows_kept)
        rows.append(rows_kept[best])
        scores[query] = total[query][best]
    return rows, scores, "gather" if not full else "product"


def _scan(
    index: SpaceIndex,
    queries: NDArray[np.float32],
    keep: NDArray[np.bool_],
    k: int,
    names: NDArray[np.object_],
    *,
    full: bool,
) -> tuple[list[NDArray[np.int64]], NDArray[np.float32]] | None:
    """FAISS over all rows; None when a tie at the end of the list leaves the choice open."""
    ask = min(k + TIE_MARGIN, int(keep.sum()))
    found, places = index.search(queries, ask, None if full else keep)
    rows, scores = [], np.zeros((len(queries), k), np.float32)
    for query in range(len(queries)):
        if ask > k and found[query, k - 1] == found[query, -1]:
            return None
        order = _ordered(found[query], names[places[query]])[:k]
        rows.append(places[query][order])
        scores[query] = found[query][order]
    return rows, scores


def _top(scores: NDArray[np.float32], k: int, names: NDArray[np.object_], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the k best scores, ties by name."""
    if k < len(scores):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= edge)
    else:
        candidates = np.arange(len(scores))
    return candidates[_ordered(scores[candidates], names[rows[candidates]])[:k]]


def _ordered(scores: NDArray[np.float32], names: NDArray[np.object_]) -> NDArray[np.int64]:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    if len(ranked) > 1 and (ranked[1:] == ranked[:-1]).any():
        order = np.array(sorted(range(len(scores)), key=lambda i: (-scores[i], names[i])))
    return order


class FilterEngine:
    """Rows and captions of a snapshot in an in-memory DuckDB that can do nothing else."""

    def __init__(self, *, rows: Sequence[pa.Table], captions: Sequence[pa.Table], starts: Sequence[int]) -> None:
        import duckdb
        import pyarrow as pa

        columns = [name for name in COLUMNS if name != "caption"]
        self._connection = duckdb.connect()
        self._connection.execute("set threads=1")
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
            found = self._connection.execute(f"select t.g from t where {condition}", values).fetchnumpy()
        except duckdb.Error as error:
            raise FilterError(f"the filter cannot be applied: {str(error).splitlines()[0]}") from error
        out[np.asarray(found["g"], np.int64)] = True
        return out
