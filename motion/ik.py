"""From positions to joint rotations: what BVH and glTF store, from what a clip holds.

- Bone lengths and the shape of hips and chest are the clip's own (medians over time), never a template's.
- A joint with several children has a full frame: its left-right line and its upward child. No angle is singular, a person
  facing away or lying down is like any other. A joint with one child swings from its parent by the shortest way; twist about
  a bone cannot be seen in positions and stays that of the parent.
- Where a rigid skeleton cannot follow (bones that stretch, a hip line that shears), a joint also gets a moving offset, so that
  the positions come back whatever the clip does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.rotation import quaternion_between, quaternion_to_matrix
from motion.skeleton import Skeleton

RIGID_WITHIN = 7e-4  # metres a rigid joint may be off before it gets a moving offset


@dataclass(frozen=True)
class Posed:
    """A skeleton posed over time.

    ``offsets`` [J, 3] are rest offsets from the parent (T-pose, facing +z), ``rotations`` [T, J, 3, 3] turn a joint in
    its parent's frame, ``translations`` [T, J, 3] are offsets over time (the root's: its position); ``moving`` names
    joints whose offset is not constant. Leaves have the rotation of their parent.
    """

    skeleton: Skeleton
    offsets: NDArray[np.float64]
    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    moving: tuple[int, ...]


def pose_skeleton(clip: Clip) -> Posed:
    """Joint rotations that bring the clip's positions back: see the module docstring."""
    joints, skeleton = clip.joints.astype(np.float64), clip.skeleton
    parents = skeleton.parents
    children: dict[int, list[int]] = {j: [c for c, p in enumerate(parents) if p == j] for j in range(len(parents))}
    offsets = np.zeros((len(parents), 3))
    world = np.tile(np.eye(3), (*joints.shape[:2], 1, 1))
    for joint, below in children.items():
        parent = parents[joint]
        bones = joints[:, below] - joints[:, joint : joint + 1]
        frame = _frame(skeleton, below, bones) if len(below) > 1 else None
        if frame is not None:
            world[:, joint] = frame
            offsets[below] = np.median(np.einsum("tji,tcj->tci", frame, bones), axis=0)
        elif below:
            length = float(np.median(np.linalg.norm(bones[:, 0], axis=-1)))
            offsets[below[0]] = _rest_direction(skeleton, below[0]) * length
            above = world[:, parent] if parent >= 0 else world[:, joint]
            world[:, joint] = _swing(above, offsets[below[0]], bones[:, 0])
        elif parent >= 0:
            world[:, joint] = world[:, parent]
    local = world.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            local[:, joint] = np.swapaxes(world[:, parent], -1, -2) @ world[:, joint]
    translations, moving = _translations(joints, world, offsets, parents)
    return Posed(skeleton, offsets, local, translations, moving)


def joint_positions(posed: Posed) -> NDArray[np.float64]:
    """Positions [T, J, 3] of a posed skeleton: the inverse of :func:`pose_skeleton`."""
    world = np.empty_like(posed.rotations)
    out = np.empty(posed.translations.shape)
    for joint, parent in enumerate(posed.skeleton.parents):
        if parent < 0:
            out[:, joint], world[:, joint] = posed.translations[:, joint], posed.rotations[:, joint]
        else:
            step = np.einsum("tij,tj->ti", world[:, parent], posed.translations[:, joint])
            out[:, joint] = out[:, parent] + step
            world[:, joint] = world[:, parent] @ posed.rotations[:, joint]
    return out


def _translations(
    joints: NDArray[np.float64], world: NDArray[np.float64], offsets: NDArray[np.float64], parents: tuple[int, ...]
) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Offsets over time, constant wherever that is near enough (errors add up along a chain), and the joints that move."""
    out = np.empty(joints.shape)
    reached = np.empty(joints.shape)
    moving = []
    for joint, parent in enumerate(parents):
        if parent < 0:
            out[:, joint] = reached[:, joint] = joints[:, joint]
            continue
        rigid = reached[:, parent] + world[:, parent] @ offsets[joint]
        out[:, joint], reached[:, joint] = offsets[joint], rigid
        if np.linalg.norm(rigid - joints[:, joint], axis=-1).max() > RIGID_WITHIN:
            moving.append(joint)
            out[:, joint] = np.einsum("tji,tj->ti", world[:, parent], joints[:, joint] - reached[:, parent])
            reached[:, joint] = joints[:, joint]
    return out, tuple(moving)


def _frame(skeleton: Skeleton, below: list[int], bones: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Frames [T, 3, 3] with columns left, up, forward, from a pair of mirrored children and the one between; None without."""
    pair = [(below.index(a), below.index(b)) for a, b in skeleton.mirror if a in below and b in below]
    middle = [i for i, joint in enumerate(below) if skeleton.mirror_permutation[joint] == joint]
    if not pair or not middle:
        return None
    left = _unit(bones[:, pair[0][0]] - bones[:, pair[0][1]])
    up = bones[:, middle[0]]
    forward = np.cross(left, up)
    if (np.linalg.norm(forward, axis=-1) < 1e-9).any():
        return None
    forward = _unit(forward)
    return np.stack([left, np.cross(forward, left), forward], axis=-1)


def _swing(above: NDArray[np.float64], rest: NDArray[np.float64], bone: NDArray[np.float64]) -> NDArray[np.float64]:
    """``above`` [T, 3, 3] turned by the shortest way so that ``rest`` [3] points along ``bone`` [T, 3]."""
    return np.asarray(quaternion_to_matrix(quaternion_between(above @ rest, bone)) @ above)


def _rest_direction(skeleton: Skeleton, joint: int) -> NDArray[np.float64]:
    """Where a bone to ``joint`` points in a T-pose that faces +z."""
    name = skeleton.names[joint]
    if any(word in name for word in ("foot", "toe")):
        return np.array([0.0, 0.0, 1.0])
    if any(word in name for word in ("knee", "ankle")):
        return np.array([0.0, -1.0, 0.0])
    if name.startswith(("left_", "right_")):
        return np.array([1.0 if name.startswith("left_") else -1.0, 0.0, 0.0])
    return np.array([0.0, 1.0, 0.0])


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float64)
