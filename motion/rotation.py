"""Rotations as unit quaternions ``[..., 4]`` (w, x, y, z) and matrices ``[..., 3, 3]`` on column vectors.

- Pure functions, batch axes in front, inverse pairs side by side; products compose right to left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def quaternion_multiply(a: Array, b: Array) -> Array:
    """``a`` after ``b``, both [..., 4]."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def quaternion_inverse(q: Array) -> Array:
    """The inverse of unit quaternions [..., 4]."""
    return q * np.array([1.0, -1.0, -1.0, -1.0], dtype=q.dtype)


def quaternion_between(a: Array, b: Array) -> Array:
    """The shortest rotation [..., 4] that turns the direction of ``a`` [..., 3] into that of ``b``; half a turn about an axis
    at right angles where they are opposite.
    """
    a, b = np.broadcast_arrays(a, b)
    cross = np.cross(a, b)
    w = np.sqrt((a**2).sum(-1) * (b**2).sum(-1)) + (a * b).sum(-1)
    q = np.concatenate([w[..., None], cross], axis=-1)
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    opposite = length[..., 0] < 1e-9
    q = q / np.maximum(length, 1e-9)
    if opposite.any():
        other = np.where(
            np.abs(a[..., :1]) < 0.9 * np.linalg.norm(a, axis=-1, keepdims=True), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
        )
        axis = np.cross(a, other)[opposite]
        axis /= np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-9)
        q[opposite] = np.concatenate([np.zeros((len(axis), 1)), axis], axis=-1)
    return np.asarray(q)


def quaternion_to_matrix(q: Array) -> Array:
    """Matrices [..., 3, 3] of unit quaternions [..., 4]."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(*q.shape[:-1], 3, 3)


def matrix_to_quaternion(matrix: Array) -> Array:
    """Unit quaternions [..., 4] of rotations [..., 3, 3], w not negative: the inverse of :func:`quaternion_to_matrix`."""
    m = matrix
    trace = np.stack(
        [
            m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2], m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
            m[..., 1, 1] - m[..., 0, 0] - m[..., 2, 2], m[..., 2, 2] - m[..., 0, 0] - m[..., 1, 1],
        ],
        axis=-1,
    )  # fmt: skip
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    one = 1 + trace
    candidates = np.stack(
        [
            np.stack([one[..., 0], wx, wy, wz], -1), np.stack([wx, one[..., 1], xy, xz], -1),
            np.stack([wy, xy, one[..., 2], yz], -1), np.stack([wz, xz, yz, one[..., 3]], -1),
        ],
        axis=-2,
    )  # fmt: skip
    best = trace.argmax(axis=-1)[..., None, None]  # the largest component is the safe one to divide by
    q = np.take_along_axis(candidates, best, axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.asarray(np.where(q[..., :1] < 0, -q, q))
