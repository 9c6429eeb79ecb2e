"""Figures of text-to-motion generation over arrays of embeddings, by the protocol of Guo et al. (CVPR 2022).

- Everything is a pure function of embeddings ``[N, D]``; who made them (evaluator, its normalisation, its lengths) is not
  decided here. Randomness comes in as ``rng``; the same state gives the same figure.
- A tie counts by expectation: with b motions nearer than the own one and t at the same distance (the own one among them), a
  query is a hit within k with probability (k - b) / t, kept in 0..1. A model that always makes one motion scores chance.
- Pools of distinct captions are offered beside the official random ones: two rows of one caption in a pool cannot both be
  first, which caps the official figure (most of all on KIT). Say which was used.
- FID of few samples is too high; whoever prints it prints N. :func:`kid` has no such bias.
- Not a number, empty and misshapen arrays are errors, never figures.

Source: EricGuo5513/text-to-motion ``final_evaluations.py`` (protocol); each formula names its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from generator.errors import GeneratorError

Array = NDArray[np.floating[Any]]
Values = NDArray[np.float64]
Rows = NDArray[np.int64]

_BLOCK = 1024  # rows a kernel matrix is made of at a time


def draw_pools(count: int, *, rng: np.random.Generator, pool: int = 32, groups: ArrayLike | None = None) -> Rows:
    """Disjoint random pools ``[P, pool]`` of row numbers below ``count``; the rows left over are in none, as in the source.

    With ``groups`` [N] (one id a row, such as the number of its caption) no pool holds two rows of a group. P is the largest
    number for which that can be done; of a group with more than P rows, P random ones take part.

    Raises:
        GeneratorError: fewer rows, or fewer groups, than one pool needs.
    """
    if count < pool or pool < 1:
        raise GeneratorError(f"{count} pairs do not fill a pool of {pool}; give more pairs or a smaller pool")
    order = rng.permutation(count)
    number = count // pool
    if groups is None:
        return order[: number * pool].reshape(number, pool)
    ids = np.asarray(groups)
    if ids.shape != (count,):
        raise GeneratorError(f"groups have shape {ids.shape}, expected ({count},): one id a row")
    _, ids, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    if len(sizes) < pool:
        raise GeneratorError(
            f"{len(sizes)} different groups do not fill a pool of {pool} distinct ones; use a smaller pool or distinct=False"
        )
    while np.minimum(sizes, number).sum() < number * pool:
        number -= 1
    # Groups as runs in random order, at most `number` rows each, dealt to the pools in turn: a run meets no pool twice.
    order = order[np.argsort(rng.permutation(len(sizes))[ids[order]], kind="stable")]
    runs = ids[order]
    starts = np.flatnonzero(np.r_[True, runs[1:] != runs[:-1]])
    place = np.arange(count) - np.repeat(starts, np.diff(np.r_[starts, count]))
    order = order[place < number]
    kept = np.sort(rng.choice(len(order), size=number * pool, replace=False))
    return order[kept].reshape(pool, number).T


def pool_hits(text: Array, motion: Array, pools: Rows, *, top: tuple[int, ...] = (1, 2, 3)) -> Values:
    """Chance ``[P, pool, K]`` that each text of ``pools`` [P, pool] finds its own motion among the first k of its pool.

    0 or 1, and between them for ties (see the module). Two systems are paired when they are given the same pools; K is
    ``len(top)``, ``text`` and ``motion`` [N, D] are paired row by row, distances are Euclidean.
    """
    text, motion = _paired(text, motion)
    hits = np.empty((*pools.shape, len(top)))
    for chances, rows in zip(hits, pools, strict=True):
        distances = cdist(text[rows], motion[rows])  # [pool texts, pool motions]
        own = np.diag(distances)[:, None]
        nearer = (distances < own).sum(axis=1, keepdims=True)
        tied = (distances == own).sum(axis=1, keepdims=True)
        chances[:] = np.clip((np.array(top) - nearer) / tied, 0.0, 1.0)
    return hits


def r_precision(
    text: Array,
    motion: Array,
    *,
    rng: np.random.Generator,
    top: tuple[int, ...] = (1, 2, 3),
    pool: int = 32,
    groups: ArrayLike | None = None,
    distinct: bool = True,
) -> Values:
    """R-precision ``[K]`` for each k of ``top``: how often a text finds its own motion among the k nearest of its pool.

    Every row is in at most one pool; the last rows that fill none are left out. Ties count by expectation. Chance is
    k / ``pool``.

    Args:
        text: embeddings of sentences [N, D].
        motion: embeddings of motions [N, D], row i belongs to sentence i.
        rng: draws the pools.
        top: the values of k.
        pool: motions a text is compared with, its own included.
        groups: caption group of each row [N].
        distinct: keep rows of one group out of each other's pools; without ``groups``, or when false, pools are the official
            random ones.

    Raises:
        GeneratorError: not finite, misshapen, or too few rows or groups.
    """
    text, motion = _paired(text, motion)
    pools = draw_pools(len(text), rng=rng, pool=pool, groups=groups if distinct else None)
    shares: Values = pool_hits(text, motion, pools, top=top).mean(axis=(0, 1))
    return shares


def mm_dist(text: Array, motion: Array) -> float:
    """Multimodal distance: mean Euclidean distance of paired rows [N, D]. In the source "matching score", lower is better."""
    text, motion = _paired(text, motion)
    return float(np.linalg.norm(text - motion, axis=1).mean())


def fid(real: Array, generated: Array) -> float:
    """Fréchet distance of the Gaussians that fit two sets [N, D] and [M, D]; at least 0, biased upwards for few rows.

    |μ₁ - μ₂|² + Tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), Σ with N - 1 (Heusel et al., NeurIPS 2017). No matrix root is taken: for centred
    rows X = QR the last trace is the nuclear norm of R₁R₂ᵀ over √((N - 1)(M - 1)), which is real and exact for singular
    covariances too (fewer rows than dimensions).
    """
    real, generated = _sets(real, generated)
    gap = real.mean(axis=0) - generated.mean(axis=0)
    first, second = (
        np.linalg.qr(rows - rows.mean(axis=0), mode="r") / np.sqrt(len(rows) - 1) for rows in (real, generated)
    )
    shared = np.linalg.norm(first @ second.T, ord="nuc")
    return float(max(gap @ gap + (first**2).sum() + (second**2).sum() - 2 * shared, 0.0))


def kid(real: Array, generated: Array) -> float:
    """Squared maximum mean discrepancy of two sets [N, D] and [M, D] under the kernel (x·y / D + 1)³, without bias.

    0 on average for samples of one distribution, whatever N and M; hence a little below 0 half of the time, and for a set
    against itself. (Bińkowski et al., Demystifying MMD GANs, ICLR 2018; the U-statistic of Gretton et al., JMLR 2012.)
    """
    real, generated = _sets(real, generated)
    within = 0.0
    for rows in (real, generated):
        with_itself = ((rows**2).sum(axis=1) / rows.shape[1] + 1) ** 3
        within += (_kernel_sum(rows, rows) - with_itself.sum()) / (len(rows) * (len(rows) - 1))
    return float(within - 2 * _kernel_sum(real, generated) / (len(real) * len(generated)))


def diversity(motion: Array, *, rng: np.random.Generator, pairs: int = 300) -> float:
    """Mean Euclidean distance of ``pairs`` random pairs of rows [N, D].

    As in the source, both sides are drawn without replacement and apart from one another, so a row may meet itself.
    """
    motion = _checked("motion", motion, 2)
    first, second = (_draw(len(motion), pairs, rng, "motions") for _ in range(2))
    return float(np.linalg.norm(motion[first] - motion[second], axis=1).mean())


def multimodality(motion: Array, *, rng: np.random.Generator, pairs: int = 10) -> float:
    """Mean distance of ``pairs`` random pairs among the repeats of each text, over texts; ``motion`` [texts, repeats, D].

    The protocol has 100 texts, 30 repeats, 10 pairs, the same repeats for every text.
    """
    motion = _checked("motion", motion, 3)
    first, second = (_draw(motion.shape[1], pairs, rng, "repeats") for _ in range(2))
    return float(np.linalg.norm(motion[:, first] - motion[:, second], axis=-1).mean())


@dataclass(frozen=True)
class Interval:
    """A figure with the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {(self.high - self.low) / 2:.3f}"


def repeated(values: ArrayLike) -> Interval:
    """Mean ± 1.96 σ / √n of a figure over n repeats ``[n]`` (the protocol: 20), σ over n as in the source.

    It holds the chance of the draws (captions, pools, samples of the model), not that of the test set.
    """
    figures = _checked("repeats", values, 1)
    half = 1.96 * figures.std() / np.sqrt(len(figures))
    mean = figures.mean()
    return Interval(float(mean), float(mean - half), float(mean + half))


def paired_difference(first: ArrayLike, second: ArrayLike, *, rng: np.random.Generator, draws: int = 2000) -> Interval:
    """Mean of ``first - second`` over units ``[U]`` measured on both systems, with its 95 % percentile bootstrap interval.

    Units are clips (distances, :func:`pool_hits` of the same pools) or repeats of one seed; an interval without 0 is a
    difference. (Efron and Tibshirani 1993.)
    """
    gaps = _checked("first", first, 1), _checked("second", second, 1)
    if gaps[0].shape != gaps[1].shape:
        raise GeneratorError(f"{len(gaps[0])} and {len(gaps[1])} values are not paired; give one value a unit for each")
    gap = gaps[0] - gaps[1]
    means = [gap[rng.integers(len(gap), size=len(gap))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(gap.mean()), float(low), float(high))


def _kernel_sum(first: Values, second: Values) -> float:
    """Sum of (x·y / D + 1)³ over all pairs, some rows at a time."""
    return sum(float(((rows @ second.T / first.shape[1] + 1) ** 3).sum()) for rows in _blocks(first))


def _blocks(rows: Values) -> Iterator[Values]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _draw(count: int, pairs: int, rng: np.random.Generator, what: str) -> Rows:
    if not 1 <= pairs <= count:
        raise GeneratorError(f"{pairs} pairs cannot be drawn from {count} {what}; give more of them or set pairs")
    return rng.choice(count, size=pairs, replace=False)


def _paired(text: Array, motion: Array) -> tuple[Values, Values]:
    text, motion = _checked("text", text, 2), _checked("motion", motion, 2)
    if text.shape != motion.shape:
        raise GeneratorError(f"text {text.shape} and motion {motion.shape} are not paired; give one row of each a pair")
    return text, motion


def _sets(real: Array, generated: Array) -> tuple[Values, Values]:
    real, generated = _checked("real", real, 2), _checked("generated", generated, 2)
    if real.shape[1] != generated.shape[1]:
        raise GeneratorError(
            f"real motions have {real.shape[1]} dimensions, generated {generated.shape[1]}; use one evaluator for both"
        )
    if min(len(real), len(generated)) < 2:
        raise GeneratorError(
            f"{len(real)} real and {len(generated)} generated motions have no spread; give two or more"
        )
    return real, generated


def _checked(name: str, values: ArrayLike, axes: int) -> Values:
    """``values`` as finite float64 with ``axes`` axes, none of them empty."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes or 0 in array.shape:
        raise GeneratorError(f"{name} has shape {array.shape}; give {axes} axes, none of them empty")
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        raise GeneratorError(
            f"{name}: {bad.sum()} of {len(array)} rows are not finite, first {bad.argmax()}; look at what made them"
        )
    return array
