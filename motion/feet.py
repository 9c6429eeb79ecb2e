"""Feet that stand still when they stand: a clean-up that never makes a motion worse.

- A foot stands while it is low and slow in the plane, with hysteresis; given contacts (of a generator) may confirm, not replace
  that: a foot that glides at walking speed is not pinned to a point.
- While it stands, the toe is held at one place; a long stand whose place drifts is parted. The leg follows by two-bone inverse
  kinematics (hip, knee, ankle) with the knee kept on its side; bone lengths stay, and a target out of reach is brought into it.
- A foot that stays low within a hand's breadth stands there, even if it jumps about: so do the feet of motion from tokens.
- Corrections fade in and out around a stand, so that no step is cut off.
- A foot that travels along the floor while the other one carries the person is lifted off it, as a step is; where both travel,
  they glide, and are left to.
- The whole person is moved onto the floor, root and feet together; where the floor seems to sink or rise under a motion, which
  the summed path of a generator lets happen, slowly. A flight of less than the window keeps its height.
- The result is measured against the original; a foot's correction that helps neither skating nor sliding is not applied, and
  where coming down makes these worse in the end, the person stays where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

from motion.physics import SKATE_SPEED, Physics, physics
from motion.skeleton import Skeleton

Array = NDArray[np.floating[Any]]
Correction = Callable[[NDArray[np.float32], int], NDArray[np.float32]]  # of one side
HEIGHT = (0.06, 0.09)  # metres over the lowest height of that toe: a stand begins, ends
SPEED = (0.35, 0.7)  # metres a second in the plane: a stand begins, ends
DRIFT = 0.12  # metres a held toe may have moved from where it is held
SHORTEST = 0.12  # seconds of a stand
RADII = (0.1, 0.16)  # metres around its middle in which a foot stays at one place, however it jumps about
STAY_HEIGHT = 0.11  # metres over the floor
SHORTEST_STAY = 0.2  # seconds
ROUNDS = 2  # what one correction leaves, another may mend
FADE = 0.2  # seconds
REACH = 0.999  # share of the stretched leg
CARRIES = 0.06  # metres: a slow toe lower than this carries the person
CLEARANCE = 0.055  # metres a travelling toe is lifted to
LIFT_SPEED = 0.3  # metres a second from which a toe travels, a little
LIFT_FADE = 0.05  # seconds
SETTLE = 0.8  # seconds in which a person touches the floor at least once
SETTLE_FADE = 0.2  # seconds, deviation
SETTLE_MOST = 0.1  # metres a person is brought down


def clean_feet(joints: Array, skeleton: Skeleton, fps: float, contacts: Array | None = None) -> NDArray[np.float32]:
    """Joints [T, J, 3] with standing feet held still and the person on the floor; ``contacts`` [T, 4] as in the features.

    The input is not changed. Where nothing would improve, it is returned as it is (moved onto the floor).
    """
    original = np.asarray(joints, np.float32)
    placed = original.copy()
    placed[..., 1] -= floor_of(placed, skeleton)
    if len(placed) < 4:
        return placed
    down = _corrected(settled(placed, fps), skeleton, fps, contacts)
    if badness(physics(down, skeleton, fps)) <= badness(physics(placed, skeleton, fps)):
        return down
    return _corrected(placed, skeleton, fps, contacts)


def settled(joints: NDArray[np.float32], fps: float) -> NDArray[np.float32]:
    """The same motion brought down to the floor wherever nothing touches it for longer than a jump takes."""
    lowest = joints[..., 1].min(-1).astype(np.float64)
    over = minimum_filter1d(lowest, max(3, round(SETTLE * fps)), mode="nearest")
    over = gaussian_filter1d(over, SETTLE_FADE * fps, mode="nearest").clip(0, SETTLE_MOST)
    down = joints.copy()
    down[..., 1] -= over[:, None].astype(np.float32)
    return down


def _corrected(
    joints: NDArray[np.float32], skeleton: Skeleton, fps: float, contacts: Array | None
) -> NDArray[np.float32]:
    best, score = joints, badness(physics(joints, skeleton, fps))

    def hold(x: NDArray[np.float32], side: int) -> NDArray[np.float32]:
        own = None if contacts is None else np.asarray(contacts)[:, 2 * side : 2 * side + 2].max(-1)
        return hold_foot(x, skeleton, fps, side, stands(x, skeleton, fps, side, own))

    def hold_place(radius: float, x: NDArray[np.float32], side: int) -> NDArray[np.float32]:
        return hold_foot(x, skeleton, fps, side, stays(x, skeleton, fps, side, radius))

    def lift(x: NDArray[np.float32], side: int) -> NDArray[np.float32]:
        return lift_foot(x, skeleton, fps, side)

    corrections: list[Correction] = [hold, *(partial(hold_place, radius) for radius in RADII), lift]
    for correct in corrections * ROUNDS:
        for side in (0, 1):
            tried = correct(best, side)
            tried_score = badness(physics(tried, skeleton, fps))
            if tried_score < score:
                best, score = tried, tried_score
    return best


def badness(of: Physics) -> float:
    """What the clean-up must lower: skating and sliding, and a little floating, with jerk and penetration as the price."""
    return of.foot_skate + 2 * of.slide_m_s + of.penetration_mm / 50 + of.float_mm / 1000 + of.jerk_m_s3 / 2000


def floor_of(joints: Array, skeleton: Skeleton) -> float:
    """The height of the floor: what a toe is above in nearly all frames (5 %), so that one dip does not lift the person."""
    lowest = np.asarray(joints)[:, list(skeleton.toes), 1].min(-1)
    body = np.asarray(joints)[..., 1].min(-1)
    return float(min(np.quantile(lowest, 0.05), np.quantile(body, 0.05)))


def stands(
    joints: Array, skeleton: Skeleton, fps: float, side: int, contacts: Array | None = None
) -> list[tuple[int, int]]:
    """Runs of frames [start, end) in which the toe of ``side`` (0 left, 1 right) stands."""
    toe = np.asarray(joints, np.float64)[:, skeleton.toes[side]]
    speed = np.linalg.norm(np.gradient(toe[:, [0, 2]], axis=0), axis=-1) * fps
    height = toe[:, 1]
    likely = np.zeros(len(toe), bool) if contacts is None else contacts > 0.6
    begin = (height < HEIGHT[0]) & (speed < np.where(likely, SPEED[1], SPEED[0]))
    stay = (height < HEIGHT[1]) & (speed < np.where(likely, 1.3 * SPEED[1], SPEED[1]))
    found: list[tuple[int, int]] = []
    start = None
    for frame in range(len(toe) + 1):
        standing = frame < len(toe) and (begin[frame] if start is None else stay[frame])
        if start is not None and standing and np.linalg.norm(toe[frame, [0, 2]] - toe[start, [0, 2]]) > DRIFT:
            found.append((start, frame))
            start = frame if begin[frame] else None
        elif standing and start is None:
            start = frame
        elif not standing and start is not None:
            found.append((start, frame))
            start = None
    return [run for run in found if run[1] - run[0] >= max(2, round(SHORTEST * fps))]


def stays(joints: Array, skeleton: Skeleton, fps: float, side: int, radius: float) -> list[tuple[int, int]]:
    """Runs of frames [start, end) in which the toe of ``side`` is low and within ``radius`` metres of the middle of its places.

    However fast it jumps about in there: tokens that follow one another put a standing foot now here, now there.
    """
    toe = np.asarray(joints, np.float64)[:, skeleton.toes[side]]
    low, plane = toe[:, 1] < STAY_HEIGHT, toe[:, [0, 2]]
    found: list[tuple[int, int]] = []
    start = 0
    while start < len(toe):
        end = start
        while end < len(toe) and low[end]:
            places = plane[start : end + 1]
            if np.linalg.norm(places - places.mean(0), axis=-1).max() > radius:
                break
            end += 1
        if end - start < max(3, round(SHORTEST_STAY * fps)):
            start += 1
            continue
        if found and start - found[-1][1] < 2:  # a step between two places takes a moment
            found[-1] = (found[-1][0], found[-1][1] - 1)
            start += 1
        found.append((start, end))
        start = end
    return [run for run in found if run[1] - run[0] >= 2]


def hold_foot(
    joints: NDArray[np.float32], skeleton: Skeleton, fps: float, side: int, runs: list[tuple[int, int]]
) -> NDArray[np.float32]:
    """The same motion with the toe of ``side`` held at one place in each of ``runs``."""
    if not runs:
        return joints
    toe = joints[:, skeleton.toes[side]].astype(np.float64)
    frames = np.arange(len(joints))
    fade = max(1.0, FADE * fps)
    move, weight = np.zeros((len(joints), 3)), np.zeros(len(joints))
    for k, (start, end) in enumerate(runs):
        place = np.median(toe[start:end], axis=0)
        place[1] = np.median(toe[start:end, 1].clip(0, None))
        left = fade if k == 0 else min(fade, max(1.0, (start - runs[k - 1][1]) / 2 + 0.5))
        right = fade if k + 1 == len(runs) else min(fade, max(1.0, (runs[k + 1][0] - end) / 2 + 0.5))
        away = np.where(frames < start, (start - frames) / left, np.where(frames >= end, (frames - end + 1) / right, 0))
        share = np.clip(1 - away, 0, 1)
        share = share * share * (3 - 2 * share)
        nearest = np.clip(frames, start, end - 1)
        move += share[:, None] * (place - toe[nearest])
        weight += share
    move /= np.maximum(weight, 1)[:, None]
    return move_foot(joints, skeleton, side, move)


def lift_foot(joints: NDArray[np.float32], skeleton: Skeleton, fps: float, side: int) -> NDArray[np.float32]:
    """The same motion with the toe of ``side`` over the floor wherever it travels and the other foot stands."""
    toe, speed = _travel(joints, skeleton, fps, side)
    other, other_speed = _travel(joints, skeleton, fps, 1 - side)
    carried = (other[:, 1] < CARRIES) & (other_speed < SKATE_SPEED)
    travels = np.clip((speed - LIFT_SPEED) / (SKATE_SPEED - LIFT_SPEED), 0, 1) * carried
    lift = np.clip(CLEARANCE - toe[:, 1], 0, None) * travels
    frames = max(1, round(LIFT_FADE * fps))
    lift = gaussian_filter1d(maximum_filter1d(lift, 2 * frames + 1), 0.8 * frames, mode="nearest")
    return move_foot(joints, skeleton, side, np.stack([np.zeros_like(lift), lift, np.zeros_like(lift)], -1))


def _travel(
    joints: NDArray[np.float32], skeleton: Skeleton, fps: float, side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Toe [T, 3] of ``side`` and its speed in the plane [T], the faster of the steps to and from a frame."""
    toe = joints[:, skeleton.toes[side]].astype(np.float64)
    step = np.linalg.norm(np.diff(toe[:, [0, 2]], axis=0), axis=-1) * fps
    return toe, np.maximum(np.append(step, 0), np.append(0, step))


def move_foot(joints: NDArray[np.float32], skeleton: Skeleton, side: int, move: Array) -> NDArray[np.float32]:
    """Ankle and toe of ``side`` moved by ``move`` [T, 3]; hip stays, the knee follows on its side, bones keep their length."""
    x = joints.astype(np.float64)
    chain = chain_of(skeleton, side)
    hip, knee, ankle = (x[:, j] for j in chain[:3])
    thigh = np.linalg.norm(knee - hip, axis=-1, keepdims=True)
    shin = np.linalg.norm(ankle - knee, axis=-1, keepdims=True)
    aim = ankle + move - hip
    distance = np.linalg.norm(aim, axis=-1, keepdims=True)
    long, short = REACH * (thigh + shin), np.abs(thigh - shin) + 1e-4
    old = np.linalg.norm(ankle - hip, axis=-1, keepdims=True)
    reach = np.clip(distance, short, np.maximum(long, old))
    aim = aim / np.maximum(distance, 1e-9)
    straight = np.clip((thigh**2 + reach**2 - shin**2) / (2 * thigh * reach), -1, 1) * thigh
    old_aim = (ankle - hip) / np.maximum(old, 1e-9)
    bend = (knee - hip) - ((knee - hip) * old_aim).sum(-1, keepdims=True) * old_aim
    bend = bend - (bend * aim).sum(-1, keepdims=True) * aim
    length = np.linalg.norm(bend, axis=-1, keepdims=True)
    bend = np.where(length > 1e-6, bend / np.maximum(length, 1e-9), across(aim))
    new_knee = hip + aim * straight + bend * np.sqrt(np.maximum(0, thigh**2 - straight**2))
    new_ankle = hip + aim * reach
    moved = np.abs(move).max(-1, keepdims=True) > 1e-9
    x[:, chain[1]] = np.where(moved, new_knee, knee)
    shift = np.where(moved, new_ankle - ankle, 0)
    for joint in chain[2:]:
        x[:, joint] += shift
    return x.astype(np.float32)


def chain_of(skeleton: Skeleton, side: int) -> list[int]:
    """Hip, knee, ankle, and what hangs from the ankle, of ``side``."""
    chain = [skeleton.hips[side], skeleton.knees[side], skeleton.ankles[side]]
    for joint, parent in enumerate(skeleton.parents):
        if parent in chain[2:]:
            chain.append(joint)
    return chain


def across(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Some unit vector [T, 3] at right angles to each of ``direction`` [T, 3]."""
    other = np.where(np.abs(direction[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    found = np.cross(direction, other)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-9))
