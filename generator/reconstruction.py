"""How well motion comes back from its tokens, in joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Reconstruction:
    """Mean errors over all frames of all clips.

    ``mpjpe_mm``: joints with both roots at the origin (heading as decoded); ``pa_mpjpe_mm``: after the best rotation, size and
    place of every frame; ``global_mm``: with the root's path; ``acceleration``: mean length of the difference of accelerations,
    metres a second squared.
    """

    mpjpe_mm: float
    pa_mpjpe_mm: float
    global_mm: float
    acceleration: float
    frames: int


def reconstruction(pairs: Sequence[tuple[Array, Array]], fps: float) -> Reconstruction:
    """Errors of ``pairs`` of true and rebuilt joints [T, J, 3]."""
    local, procrustes, placed, change = [], [], [], []
    for true, made in pairs:
        local.append(distance(true - true[:, :1], made - made[:, :1]))
        procrustes.append(distance(true, aligned(made, true)))
        placed.append(distance(true, made))
        if len(true) > 2:
            difference = np.diff(true, n=2, axis=0) - np.diff(made, n=2, axis=0)
            change.append(np.linalg.norm(difference, axis=-1).mean(-1) * fps**2)
    frames = sum(len(x) for x in local)
    return Reconstruction(
        mpjpe_mm=1000 * float(np.concatenate(local).mean()),
        pa_mpjpe_mm=1000 * float(np.concatenate(procrustes).mean()),
        global_mm=1000 * float(np.concatenate(placed).mean()),
        acceleration=float(np.concatenate(change).mean()) if change else 0.0,
        frames=frames,
    )


def distance(a: Array, b: Array) -> NDArray[np.float64]:
    """Mean distance of the joints, per frame [T]."""
    return np.asarray(np.linalg.norm(np.asarray(a, np.float64) - b, axis=-1).mean(-1))


def aligned(made: Array, true: Array) -> NDArray[np.float64]:
    """``made`` [T, J, 3] turned, scaled and moved onto ``true``, frame by frame (orthogonal Procrustes)."""
    a, b = np.asarray(made, np.float64), np.asarray(true, np.float64)
    ca, cb = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    a, b = a - ca, b - cb
    u, s, vt = np.linalg.svd(np.swapaxes(a, 1, 2) @ b)
    flip = np.ones_like(s)
    flip[:, -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[:, None]) @ vt
    scale = (s * flip).sum(-1) / np.maximum((a**2).sum((1, 2)), 1e-12)
    return np.asarray(scale[:, None, None] * (a @ rotation) + cb)
