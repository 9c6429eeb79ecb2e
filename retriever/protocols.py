"""Figures of retrieval as pure functions of a similarity matrix ``[Q, N]`` and of what is relevant ``[Q, N]``.

- A tie is broken on average: a rank is the mean of the places its tied group takes.
- An interval is the percentile bootstrap (95 %) over what was drawn: queries, or the clips behind them where a figure is a
  mean over few classes of many clips.
- Chance is the value of a random order, computed, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]
Relevance = NDArray[np.bool_]
Values = NDArray[np.float64]


def average_precision(scores: Matrix, relevant: Relevance) -> Values:
    """Average precision [Q]; NaN for a query with nothing relevant. Ties are ordered by the column's number."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hit = np.take_along_axis(relevant, order, axis=1)
    precision = hit.cumsum(axis=1) / np.arange(1, hit.shape[1] + 1)
    found = hit.sum(axis=1)
    return np.where(found > 0, (precision * hit).sum(axis=1) / np.maximum(found, 1), np.nan)


def first_ranks(scores: Matrix, relevant: Relevance) -> Values:
    """Rank [Q], from 1, of each query's best relevant item, ties averaged; infinite where nothing is relevant."""
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    better = (scores > best).sum(axis=1)
    tied = (scores == best).sum(axis=1)
    ranks = better + (tied + 1) / 2
    return np.where(relevant.any(axis=1), ranks, np.inf)


def recall_at(ranks: Values, k: int) -> Values:
    """1 where a rank is within the first k, else 0."""
    return (ranks <= k).astype(np.float64)


def median_rank(ranks: Values) -> float:
    """Median of ranks."""
    return float(np.median(ranks))


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap(
    count: int, figure: Callable[[NDArray[np.int64]], float], *, seed: int = 0, draws: int = 1000
) -> Interval:
    """``figure`` of rows 0..count-1, and the 2.5 and 97.5 percentiles of it over ``draws`` resamples of them."""
    rng = np.random.default_rng(seed)
    values = [figure(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(figure(np.arange(count)), float(low), float(high))


def mean_interval(values: Values, *, seed: int = 0, draws: int = 1000) -> Interval:
    """Mean of ``values`` [Q], NaN left out, with its bootstrap interval over queries."""
    kept = values[~np.isnan(values)]
    rng = np.random.default_rng(seed)
    means = kept[rng.integers(len(kept), size=(draws, len(kept)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(kept.mean()), float(low), float(high))


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
