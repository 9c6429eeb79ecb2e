"""Which joint is what when its name says nothing: the shape of the tree and of one pose.

- Limbs come in pairs of about equal length. Legs hang from a joint from which the way leads up to the one the arms hang
  from; of all such pairs the longest are taken. What is left above the arms is neck and head.
- Left and right come from where the toes point: facing forward with y up, left is at +x.
- It is the last resort. Whatever does not fit a human is refused, so that a dog is not read as a person on all fours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Chain = list[int]
MAX_JOINTS = 512  # larger trees are no body; the limits keep a hostile one from costing minutes
MAX_LIMBS = 12
MAX_PAIRS = 40


def roles_by_shape(parents: Sequence[int], poses: NDArray[np.float64]) -> dict[str, int] | None:
    """SMPL-22 roles (see :func:`motion.joint_names.find_roles`) from a tree and some ``poses`` [N, K, 3] in any unit.

    Every pose is asked on its own and the most frequent answer taken: in mid-stride toes may point anywhere. Returns
    None when no pose shows two legs and two arms of somebody upright.
    """
    if len(parents) > MAX_JOINTS:
        return None
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        children.setdefault(parent, []).append(joint)
    for up in (1, 2):
        answers = [found for pose in poses if (found := _body(parents, children, pose, up)) is not None]
        if answers:
            votes = Counter(tuple(sorted(answer.items())) for answer in answers)
            return dict(votes.most_common(1)[0][0])
    return None


def _limb(joint: int, children: dict[int, list[int]], pose: NDArray[np.float64]) -> Chain:
    """The chain from ``joint`` along the longest way down, without joints on top of one another."""
    chain = [joint]
    while below := children.get(chain[-1]):
        reach = [_reach(child, children, pose) + float(np.linalg.norm(pose[child] - pose[chain[-1]])) for child in below]
        chain.append(below[int(np.argmax(reach))])
    size = float(np.linalg.norm(np.ptp(pose, axis=0)))
    apart = [chain[0]]
    for at in chain[1:]:
        if np.linalg.norm(pose[at] - pose[apart[-1]]) > 0.01 * size:
            apart.append(at)
        elif len(apart) == 1:
            apart[0] = at
    return apart


def _reach(joint: int, children: dict[int, list[int]], pose: NDArray[np.float64]) -> float:
    """Length of the longest way down from ``joint``, without recursion (a rig may be thousands deep)."""
    longest, waiting = 0.0, [(joint, 0.0)]
    while waiting:
        at, way = waiting.pop()
        longest = max(longest, way)
        waiting += [(child, way + float(np.linalg.norm(pose[child] - pose[at]))) for child in children.get(at, [])]
    return longest


def _pairs(joint: int, children: dict[int, list[int]], pose: NDArray[np.float64]) -> list[tuple[Chain, Chain]]:
    """Pairs of limbs that hang from ``joint`` and are about equally long, longest first."""
    limbs = [_limb(child, children, pose) for child in children.get(joint, [])]
    limbs = [limb for limb in limbs if len(limb) >= 3][:MAX_LIMBS]
    length = [_reach(limb[0], children, pose) for limb in limbs]
    pairs = [
        (min(length[a], length[b]), limbs[a], limbs[b])
        for a in range(len(limbs))
        for b in range(a + 1, len(limbs))
        if 0.85 < length[a] / max(length[b], 1e-12) < 1.18
    ]
    return [(a, b) for _, a, b in sorted(pairs, key=lambda pair: -pair[0])]


def _body(
    parents: Sequence[int], children: dict[int, list[int]], pose: NDArray[np.float64], up: int
) -> dict[str, int] | None:
    height = pose[:, up]
    span = float(np.ptp(height))
    every = [(joint, pair) for joint in sorted(children) if joint >= 0 for pair in _pairs(joint, children, pose)]
    every = sorted(every, key=lambda item: -_reach(item[1][0][0], children, pose))[:MAX_PAIRS]
    best: tuple[float, int, tuple[Chain, Chain], int, tuple[Chain, Chain]] | None = None
    for pelvis, legs in every:
        hangs = all(height[leg[-1]] < height[pelvis] - 0.1 * span for leg in legs)
        for chest, arms in every if hangs else []:
            if height[chest] < height[pelvis] + 0.1 * span or not _is_above(pelvis, chest, parents, legs[0] + legs[1]):
                continue
            size = _reach(legs[0][0], children, pose) + _reach(arms[0][0], children, pose)
            if best is None or size > best[0]:
                best = size, pelvis, legs, chest, arms
    if best is None:
        return None
    _, pelvis, (leg_a, leg_b), chest, (arm_a, arm_b) = best
    leg_a, leg_b = _from_thigh(leg_a, pose), _from_thigh(leg_b, pose)
    collars = np.linalg.norm(pose[arm_a[0]] - pose[arm_b[0]]) < 0.3 * _reach(arm_a[0], children, pose)
    arm_names = ("shoulder", "elbow", "wrist")
    if collars and min(len(arm_a), len(arm_b)) >= 4:
        arm_names = ("collar", *arm_names)
    forward = sum((pose[leg[min(3, len(leg) - 1)]] - pose[leg[2]] for leg in (leg_a, leg_b)), start=np.zeros(3))
    forward[up] = 0.0
    if np.linalg.norm(forward) < 0.01 * span:
        forward = np.eye(3)[2 if up == 1 else 1] * (1.0 if up == 1 else -1.0)
    left = np.cross(np.eye(3)[up], forward)
    roles = {"pelvis": pelvis}
    for names, pair in ((("hip", "knee", "ankle", "foot"), (leg_a, leg_b)), (arm_names, (arm_a, arm_b))):
        apart = sum((pose[a] - pose[b] for a, b in zip(pair[0][:2], pair[1][:2], strict=True)), start=np.zeros(3))
        sides = ("left", "right") if apart @ left > 0 else ("right", "left")
        for side, chain in zip(sides, pair, strict=True):
            roles.update({f"{side}_{name}": joint for name, joint in zip(names, chain, strict=False)})
    above = [child for child in children.get(chest, []) if child not in (arm_a[0], arm_b[0])]
    above = [child for child in above if child not in arm_a + arm_b and pose[child][up] >= height[chest] - 0.05 * span]
    if not above:
        return None
    neck = max(above, key=lambda child: _reach(child, children, pose) + height[child] / max(span, 1e-12))
    chain = _limb(neck, children, pose)
    while len(chain) > 2 and np.linalg.norm(pose[chain[0]] - pose[chest]) < 0.02 * span:
        chain = chain[1:]
    roles["neck"], roles["head"] = chain[0], chain[min(1, len(chain) - 1)]
    return roles


def _is_above(pelvis: int, chest: int, parents: Sequence[int], legs: Chain) -> bool:
    """Whether the way from ``chest`` up the tree reaches ``pelvis`` without passing a leg."""
    joint = parents[chest]
    while joint >= 0 and joint != pelvis and joint not in legs:
        joint = parents[joint]
    return joint == pelvis


def _from_thigh(leg: Chain, pose: NDArray[np.float64]) -> Chain:
    """A leg from the hip on: thigh and shin are the two longest bones in a row, what is above belongs to the pelvis."""
    bones = np.linalg.norm(np.diff(pose[leg], axis=0), axis=-1)
    return leg[int(np.argmax(bones[:-1] + bones[1:])) :]
