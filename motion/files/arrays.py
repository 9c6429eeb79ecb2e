"""Arrays of joints or features, .npy and .npz: recognised by shape, decoded, and written back.

- ``[T, J, 3]`` is joints: J = 22 (SMPL-22), 21 (KIT), or 24, 52, 55 of which the first 22 are taken (SMPL, SMPL-H,
  SMPL-X).
- ``[T, 263]``, ``[T, 251]``, ``[T, 272]`` are features and are decoded. ``[T, 66]`` is refused: it may be poses or
  places.
- A .npy knows no rate: 20 fps is assumed for 22 joints, 12.5 for KIT's 21, 30 for 272 features, and said.
- The .npz that Remora writes carries skeleton, rate, captions and labels, and nothing of it is guessed when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Caption, Clip
from motion.errors import FileFormatError
from motion.files.amass import is_amass, read_amass
from motion.files.build import check_finite, clip_of_joints, clip_of_rig
from motion.files.npz import Npz, open_npz, rate_of, read_npy_array
from motion.files.rig import check_tree
from motion.retarget import JointMap, plan_joints
from motion.skeleton import KIT_21, SKELETONS, SMPL_22, Skeleton

JOINT_COUNTS: Mapping[int, Skeleton] = {22: SMPL_22, 24: SMPL_22, 52: SMPL_22, 55: SMPL_22, 21: KIT_21}
FEATURE_NAMES = {263: "humanml3d-263", 251: "kit-251", 272: "motion-272"}
ASSUMED_FPS = {"smpl22": 20.0, "kit21": 12.5}
JOINT_KEYS = ("joints", "positions", "joints3d", "joint_positions", "keypoints3d", "new_joints", "xyz")
FEATURE_KEYS = ("features", "new_joint_vecs", "motion", "data", "arr_0")
FORMAT = "remora-clip/1"
KNOWN_SHAPES = "[T, 22, 3], [T, 24, 3], [T, 52, 3], [T, 55, 3], [T, 21, 3], [T, 263], [T, 251] or [T, 272]"


def read_npy(path: Path, *, joint_map: JointMap | None = None) -> list[Clip]:
    """One clip from a .npy of joints or features.

    Raises:
        FileFormatError: pickled objects, a cut-off file, or a shape that is neither.
    """
    return [clip_of_array(read_npy_array(path), path, joint_map=joint_map)]


def read_npz(path: Path, *, joint_map: JointMap | None = None) -> list[Clip]:
    """One clip from a .npz: Remora's own, AMASS (SMPL-H, SMPL-X), or arrays of joints or features.

    Raises:
        FileFormatError: no array in it is a motion, or it is damaged or hostile.
    """
    with open_npz(path) as archive:
        if "format" in archive and archive.text("format") == FORMAT:
            return [_read_own(archive, path)]
        if is_amass(archive):
            return [read_amass(archive, path)]
        fps = rate_of(archive, path)
        for key in JOINT_KEYS + FEATURE_KEYS:
            if key in archive:
                array = archive.read(key)
                if fps is None and key in JOINT_KEYS:
                    fps = _rate_of_features(archive)
                if "names" in archive and "parents" in archive and array.ndim == 3:
                    return [_of_named_rig(archive, array, path, fps, joint_map)]
                return [clip_of_array(array, path, fps=fps, joint_map=joint_map)]
        raise FileFormatError(
            f"{path}: none of its arrays ({', '.join(archive.keys[:12])}) is a motion; "
            "name one 'joints' [T, 22, 3] or 'features', or give AMASS keys (poses, trans)"
        )


def _rate_of_features(archive: Npz) -> float | None:
    """The rate that belongs to features stored beside joints (published samples hold both)."""
    if "features" not in archive:
        return None
    from motion.features import FEATURES

    name = FEATURE_NAMES.get(archive.member("features").shape[-1])
    return float(FEATURES[name].fps) if name else None


def clip_of_array(
    array: NDArray[Any],
    path: Path,
    *,
    fps: float | None = None,
    joint_map: JointMap | None = None,
    captions: tuple[Caption, ...] = (),
) -> Clip:
    """A clip from an array of joints [T, J, 3] or features [T, D]; ``fps`` None takes the usual rate and says so.

    Raises:
        FileFormatError: the shape fits nothing, or a value is not finite.
    """
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: holds {array.dtype} values; save numbers, shape {KNOWN_SHAPES}")
    if array.ndim == 2 and array.shape[1] in FEATURE_NAMES and len(array):
        return _clip_of_features(array, path, fps, captions)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise FileFormatError(f"{path}: shape {list(array.shape)} is no motion; expected {KNOWN_SHAPES}")
    if joint_map:
        names = [str(joint) for joint in range(array.shape[1])]
        plan = plan_joints(names, [-1] * len(names), np.asarray(array[0], dtype=np.float64), joint_map=joint_map)
        rate, notes = _rate(fps, SMPL_22)
        return clip_of_rig(array, plan, path=path, fps=rate, notes=notes, captions=captions)
    skeleton = JOINT_COUNTS.get(array.shape[1])
    if skeleton is None:
        raise FileFormatError(
            f"{path}: {array.shape[1]} joints; expected {KNOWN_SHAPES}, or give a joint map {{smpl name: joint number}}"
        )
    rate, notes = _rate(fps, skeleton)
    if array.shape[1] > len(skeleton):
        notes["joints"] = f"the first {len(skeleton)} of {array.shape[1]}"
    return clip_of_joints(
        array[:, : len(skeleton)], path=path, fps=rate, notes=notes, captions=captions, skeleton=skeleton
    )


def assumed_fps(skeleton: Skeleton) -> float:
    """The rate joints of ``skeleton`` are read at from a file that states none: that of the field's data sets."""
    return ASSUMED_FPS[skeleton.name]


def _rate(fps: float | None, skeleton: Skeleton) -> tuple[float, dict[str, str]]:
    if fps is not None:
        return fps, {}
    assumed = assumed_fps(skeleton)
    return assumed, {"frame_rate": f"{assumed:g} fps assumed: the file does not say"}


def _clip_of_features(array: NDArray[Any], path: Path, fps: float | None, captions: tuple[Caption, ...]) -> Clip:
    from motion.features import FEATURES, features_to_joints
    from motion.features_272 import MOTION_272, heading_is_absolute, heading_to_change

    spec = FEATURES[FEATURE_NAMES[array.shape[1]]]
    check_finite(array, path)
    features = np.asarray(array, dtype=np.float32)
    notes = {"features": spec.name}
    if spec is MOTION_272 and heading_is_absolute(features):
        features = heading_to_change(features)
        notes["heading"] = "columns 2:8 hold the heading, not its change (guessed)"
    joints = features_to_joints(features, spec)
    if spec.skeleton is KIT_21:
        notes["size"] = "as KIT-ML stores it: bodies normalised to about 1 m of height"
    if fps is not None and abs(fps - spec.fps) > 1e-3:
        notes["frame_rate"] = f"{fps:g} fps stated, the format's is {spec.fps:g}"
    return clip_of_joints(
        joints, path=path, fps=fps or float(spec.fps), notes=notes, captions=captions, skeleton=spec.skeleton
    )


def _of_named_rig(archive: Npz, array: NDArray[Any], path: Path, fps: float | None, joint_map: JointMap | None) -> Clip:
    """Joints whose file names them: any rig."""
    names = [str(name) for name in archive.read("names").reshape(-1)]
    parents_array = archive.read("parents").reshape(-1)
    if len(names) != array.shape[1] or len(parents_array) != len(names) or parents_array.dtype.kind not in "iu":
        raise FileFormatError(
            f"{path}: {len(names)} names and {len(parents_array)} parents for joints of shape {list(array.shape)}; "
            "store one name and one parent number (-1 for the root) a joint"
        )
    parents = [int(parent) for parent in parents_array]
    check_tree(names, parents, str(path))
    if not len(array) or array.shape[2] != 3 or array.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: joints of shape {list(array.shape)} {array.dtype}; expected numbers [T, J, 3]")
    check_finite(array, path, tuple(names))
    plan = plan_joints(names, parents, np.asarray(array[0], dtype=np.float64), joint_map=joint_map)
    rate, notes = _rate(fps, SMPL_22)
    return clip_of_rig(array, plan, path=path, fps=rate, notes=notes)


def write_npy(clip: Clip, path: Path) -> None:
    """Joints [T, J, 3] float32 in metres, nothing else."""
    with Path(path).open("wb") as stream:
        np.save(stream, clip.joints.astype("<f4", copy=False), allow_pickle=False)


def write_npz(clip: Clip, path: Path) -> None:
    """Joints with skeleton, rate, captions, labels and source; :func:`read_npz` gives the same clip back."""
    source = {**asdict(replace(clip.source, notes={})), "notes": dict(clip.source.notes)}
    with Path(path).open("wb") as stream:
        np.savez_compressed(
            stream,
            format=np.array(FORMAT),
            joints=clip.joints.astype("<f4", copy=False),
            fps=np.array(clip.fps),
            skeleton=np.array(clip.skeleton.name),
            captions=np.array(json.dumps([asdict(caption) for caption in clip.captions])),
            labels=np.array(json.dumps(dict(clip.labels))),
            source=np.array(json.dumps(source)),
        )


def _read_own(archive: Npz, path: Path) -> Clip:
    from motion.clip import Source

    skeleton = SKELETONS.get(archive.text("skeleton"))
    if skeleton is None:
        raise FileFormatError(
            f"{path}: skeleton {archive.text('skeleton')!r} is unknown; known are {', '.join(SKELETONS)}"
        )
    joints = archive.read("joints")
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3) or not len(joints) or joints.dtype.kind != "f":
        raise FileFormatError(f"{path}: joints have shape {list(joints.shape)}, expected [T, {len(skeleton)}, 3]")
    check_finite(joints, path, skeleton.names)
    try:
        captions = tuple(
            Caption(**{**caption, "tokens": tuple(caption.get("tokens", ()))})
            for caption in json.loads(archive.text("captions"))
        )
        labels = {str(key): str(value) for key, value in json.loads(archive.text("labels")).items()}
        source = Source(**json.loads(archive.text("source")))
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: its captions, labels or source are damaged ({error}); write it again"
        ) from error
    fps = rate_of(archive, path) or ASSUMED_FPS[skeleton.name]
    return Clip(np.ascontiguousarray(joints, dtype=np.float32), skeleton, fps, captions, source, labels)
