"""Figures of retrieval as pure functions of a similarity matrix ``[Q, N]`` and of what is relevant ``[Q, N]``.

- A tie is broken on average: a rank is the mean of the places its tied group takes.
- An interval is the percentile bootstrap (95 %) over queries: sentences, or clips where a clip is what is asked about.
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
    """Expected rank [Q], from 1, of each query's first relevant item when ties are broken at random.

    With t items tied at its score, r of them relevant, it is (items that score better) + (t + 1) / (r + 1); with one relevant
    item that is the usual averaged tie. Infinite where nothing is relevant.
    """
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    better = (scores > best).sum(axis=1)
    tied = scores == best
    ranks = better + (tied.sum(axis=1) + 1) / ((tied & relevant).sum(axis=1) + 1)
    return np.where(relevant.any(axis=1), ranks, np.inf)


def recall_at(ranks: Values, k: int) -> Values:
    """1 where a rank is within the first k, else 0."""
    return (ranks <= k).astype(np.float64)


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
    drawn = [figure(values[rng.integers(len(values), size=len(values))]) for _ in range(draws)]
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
