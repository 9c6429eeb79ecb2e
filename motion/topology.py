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
    trees = [_Tree(parents, pose) for pose in poses]
    for up in (1, 2):
        answers = [found for tree in trees if (found := _body(tree, up)) is not None]
        if answers:
            votes = Counter(tuple(sorted(answer.items())) for answer in answers)
            return dict(votes.most_common(1)[0][0])
    return None


class _Tree:
    """A tree in one pose: children, and the length of the longest way down from every joint."""

    def __init__(self, parents: Sequence[int], pose: NDArray[np.float64]) -> None:
        self.parents, self.pose = parents, pose
        self.children: list[list[int]] = [[] for _ in parents]
        self.reach = np.zeros(len(parents))
        self.bone = np.linalg.norm(pose - pose[np.maximum(parents, 0)], axis=-1)
        self.size = float(np.linalg.norm(np.ptp(pose, axis=0)))
        for joint in range(len(parents) - 1, -1, -1):  # parents precede children
            parent = parents[joint]
            if parent >= 0:
                self.children[parent].append(joint)
                self.reach[parent] = max(self.reach[parent], self.reach[joint] + self.bone[joint])

    def limb(self, joint: int) -> Chain:
        """The chain from ``joint`` along the longest way down, without joints on top of one another."""
        chain = [joint]
        while below := self.children[joint]:
            joint = max(below, key=lambda child: float(self.reach[child] + self.bone[child]))
            if np.linalg.norm(self.pose[joint] - self.pose[chain[-1]]) > 0.01 * self.size:
                chain.append(joint)
            elif len(chain) == 1:
                chain[0] = joint
        return chain

    def pairs(self, joint: int) -> list[tuple[Chain, Chain]]:
        """Pairs of limbs that hang from ``joint`` and are about equally long."""
        if len(self.children[joint]) < 2:
            return []
        longest = sorted(self.children[joint], key=lambda child: -self.reach[child])[:MAX_LIMBS]
        limbs = [limb for child in longest if len(limb := self.limb(child)) >= 3]
        return [
            (a, b) for at, a in enumerate(limbs) for b in limbs[at + 1 :]
            if 0.85 < self.reach[a[0]] / max(self.reach[b[0]], 1e-12) < 1.18
        ]  # fmt: skip


def _body(tree: _Tree, up: int) -> dict[str, int] | None:
    """The roles of one pose, None when it shows no upright human."""
    limbs = _limbs(tree, up)
    if limbs is None:
        return None
    pelvis, legs, chest, arms = limbs
    pose, span = tree.pose, float(np.ptp(tree.pose[:, up]))
    legs = _from_thigh(legs[0], pose), _from_thigh(legs[1], pose)
    collars = np.linalg.norm(pose[arms[0][0]] - pose[arms[1][0]]) < 0.3 * tree.reach[arms[0][0]]
    arm_roles: tuple[str, ...] = ("shoulder", "elbow", "wrist")
    if collars and min(len(arms[0]), len(arms[1])) >= 4:
        arm_roles = ("collar", *arm_roles)
    left = _left(legs, pose, up)
    roles = {"pelvis": pelvis}
    for names, pair in ((("hip", "knee", "ankle", "foot"), legs), (arm_roles, arms)):
        apart = sum((pose[a] - pose[b] for a, b in zip(pair[0][:2], pair[1][:2], strict=True)), start=np.zeros(3))
        sides = ("left", "right") if apart @ left > 0 else ("right", "left")
        for side, chain in zip(sides, pair, strict=True):
            roles.update({f"{side}_{name}": joint for name, joint in zip(names, chain, strict=False)})
    above = [child for child in tree.children[chest] if child not in arms[0] + arms[1]]
    above = [child for child in above if pose[child][up] >= pose[chest][up] - 0.05 * span]
    if not above:
        return None
    chain = tree.limb(max(above, key=lambda child: float(tree.reach[child]) + pose[child][up] / max(span, 1e-12)))
    while len(chain) > 2 and np.linalg.norm(pose[chain[0]] - pose[chest]) < 0.02 * span:
        chain = chain[1:]
    roles["neck"], roles["head"] = chain[0], chain[min(1, len(chain) - 1)]
    return roles


def _limbs(tree: _Tree, up: int) -> tuple[int, tuple[Chain, Chain], int, tuple[Chain, Chain]] | None:
    """Pelvis, legs, chest and arms: the longest two pairs of limbs of which one hangs below the other."""
    height = tree.pose[:, up]
    span = float(np.ptp(height))
    every = [(joint, pair) for joint in range(len(height)) for pair in tree.pairs(joint)]
    every = sorted(every, key=lambda item: -tree.reach[item[1][0][0]])[:MAX_PAIRS]
    best: tuple[int, tuple[Chain, Chain], int, tuple[Chain, Chain]] | None = None
    longest = 0.0
    for pelvis, legs in every:
        hangs = all(height[leg[-1]] < height[pelvis] - 0.1 * span for leg in legs)
        for chest, arms in every if hangs else []:
            size = float(tree.reach[legs[0][0]] + tree.reach[arms[0][0]])
            higher = height[chest] >= height[pelvis] + 0.1 * span
            if size > longest and higher and _is_above(pelvis, chest, tree.parents, legs[0] + legs[1]):
                best, longest = (pelvis, legs, chest, arms), size
    return best


def _left(legs: tuple[Chain, Chain], pose: NDArray[np.float64], up: int) -> NDArray[np.float64]:
    """A direction [3] to the body's left: up x forward, forward where the feet point (the usual axis without feet)."""
    forward = sum((pose[leg[min(3, len(leg) - 1)]] - pose[leg[2]] for leg in legs), start=np.zeros(3))
    forward[up] = 0.0
    if np.linalg.norm(forward) < 0.01 * np.ptp(pose[:, up]):
        forward = np.array([0.0, 0.0, 1.0]) if up == 1 else np.array([0.0, -1.0, 0.0])
    return np.cross(np.eye(3)[up], forward)


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
