"""From joint angles to positions: forward kinematics of SMPL-22, feet on the floor, a path that follows the planted foot.

- Angles in radians over time ``[T]``, by name; what is not named is 0: a person standing with the arms hanging.
- ``*_flex`` lifts forward, ``*_out`` lifts sideways, ``*_twist`` turns about the bone, knees and elbows bend their own way.
- Left and right have the same signs: a mirrored action has the same numbers under the other names.
- y up, metres, the person faces +z at yaw 0; left is +x.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from motion.geometry import REFERENCE_BONES
from motion.skeleton import SMPL_22

Angles = Mapping[str, NDArray[np.float64]]
Matrix = NDArray[np.float64]

_DOWN, _UP, _LEFT, _AHEAD = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
_DIRECTIONS = {
    "left_hip": (0.8, -0.6, 0.0), "left_knee": _DOWN, "left_ankle": _DOWN, "left_foot": (0.0, -0.35, 0.94), "spine1": _UP,
    "spine2": _UP, "spine3": _UP, "neck": _UP, "head": (0.0, 0.94, 0.34), "left_collar": (0.55, 0.83, 0.0),
    "left_shoulder": (0.98, -0.2, 0.0), "left_elbow": _DOWN, "left_wrist": _DOWN,
}  # fmt: skip


def rest_offsets() -> NDArray[np.float64]:
    """Offsets [22, 3] of a standing person with hanging arms, reference bone lengths."""
    offsets = np.zeros((len(SMPL_22), 3))
    for name, direction in _DIRECTIONS.items():
        unit = np.array(direction) / np.linalg.norm(direction)
        offsets[SMPL_22.index(name)] = unit
        if name.startswith("left_"):
            offsets[SMPL_22.index(name.replace("left_", "right_"))] = unit * (-1, 1, 1)
    return offsets * REFERENCE_BONES[SMPL_22.name][:, None]


def _axis(angle: NDArray[np.float64], axis: int) -> Matrix:
    """Rotations [T, 3, 3] about x, y or z."""
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.zeros((*angle.shape, 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1
    out[..., i, i] = out[..., j, j] = cos
    out[..., j, i], out[..., i, j] = sin, -sin
    return out


def local_rotations(angles: Angles, frames: int) -> Matrix:
    """Rotations [T, 22, 3, 3] of every joint in its parent's frame."""

    def get(name: str) -> NDArray[np.float64]:
        return np.broadcast_to(angles.get(name, np.zeros(1)), frames).astype(np.float64)

    out = np.tile(np.eye(3), (frames, len(SMPL_22), 1, 1))

    def turn(joint: str, matrix: Matrix) -> None:
        out[:, SMPL_22.index(joint)] = matrix

    turn("pelvis", _axis(get("yaw"), 1) @ _axis(get("lean"), 0) @ _axis(get("roll"), 2))
    for joint, share in (("spine1", 0.4), ("spine2", 0.3), ("spine3", 0.3)):
        bend, side, twist = get("bend") * share, get("side") * share, get("twist") * share
        turn(joint, _axis(twist, 1) @ _axis(side, 2) @ _axis(bend, 0))
    turn("neck", _axis(get("head_yaw") / 2, 1) @ _axis(get("nod") / 2, 0))
    turn("head", _axis(get("head_yaw") / 2, 1) @ _axis(get("nod") / 2, 0))
    for leg, sign in (("left", 1.0), ("right", -1.0)):
        hip = _axis(sign * get(f"{leg}_hip_out"), 2) @ _axis(-get(f"{leg}_hip_flex"), 0)
        turn(f"{leg}_hip", hip @ _axis(sign * get(f"{leg}_hip_twist"), 1))
        turn(f"{leg}_knee", _axis(get(f"{leg}_knee"), 0))
        turn(f"{leg}_ankle", _axis(get(f"{leg}_ankle"), 0))
        out_angle = get(f"{leg}_arm_out")
        shrug = np.clip(out_angle - 1.2, 0, None) * 0.35
        turn(f"{leg}_collar", _axis(sign * shrug, 2))
        arm = _axis(sign * (out_angle - shrug), 2) @ _axis(-get(f"{leg}_arm_flex"), 0)
        turn(f"{leg}_shoulder", arm @ _axis(sign * get(f"{leg}_arm_twist"), 1))
        turn(f"{leg}_elbow", _axis(-get(f"{leg}_elbow"), 0))
    return out


def forward_kinematics(rotations: Matrix, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions [T, 22, 3] with the pelvis at the origin."""
    frames = len(rotations)
    world = np.empty_like(rotations)
    joints = np.zeros((frames, len(SMPL_22), 3))
    world[:, 0] = rotations[:, 0]
    for joint, parent in enumerate(SMPL_22.parents):
        if parent >= 0:
            joints[:, joint] = joints[:, parent] + world[:, parent] @ offsets[joint]
            world[:, joint] = world[:, parent] @ rotations[:, joint]
    return joints


def pose(angles: Angles, frames: int, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions [T, 22, 3] of a person who stands, walks or jumps over a floor at 0.

    The lower foot carries the body and does not slide; ``air`` [T] lifts the body (a jump), ``drift`` (metres a frame, forward)
    moves it while nothing carries it.
    """
    joints = forward_kinematics(local_rotations(angles, frames), offsets)
    air = np.broadcast_to(angles.get("air", np.zeros(1)), frames)
    joints[..., 1] += (air - joints[..., 1].min(axis=1))[:, None]
    feet = joints[:, [10, 11, 7, 8]]
    weight = np.exp(-(feet[..., 1] - feet[..., 1].min(axis=1, keepdims=True)) / 0.008)
    weight /= weight.sum(axis=1, keepdims=True)
    carried = -(np.diff(feet[..., [0, 2]], axis=0) * ((weight[1:] + weight[:-1]) / 2)[..., None]).sum(axis=1)
    flying = np.clip(air[1:] / 0.03, 0, 1)[:, None]
    yaw = np.broadcast_to(angles.get("yaw", np.zeros(1)), frames)[1:]
    drift = np.broadcast_to(angles.get("drift", np.zeros(1)), frames)[1:, None] * np.stack(
        [np.sin(yaw), np.cos(yaw)], axis=-1
    )
    step = carried * (1 - flying) + drift * np.maximum(flying, (np.abs(drift) > 0).any(axis=1, keepdims=True))
    joints[1:, :, [0, 2]] += np.cumsum(step, axis=0)[:, None]
    return joints
