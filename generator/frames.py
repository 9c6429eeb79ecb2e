"""What tokens are made of: motion frames, one row a frame, free of heading, place and body size.

- A row holds the change of heading and the root's step since the row before, the root's height, the other joints around the
  root in the body's heading, and four foot contacts. No rotations and no velocities: both follow from positions, and a
  decoder that had to predict them too could contradict itself.
- The heading is that of hips and shoulders together, smoothed. (The 263 features set hips against shoulders, which turns the
  body by noise; see ``motion/features.py``. Nobody reads these rows but the tokenizer, so they need not repeat that.)
- T frames give T rows and decode to T frames; only where the person stands and faces at the start is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from generator.errors import GeneratorError
from motion import PARTS, Clip, Skeleton, resample, to_smpl22
from motion.features import PART_FEATURES
from motion.geometry import facing, to_canonical, to_reference_bones, turn, yaw_of

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.floating[Any]]
ROOT = slice(0, 4)  # change of heading (radians), root step x and z (metres), root height (metres)
HEADING_SMOOTHING = 3.0  # frames, deviation of a Gaussian
CONTACT_SPEED = 0.25  # metres a second a planted foot may move at most
CONTACT_HEIGHT = (0.13, 0.07)  # metres above the floor, ankle and toe


@dataclass(frozen=True)
class FrameSpec:
    """Rows of a skeleton at a rate: ``dim`` C = 4 + 3 (J - 1) + 4."""

    skeleton: Skeleton
    fps: float
    feet: tuple[int, int, int, int]  # left ankle, left toe, right ankle, right toe

    @property
    def dim(self) -> int:
        """C."""
        return 3 * len(self.skeleton) + 5

    @property
    def positions(self) -> slice:
        """Columns of joints 1.. ."""
        return slice(4, 4 + 3 * (len(self.skeleton) - 1))

    @property
    def contacts(self) -> slice:
        """Columns of the four foot contacts, 0 to 1."""
        return slice(self.positions.stop, self.positions.stop + 4)

    @cached_property
    def part_columns(self) -> dict[str, NDArray[np.int64]]:
        """For each part the columns it is told by; root: path and contacts, arms: the chest they hang from as well."""
        columns = {"root": np.r_[0:4, self.contacts].astype(np.int64)}
        for part in PARTS[1:]:
            starts = [self.positions.start + 3 * (j - 1) for j in self.skeleton.parts[part]]
            columns[part] = np.concatenate([np.arange(s, s + 3) for s in starts])
        return columns

    @cached_property
    def mirror(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """``rows[..., permutation] * signs`` is the mirror image of ``rows`` [..., C]."""
        twin = self.skeleton.mirror_permutation
        permutation, signs = np.arange(self.dim), np.ones(self.dim, np.float32)
        signs[:2] = -1
        for joint in range(1, len(self.skeleton)):
            start, other = (self.positions.start + 3 * (j - 1) for j in (joint, twin[joint]))
            permutation[start : start + 3] = np.arange(other, other + 3)
            signs[start] = -1
        c = self.contacts.start
        permutation[c : c + 4] = np.r_[c + 2 : c + 4, c : c + 2]
        return permutation, signs


def frame_spec(features: str = "humanml3d-263") -> FrameSpec:
    """The rows that stand for the format called ``features``: its skeleton and rate."""
    if features not in PART_FEATURES:
        raise GeneratorError(f"no generator for features {features!r}; use one of {', '.join(PART_FEATURES)}")
    spec = PART_FEATURES[features]
    return FrameSpec(spec.skeleton, spec.fps, spec.feet)


def clip_to_frames(clip: Clip, spec: FrameSpec) -> NDArray[np.float32]:
    """Rows [T, C] of a clip of any skeleton and rate; T as many as fit its length, at least one."""
    joints = clip.joints
    if clip.skeleton.name != spec.skeleton.name:
        if spec.skeleton.name != "smpl22":
            raise GeneratorError(
                f"clip {clip.clip_id or clip.source.take!r} has skeleton {clip.skeleton.name!r}, this generator reads "
                f"{spec.skeleton.name!r}; use a generator of that skeleton"
            )
        joints, _ = to_smpl22(clip.skeleton.names, clip.skeleton.parents, joints)
    return joints_to_frames(resample(joints, clip.fps, spec.fps), spec)


def joints_to_frames(joints: Array, spec: FrameSpec) -> NDArray[np.float32]:
    """Rows [T, C] of positions [T, J, 3] at ``spec.fps``; the person gets reference bones and starts at the origin."""
    if joints.ndim != 3 or joints.shape[1:] != (len(spec.skeleton), 3) or len(joints) < 1:
        raise GeneratorError(
            f"expected joints [T, {len(spec.skeleton)}, 3] with T > 0, not {list(joints.shape)}; retarget the clip first"
        )
    if not np.isfinite(joints).all():
        raise GeneratorError("the joints hold NaN or infinite values; repair or leave out the clip")
    placed = to_canonical(to_reference_bones(joints, spec.skeleton), spec.skeleton).astype(np.float64)
    yaw = heading(placed, spec.skeleton)
    out = np.zeros((len(placed), spec.dim), np.float32)
    if len(placed) > 1:
        step = turn(np.diff(placed[:, 0], axis=0), -yaw[1:])
        out[1:, 0] = np.diff(yaw)
        out[1:, 1:3] = step[:, [0, 2]]
        out[0, :3] = out[1, :3]
    out[:, 3] = placed[:, 0, 1]
    local = placed[:, 1:].copy()
    local[..., [0, 2]] -= placed[:, :1, [0, 2]]
    out[:, spec.positions] = turn(local, -yaw[:, None]).reshape(len(placed), -1)
    out[:, spec.contacts] = foot_contacts(placed, spec)
    return out


def heading(joints: Array, skeleton: Skeleton) -> NDArray[np.float64]:
    """Smoothed heading [T] of positions [T, J, 3] in radians, continuous over time."""
    from scipy.ndimage import gaussian_filter1d

    forward = facing(joints, skeleton)
    return np.asarray(np.unwrap(yaw_of(gaussian_filter1d(forward, HEADING_SMOOTHING, axis=0, mode="nearest"))))


def foot_contacts(joints: Array, spec: FrameSpec) -> NDArray[np.float32]:
    """Contacts [T, 4] of left ankle, left toe, right ankle, right toe: low and slow; floor at 0."""
    feet = np.asarray(joints)[:, spec.feet]
    if len(feet) < 2:
        return np.zeros((len(feet), 4), np.float32)
    speed = np.linalg.norm(np.gradient(feet, axis=0), axis=-1) * spec.fps
    low = feet[..., 1] < np.tile(CONTACT_HEIGHT, 2)
    return np.asarray(low & (speed < CONTACT_SPEED), np.float32)


def frames_to_joints(frames: Array, spec: FrameSpec) -> NDArray[np.float32]:
    """Positions [T, J, 3] of rows [T, C]: heading and path summed up from the origin, facing +z at the start."""
    values = np.asarray(frames, np.float64)
    yaw = np.zeros(len(values))
    yaw[1:] = np.cumsum(values[1:, 0])
    step = np.zeros((len(values), 3))
    step[1:, [0, 2]] = values[1:, 1:3]
    root = np.cumsum(turn(step, yaw), axis=0)
    root[:, 1] = values[:, 3]
    joints = np.empty((len(values), len(spec.skeleton), 3))
    joints[:, 0] = root
    joints[:, 1:] = turn(values[:, spec.positions].reshape(len(values), -1, 3), yaw[:, None])
    joints[:, 1:, [0, 2]] += root[:, None, [0, 2]]
    return joints.astype(np.float32)


def tensor_joints(frames: Tensor) -> Tensor:
    """:func:`frames_to_joints` of a batch [B, T, C] in torch, for losses: [B, T, J, 3]."""
    import torch
    from torch.nn import functional as F

    yaw = F.pad(frames[:, 1:, 0].cumsum(1), (1, 0))
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, z = frames[..., 1], frames[..., 2]
    path = torch.stack([x * cos + z * sin, z * cos - x * sin], -1)
    path = F.pad(path[:, 1:].cumsum(1), (0, 0, 1, 0))
    local = frames[..., 4:-4].unflatten(-1, (-1, 3))
    cos, sin = cos[..., None], sin[..., None]
    others = torch.stack(
        [
            local[..., 0] * cos + local[..., 2] * sin + path[..., None, 0],
            local[..., 1],
            local[..., 2] * cos - local[..., 0] * sin + path[..., None, 1],
        ],
        -1,
    )
    root = torch.stack([path[..., 0], frames[..., 3], path[..., 1]], -1)
    return torch.cat([root[..., None, :], others], -2)


def same_size(frames: Array, spec: FrameSpec) -> NDArray[np.float32]:
    """Rows whose bones have reference lengths again: directions are kept, the root's path too. [T, C] to [T, C]."""
    joints = np.zeros((len(frames), len(spec.skeleton), 3), np.float32)
    joints[:, 0, 1] = frames[:, 3]
    joints[:, 1:] = np.asarray(frames)[:, spec.positions].reshape(len(frames), -1, 3)
    fixed = to_reference_bones(joints, spec.skeleton)
    out = np.array(frames, np.float32)
    fixed[..., 1] += joints[:, :1, 1] - fixed[:, :1, 1]
    out[:, spec.positions] = fixed[:, 1:].reshape(len(frames), -1)
    return out


def smoothed(frames: Array, spec: FrameSpec, deviation: float) -> NDArray[np.float32]:
    """Rows [T, C] under a Gaussian of ``deviation`` frames, contacts as they are; the net path and turn stay."""
    from scipy.ndimage import gaussian_filter1d

    out = np.array(frames, np.float32)
    if deviation > 0:
        body = slice(0, spec.contacts.start)
        out[:, body] = gaussian_filter1d(out[:, body], deviation, axis=0, mode="nearest")
    return out


def mirror_frames(frames: Array, spec: FrameSpec) -> NDArray[np.float32]:
    """Left and right exchanged, [..., C]; its own inverse."""
    permutation, signs = spec.mirror
    return np.asarray(frames[..., permutation] * signs, np.float32)


SPECS: Mapping[str, FrameSpec] = {name: frame_spec(name) for name in PART_FEATURES}
