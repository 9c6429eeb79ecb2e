"""BVH out: a T-pose skeleton of the clip's own size, rotations in degrees (Z X Y), centimetres, y up, facing +z at rest.

- Joint names are the ones animation programs know (HumanIK), so that retargeting there needs no table.
- Rotations are continuous: of the two ways to write the same rotation the one nearer to the frame before is taken.
- A joint whose bone is not rigid in the clip carries position channels; all others have three channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.ik import Posed, pose_skeleton
from motion.joint_names import humanik_name
from motion.skeleton import SMPL_22, Skeleton

CENTIMETRES = 100.0
END_SITE = 0.06  # metres beyond the last joint of a chain


def write_bvh(clip: Clip, path: Path) -> None:
    """Write ``clip`` as BVH; ``motion.read`` gives its positions back within a millimetre."""
    posed = pose_skeleton(clip)
    order: list[int] = []
    lines = [
        "HIERARCHY",
        *_joint(posed, 0, 0, order),
        "MOTION",
        f"Frames: {len(clip)}",
        f"Frame Time: {1 / clip.fps:.8f}",
    ]
    columns = []
    for joint in order:
        if joint == 0 or joint in posed.moving:
            columns.append(posed.translations[:, joint] * CENTIMETRES)
        columns.append(np.degrees(euler_zxy(posed.rotations[:, joint])))
    values = np.concatenate(columns, axis=1)
    lines += [" ".join(f"{value:.6f}" for value in row) for row in values.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def joint_name(skeleton: Skeleton, joint: int) -> str:
    """The name programs know a joint by; a skeleton's own name where there is none."""
    return humanik_name(skeleton.names[joint]) if skeleton is SMPL_22 else skeleton.names[joint]


def _joint(posed: Posed, joint: int, depth: int, order: list[int]) -> list[str]:
    pad = "\t" * depth
    skeleton = posed.skeleton
    order.append(joint)
    x, y, z = (posed.offsets[joint] if joint else np.zeros(3)) * CENTIMETRES
    turning = "Zrotation Xrotation Yrotation"
    channels = f"6 Xposition Yposition Zposition {turning}" if joint == 0 or joint in posed.moving else f"3 {turning}"
    lines = [
        f"{pad}{'ROOT' if joint == 0 else 'JOINT'} {joint_name(skeleton, joint)}", f"{pad}{{",
        f"{pad}\tOFFSET {x:.6f} {y:.6f} {z:.6f}", f"{pad}\tCHANNELS {channels}",
    ]  # fmt: skip
    below = [c for c, parent in enumerate(skeleton.parents) if parent == joint]
    for child in below:
        lines += _joint(posed, child, depth + 1, order)
    if not below:
        direction = posed.offsets[joint] / max(float(np.linalg.norm(posed.offsets[joint])), 1e-9)
        x, y, z = direction * END_SITE * CENTIMETRES
        lines += [f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET {x:.6f} {y:.6f} {z:.6f}", f"{pad}\t}}"]
    return [*lines, f"{pad}}}"]


def euler_zxy(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles [T, 3] (z, x, y in radians, R = Rz Rx Ry) of rotations [T, 3, 3], continuous over time."""
    x = np.arcsin(np.clip(matrices[:, 2, 1], -1, 1))
    level = np.abs(matrices[:, 2, 1]) > 1 - 1e-9  # looking along the axis: only z + y or z - y is determined
    z = np.where(
        level, np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]), np.arctan2(-matrices[:, 0, 1], matrices[:, 1, 1])
    )
    y = np.where(level, 0.0, np.arctan2(-matrices[:, 2, 0], matrices[:, 2, 2]))
    angles = np.stack([z, x, y], axis=-1)
    for row in range(1, len(angles)):
        here = angles[row]
        twin = np.array([here[0] + np.pi, np.pi - here[1], here[2] + np.pi])
        near = [a + 2 * np.pi * np.round((angles[row - 1] - a) / (2 * np.pi)) for a in (here, twin)]
        angles[row] = min(near, key=lambda a: float(np.abs(a - angles[row - 1]).sum()))
    return angles
