"""The 272 numbers of MotionStreamer and MotionMillion: SMPL-22 at 30 fps, rotations kept, no inverse kinematics needed.

- Columns: root xz velocity 0:2 (in the heading frame before), heading change 2:8, positions 8:74, their differences 74:140,
  joint rotations 140:272. Rotations are told by the first two rows of their matrices.
- One row a frame; row 0 has no velocity and no heading change. The heading of frame 0 is not stored: it comes back as +z.
- Rotations that a source does not have are derived from positions: twist about a bone is then that of its parent.
- Some published models read 2:8 as the heading itself, not its change; both ways are told apart and converted here.

Source: Li-xingXiao/272-dim-Motion-Representation ``representation_272.py``, re-derived and checked against published arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.errors import FeatureError
from motion.geometry import facing, floor_height, yaw_of
from motion.skeleton import SMPL_22, Skeleton

Array = NDArray[np.floating[Any]]
_J = len(SMPL_22)
ROOT, HEADING, POSITIONS, VELOCITIES, ROTATIONS = (
    slice(0, 2),
    slice(2, 8),
    slice(8, 74),
    slice(74, 140),
    slice(140, 272),
)


@dataclass(frozen=True)
class Motion272:
    """The 272 format: see the module docstring. Blocks of joints hold all 22, the root's first."""

    name: str = "motion-272"
    skeleton: Skeleton = SMPL_22
    fps: float = 30.0
    dim: int = 272
    positions: ClassVar[slice] = POSITIONS
    velocities: ClassVar[slice] = VELOCITIES
    rotations: ClassVar[slice] = ROTATIONS


MOTION_272 = Motion272()


def encode_272(joints: Array, rotations: Array | None = None) -> NDArray[np.float32]:
    """Features [T, 272] of positions [T, 22, 3] at 30 fps; ``rotations`` [T, 22, 3, 3] are local ones, the root's global."""
    if joints.ndim != 3 or joints.shape[1:] != (_J, 3) or len(joints) == 0:
        raise FeatureError(f"motion-272 reads joints [T, 22, 3], not {list(joints.shape)}; retarget the clip")
    placed = np.array(joints, np.float64)
    placed[..., 1] -= floor_height(placed)
    if rotations is None:
        from motion.ik import pose_skeleton

        yaw = yaw_of(facing(placed, SMPL_22))
        rotations = pose_skeleton(Clip(placed.astype(np.float32), SMPL_22, MOTION_272.fps)).rotations
    else:
        yaw = np.arctan2(rotations[:, 0, 0, 2], rotations[:, 0, 2, 2]).astype(np.float64)
    away = _about_y(-yaw)  # [T, 3, 3] takes the heading away
    local = placed.copy()
    local[..., [0, 2]] -= placed[:, :1, [0, 2]]
    local = np.einsum("tij,tkj->tki", away, local)
    turned = np.array(rotations, np.float64)
    turned[:, 0] = away @ turned[:, 0]
    out = np.zeros((len(placed), 272), np.float32)
    step = np.diff(placed[:, 0], axis=0)
    out[1:, ROOT] = np.einsum("tij,tj->ti", away[:-1], step * (1, 0, 1))[:, [0, 2]]
    change = np.tile(np.eye(3), (len(placed), 1, 1))
    change[1:] = away[1:] @ np.swapaxes(away[:-1], -1, -2)
    out[:, HEADING] = rows_of(change)
    out[:, POSITIONS] = local.reshape(len(local), -1)
    out[1:, VELOCITIES] = np.diff(local, axis=0).reshape(len(local) - 1, -1)
    out[:, ROTATIONS] = rows_of(turned).reshape(len(local), -1)
    return out


def decode_272(features: Array) -> NDArray[np.float32]:
    """Positions [T, 22, 3]: frame 0 faces +z over the origin."""
    values = _checked(features)
    away = _headings(values)
    step = np.zeros((len(values), 3))
    step[1:, [0, 2]] = values[1:, ROOT]
    step[1:] = np.einsum("tji,tj->ti", away[:-1], step[1:])
    joints = np.einsum("tji,tkj->tki", away, values[:, POSITIONS].reshape(-1, _J, 3))
    return np.asarray(joints + np.cumsum(step, axis=0)[:, None], np.float32)


def rotations_272(features: Array) -> NDArray[np.float64]:
    """Rotations [T, 22, 3, 3]: local ones, the root's global (heading put back)."""
    values = _checked(features)
    rotations = matrices_of(values[:, ROTATIONS].reshape(len(values), _J, 6))
    rotations[:, 0] = np.swapaxes(_headings(values), -1, -2) @ rotations[:, 0]
    return rotations


def heading_is_absolute(features: Array) -> bool:
    """Whether columns 2:8 hold the heading itself instead of its change: far from identity, yet hardly changing by row."""
    heading = matrices_of(_checked(features)[:, HEADING])
    away = np.arccos(np.clip((np.trace(heading, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
    change = heading[1:] @ np.swapaxes(heading[:-1], -1, -2)
    between = np.arccos(np.clip((np.trace(change, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
    return bool(
        len(between) and np.percentile(away, 90) > 0.35 and np.percentile(away, 90) > 4 * np.percentile(between, 90)
    )


def heading_to_change(features: Array) -> NDArray[np.float32]:
    """Features whose columns 2:8 hold the heading, with its change in its place."""
    values = _checked(features)
    heading = matrices_of(values[:, HEADING])
    change = np.tile(np.eye(3), (len(values), 1, 1))
    change[1:] = heading[1:] @ np.swapaxes(heading[:-1], -1, -2)
    values[:, HEADING] = rows_of(change)
    return values.astype(np.float32)


def change_to_heading(features: Array) -> NDArray[np.float32]:
    """The inverse of :func:`heading_to_change`, heading 0 in frame 0."""
    values = _checked(features)
    values[:, HEADING] = rows_of(_headings(values))
    return values.astype(np.float32)


def rows_of(matrices: Array) -> NDArray[np.float64]:
    """The first two rows [..., 6] of rotations [..., 3, 3]."""
    return np.asarray(matrices[..., :2, :].reshape(*matrices.shape[:-2], 6), np.float64)


def matrices_of(rows: Array) -> NDArray[np.float64]:
    """Rotations [..., 3, 3] of two rows [..., 6], made orthonormal: the inverse of :func:`rows_of`."""
    first = rows[..., :3] / np.linalg.norm(rows[..., :3], axis=-1, keepdims=True)
    second = rows[..., 3:] - (first * rows[..., 3:]).sum(-1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-2)


def _headings(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations [T, 3, 3] that take the heading away, from its changes."""
    changes = matrices_of(values[:, HEADING])
    yaw = np.cumsum(np.arctan2(changes[:, 0, 2], changes[:, 0, 0]))
    return _about_y(yaw)


def _about_y(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], axis=-1).reshape(-1, 3, 3)


def _checked(features: Array) -> NDArray[np.float64]:
    if features.ndim != 2 or features.shape[1] != 272 or len(features) == 0:
        raise FeatureError(
            f"motion-272 has width 272, these features are {list(features.shape)}; name the right format"
        )
    return np.array(features, np.float64)
