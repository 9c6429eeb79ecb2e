"""Geometry of joint positions: time, facing, mirror, body size. Pure functions over ``[T, J, 3]``; metres, y up, +z forward.

- Resampling goes by time, never by integer stride, so 120 -> 20 and 59.94 -> 20 frames per second both keep seconds.
- Facing is read from hips and shoulders, as HumanML3D reads it; it needs no rotations.
- Reference bones take the body's size away: the same gesture of a tall and a small person becomes the same array.

Source: steps of EricGuo5513/HumanML3D ``motion_representation``, in our own words.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Caption, Clip
from motion.errors import MotionError
from motion.skeleton import KIT_21, SMPL_22, Skeleton

Array = NDArray[np.floating[Any]]

# Metres from the parent joint, symmetric, of a person with a leg of 0.82 m; our own round figures for an average adult.
_SMPL_BONES = (
    0.0, 0.105, 0.105, 0.125, 0.390, 0.390, 0.140, 0.430, 0.430, 0.058, 0.143, 0.143, 0.215, 0.137, 0.137, 0.100,
    0.125, 0.125, 0.257, 0.257, 0.252, 0.252,
)  # fmt: skip
_KIT_BONES = (
    0.0, 0.100, 0.200, 0.240, 0.200, 0.190, 0.280, 0.250, 0.190, 0.280, 0.250, 0.100, 0.420, 0.410, 0.060, 0.150,
    0.100, 0.420, 0.410, 0.060, 0.150,
)  # fmt: skip
REFERENCE_BONES: dict[str, NDArray[np.float32]] = {
    SMPL_22.name: np.array(_SMPL_BONES, np.float32),
    KIT_21.name: np.array(_KIT_BONES, np.float32),
}


def resample(joints: Array, fps_in: float, fps_out: float) -> NDArray[np.float32]:
    """Positions ``[T, J, 3]`` at another rate, linear in time; first frame kept, last one not after the last given."""
    if abs(fps_in - fps_out) < 1e-6 or len(joints) < 2:
        return np.asarray(joints, np.float32)
    count = int((len(joints) - 1) / fps_in * fps_out + 1e-6) + 1
    time = np.arange(count) * (fps_in / fps_out)
    first = np.minimum(time.astype(np.int64), len(joints) - 2)
    share = (time - first).astype(np.float32)[:, None, None]
    joints = np.asarray(joints, np.float32)
    return np.asarray(joints[first] * (1 - share) + joints[first + 1] * share, np.float32)


def facing(joints: Array, skeleton: Skeleton) -> NDArray[np.float64]:
    """Unit forward direction ``[T, 3]`` in the ground plane, from the left-to-right lines of hips and shoulders."""
    (left_hip, right_hip), (left_shoulder, right_shoulder) = skeleton.hips, skeleton.shoulders
    across = joints[:, right_hip] - joints[:, left_hip] + joints[:, right_shoulder] - joints[:, left_shoulder]
    across = np.asarray(across, np.float64)
    forward = np.stack([across[:, 2], np.zeros(len(across)), -across[:, 0]], axis=-1)  # up x across
    length = np.linalg.norm(forward, axis=-1, keepdims=True)
    upright = np.array([0.0, 0.0, 1.0])
    return np.where(length > 1e-8, forward / np.maximum(length, 1e-8), upright)


def yaw_of(forward: Array) -> NDArray[np.float64]:
    """Angle ``[T]`` about +y that turns +z to ``forward`` [T, 3], in radians."""
    return np.arctan2(forward[..., 0], forward[..., 2]).astype(np.float64)


def turn(vectors: Array, yaw: Array) -> NDArray[np.float64]:
    """``vectors`` [..., 3] turned about +y by ``yaw`` (broadcast over the leading axes), radians, +z towards +x."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.stack(np.broadcast_arrays(x * cos + z * sin, y, z * cos - x * sin), axis=-1)


def floor_height(joints: Array) -> float:
    """The lowest height any joint reaches, metres."""
    return float(joints[..., 1].min())


def to_canonical(joints: Array, skeleton: Skeleton) -> NDArray[np.float32]:
    """The same motion with its lowest point at 0, the root of frame 0 over the origin, frame 0 facing +z."""
    placed = np.array(joints, np.float64)
    placed[..., 1] -= floor_height(placed)
    placed[..., [0, 2]] -= placed[0, 0, [0, 2]]
    return turn(placed, -yaw_of(facing(placed[:1], skeleton))[0]).astype(np.float32)


def to_reference_bones(joints: Array, skeleton: Skeleton) -> NDArray[np.float32]:
    """Bone directions of ``joints`` [T, J, 3] with reference lengths; the root's path is scaled by the ratio of legs."""
    lengths = REFERENCE_BONES[skeleton.name]
    parents = np.array(skeleton.parents)
    bones = np.asarray(joints, np.float32) - np.asarray(joints, np.float32)[:, parents]
    size = np.linalg.norm(bones, axis=-1)
    legs = [*skeleton.knees, *skeleton.ankles]
    leg = float(size[:, legs].mean())
    if leg < 1e-6:
        raise MotionError("the legs of this clip have no length; its joints are not a body")
    bones *= (lengths / np.maximum(size, 1e-6))[..., None]
    out = np.empty_like(bones)
    out[:, 0] = joints[:, 0] * np.float32(lengths[legs].mean() / leg)
    for joint in range(1, len(parents)):
        out[:, joint] = out[:, parents[joint]] + bones[:, joint]
    return out


def mirror_joints(joints: Array, skeleton: Skeleton) -> NDArray[np.float32]:
    """Left and right exchanged ``[T, J, 3]``: x negated, joint pairs swapped. Its own inverse."""
    out = np.array(joints[:, list(skeleton.mirror_permutation)], np.float32)
    out[..., 0] *= -1
    return out


def mirror_clip(clip: Clip) -> Clip:
    """The mirror image of a clip; captions and labels exchange their sides with it."""

    def swap(caption: Caption) -> Caption:
        return replace(caption, text=swap_sides(caption.text), tokens=tuple(swap_sides(t) for t in caption.tokens))

    return replace(
        clip,
        joints=mirror_joints(clip.joints, clip.skeleton),
        captions=tuple(swap(c) for c in clip.captions),
        labels={key: swap_sides(value) for key, value in clip.labels.items()},
        source=replace(clip.source, mirrored=not clip.source.mirrored),
    )


_PAIRS = (("left", "right"), ("counterclockwise", "clockwise"), ("counter-clockwise", "clock-wise"))
_SWAPS = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
_SIDES = re.compile(
    r"(?<![a-z])(left|right|counter-clockwise|clock-wise|counterclockwise|anticlockwise|clockwise)(?=(?:s|ward|wards|most)?(?![a-z]))",
    re.IGNORECASE,
)
_SPELLING = {"anticlockwise": "clockwise"}


def swap_sides(text: str) -> str:
    """Left and right, clockwise and counter-clockwise exchanged, case kept; "left-handed", "kick_left" included."""

    def other(match: re.Match[str]) -> str:
        word = match[0]
        twin = _SWAPS.get(word.lower()) or _SPELLING[word.lower()]
        if word.isupper():
            return twin.upper()
        return twin.capitalize() if word[0].isupper() else twin

    return _SIDES.sub(other, text)
