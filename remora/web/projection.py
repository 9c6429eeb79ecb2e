"""A map of a library: a point in the plane for every vector, so that neighbours stay neighbours.

- A graph of nearest neighbours is laid out by attraction along its edges and repulsion between random pairs, from the first two
  principal components on: the method of UMAP (McInnes and others, 2018) in its plainest form, the same for the same vectors.
- Beyond :data:`LAID_OUT` vectors a sample is laid out, the others stand among their nearest neighbours of the sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
METHOD = "neighbour graph of whole-body vectors"
LAID_OUT = 12_000
NEIGHBOURS = 12
ROUNDS = 200
AWAY = 4  # random others that push a point away in each round
PUSH = 12.0  # weight of one of them
CURVE = (0.99, 1.0)  # how attraction falls off with distance (UMAP with min_dist 0.3, about)
BLOCK = 1024


def project(vectors: Points, *, seed: int = 0) -> Points:
    """Points [N, 2] in -1..1 for vectors [N, D]."""
    rng = np.random.default_rng(seed)
    reduced = principal(vectors, 32)
    if len(reduced) <= NEIGHBOURS + 1:
        return framed(reduced[:, :2])
    if len(reduced) <= LAID_OUT:
        return framed(laid_out(reduced, rng))
    sample = np.sort(rng.choice(len(reduced), LAID_OUT, replace=False))
    placed = laid_out(reduced[sample], rng)
    near, _ = nearest(reduced, reduced[sample], 3)
    points = placed[near].mean(axis=1)
    points[sample] = placed
    return framed(points)


def principal(vectors: Points, most: int) -> Points:
    """The first principal components [N, most] of vectors, signs fixed; zeros where there are fewer."""
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64) if len(vectors) else vectors
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :most]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    out = np.zeros((len(vectors), most), np.float32)
    out[:, : axes.shape[1]] = centred @ axes
    return out


def nearest(asked: Points, among: Points, count: int) -> tuple[NDArray[np.int64], Points]:
    """The ``count`` nearest of ``among`` for each of ``asked``: rows and squared distances, both [N, count]."""
    rows = np.empty((len(asked), count), np.int64)
    distances = np.empty((len(asked), count), np.float32)
    size = (among**2).sum(axis=1)
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        far = (block**2).sum(axis=1)[:, None] + size - 2 * block @ among.T
        best = np.argpartition(far, count - 1, axis=1)[:, :count]
        rows[start : start + BLOCK] = best
        distances[start : start + BLOCK] = np.take_along_axis(far, best, axis=1)
    return rows, np.maximum(distances, 0)


def laid_out(vectors: Points, rng: np.random.Generator) -> Points:
    """The layout itself, [N, 2], in no particular frame."""
    count = len(vectors)
    rows, distances = nearest(vectors, vectors, NEIGHBOURS + 1)
    order = np.argsort(distances, axis=1, kind="stable")[:, 1:]  # the nearest is the point itself, or its twin
    rows = np.take_along_axis(rows, order, axis=1)
    lengths = np.sqrt(np.take_along_axis(distances, order, axis=1))
    weights = np.exp(-(lengths - lengths[:, :1]) / (lengths.mean(axis=1, keepdims=True) + 1e-9))
    head, tail = np.repeat(np.arange(count), NEIGHBOURS), rows.ravel()
    strength = weights.ravel()[:, None].astype(np.float32)
    points = vectors[:, :2] * (10 / (np.abs(vectors[:, :2]).max() + 1e-9))
    points += rng.normal(scale=1e-3, size=points.shape).astype(np.float32)  # twins may part
    a, b = CURVE
    for turn in range(ROUNDS):
        step = 1 - turn / ROUNDS
        gap = points[head] - points[tail]
        square = (gap**2).sum(axis=1, keepdims=True) + 1e-6
        pull = np.clip(strength * (-2 * a * b * square ** (b - 1)) / (1 + a * square**b) * gap, -4, 4)
        move = pull.reshape(count, NEIGHBOURS, 2).sum(axis=1)
        move -= np.stack([np.bincount(tail, pull[:, axis], count) for axis in (0, 1)], axis=1)
        for _ in range(AWAY):
            gap = points - points[rng.integers(count, size=count)]
            square = (gap**2).sum(axis=1, keepdims=True)
            push = 2 * b / ((0.01 + square) * (1 + a * (square + 1e-9) ** b)) * gap
            move += np.clip(push, -4, 4) * PUSH
        points = (points + 0.1 * step * np.clip(move, -40, 40)).astype(np.float32)
    return np.asarray(points, np.float32)


def framed(points: Points) -> Points:
    """Points moved and scaled into -1..1, proportions kept."""
    if not len(points):
        return np.zeros((0, 2), np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()), 1e-9) / 2
    return np.asarray((points - (low + high) / 2) / half, np.float32)
