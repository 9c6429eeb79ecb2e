"""AMASS-style .npz: SMPL-H and SMPL-X poses become joints without a body model.

- The licensed body models are not needed to find a motion: rotations are applied to a mean skeleton of our own
  (rounded, symmetric), and the notes say so. Positions differ from the model's by a few centimetres, by body shape.
- AMASS is z up; pelvis positions are turned, not translations alone.
- Both spellings of the frame rate occur; ``gender`` may be bytes; files that hold only a shape are no motions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.errors import FileFormatError
from motion.files.build import check_finite, clip_of_joints
from motion.files.npz import Npz, rate_of
from motion.files.rig import FRAMES_AT_ONCE, forward_kinematics
from motion.skeleton import SMPL_22

# Metres from the parent, T-pose, y up, facing +z; left side, the right mirrors it. The pelvis: from the body's origin.
_LEFT_OFFSETS = {
    "pelvis": (0.0, -0.235, 0.025), "left_hip": (0.062, -0.088, -0.012), "spine1": (0.0, 0.117, -0.025),
    "left_knee": (0.04, -0.388, 0.004), "spine2": (0.0, 0.137, 0.009), "left_ankle": (-0.017, -0.418, -0.040),
    "spine3": (0.0, 0.055, 0.025), "left_foot": (0.035, -0.060, 0.125), "neck": (0.0, 0.213, -0.040),
    "left_collar": (0.080, 0.117, -0.030), "head": (0.0, 0.090, 0.050), "left_shoulder": (0.110, 0.042, -0.018),
    "left_elbow": (0.255, -0.020, -0.022), "left_wrist": (0.255, 0.010, -0.004),
}  # fmt: skip
AMASS_FPS = 60.0


def rest_offsets() -> NDArray[np.float64]:
    """Bone vectors [22, 3] of the mean skeleton in a T-pose, metres."""
    offsets = np.zeros((len(SMPL_22), 3))
    for name, offset in _LEFT_OFFSETS.items():
        offsets[SMPL_22.index(name)] = offset
    for left, right in SMPL_22.mirror:
        offsets[right] = offsets[left] * (-1.0, 1.0, 1.0)
    return offsets


def is_amass(archive: Npz) -> bool:
    """Whether the archive holds body poses (or claims to be of AMASS: a shape without a motion)."""
    keys = set(archive.keys)
    return "poses" in keys or "pose_body" in keys or ("betas" in keys and not keys & {"joints", "features"})


def read_amass(archive: Npz, path: Path) -> Clip:
    """A clip from an archive with ``poses`` [T, 66 or more] or ``root_orient`` and ``pose_body``, and ``trans`` [T, 3].

    Raises:
        FileFormatError: it holds only a shape, or its arrays do not fit together.
    """
    if "poses" not in archive and not ("pose_body" in archive and "root_orient" in archive):
        raise FileFormatError(f"{path}: holds a body shape but no poses; leave such files out of the source")
    if "poses" in archive:
        poses = _numbers(archive, "poses", path)
        if poses.ndim == 3:
            poses = poses.reshape(len(poses), -1)
    else:
        body, root = _numbers(archive, "pose_body", path), _numbers(archive, "root_orient", path)
        if body.ndim != 2 or root.ndim != 2 or len(body) != len(root):
            raise FileFormatError(f"{path}: pose_body {list(body.shape)} and root_orient {list(root.shape)} do not fit")
        poses = np.concatenate([root, body], axis=1)
    if poses.ndim != 2 or poses.shape[1] < 66 or not len(poses):
        raise FileFormatError(f"{path}: poses have shape {list(poses.shape)}; expected [T, 156] (SMPL-H) or [T, 165]")
    notes = {"skeleton": "mean skeleton: the body shape in the file is not used"}
    trans = _numbers(archive, "trans", path) if "trans" in archive else np.zeros((len(poses), 3))
    if trans.shape != (len(poses), 3):
        raise FileFormatError(
            f"{path}: trans has shape {list(trans.shape)} for {len(poses)} poses; copy the file again"
        )
    check_finite(poses, path)
    check_finite(trans, path)
    fps = rate_of(archive, path)
    if fps is None:
        fps = AMASS_FPS
        notes["frame_rate"] = f"{fps:g} fps assumed: the file does not say"
    if "gender" in archive:
        notes["gender"] = archive.text("gender")[:16]
    joints = _joints(np.asarray(poses[:, :66], dtype=np.float64), np.asarray(trans, dtype=np.float64))
    return clip_of_joints(joints, path=path, fps=fps, unit=1.0, up=2, notes=notes)


def _numbers(archive: Npz, key: str, path: Path) -> NDArray[Any]:
    array = archive.read(key)
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: {key} holds {array.dtype} values; expected numbers")
    return array


def _joints(poses: NDArray[np.float64], trans: NDArray[np.float64]) -> NDArray[np.float32]:
    """Joints [T, 22, 3] in the file's axes from axis-angle ``poses`` [T, 66] and ``trans`` [T, 3]."""
    offsets = rest_offsets()
    out = np.empty((len(poses), len(SMPL_22), 3), dtype=np.float32)
    for begin in range(0, len(poses), FRAMES_AT_ONCE):
        part = slice(begin, begin + FRAMES_AT_ONCE)
        vectors = poses[part].reshape(-1, len(SMPL_22), 3).transpose(1, 0, 2)
        places = np.repeat(offsets[:, None], vectors.shape[1], axis=1)
        places[0] += trans[part]
        out[part] = forward_kinematics(SMPL_22.parents, places, rotation_matrices(vectors)).transpose(1, 0, 2)
    return out


def rotation_matrices(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices [..., 3, 3] of axis-angle ``vectors`` [..., 3] in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors / np.maximum(angle[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    out: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return out
