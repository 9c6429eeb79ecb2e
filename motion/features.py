"""Feature vectors models read: HumanML3D 263, KIT-ML 251 (one recipe, two skeletons), and 272 (in ``features_272``).

- 263 / 251, one row for every pair of frames: root yaw rate (half angles), root xz velocity, root height, joint positions,
  6D bone rotations of the format's own inverse kinematics, joint velocities, foot contacts; all but the root free of heading.
- Positions alone carry the motion back (``features_to_joints``); the rotations have no twist and are not SMPL parameters.
- 137 is 263 without its rotations, which are derived from the positions: half the columns of the same motion.
- Rows number T - 1 for T poses: the last pose lives only in the last velocity.
- A specification names its blocks, so that nobody counts columns; parts and mirroring are derived from the blocks.

Source: EricGuo5513/HumanML3D and EricGuo5513/text-to-motion ``scripts/motion_process.py`` (recipe), re-derived and checked
against the published arrays; part split after AIGeeksGroup/ReMoMask ``Part_TMR``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.errors import FeatureError
from motion.features_272 import MOTION_272, Motion272, decode_272, encode_272
from motion.geometry import to_canonical, turn, yaw_of
from motion.rotation import quaternion_between, quaternion_inverse, quaternion_multiply, quaternion_to_matrix
from motion.skeleton import KIT_21, PARTS, SMPL_22, Skeleton

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FeatureSpec:
    """A feature vector: its skeleton, rate, width and where its blocks lie.

    Without ``inverse_kinematics`` the rotation block is empty: the same motion in half the columns.

    ``rest`` [J, 3] are the bone directions that the format's inverse kinematics starts from, ``contact_step`` the squared
    metres (or units of the format) a foot may move in a frame and still count as planted.
    """

    name: str
    skeleton: Skeleton
    fps: float
    rest: tuple[tuple[int, int, int], ...]
    chains: tuple[tuple[int, ...], ...]
    feet: tuple[int, int, int, int]  # left ankle, left toe, right ankle, right toe
    contact_step: float
    inverse_kinematics: bool = True

    @property
    def joints(self) -> int:
        """J."""
        return len(self.skeleton)

    @property
    def dim(self) -> int:
        """Width C: 4 + 3 (J - 1) + 6 (J - 1) + 3 J + 4, without rotations 6 (J - 1) less."""
        return int(self.contacts.stop)

    @property
    def positions(self) -> slice:
        """Columns of the positions of joints 1.. (heading and root xz removed)."""
        return slice(4, 4 + 3 * (self.joints - 1))

    @property
    def rotations(self) -> slice:
        """Columns of the 6D rotations of joints 1.., an empty slice where the format has none."""
        start = self.positions.stop
        return slice(start, start + 6 * (self.joints - 1) * self.inverse_kinematics)

    @property
    def velocities(self) -> slice:
        """Columns of the velocities of joints 0.., per frame."""
        start = self.rotations.stop
        return slice(start, start + 3 * self.joints)

    @property
    def contacts(self) -> slice:
        """Columns of the four foot contacts."""
        return slice(self.velocities.stop, self.velocities.stop + 4)

    @property
    def velocity_columns(self) -> NDArray[np.int64]:
        """Columns that scale with speed: yaw rate, root velocity, joint velocities."""
        return np.asarray(np.r_[0:3, self.velocities], np.int64)

    @cached_property
    def mirror(self) -> MirrorColumns:
        """How the columns change when left and right are exchanged."""
        return _mirror_of(self)


HUMANML3D_263 = FeatureSpec(
    name="humanml3d-263",
    skeleton=SMPL_22,
    fps=20.0,
    rest=(
        (0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0), (0, 1, 0),
        (0, 0, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, -1, 0), (0, -1, 0), (0, -1, 0), (0, -1, 0),
        (0, -1, 0), (0, -1, 0),
    ),
    chains=((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)),
    feet=(7, 10, 8, 11),
    contact_step=0.002,
)  # fmt: skip
HUMANML3D_137 = replace(HUMANML3D_263, name="humanml3d-137", inverse_kinematics=False)
KIT_251 = FeatureSpec(
    name="kit-251",
    skeleton=KIT_21,
    fps=12.5,
    rest=(
        (0, 0, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0), (1, 0, 0), (0, -1, 0), (0, -1, 0), (-1, 0, 0), (0, -1, 0),
        (0, -1, 0), (1, 0, 0), (0, -1, 0), (0, -1, 0), (0, 0, 1), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, -1, 0), (0, 0, 1),
        (0, 0, 1),
    ),
    chains=((0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)),
    feet=(19, 20, 14, 15),
    contact_step=0.05,
)  # fmt: skip
PART_FEATURES: Mapping[str, FeatureSpec] = {
    spec.name: spec for spec in (HUMANML3D_263, HUMANML3D_137, KIT_251)
}  # what the encoders and the generator read
FEATURES: Mapping[str, FeatureSpec | Motion272] = {**PART_FEATURES, MOTION_272.name: MOTION_272}


def part_features(name: str) -> FeatureSpec:
    """The format called ``name`` among those that models of body parts read; FeatureError with their names otherwise."""
    if name not in PART_FEATURES:
        raise FeatureError(f"no model of body parts reads features {name!r}; use one of {', '.join(PART_FEATURES)}")
    return PART_FEATURES[name]


def joints_to_features(
    joints: Array, spec: FeatureSpec | Motion272, *, rotations: Array | None = None
) -> NDArray[np.float32]:
    """Features of positions ``[T, J, 3]`` at ``spec.fps``: ``[T - 1, C]``, for 272 ``[T, C]``.

    The motion is made canonical first. ``rotations`` [T, J, 3, 3] are read by 272 alone, which derives them where they are not
    given.

    Raises:
        FeatureError: the joints are not those of the format, or fewer than two frames.
    """
    if isinstance(spec, Motion272):
        return encode_272(joints, rotations)
    if joints.ndim != 3 or joints.shape[1:] != (spec.joints, 3) or len(joints) < 2:
        raise FeatureError(
            f"{spec.name} reads joints [T, {spec.joints}, 3] with T > 1, not {list(joints.shape)}; retarget or pad the clip"
        )
    placed = to_canonical(joints, spec.skeleton).astype(np.float64)
    yaw = _format_heading(placed, spec.skeleton)
    step = np.diff(placed, axis=0)
    local = placed.copy()
    local[..., [0, 2]] -= placed[:, :1, [0, 2]]
    out = np.empty((len(placed) - 1, spec.dim), np.float32)
    rows = len(out)
    root_step = turn(step[:, 0], -yaw[1:])
    out[:, 0] = -((np.diff(yaw) + np.pi) % (2 * np.pi) - np.pi) / 2  # the short way, also past half a turn
    out[:, 1:3] = root_step[:, [0, 2]]
    out[:, 3] = placed[:-1, 0, 1]
    out[:, spec.positions] = turn(local[:-1, 1:], -yaw[:-1, None]).reshape(rows, -1)
    if spec.inverse_kinematics:
        out[:, spec.rotations] = _bone_rotations(placed[:-1], yaw[:-1], spec).reshape(rows, -1)
    out[:, spec.velocities] = turn(step, -yaw[:-1, None]).reshape(rows, -1)
    out[:, spec.contacts] = (step[:, spec.feet] ** 2).sum(-1) < spec.contact_step
    return out


def features_to_joints(features: Array, spec: FeatureSpec | Motion272) -> NDArray[np.float32]:
    """Positions ``[T, J, 3]`` of features ``[T, C]``: heading and path are summed up, joints put back around the root."""
    if isinstance(spec, Motion272):
        return decode_272(features)
    if features.ndim != 2 or features.shape[1] != spec.dim:
        raise FeatureError(
            f"{spec.name} has width {spec.dim}, these features are {list(features.shape)}; name the right format"
        )
    values = np.asarray(features, np.float64)
    yaw = np.zeros(len(values))
    yaw[1:] = np.cumsum(-2 * values[:-1, 0])
    step = np.zeros((len(values), 3))
    step[1:, [0, 2]] = values[:-1, 1:3]
    root = np.cumsum(turn(step, yaw), axis=0)
    root[:, 1] = values[:, 3]
    joints = np.empty((len(values), spec.joints, 3))
    joints[:, 0] = root
    joints[:, 1:] = turn(values[:, spec.positions].reshape(len(values), -1, 3), yaw[:, None])
    joints[:, 1:, [0, 2]] += root[:, None, [0, 2]]
    return joints.astype(np.float32)


def _format_heading(joints: Array, skeleton: Skeleton) -> NDArray[np.float64]:
    """Heading ``[T]`` in radians as the format defines it: smoothed over time (Gaussian, 20 frames), 0 in frame 0.

    The published recipe takes the line of the hips with its sign reversed here (its inverse kinematics reads the four joints
    in another order than its canonical step does), so hips count against shoulders. Kept: the published arrays, their
    statistics and every model trained on them have it (mean error against a published clip .0015 rad, without it .15).
    """
    from scipy.ndimage import gaussian_filter1d  # half a second that reading a file need not wait for

    (left_hip, right_hip), (left_shoulder, right_shoulder) = skeleton.hips, skeleton.shoulders
    across = joints[:, left_hip] - joints[:, right_hip] + joints[:, right_shoulder] - joints[:, left_shoulder]
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-8)
    forward = np.stack([across[:, 2], np.zeros(len(across)), -across[:, 0]], axis=-1)
    yaw = yaw_of(gaussian_filter1d(forward, 20, axis=0, mode="nearest"))
    yaw[0] = 0.0
    return yaw


def _bone_rotations(joints: Array, yaw: Array, spec: FeatureSpec) -> NDArray[np.float64]:
    """6D rotations ``[T, J - 1, 6]`` of the format's inverse kinematics.

    A bone's rotation is the shortest from its rest direction to its observed one, told relative to the bone before it in its
    chain; the first bone of each chain (the arms' too) is told relative to the root, which undoes the heading.
    """
    swing = np.zeros((len(joints), spec.joints, 4))
    swing[..., 0] = 1.0
    before = np.zeros((len(joints), spec.joints, 4))
    root = np.stack([np.cos(yaw / 2), np.zeros_like(yaw), -np.sin(yaw / 2), np.zeros_like(yaw)], axis=-1)
    bones = [(chain[i - 1], chain[i]) for chain in spec.chains for i in range(1, len(chain))]
    parents, children = (np.array(side) for side in zip(*bones, strict=True))
    direction = joints[:, children] - joints[:, parents]
    swing[:, children] = quaternion_between(np.array(spec.rest, np.float64)[children], direction)
    first = {chain[1] for chain in spec.chains}
    for parent, child in bones:
        before[:, child] = root if child in first else swing[:, parent]
    local = quaternion_multiply(quaternion_inverse(before[:, 1:]), swing[:, 1:])
    matrix = quaternion_to_matrix(local)
    return np.concatenate([matrix[..., 0], matrix[..., 1]], axis=-1)


# ---- parts -------------------------------------------------------------------------------------------------------


def part_columns(spec: FeatureSpec | Motion272) -> dict[str, NDArray[np.int64]]:
    """For each body part the columns it reads: per joint position, rotation (if there), velocity, then its foot contacts.

    The root reads what moves the whole body: of 263 and 251 yaw rate, root velocity, height and its own velocity (7), of 272
    root velocity and heading change beside its joint's own (20). The chest joint is read by three parts.
    """
    columns: dict[str, NDArray[np.int64]] = {}
    for part in PARTS:
        picked = [_joint_columns(joint, spec) for joint in spec.skeleton.parts[part]]
        if part == "root":
            picked = [_root_columns(spec)]
        if isinstance(spec, FeatureSpec) and part in ("left_leg", "right_leg"):
            start = spec.contacts.start + 2 * (part == "right_leg")
            picked.append(np.arange(start, start + 2))
        columns[part] = np.concatenate(picked)
    return columns


def _root_columns(spec: FeatureSpec | Motion272) -> NDArray[np.int64]:
    if isinstance(spec, Motion272):
        return np.concatenate([np.arange(8), _joint_columns(0, spec)])
    return np.asarray(np.r_[0:4, spec.velocities.start : spec.velocities.start + 3], np.int64)


def _joint_columns(joint: int, spec: FeatureSpec | Motion272) -> NDArray[np.int64]:
    """Columns of a joint's position, rotation (if there) and velocity; only 272 has the first two of the root, too."""
    row = joint if isinstance(spec, Motion272) else joint - 1
    position, rotation = spec.positions.start + 3 * row, spec.rotations.start + 6 * row
    velocity = spec.velocities.start + 3 * joint
    width = 6 if isinstance(spec, Motion272) or spec.inverse_kinematics else 0
    return np.asarray(np.r_[position : position + 3, rotation : rotation + width, velocity : velocity + 3], np.int64)


def split_parts(features: Array, spec: FeatureSpec | Motion272) -> dict[str, Array]:
    """``features`` [..., T, C] as one array [..., T, w] a part."""
    return {part: features[..., columns] for part, columns in part_columns(spec).items()}


def merge_parts(parts: Mapping[str, Array], spec: FeatureSpec | Motion272) -> Array:
    """The inverse of ``split_parts``, to the last bit; where the chest's three copies differ, their mean.

    Raises:
        FeatureError: a part is missing.
    """
    if missing := [part for part in PARTS if part not in parts]:
        raise FeatureError(f"merging needs all parts, {', '.join(missing)} is missing")
    some = parts[PARTS[0]]
    merged = np.zeros((*some.shape[:-1], spec.dim), some.dtype)
    seen = np.zeros(spec.dim, some.dtype)
    for part, columns in part_columns(spec).items():
        seen[columns] += 1
        merged[..., columns] += (parts[part] - merged[..., columns]) / seen[
            columns
        ]  # running mean: equal copies stay exact
    return merged


# ---- mirroring ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MirrorColumns:
    """``features[..., permutation] * signs`` is the mirror image of ``features`` [..., C]."""

    permutation: NDArray[np.int64]
    signs: NDArray[np.float32]


def mirror_columns(spec: FeatureSpec) -> MirrorColumns:
    """How the columns of ``spec`` change when left and right are exchanged (x negated)."""
    return spec.mirror


def _mirror_of(spec: FeatureSpec) -> MirrorColumns:
    twin = spec.skeleton.mirror_permutation
    permutation = np.arange(spec.dim)
    signs = np.ones(spec.dim, np.float32)
    signs[:2] = -1  # yaw rate, sideways root velocity
    for joint in range(1, spec.joints):
        own = _joint_columns(joint, spec)
        permutation[own] = _joint_columns(twin[joint], spec)
        signs[own] = (-1, 1, 1, *((1, -1, -1, -1, 1, 1) if spec.inverse_kinematics else ()), -1, 1, 1)
    signs[spec.velocities.start] = -1
    start = spec.contacts.start
    permutation[start : start + 4] = np.r_[start + 2 : start + 4, start : start + 2]
    return MirrorColumns(permutation, signs)


def mirror_features(features: Array, spec: FeatureSpec) -> Array:
    """The mirror image of ``features`` [..., C]; its own inverse. Equals mirroring the joints first."""
    columns = mirror_columns(spec)
    return (features[..., columns.permutation] * columns.signs).astype(features.dtype)
