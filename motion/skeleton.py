"""The two skeletons every other room speaks: SMPL-22 and KIT-21.

- Joints are indexed in the order the text-motion field uses (HumanML3D, KIT-ML), so arrays are interchangeable with it.
- The six parts follow the chains of the feature formats; the chest joint belongs to the backbone and to both arms.
- A person faces +z with y up, so the left side of the body lies at +x.

Source: joint order and chains of HumanML3D and KIT-ML (EricGuo5513/HumanML3D, EricGuo5513/text-to-motion).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PARTS: tuple[str, ...] = ("root", "left_leg", "right_leg", "backbone", "left_arm", "right_arm")


@dataclass(frozen=True)
class Skeleton:
    """A tree of named joints.

    ``parents[j]`` is the index of joint ``j``'s parent (-1 for the root, parents precede children), ``parts`` maps each
    of :data:`PARTS` to joint indices, ``mirror`` lists (left, right) pairs. ``hips``, ``shoulders``, ``ankles`` and ``toes``
    are (left, right) pairs too, ``knees`` likewise; ``chest`` is the joint the arms hang from.
    """

    name: str
    names: tuple[str, ...]
    parents: tuple[int, ...]
    parts: Mapping[str, tuple[int, ...]]
    mirror: tuple[tuple[int, int], ...]
    hips: tuple[int, int]
    knees: tuple[int, int]
    ankles: tuple[int, int]
    toes: tuple[int, int]
    shoulders: tuple[int, int]
    chest: int
    head: int

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Skeleton({self.name!r}, {len(self)} joints)"

    def index(self, name: str) -> int:
        """Index of the joint called ``name``; ValueError when there is none."""
        return self.names.index(name)

    @property
    def mirror_permutation(self) -> tuple[int, ...]:
        """For each joint the index of its mirror image (itself on the midline)."""
        order = list(range(len(self)))
        for left, right in self.mirror:
            order[left], order[right] = right, left
        return tuple(order)


SMPL_22 = Skeleton(
    name="smpl22",
    names=(
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
        "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    ),
    parents=(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    parts={
        "root": (0,),
        "left_leg": (1, 4, 7, 10),
        "right_leg": (2, 5, 8, 11),
        "backbone": (3, 6, 9, 12, 15),
        "left_arm": (9, 13, 16, 18, 20),
        "right_arm": (9, 14, 17, 19, 21),
    },
    mirror=((1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21)),
    hips=(1, 2), knees=(4, 5), ankles=(7, 8), toes=(10, 11), shoulders=(16, 17), chest=9, head=15,
)  # fmt: skip

KIT_21 = Skeleton(
    name="kit21",
    names=(
        "root", "lower_trunk", "upper_trunk", "chest", "head", "right_shoulder", "right_elbow", "right_wrist",
        "left_shoulder", "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "right_foot",
        "right_toe", "left_hip", "left_knee", "left_ankle", "left_foot", "left_toe",
    ),
    parents=(-1, 0, 1, 2, 3, 3, 5, 6, 3, 8, 9, 0, 11, 12, 13, 14, 0, 16, 17, 18, 19),
    parts={
        "root": (0,),
        "left_leg": (16, 17, 18, 19, 20),
        "right_leg": (11, 12, 13, 14, 15),
        "backbone": (1, 2, 3, 4),
        "left_arm": (3, 8, 9, 10),
        "right_arm": (3, 5, 6, 7),
    },
    mirror=((8, 5), (9, 6), (10, 7), (16, 11), (17, 12), (18, 13), (19, 14), (20, 15)),
    hips=(16, 11), knees=(17, 12), ankles=(18, 13), toes=(20, 15), shoulders=(8, 5), chest=3, head=4,
)  # fmt: skip

SKELETONS: Mapping[str, Skeleton] = {s.name: s for s in (SMPL_22, KIT_21)}
