"""What joints do, in a dozen numbers a clip that a person can filter by: how fast, how far, how high, which limb.

- Everything is measured at 20 frames per second (steps and contacts depend on the rate), the floor at the lowest
  joint of the clip.
- A foot is on the floor while its toe is lower than 5 cm over the lowest it gets and slower than 0.5 m/s: the rule of
  :mod:`motion.physics`, made free of a floor that was guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.geometry import facing, resample, yaw_of
from motion.physics import FPS, SKATE_HEIGHT, SKATE_SPEED

Series = NDArray[np.float64]


@dataclass(frozen=True)
class JointStatistics:
    """Numbers of one clip: metres, seconds, degrees.

    ``speed_m_s``, ``top_speed_m_s``: mean and 95th percentile of the speed of the root in the plane; ``path_m``:
    length of its way, ``distance_m``: from its first to its last place; ``turn_deg``: how far the body has turned in
    the end, to the left positive, whole turns counted; ``rise_m``: the root's highest over its lowest height;
    ``height_m``: the highest joint over the floor; ``*_hand_m_s``, ``*_foot_m_s``: mean speed of a wrist or toe
    against the root; ``contact_share``: share of the time with a foot on the floor; ``steps``: how often a foot comes
    down on it.
    """

    speed_m_s: float
    top_speed_m_s: float
    path_m: float
    distance_m: float
    turn_deg: float
    rise_m: float
    height_m: float
    left_hand_m_s: float
    right_hand_m_s: float
    left_foot_m_s: float
    right_foot_m_s: float
    contact_share: float
    steps: float


def joint_statistics(clip: Clip) -> JointStatistics:
    """The numbers of a clip of any skeleton and rate; a clip of one frame stands still."""
    joints = resample(clip.joints, clip.fps, FPS).astype(np.float64)
    if len(joints) == 1:
        joints = np.repeat(joints, 2, axis=0)
    skeleton = clip.skeleton
    root = joints[:, 0]
    pace = np.linalg.norm(np.diff(root[:, [0, 2]], axis=0), axis=-1)
    turns = np.unwrap(yaw_of(facing(joints, skeleton)))
    local = joints - root[:, None]
    hands = [_mean_speed(local[:, skeleton.parts[f"{side}_arm"][-1]]) for side in ("left", "right")]
    feet = [_mean_speed(local[:, toe]) for toe in skeleton.toes]
    down = np.stack([_down(joints[:, toe]) for toe in skeleton.toes], axis=1)
    return JointStatistics(
        speed_m_s=float(pace.mean() * FPS), top_speed_m_s=float(np.percentile(pace, 95) * FPS), path_m=float(pace.sum()),
        distance_m=float(np.linalg.norm(root[-1, [0, 2]] - root[0, [0, 2]])), turn_deg=float(np.degrees(turns[-1] - turns[0])),
        rise_m=float(np.ptp(root[:, 1])), height_m=float(np.ptp(joints[..., 1])), left_hand_m_s=hands[0],
        right_hand_m_s=hands[1], left_foot_m_s=feet[0], right_foot_m_s=feet[1], contact_share=float(down.any(axis=1).mean()),
        steps=float((down[1:] & ~down[:-1]).sum()),
    )  # fmt: skip


def _mean_speed(points: Series) -> float:
    """Metres a second of a point [T, 3]."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=-1).mean() * FPS)


def _down(toe: Series) -> NDArray[np.bool_]:
    """Frame pairs [T - 1] in which a toe [T, 3] is on the floor."""
    low = np.maximum(toe[:-1, 1], toe[1:, 1]) - toe[:, 1].min() < SKATE_HEIGHT
    slow = np.linalg.norm(np.diff(toe, axis=0), axis=-1) * FPS < SKATE_SPEED
    both: NDArray[np.bool_] = low & slow
    return both
