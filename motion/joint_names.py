"""What rigs call their joints: from any spelling to one of 22 roles.

- A name is cut into words (camel case, blanks, ``_ . - :``), prefixes of exporters fall away, a side is recognised in
  front or behind: ``mixamorig:LeftUpLeg``, ``thigh_l``, ``Left Upper Leg``, ``J_Bip_L_UpperLeg``, ``lfemur``.
- Four words are ambiguous: *shoulder* (collar or arm), *leg* (thigh or shin), *foot* (ankle or toes), *hand* (wrist or
  beyond). The rest of the set decides: *shoulder* is the collar where something else is the arm, and so on.
- Twist, roll, finger and face joints match nothing, and so are folded by forward kinematics instead of mistaken.

Source: alias tables of Mixamo, MotionBuilder, CMU, Poser/Daz, Bandai Namco, Xsens, Rokoko, Unreal, VRM and 100STYLE
rigs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

HUMANIK: Mapping[str, str] = {  # SMPL-22 bare name -> what animation programs call the joint; sided ones get Left or Right
    "pelvis": "Hips", "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase", "spine1": "Spine", "spine2": "Spine1",
    "spine3": "Spine2", "neck": "Neck", "head": "Head", "collar": "Shoulder", "shoulder": "Arm",
    "elbow": "ForeArm", "wrist": "Hand",
}  # fmt: skip


def humanik_name(name: str) -> str:
    """The name that animation programs know an SMPL-22 joint by: "left_knee" is "LeftLeg"."""
    side, _, bare = name.rpartition("_")
    return side.capitalize() + HUMANIK[bare]


SIDED: Mapping[str, tuple[str, ...]] = {
    "hip": ("upleg", "upperleg", "thigh", "femur", "legupper", "hip", "uplegs"),
    "knee": ("lowerleg", "lowleg", "shin", "tibia", "calf", "knee", "leglower", "shank"),
    "ankle": ("ankle",),
    "foot": ("toebase", "toe", "toes", "ball", "toe0", "toesbase", "forefoot", "toe1", "toebase1"),
    "collar": ("clavicle", "collar", "innershoulder", "collarbone", "clav", "shoulderblade"),
    "shoulder": ("arm", "upperarm", "humerus", "shldr", "uparm", "armupper"),
    "elbow": ("forearm", "lowerarm", "radius", "elbow", "lowarm", "armlower"),
    "wrist": ("wrist",),
}
AMBIGUOUS: Mapping[str, tuple[str, str]] = {  # word -> (role where the second is taken by a plainer word, else)
    "shoulder": ("collar", "shoulder"),
    "leg": ("knee", "hip"),
    "foot": ("ankle", "foot"),
    "hand": ("wrist", "wrist"),
}
CENTRE: Mapping[str, tuple[str, ...]] = {
    "pelvis": ("hips", "pelvis", "hip", "root", "cog"),
    "neck": ("neck", "neck1", "neck2", "neck3", "upperneck"),
    "head": ("head",),
}
NOT_SIDED = frozenset(  # words of the midline that begin with l or r
    "root l1 l2 l3 l4 l5 lowerback lowerneck lowerspine lumbar reference".split()
)
PREFIX_WORDS = frozenset(
    "mixamorig mixamorig1 mixamorig2 character character1 bip bip01 bip001 biped cc base def org jt joint bone rig "
    "skeleton armature valve valvebiped actor j jnt sk avg m".split()
)
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


@lru_cache(maxsize=4096)
def side_and_word(name: str) -> tuple[str, str]:
    """(``"left"``, ``"right"`` or ``""``; the rest in small letters): ``"LeftUpLeg"`` -> ``("left", "upleg")``."""
    words = [word.lower() for word in _WORDS.findall(name.rsplit(":", 1)[-1].rsplit("|", 1)[-1])]
    words = [str(int(word)) if word.isdecimal() else word for word in words]
    if words and words[0].startswith("mixamorig") and len(words[0]) > 9:
        words[0] = words[0][9:]
    while len(words) > 1 and words[0] in PREFIX_WORDS:
        words = words[1:]
        while len(words) > 1 and words[0].isdecimal():
            words = words[1:]
    plain = "".join(words)
    if plain in NOT_SIDED:
        return "", plain
    words = [word for word in words if word != "c"] or words
    for place in (0, len(words) - 1):
        if len(words) > 1 and words[place] in _SIDES:
            return _SIDES[words[place]], "".join(words[:place] + words[place + 1 :])
    for mark, side in _SIDES.items():
        if plain.startswith(mark) and _is_sided(plain[len(mark) :]):
            return side, plain[len(mark) :]
        if plain.endswith(mark) and _is_sided(plain[: -len(mark)]):
            return side, plain[: -len(mark)]
    return "", "".join(words)


def _is_sided(word: str) -> bool:
    return word in AMBIGUOUS or any(word in words for words in SIDED.values())


def find_roles(names: Sequence[str]) -> dict[str, int]:
    """Which joint plays which role: ``{"left_hip": 16, "pelvis": 0, ...}``; roles nobody plays are absent.

    Roles are the SMPL-22 names without ``spine1..3`` (the spine is found by the tree). Where two joints match one role,
    the earlier word of the table wins, then the earlier joint.
    """
    parsed = [side_and_word(name) for name in names]
    first: dict[tuple[str, str], int] = {}
    for joint, key in enumerate(parsed):
        first.setdefault(key, joint)
    roles: dict[str, int] = {}
    for role, words in CENTRE.items():
        for word in words:
            if ("", word) in first:
                roles[role] = first["", word]
                break
    for side in ("left", "right"):
        for role, words in SIDED.items():
            for word in words:
                if (side, word) in first:
                    roles[f"{side}_{role}"] = first[side, word]
                    break
        _settle(side, first, roles)
    return roles


def _settle(side: str, first: Mapping[tuple[str, str], int], roles: dict[str, int]) -> None:
    """Give the four ambiguous words of one side their roles, by what is still free."""
    for word, (near, far) in AMBIGUOUS.items():
        joint = first.get((side, word))
        if joint is None:
            continue
        if word == "shoulder" or word == "leg":
            order = (near, far) if f"{side}_{far}" in roles else (far, near)
        else:
            order = (near, far)
        for role in order:
            if f"{side}_{role}" not in roles:
                roles[f"{side}_{role}"] = joint
                break


def neck_candidates(names: Sequence[str]) -> list[int]:
    """Every joint that is called a neck, in file order (CMU rigs have two, the lower one on top of the chest)."""
    return [joint for joint, name in enumerate(names) if side_and_word(name) in {("", word) for word in CENTRE["neck"]}]
