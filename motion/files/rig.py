"""A rig as a file describes it: a tree of named joints, where each rests, and where forward kinematics puts it.

- One flat tree (parents precede children), so that hostile files cannot make us recurse, and a cycle is found when the
  tree is built, not when it is walked.
- Forward kinematics runs one level of the tree at a time over all frames: some ten matrix products for any rig.
- Only joints that something below needs are computed: fingers cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motion.errors import FileFormatError

MAX_JOINTS = 4096
MAX_DEPTH = 256
FRAMES_AT_ONCE = 4096  # bounds the rotation matrices held in memory: 4096 frames x 40 joints x 9 x 8 bytes = 12 MB


@dataclass(frozen=True)
class Rig:
    """Joints of one file.

    ``names`` (K), ``parents`` (K; -1 for a root, parents precede children), ``offsets`` [K, 3]: from the parent, in the
    parent's frame at rest, file units. ``ends`` marks end sites: places without a rotation of their own.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: NDArray[np.float64]
    ends: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.names)

    def rest(self) -> NDArray[np.float64]:
        """Joint positions [K, 3] with every rotation zero, root at its offset, file units."""
        positions = self.offsets.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                positions[joint] += positions[parent]
        return positions


def check_tree(names: Sequence[str], parents: Sequence[int], where: str) -> None:
    """Refuse a rig that is no tree: a parent after its child, a cycle, thousands of joints, absurd depth.

    Raises:
        FileFormatError: with the joint that is wrong; ``where`` names the file.
    """
    if len(names) > MAX_JOINTS:
        raise FileFormatError(f"{where}: {len(names)} joints, more than {MAX_JOINTS}; this is not a human rig")
    depth = [0] * len(names)
    for joint, parent in enumerate(parents):
        if parent >= joint or parent < -1:
            raise FileFormatError(
                f"{where}: joint {names[joint]!r} has parent number {parent}, which does not come before it "
                "(a cycle?); list parents before their children"
            )
        depth[joint] = depth[parent] + 1 if parent >= 0 else 0
        if depth[joint] > MAX_DEPTH:
            raise FileFormatError(
                f"{where}: joint {names[joint]!r} lies {depth[joint]} levels deep, over {MAX_DEPTH}; not a human rig"
            )


def ancestors_of(parents: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The joints ``wanted`` and everything above them, ascending: what forward kinematics must compute."""
    keep: set[int] = set()
    for start in wanted:
        joint = start
        while joint >= 0 and joint not in keep:
            keep.add(joint)
            joint = parents[joint]
    return sorted(keep)


def levels_of(parents: Sequence[int]) -> list[NDArray[np.intp]]:
    """Joint indices grouped by depth, roots first."""
    depth = [0] * len(parents)
    for joint, parent in enumerate(parents):
        depth[joint] = depth[parent] + 1 if parent >= 0 else 0
    order = np.asarray(depth)
    return [np.flatnonzero(order == level) for level in range(int(order.max(initial=-1)) + 1)]


def forward_kinematics(
    parents: Sequence[int], offsets: NDArray[np.float64], rotations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Global joint positions from local rotations.

    Args:
        parents: K parent indices, -1 for roots; parents precede children.
        offsets: [K, 1 or T, 3] from the parent in the parent's frame; for a root its position.
        rotations: [K, T, 3, 3] local rotation matrices acting on column vectors.

    Returns:
        [K, T, 3] in the unit of ``offsets``.
    """
    n_joints, n_frames = rotations.shape[:2]
    turned = np.empty((n_joints, n_frames, 3, 3))
    positions = np.empty((n_joints, n_frames, 3))
    up = np.asarray(parents, dtype=np.intp)
    has_child = np.zeros(n_joints, dtype=bool)
    has_child[up[up >= 0]] = True
    for level, joints in enumerate(levels_of(parents)):
        inner = joints[has_child[joints]]
        if level == 0:
            positions[joints] = offsets[joints]
            turned[inner] = rotations[inner]
            continue
        above = up[joints]
        positions[joints] = positions[above] + (turned[above] @ offsets[joints][..., None])[..., 0]
        turned[inner] = turned[up[inner]] @ rotations[inner]
    return positions


def axis_rotations(axis: int, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices [..., 3, 3] about coordinate axis 0, 1 or 2 by ``angles`` [...] in radians."""
    out = np.zeros((*angles.shape, 3, 3))
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1.0
    out[..., a, a] = cos
    out[..., b, b] = cos
    out[..., a, b] = -sin
    out[..., b, a] = sin
    return out


def euler_rotations(order: Sequence[int], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intrinsic rotations ``R_first @ R_second @ R_third`` (acting on column vectors).

    Args:
        order: up to three axis numbers (0 x, 1 y, 2 z), in the order the file lists them.
        angles: [..., len(order)] radians.

    Returns:
        [..., 3, 3]; the identity for an empty order.
    """
    if len(order) == 3 and len(set(order)) == 3:
        return _three_axes(order, angles)
    out = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3)).copy()
    for column, axis in enumerate(order):
        out = out @ axis_rotations(axis, angles[..., column])
    return out


def _three_axes(order: Sequence[int], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The closed form for three different axes: one pass instead of two matrix products."""
    i, j, k = order
    sign = 1.0 if (j - i) % 3 == 1 else -1.0  # even permutation of x, y, z or odd
    cos, sin = np.cos(angles), np.sin(angles) * sign
    ca, cb, cc = cos[..., 0], cos[..., 1], cos[..., 2]
    sa, sb, sc = sin[..., 0], sin[..., 1], sin[..., 2]
    out = np.empty((*angles.shape[:-1], 3, 3))
    out[..., i, i] = cb * cc
    out[..., i, j] = -cb * sc
    out[..., i, k] = sb
    sasb, casb = sa * sb, ca * sb
    out[..., j, i] = ca * sc + sasb * cc
    out[..., j, j] = ca * cc - sasb * sc
    out[..., j, k] = -sa * cb
    out[..., k, i] = sa * sc - casb * cc
    out[..., k, j] = sa * cc + casb * sc
    out[..., k, k] = ca * cb
    return out
