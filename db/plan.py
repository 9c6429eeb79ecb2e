"""How a search is carried out: which way is chosen, and what each way does.

- A filter becomes a list of rows before any vector is looked at. Exactly min(k, matching rows) come back, whatever
  the way.
- ``flat``: all vectors are read once by FAISS's heap, a bitmap leaves rows out; where a filter keeps most rows, or all.
  ``rows``: only the vectors of the rows that a filter keeps; measured faster than a bitmap up to two rows in three.
  ``product``: many queries at once are a matrix product.
  ``scanner``: a graphics card reads all (db/scanners). ``index``: an approximate index names candidates (db/indexes).
- An index is used where there is one for all that is asked, and nothing, or a filter that keeps most rows, stands
  against it: a narrow filter is faster and always right by its rows. Rows the index does not cover are read exactly.
  Where deletions and the filter leave too few candidates, the search is widened, and in the end done exactly.
- A clip that lacks one of several parts (its vector there is zero) is judged by the weights of those it has; one that
  has none of those asked for is no answer.
- A first pass decides only who may be among the best k, with the rounding error of its sums allowed for. Scores and
  order come from sums in double precision, row by row: equal vectors score equally, ties are broken by clip id, and
  an exact answer depends neither on the method nor on threads or on what else is in the library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.indexes import IndexSpec
from db.pool import each
from db.scanners import Scanner
from db.vectors import SpaceVectors

MOST = 2 / 3  # of the rows: above this share, scanning all and leaving some out is faster
MOST_HALF = 0.02  # of float16 rows: those must be widened one by one, which a scan does on its way
BATCH = 16  # queries; from here on one matrix product
PRODUCT_ROWS, TOGETHER = 8192, 256  # rows and queries of one product
PRODUCT_K = 1000
BLOCK_SCORES = 2**24  # first-pass scores held at a time (64 MB)
EXACT_ROWS = 4096  # rows summed in double precision at a time
TIE_MARGIN = 16
WIDEN = 4  # times as many candidates when there were too few
FEW = 128  # rows that are summed in double precision at once as quickly as sorted out before
INDEX_SHARE = 8  # an index is asked for at most one row in so many

Names = Callable[[NDArray[np.int64]], list[str]]


@dataclass(frozen=True)
class LoadedIndex:
    """A FAISS index in memory, its spec, and the row of the space each of its own rows is."""

    spec: IndexSpec
    faiss: Any
    rows: NDArray[np.int64]


class IndexSet:
    """The indexes of a space of ``rows`` rows, and which of these they lack."""

    def __init__(self, indexes: Sequence[LoadedIndex], rows: int) -> None:
        self.indexes = tuple(indexes)
        self.names = [str(index.spec) for index in indexes]
        there = np.zeros(rows, bool)
        for index in indexes:
            there[index.rows] = True
        self.lacking = np.flatnonzero(~there)
        self.covered = rows - len(self.lacking)


@dataclass(frozen=True)
class Part:
    """One space of a search: its vectors, the queries [n, D], the weight of their inner products, and its indexes."""

    vectors: SpaceVectors
    queries: NDArray[np.float32]
    weight: float
    indexes: IndexSet | None = None
    present: NDArray[np.bool_] | None = None  # rows [N] that have a vector here; None: all
    scanner: Scanner | None = None


@dataclass
class Answer:
    """Rows, best first, and scores [n, min(k, matching)] of each query, and how they were found."""

    rows: list[NDArray[np.int64]]
    scores: NDArray[np.float32]
    method: str
    exact: bool = True
    details: dict[str, Any] = field(default_factory=dict)


Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]


def best_rows(parts: Sequence[Part], keep: NDArray[np.bool_], k: int, names: Names, *, exact: bool | None) -> Answer:
    """The ``k`` best of the rows that ``keep`` [N] keeps; ``exact`` None leaves the choice to the rule above."""
    there = [part.present for part in parts if part.present is not None]
    if len(there) == len(parts):
        keep = keep & np.logical_or.reduce(there)
    queries, matching = len(parts[0].queries), int(np.count_nonzero(keep))
    k = min(k, matching)
    if k == 0 or queries == 0:
        return Answer([np.zeros(0, np.int64)] * queries, np.zeros((queries, 0), np.float32), "empty")
    if exact is not True and parts[0].indexes and _index_serves(parts, k, matching, len(keep), asked=exact is False):
        return _by_index(parts[0], parts[0].indexes, keep, k, names)
    full = matching == len(keep)
    if parts[0].scanner is not None and len(parts) == 1 and parts[0].weight > 0 and (full or parts[0].scanner.filters):
        return _by_scanner(parts[0], parts[0].scanner, None if full else keep, matching, k, names)
    most = matching > (MOST_HALF if parts[0].vectors.half and len(parts) == 1 else MOST) * len(keep)
    rows = None if full else np.flatnonzero(keep)
    found: dict[int, Ranked] = {}
    if len(parts) == 1 and most and parts[0].weight > 0 and queries < BATCH:
        found = _scan(parts[0], None if full else keep, min(k + TIE_MARGIN, matching), k, names)
        method = "flat" if full else "flat+bitmap"
    else:
        method = "product" if full else "rows"
        if len(parts) == 1 and parts[0].weight > 0 and queries >= BATCH and k <= PRODUCT_K:
            found = _by_products(parts[0], rows, matching, k, names)
    left = np.array([query for query in range(queries) if query not in found], np.int64)
    share = _shares(parts, rows)
    for query, scores in _first_pass(parts, left, rows, most=most):
        if share is not None:
            scores = scores / share
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        least = 1.0 if share is None else float(share.min())
        near = np.flatnonzero(scores >= edge - 2 * _error(parts, query) / least)
        found[query] = _rank(parts, query, near if rows is None else rows[near], k, names)
    return Answer([found[q][0] for q in range(queries)], np.stack([found[q][1] for q in range(queries)]), method)


# ---- by an index ---------------------------------------------------------------------------------------------------


def _index_serves(parts: Sequence[Part], k: int, matching: int, count: int, *, asked: bool) -> bool:
    """Whether the indexes are the way: one space, not a narrow filter (unless ``asked`` for), not a large share of
    all rows.
    """
    part = parts[0]
    covered = 0 if part.indexes is None else part.indexes.covered
    wide = matching > MOST * count or (asked and matching * INDEX_SHARE > count)
    return len(parts) == 1 and part.weight > 0 and covered > 0 and wide and k * INDEX_SHARE <= covered


def _by_index(part: Part, indexes: IndexSet, keep: NDArray[np.bool_], k: int, names: Names) -> Answer:
    """Candidates of the indexes and all rows that they do not cover, ranked by their true scores."""
    rest = indexes.lacking[keep[indexes.lacking]]

    def ask(query: int) -> _ByIndex:
        return _one_by_index(part, indexes, keep, rest, query, k, names)

    found = each(ask, range(len(part.queries)))
    details = {
        "index": indexes.names, "covered": indexes.covered, "uncovered": len(rest),
        "candidates": sum(one.looked for one in found) // len(found), "widened": max(one.widened for one in found),
    }  # fmt: skip
    rows, scores = [one.ranked[0] for one in found], np.stack([one.ranked[1] for one in found])
    return Answer(rows, scores, "index", all(one.certain for one in found), details)


@dataclass(frozen=True)
class _ByIndex:
    """The answer to one question, how many candidates were looked at, and whether nobody else can be among the best."""

    ranked: Ranked
    looked: int
    widened: int
    certain: bool


def _one_by_index(
    part: Part, indexes: IndexSet, keep: NDArray[np.bool_], rest: NDArray[np.int64], query: int, k: int, names: Names
) -> _ByIndex:
    widen = 1
    while True:
        rows, edge = _candidates(indexes, part.queries[query], keep, k, widen)
        rows = np.concatenate([rows, rest])
        if len(rows) >= k or widen > INDEX_SHARE**2:
            break
        widen *= WIDEN
    if len(rows) < k:  # the filter keeps what the index does not find
        alone = Part(part.vectors, part.queries[query : query + 1], part.weight)
        exact = best_rows([alone], keep, k, names, exact=True)
        return _ByIndex((exact.rows[0], exact.scores[0]), 0, 1, certain=True)
    near = rows if len(rows) <= FEW else _near([part], query, rows, k)
    ranked = _rank([part], query, near, k, names)
    return _ByIndex(ranked, len(rows), widen, certain=bool(ranked[1][-1] / part.weight > edge))


def _candidates(
    indexes: IndexSet, vector: NDArray[np.float32], keep: NDArray[np.bool_], k: int, widen: int
) -> tuple[NDArray[np.int64], float]:
    """Kept rows that the indexes name, and the true score that no row they left out exceeds (infinity: unknown)."""
    length = float(np.linalg.norm(vector)) * 1.001
    found, edge = [], -np.inf
    for index in indexes.indexes:
        own = index.spec.candidates(index.faiss, vector, k, widen)
        error = index.spec.error(len(vector))
        edge = max(edge, np.inf if error is None else own.edge + error * length)
        rows = index.rows[own.rows]
        found.append(rows[keep[rows]])
    return np.concatenate(found), edge


def _near(parts: Sequence[Part], query: int, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Those of ``rows`` that may be among the best ``k`` of them, by sums in single precision."""
    for _, scores in _first_pass(parts, np.array([query]), rows, most=False):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = rows[scores >= edge - 2 * _error(parts, query)]
    return rows


# ---- by a scanner --------------------------------------------------------------------------------------------------


def _by_scanner(
    part: Part, scanner: Scanner, keep: NDArray[np.bool_] | None, matching: int, k: int, names: Names
) -> Answer:
    """Candidates by a scanner, more and more until nobody else can be among the best, ranked here."""
    found: dict[int, Ranked] = {}
    left, ask, exact_here = np.arange(len(part.queries)), max(4 * k, k + 64), 0
    lengths = np.maximum(np.linalg.norm(part.queries.astype(np.float64), axis=1, keepdims=True), 1e-30)
    units = (part.queries / lengths).astype(np.float32)  # half precision overflows at 65,504
    while len(left):
        count = min(ask, matching, scanner.largest)
        scores, rows = scanner.best(units[left], count, keep)
        for at, query in enumerate(left.tolist()):
            edge = scores[at, k - 1] - 2 * scanner.error if count >= k else np.inf
            if count >= k and (count == matching or scores[at, -1] < edge):
                near = rows[at, : max(np.count_nonzero(scores[at] >= edge), k)]
                found[query] = _rank([part], query, near, k, names)
        left = np.array([query for query in left.tolist() if query not in found], np.int64)
        if count == scanner.largest and len(left):  # it can say no more; few queries ever come here
            exact_here = len(left)
            kept = np.ones(len(part.vectors), bool) if keep is None else keep
            own = Part(part.vectors, part.queries[left], part.weight, present=part.present)
            answer = best_rows([own], kept, k, names, exact=True)
            found.update(zip(left.tolist(), zip(answer.rows, answer.scores, strict=True), strict=True))
            break
        ask *= WIDEN
    queries = range(len(part.queries))
    details = {"device": scanner.name, "by_cpu": exact_here}
    return Answer([found[q][0] for q in queries], np.stack([found[q][1] for q in queries]), "scanner", True, details)


# ---- exactly -------------------------------------------------------------------------------------------------------


def _scan(part: Part, keep: NDArray[np.bool_] | None, ask: int, k: int, names: Names) -> dict[int, Ranked]:
    """Answers by FAISS; a query is left out where the rows beyond the last one found might still be among the best."""
    everybody = ask == (len(part.vectors) if keep is None else np.count_nonzero(keep))
    found = {}
    for query in range(len(part.queries)):
        own, rows = part.vectors.best(part.queries[query], ask, keep)
        edge = own[k - 1] - 2 * _error([part], query) / part.weight
        if everybody or own[-1] < edge:
            found[query] = _rank([part], query, rows[: np.count_nonzero(own >= edge)], k, names)
    return found


def _by_products(part: Part, rows: NDArray[np.int64] | None, matching: int, k: int, names: Names) -> dict[int, Ranked]:
    """As :func:`_scan`, of ``rows`` or all: a block of vectors at a time is multiplied with many queries at once."""
    ask, found = min(k + TIE_MARGIN, matching), {}
    for start in range(0, len(part.queries), TOGETHER):
        queries = part.queries[start : start + TOGETHER]
        best = np.full((len(queries), ask), -np.inf, np.float32)
        places = np.zeros((len(queries), ask), np.int64)
        for first, piece in part.vectors.chunks(rows, PRODUCT_ROWS):
            own = queries @ piece.T
            better = own > best.min(axis=1, keepdims=True)
            for query in np.flatnonzero(better.any(axis=1)).tolist():
                new = np.flatnonzero(better[query])
                scores = np.concatenate([best[query], own[query, new]])
                top = np.argpartition(scores, len(new))[len(new) :]
                best[query] = scores[top]
                places[query] = np.concatenate([places[query], new + first])[top]
        for at in range(len(queries)):
            order = np.argsort(-best[at], kind="stable")
            scores, where = best[at][order], places[at][order]
            edge = scores[k - 1] - 2 * _error([part], start + at) / part.weight
            if ask == matching or scores[-1] < edge:
                near = where[: np.count_nonzero(scores >= edge)]
                found[start + at] = _rank([part], start + at, near if rows is None else rows[near], k, names)
    return found


def _first_pass(
    parts: Sequence[Part], queries: NDArray[np.int64], rows: NDArray[np.int64] | None, *, most: bool
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each query with its weighted sums [M] in single precision over ``rows`` [M], or over all."""
    count = len(parts[0].vectors) if rows is None else len(rows)
    if len(queries) < BATCH:
        taken = None if most else rows
        for query in queries.tolist():
            pieces = [np.float32(part.weight) * part.vectors.products(part.queries[query], taken) for part in parts]
            total = pieces[0] if len(pieces) == 1 else np.add.reduce(pieces)
            yield query, total if rows is None or not most else total[rows]
        return
    step = max(1, BLOCK_SCORES // count)
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        sums = np.zeros((len(some), count), np.float32)
        for part in parts:
            for first, piece in part.vectors.chunks(rows):
                own = part.queries[some] @ piece.T
                own *= np.float32(part.weight)
                sums[:, first : first + len(piece)] += own
        yield from zip(some.tolist(), sums, strict=True)


def _shares(parts: Sequence[Part], rows: NDArray[np.int64] | None) -> NDArray[np.float32] | None:
    """Which share [M] of the weights the parts have that each of ``rows`` has a vector of; None where all have all.

    A weighted sum is divided by it: a clip that lacks a part is judged by the others. Only weights of 0 or more can
    be shared.
    """
    if len(parts) == 1 or all(part.present is None for part in parts) or any(part.weight < 0 for part in parts):
        return None
    total = sum(part.weight for part in parts) or 1.0
    share = np.zeros(len(parts[0].vectors) if rows is None else len(rows), np.float32)
    for part in parts:
        there = True if part.present is None else part.present if rows is None else part.present[rows]
        share += np.float32(part.weight / total) * there
    return np.maximum(share, np.float32(1e-6))


def _error(parts: Sequence[Part], query: int) -> float:
    """How far a weighted sum in single precision may lie from the true one: D roundings of at most the product of
    lengths.
    """
    spread = sum(abs(part.weight) * float(np.linalg.norm(part.queries[query])) for part in parts)
    terms = max(part.queries.shape[1] for part in parts) + 2 * len(parts) + 4
    return float(terms * 2.0**-24 * 1.01 * spread)


def _rank(parts: Sequence[Part], query: int, rows: NDArray[np.int64], k: int, names: Names) -> Ranked:
    """The best ``k`` of ``rows``, ties by name, with scores that do not depend on which other rows are looked at."""
    scores = exact_scores(parts, query, rows)
    if k < len(scores):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = scores >= edge
        rows, scores = rows[near], scores[near]
    return by_score_and_name(rows, scores, k, names)


def by_score_and_name(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int, names: Names) -> Ranked:
    """The first ``k`` of ``rows`` by falling score, ties by name."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    if (ranked[1:] == ranked[:-1]).any():
        said = names(rows)
        order = np.array(sorted(range(len(scores)), key=lambda i: (-scores[i], said[i])), np.int64)
    order = order[:k]
    return rows[order], scores[order]


def exact_scores(parts: Sequence[Part], query: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weighted sums [M] for ``rows`` [M], each summed in double precision by itself, rounded once."""
    pieces = []
    for start in range(0, len(rows), EXACT_ROWS):
        some = rows[start : start + EXACT_ROWS]
        total = np.zeros(len(some))
        for part in parts:
            total += part.weight * row_products(part.vectors.take(some), part.queries[query])
        share = _shares(parts, some)
        if share is not None:
            total /= share
        pieces.append(total.astype(np.float32))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def row_products(vectors: NDArray[np.floating[Any]], query: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Inner products [M] of a query [D] with ``vectors`` [M, D], summed along each row alone: no kernel mixes rows."""
    found: NDArray[np.float64] = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return found
