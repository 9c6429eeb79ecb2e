"""The last step of every reader: positions of some rig become a clip in metres, y up, with its assumptions written
down.

- One place decides about unit, up axis, non-finite values and notes, so that all readers guess alike.
- Left and right are checked: toes that point backwards mean swapped sides, and that is said, not repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Caption, Clip, Source
from motion.errors import FileFormatError
from motion.files.conventions import guess_unit, guess_up, turn_up
from motion.retarget import JointPlan, apply_plan, leg_length
from motion.skeleton import SMPL_22, Skeleton


def check_finite(values: NDArray[Any], path: Path | str, names: tuple[str, ...] = ()) -> None:
    """Refuse arrays [T, ...] that hold NaN, infinity or absurd sizes.

    Raises:
        FileFormatError: with the first frame, and the joint where ``names`` [J] of the second axis are given.
    """
    bad = ~(np.abs(values) < 1e8)
    if bad.any():
        place = np.argwhere(bad)[0]
        joint = f", joint {names[place[1]]!r}" if len(place) > 1 and place[1] < len(names) else ""
        value = values[tuple(place)]
        raise FileFormatError(
            f"{path}: value {value} at frame {place[0]}{joint} ({int(bad.sum())} such values); repair or drop the take"
        )


def standing_axis(rest: NDArray[np.float64], plan: JointPlan) -> int:
    """The axis along which a rig's rest pose [K, 3] stands; y when it does not stand (bones all along one axis)."""
    joints = plan.weights @ rest
    leg = joints[list(SMPL_22.hips)] - joints[list(SMPL_22.ankles)]
    trunk = joints[SMPL_22.index("neck")] - joints[0]
    directions = [*leg, trunk]
    axes = {int(np.abs(direction).argmax()) for direction in directions}
    if len(axes) != 1:
        return 1
    axis = axes.pop()
    size = float(np.linalg.norm(trunk))
    upright = all(direction[axis] * trunk[axis] > 0 for direction in directions) and abs(trunk[axis]) > 0.9 * size
    return axis if upright and size > 0 else 1


def clip_of_rig(
    positions: NDArray[Any],
    plan: JointPlan,
    *,
    path: Path,
    fps: float,
    up: int = 1,
    up_is_known: bool = False,
    unit: float | None = None,
    cmu_names: bool = False,
    notes: Mapping[str, str],
    captions: tuple[Caption, ...] = (),
) -> Clip:
    """A SMPL-22 clip from rig positions [T, K, 3] in file units.

    Args:
        positions: joints of the rig that ``plan`` was made for.
        plan: how SMPL-22 is blended from them.
        path: for messages; its name becomes the take.
        fps: frames per second.
        up: the axis (0 x, 1 y, 2 z) that is up unless the motion contradicts; the rest pose's where it stands.
        up_is_known: what the motion shows does not count.
        unit: metres per file unit where the file states it.
        cmu_names: the rig has CMU's names, so its unit may be 1/0.45 inch.
        notes: what the reader assumed so far.
        captions: what is said about the clip.
    """
    joints = apply_plan(replace(plan, guessed_toes=()), positions)
    clip = clip_of_joints(
        joints, path=path, fps=fps, up=up, up_is_known=up_is_known, unit=unit, cmu_names=cmu_names,
        notes={**notes, **plan.notes}, captions=captions,
    )  # fmt: skip
    if plan.guessed_toes:
        from motion.retarget import guess_toes

        clip = replace(clip, joints=guess_toes(plan, clip.joints))
    return clip


def clip_of_joints(
    joints: NDArray[Any],
    *,
    path: Path,
    fps: float,
    up: int = 1,
    up_is_known: bool = False,
    unit: float | None = None,
    cmu_names: bool = False,
    notes: Mapping[str, str],
    captions: tuple[Caption, ...] = (),
    skeleton: Skeleton = SMPL_22,
) -> Clip:
    """A clip from joints [T, J, 3] of ``skeleton`` in any unit and with any axis up; see :func:`clip_of_rig`."""
    check_finite(joints, path, skeleton.names)
    said = dict(notes)
    smpl = skeleton is SMPL_22
    leg = leg_length(joints[:: max(len(joints) // 32, 1)], skeleton)
    if leg <= 0:
        raise FileFormatError(f"{path}: hips, knees and ankles lie on one point; the joints are no human pose")
    if unit is None:
        unit, name = guess_unit(leg, cmu_names=cmu_names)
        said["unit"] = f"{name} (guessed: leg {leg * unit:.2f} m)"
    out = joints.astype(np.float32) * np.float32(unit)
    if smpl:
        axis = up if up_is_known else guess_up(out[:: max(len(out) // 64, 1)], up)
        out = turn_up(out, axis)
        how = "this rig's" if up_is_known else "guessed"
        said["up"] = f"{'xyz'[axis]} ({how}{'' if axis == 1 else ', turned to y'})"
        if _toes_point_backwards(out):
            said["sides"] = "toes point backwards: left and right may be swapped in the file"
    source = Source(take=path.name, end_s=len(out) / fps, origin=path.name, notes=said)
    return Clip(
        joints=np.ascontiguousarray(out, dtype=np.float32), skeleton=skeleton, fps=fps, captions=captions, source=source
    )


def _toes_point_backwards(joints: NDArray[Any]) -> bool:
    sample = joints[:: max(len(joints) // 64, 1)].astype(np.float64)
    left, right = SMPL_22.hips
    across = sample[:, left] - sample[:, right]
    forward = np.stack([-across[:, 2], across[:, 0]], axis=-1)
    toes = sum(sample[:, toe] - sample[:, ankle] for toe, ankle in zip(SMPL_22.toes, SMPL_22.ankles, strict=True))
    ahead = forward[:, 0] * np.asarray(toes)[:, 0] + forward[:, 1] * np.asarray(toes)[:, 2]
    return bool(np.mean(ahead < 0) > 0.9)
