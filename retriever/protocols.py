"""Figures of retrieval as pure functions of a similarity matrix ``[Q, N]`` and of what is relevant ``[Q, N]``.

- How a tie is broken is named: ``expected`` (at random, in expectation), ``averaged`` (TMR: the mean place of all tied items),
  ``optimistic`` (TMR++: the best place). :func:`within` counts a fractional rank as TMR does: place 1.5 is a hit at 1.
- Scores that are no numbers are refused: every comparison with NaN is false, and would pass for a perfect rank.
- An interval is the percentile bootstrap (95 %) over queries: sentences, or clips where a clip is what is asked about.
- Chance is the value of a random order, computed, not assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retriever.errors import EvaluationError

Matrix = NDArray[np.floating[Any]]
Relevance = NDArray[np.bool_]
Values = NDArray[np.float64]
Ties = Literal["expected", "averaged", "optimistic"]

KS = (1, 2, 3, 5, 10)
BATCH = 32
ROWS_AT_ONCE = 1024  # of a comparison: a gallery of 10,000 needs 10 MB at a time, not 100

DRAWN_AT_ONCE = 2**20  # numbers of a bootstrap that are held at a time


def check_scores(scores: Matrix) -> None:
    """EvaluationError when a score is not finite, with its place."""
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        query, item = bad[0][-2:]
        raise EvaluationError(
            f"the similarity of query {query} and item {item} is {scores[tuple(bad[0])]}; "
            "check the encoder and the clip: an embedding must be finite"
        )


def average_precision(scores: Matrix, relevant: Relevance) -> Values:
    """Average precision [Q]; NaN for a query with nothing relevant. Ties are ordered by the column's number."""
    check_scores(scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    hit = np.take_along_axis(relevant, order, axis=1)
    precision = hit.cumsum(axis=1) / np.arange(1, hit.shape[1] + 1)
    found = hit.sum(axis=1)
    return np.where(found > 0, (precision * hit).sum(axis=1) / np.maximum(found, 1), np.nan)


def first_ranks(scores: Matrix, relevant: Relevance, ties: Ties = "expected") -> Values:
    """Rank [Q], from 1, of each query's first relevant item; infinite where nothing is relevant.

    With b items that score better than the best relevant one and t tied with it, r of them relevant, it is
    b + (t + 1) / (r + 1) when ties are broken at random (``expected``), b + (t + 1) / 2 as their mean place (``averaged``,
    Mathux/TMR ``src/model/metrics.py``), b + 1 at best (``optimistic``, leorebensabath/TMRPlusPlus).

    Raises:
        EvaluationError: a score is not finite.
    """
    check_scores(scores)
    ranks = np.full(len(scores), np.inf)
    for start in range(0, len(scores), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        asked, right = scores[part], relevant[part]
        best = np.where(right, asked, -np.inf).max(axis=1, keepdims=True)
        better, tied = (asked > best).sum(axis=1), asked == best
        if ties == "optimistic":
            place = better + 1.0
        elif ties == "averaged":
            place = better + (tied.sum(axis=1) + 1) / 2
        else:
            place = better + (tied.sum(axis=1) + 1) / ((tied & right).sum(axis=1) + 1)
        ranks[part] = np.where(right.any(axis=1), place, np.inf)
    return ranks


def recall_at(ranks: Values, k: int) -> Values:
    """1 where a rank is within the first k, else 0."""
    return (ranks <= k).astype(np.float64)


def within(ranks: Values, k: int) -> Values:
    """1 where a rank is a hit at k by TMR's rule, else 0: counted from 0 it is below k, so that 1.5 is a hit at 1."""
    return (ranks < k + 1).astype(np.float64)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap(
    values: Values, aggregate: Callable[[Values], float] | None = None, *, seed: int = 0, draws: int = 1000
) -> Interval:
    """``aggregate`` (default: the mean) of ``values`` [U, ...] with the 2.5 and 97.5 percentiles over resampled units U."""
    figure = aggregate or (lambda drawn: float(drawn.mean()))
    rng = np.random.default_rng(seed)
    if aggregate is None and values.ndim == 1:  # the mean, many draws at a time
        at_once = max(DRAWN_AT_ONCE // len(values), 1)
        sizes = [min(at_once, draws - start) for start in range(0, draws, at_once)]
        drawn = np.concatenate([values[rng.integers(len(values), size=(n, len(values)))].mean(axis=1) for n in sizes])
    else:
        drawn = np.array([figure(values[rng.integers(len(values), size=len(values))]) for _ in range(draws)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(figure(values), float(low), float(high))


def chance_average_precision(relevant: Relevance) -> float:
    """Expected mean average precision of a random order.

    For R relevant among N the expectation is (R - 1) / (N - 1) + H_N / N * (N - R) / (N - 1), H_N the harmonic number.
    """
    found = relevant.sum(axis=1)
    total = relevant.shape[1]
    harmonic = float((1 / np.arange(1, total + 1)).sum())
    rows = found[found > 0]
    if total < 2 or len(rows) == 0:
        return 1.0
    return float(((rows - 1) / (total - 1) + harmonic / total * (total - rows) / (total - 1)).mean())


def chance_recall(relevant: Relevance, k: int) -> float:
    """Expected share of queries with a relevant item among k random ones."""
    total = relevant.shape[1]
    shares = []
    for found in relevant.sum(axis=1):
        miss = np.prod([(total - found - i) / (total - i) for i in range(min(k, total))]) if found else 1.0
        shares.append(1 - max(float(miss), 0.0))
    return float(np.mean(shares))


# ---- text-motion pairs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ceiling:
    """What a perfect ranker that cannot tell equal captions apart would score, when only a query's own pair counts.

    ``text_to_motion`` breaks ties among equal captions at random; ``motion_to_text`` counts them by TMR's averaged rank.
    """

    captions: int
    distinct: int
    shared: float  # share of captions that another item has too
    text_to_motion: Mapping[int, float]
    motion_to_text: Mapping[int, float]


def duplicate_ceiling(captions: Sequence[str], ks: Sequence[int] = KS) -> Ceiling:
    """The ceiling of a gallery with one caption an item.

    A caption that g items share: its k best places hold the right one with probability min(k / g, 1); the mean place of g
    equal captions is (g + 1) / 2.
    """
    if not captions:
        raise EvaluationError("a ceiling needs captions; the split has none")
    groups = Counter(captions)
    sizes = np.array([groups[caption] for caption in captions], float)
    return Ceiling(
        captions=len(captions),
        distinct=len(groups),
        shared=float((sizes > 1).mean()),
        text_to_motion={k: float(np.minimum(k / sizes, 1).mean()) for k in ks},
        motion_to_text={k: float(within((sizes + 1) / 2, k).mean()) for k in ks},
    )


def small_batches(count: int, seed: int, size: int = BATCH) -> NDArray[np.int64]:
    """Rows [count // size, size] of items in batches: shuffled once with numpy's seed, cut, the remainder dropped.

    With seed 0 and items sorted by id it is the order of Mathux/TMR ``retrieval.py`` ("guo").
    """
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    return order[: count // size * size].reshape(-1, size)


def batch_ranks(scores: Matrix, batches: NDArray[np.int64]) -> Values:
    """Averaged ranks [batches, size] of each item's own pair on the diagonal of ``scores`` [N, N], inside its batch."""
    inside = scores[batches[:, :, None], batches[:, None, :]]
    check_scores(inside)
    own = np.diagonal(inside, axis1=1, axis2=2)[..., None]
    return np.asarray((inside > own).sum(axis=2) + ((inside == own).sum(axis=2) + 1) / 2, np.float64)


def dissimilar(similarity: Matrix, count: int) -> NDArray[np.int64]:
    """``count`` rows, in order, chosen one after the other so that the next is least like those chosen [N, N].

    Of rows that are as unlike to four places the first is chosen: equal captions must not be told apart by rounding.
    """
    similarity = np.round(similarity.astype(np.float64), 4)
    chosen = [int(similarity.mean(axis=1).argmin())]
    nearest = similarity[chosen[0]].copy()
    while len(chosen) < min(count, len(similarity)):
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, similarity[chosen[-1]])
    return np.sort(np.array(chosen, np.int64))
