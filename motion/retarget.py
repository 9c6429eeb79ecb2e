"""From any rig's joints to SMPL-22: one matrix of weights, decided once a rig, applied to every frame at once.

- Positions, not rotations: rigs disagree about rest poses, not about where a wrist is.
- Every target joint is a fixed blend of the rig's joints (most often of one). So retargeting is linear, costs one
  matrix product, and what a missing joint is made of can be read off.
- Names decide first (:mod:`motion.joint_names`), a mapping of the user's overrules them, the shape of the tree is the
  last resort (:mod:`motion.topology`), and whatever was assumed is said in the notes.
- The spine is placed by the way from pelvis to neck, not by name: rigs have one to four spine joints, and *Chest* may
  be the first or the third of them. The fractions agree with the usual hand-made mappings of CMU, Bandai and Daz rigs
  to 5 %.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.errors import FileFormatError, SkeletonError
from motion.joint_names import find_roles, humanik_name, neck_candidates, side_and_word
from motion.skeleton import SMPL_22, Skeleton

SPINE_FRACTIONS = (0.215, 0.49, 0.61)  # of the way pelvis -> neck: spine1, spine2, spine3
COLLAR_FRACTION = 0.4  # of the way from the base of the neck to the arm, where a rig has no collar off the midline
NECK_FRACTION = 0.6  # of the way from where the arms meet to the head, where a rig has no neck
TOE_FRACTION = 0.17  # of the leg's length ahead of the ankle, where a rig has no toes
NEEDED = tuple(
    f"{side}_{role}" for side in ("left", "right") for role in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
)
JointMap = Mapping[str, str | Sequence[str] | Mapping[str, float]]


@dataclass(frozen=True)
class JointPlan:
    """How SMPL-22 is made of a rig: ``weights`` [22, K], toes to be guessed from the facing, and what was assumed."""

    weights: NDArray[np.float64]
    guessed_toes: tuple[int, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def used(self) -> NDArray[np.intp]:
        """The rig's joints that carry any weight, ascending."""
        return np.flatnonzero(np.any(self.weights != 0.0, axis=0))


def to_smpl22(
    names: Sequence[str], parents: Sequence[int], positions: NDArray[Any], *, joint_map: JointMap | None = None
) -> tuple[NDArray[np.float32], Mapping[str, str]]:
    """SMPL-22 joints from the joints of any rig.

    Args:
        names: K joint names.
        parents: K parent indices, -1 for roots, parents before children.
        positions: [T, K, 3] in any unit, y up where the rig has no toes.
        joint_map: SMPL-22 name -> rig name, list of names (their mean), or names with weights.

    Returns:
        joints [T, 22, 3] float32 in the same unit, and notes of what was assumed.

    Raises:
        SkeletonError: joints cannot be matched, or ``joint_map`` names joints that are not there.
    """
    array = np.asarray(positions, dtype=np.float64)
    some = array[:: max(len(array) // 15, 1)]
    plan = plan_joints(names, parents, array[0], joint_map=joint_map, poses=lambda: some)
    return apply_plan(plan, array), plan.notes


def apply_plan(plan: JointPlan, positions: NDArray[Any]) -> NDArray[np.float32]:
    """Blend ``positions`` [T, K, 3] into joints [T, 22, 3] of the same unit; y must be up where toes are guessed."""
    joints = np.matmul(plan.weights.astype(np.float32), np.asarray(positions, dtype=np.float32))
    return guess_toes(plan, joints) if plan.guessed_toes else joints


def guess_toes(plan: JointPlan, joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put missing toes ahead of the ankle in the direction the hips face; joints [T, 22, 3], y up."""
    left, right = SMPL_22.hips
    across = joints[:, left] - joints[:, right]
    forward = np.stack([-across[:, 2], np.zeros(len(joints)), across[:, 0]], axis=-1)  # across x up
    forward /= np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
    out = joints.copy()
    for toe in plan.guessed_toes:
        out[:, toe] = joints[:, SMPL_22.parents[toe]] + forward * (TOE_FRACTION * leg_length(joints[:1]))
    return out


def leg_length(joints: NDArray[Any], skeleton: Skeleton = SMPL_22) -> float:
    """Mean length hip-knee-ankle of both legs over the frames of ``joints`` [T, J, 3], in their unit."""
    lengths = [
        np.linalg.norm(joints[:, upper] - joints[:, lower], axis=-1)
        for pair in ((skeleton.hips, skeleton.knees), (skeleton.knees, skeleton.ankles))
        for upper, lower in zip(*pair, strict=True)
    ]
    return float(np.mean(lengths)) * 2.0


def load_joint_map(source: Path | str | JointMap | None) -> JointMap | None:
    """A joint map from a JSON file or a mapping, checked: every key must be an SMPL-22 joint.

    Raises:
        FileFormatError: the file is not JSON or not an object.
        SkeletonError: a key is no SMPL-22 joint, or a value is no name, list of names or weights.
    """
    if source is None:
        return None
    where = "joint map"
    if isinstance(source, str | Path):
        where = f"joint map {source}"
        try:
            loaded = json.loads(Path(source).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise FileFormatError(
                f"{where}: cannot be read as JSON ({error}); write {{smpl name: rig name}}"
            ) from error
    else:
        loaded = source
    if not isinstance(loaded, Mapping):
        raise FileFormatError(f"{where}: holds a {type(loaded).__name__}; write an object {{smpl name: rig name}}")
    for key, value in loaded.items():
        if key not in SMPL_22.names:
            raise SkeletonError(
                f"{where}: {key!r} is no SMPL-22 joint; use names such as left_hip, spine1, right_wrist"
            )
        ok = isinstance(value, str) or (isinstance(value, Mapping | list | tuple) and len(value) > 0)
        if ok and isinstance(value, Mapping):
            ok = all(isinstance(w, int | float) for w in value.values()) and abs(sum(value.values()) - 1.0) < 1e-3
        if not ok:
            raise SkeletonError(f"{where}: {key!r} maps to {value!r}; give a name, a list, or weights that sum to 1")
    return loaded


def plan_joints(
    names: Sequence[str],
    parents: Sequence[int],
    rest: NDArray[np.float64],
    *,
    joint_map: JointMap | None = None,
    poses: Callable[[], NDArray[np.float64]] | None = None,
) -> JointPlan:
    """Decide how SMPL-22 is blended from a rig with joint positions ``rest`` [K, 3] in any one pose and unit.

    ``poses`` gives some poses [N, K, 3] of the motion; it is called only where names say nothing and the shape must.

    Raises:
        SkeletonError: a needed joint is found neither by name nor by the shape of the tree.
    """
    exact = _exact(tuple(names))
    if exact is not None and not joint_map:
        return JointPlan(np.eye(len(names))[list(exact)], notes={"mapping": "one to one by names"})
    given = _given_rows(names, joint_map)
    roles = dict(_cached_roles(tuple(names)))
    for joint, row in given.items():
        roles.setdefault(joint, int(row.argmax()))
        roles[joint] = int(row.argmax())
    how = "joint map" if given else "names"
    missing = [role for role in NEEDED if role not in roles]
    if missing:
        from motion.topology import roles_by_shape

        by_shape = roles_by_shape(parents, poses() if poses is not None else rest[None])
        if by_shape is None:
            raise SkeletonError(
                f"no joint found for {', '.join(missing)} among {_some(names)}; "
                "write a joint map {smpl name: rig name} and pass it as --joint-map"
            )
        roles, how = {**by_shape, **{joint: roles[joint] for joint in given}}, "shape of the tree, names unknown"
    return _Blend(names, parents, rest, roles).plan(given, how)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


@lru_cache(maxsize=64)
def _cached_roles(names: tuple[str, ...]) -> Mapping[str, int]:
    return find_roles(names)


def is_humanik_rig(names: Sequence[str]) -> bool:
    """Whether a rig is just the one that ``motion.write`` makes of SMPL-22 for animation programs, end sites apart."""
    written = {humanik_name(name) for name in SMPL_22.names}
    others = set(names) - written
    return len(others) == len(names) - len(written) and all("end" in name.lower() for name in others)


@lru_cache(maxsize=64)
def _exact(names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Where the 22 joints of SMPL stand in ``names`` when all of them are there under their own names, or when the rig is
    exactly the one ``motion.write`` makes of them for animation programs.
    """
    if is_humanik_rig(names):
        return tuple(names.index(humanik_name(name)) for name in SMPL_22.names)
    spelled = {"_".join(part for part in side_and_word(name) if part): joint for joint, name in enumerate(names)}
    if all(name in spelled for name in SMPL_22.names):
        return tuple(spelled[name] for name in SMPL_22.names)
    return None


def _given_rows(names: Sequence[str], joint_map: JointMap | None) -> dict[str, NDArray[np.float64]]:
    """The weights [K] that the user's mapping states for SMPL-22 joints."""
    rows: dict[str, NDArray[np.float64]] = {}
    index = {name: joint for joint, name in reversed(list(enumerate(names)))}
    for target, value in (joint_map or {}).items():
        weights = {value: 1.0} if isinstance(value, str) else value
        if not isinstance(weights, Mapping):
            weights = {name: 1.0 / len(weights) for name in weights}
        rows[target] = np.zeros(len(names))
        for name, weight in weights.items():
            if name not in index:
                raise SkeletonError(
                    f"the joint map asks for {name!r} as {target}, but the rig has {_some(names)}; correct the map"
                )
            rows[target][index[name]] += weight
    return rows


class _Blend:
    """The rows of weights of one rig, from the roles its joints play."""

    def __init__(
        self, names: Sequence[str], parents: Sequence[int], rest: NDArray[np.float64], roles: dict[str, int]
    ) -> None:
        self.names, self.parents, self.rest, self.roles = names, parents, rest, roles
        self.made: list[str] = []
        self.leg = sum(
            self._distance(roles[f"{side}_{upper}"], roles[f"{side}_{lower}"]) / 2.0
            for side in ("left", "right")
            for upper, lower in (("hip", "knee"), ("knee", "ankle"))
        )

    def plan(self, given: Mapping[str, NDArray[np.float64]], how: str) -> JointPlan:
        rows = {role: self._one(self.roles[role]) for role in NEEDED}
        rows["pelvis"] = given.get("pelvis", self._pelvis())
        rows["head"], rows["neck"] = self._head_and_neck()
        rows["neck"] = given.get("neck", rows["neck"])
        self._spine(rows)
        self._collars(rows)
        guessed = self._toes(rows)
        rows.update(given)
        made = [name for name in self.made if name not in given]
        notes = {"mapping": f"by {how}"}
        if made:
            notes["interpolated"] = " ".join(sorted(made, key=SMPL_22.index))
        guessed = tuple(toe for toe in guessed if SMPL_22.names[toe] not in given)
        if guessed:
            notes["toes"] = "none in the file: placed ahead of the ankles, foot contacts are the ankles' only"
        return JointPlan(np.stack([rows[name] for name in SMPL_22.names]), guessed, notes)

    def _one(self, joint: int) -> NDArray[np.float64]:
        row = np.zeros(len(self.names))
        row[joint] = 1.0
        return row

    def _distance(self, a: int, b: int) -> float:
        return float(np.linalg.norm(self.rest[a] - self.rest[b]))

    def _above(self, joint: int) -> list[int]:
        path = []
        while joint >= 0:
            path.append(joint)
            joint = self.parents[joint]
        return path

    def _meet(self, a: int, b: int) -> int:
        """The lowest joint above both ``a`` and ``b``; -1 when they are in different trees."""
        above = set(self._above(a))
        return next((joint for joint in self._above(b) if joint in above), -1)

    def _pelvis(self) -> NDArray[np.float64]:
        hips = self.roles["left_hip"], self.roles["right_hip"]
        joint = self.roles.get("pelvis", -1)
        if joint < 0:
            joint = self._meet(*hips)
        middle = (self._one(hips[0]) + self._one(hips[1])) / 2.0
        if joint < 0:
            self.made.append("pelvis")
            return middle
        spine = self._spine_joints(joint)
        if not spine:
            return self._one(joint)
        rise = self.rest[spine[0]] - self.rest[joint]
        if (middle @ self.rest - self.rest[joint]) @ rise > 0.02 * self.leg * float(np.linalg.norm(rise)):
            self.made.append("pelvis")  # Poser and Daz put the hip node at the crotch, below the thighs
            return 0.45 * self._one(joint) + 0.55 * self._one(spine[0])
        return self._one(joint)

    def _spine_joints(self, pelvis: int) -> list[int]:
        """The joints between pelvis and neck, upwards, that do not lie on top of the one before."""
        neck, head = self._neck(), self.roles.get("head", -1)
        top = neck if neck >= 0 else head
        path = self._above(top)[1:] if top >= 0 else self._above(self._arms())
        stop = self._meet(pelvis, path[0]) if path else -1
        chain = path[: path.index(stop)] if stop in path else path
        spine: list[int] = []
        for joint in reversed(chain):
            if self._distance(joint, spine[-1] if spine else pelvis) > 1e-3 * self.leg:
                spine.append(joint)
        return spine

    def _arms(self) -> int:
        """The joint from which both arms hang, -1 when they are in different trees."""
        return self._meet(self.roles["left_shoulder"], self.roles["right_shoulder"])

    def _neck(self) -> int:
        """The joint at the base of the neck: so named and apart from its parent, else what is between arms and head."""
        found = neck_candidates(self.names) or ([self.roles["neck"]] if "neck" in self.roles else [])
        for joint in found:
            if self.parents[joint] < 0 or self._distance(joint, self.parents[joint]) > 1e-3 * self.leg:
                return joint
        if found:
            return found[-1]
        between = self._above(self.roles["head"])[1:] if "head" in self.roles else []
        arms = self._arms()
        return between[between.index(arms) - 1] if arms in between[1:] else -1

    def _head_and_neck(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        arms = self._arms()
        base = self._one(arms) if arms >= 0 else self._midway("left_shoulder", "right_shoulder")
        head, joint = self.roles.get("head", -1), self._neck()
        if head < 0 and joint < 0:
            raise SkeletonError(f"no head or neck among {_some(self.names)}; pass a joint map with --joint-map")
        if joint < 0:
            self.made.append("neck")
            return self._one(head), (1.0 - NECK_FRACTION) * base + NECK_FRACTION * self._one(head)
        neck = self._one(joint)
        if head >= 0:
            return self._one(head), neck
        self.made.append("head")
        tip = self._farthest_child(joint)
        return (self._one(tip) if tip >= 0 else neck + 0.45 * (neck - base)), neck

    def _midway(self, a: str, b: str) -> NDArray[np.float64]:
        return (self._one(self.roles[a]) + self._one(self.roles[b])) / 2.0

    def _spine(self, rows: dict[str, NDArray[np.float64]]) -> None:
        """Place spine1..3 along the way pelvis - spine joints - neck."""
        pelvis = self.roles.get("pelvis", self._meet(self.roles["left_hip"], self.roles["right_hip"]))
        chain = [rows["pelvis"]]
        chain += [self._one(joint) for joint in (self._spine_joints(pelvis) if pelvis >= 0 else [])]
        chain.append(rows["neck"])
        points = np.stack(chain) @ self.rest
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=-1))])
        for name, fraction in zip(("spine1", "spine2", "spine3"), SPINE_FRACTIONS, strict=True):
            at = fraction * way[-1]
            after = min(int(np.searchsorted(way, at, side="right")), len(way) - 1)
            share = (at - way[after - 1]) / max(way[after] - way[after - 1], 1e-12)
            rows[name] = (1.0 - share) * chain[after - 1] + share * chain[after]
            self.made.append(name)

    def _collars(self, rows: dict[str, NDArray[np.float64]]) -> None:
        width = self._distance(self.roles["left_shoulder"], self.roles["right_shoulder"])
        left, right = self.roles.get("left_collar", -1), self.roles.get("right_collar", -1)
        if left >= 0 and right >= 0 and self._distance(left, right) > 0.1 * width:
            rows["left_collar"], rows["right_collar"] = self._one(left), self._one(right)
            return
        arms = self._arms()
        chest = self._one(arms) if arms >= 0 else rows["neck"]
        for side, joint in (("left", left), ("right", right)):
            apart = joint >= 0 and (arms < 0 or self._distance(joint, arms) > 0.02 * width)
            base = self._one(joint) if apart else (chest + rows["neck"]) / 2.0
            rows[f"{side}_collar"] = (1.0 - COLLAR_FRACTION) * base + COLLAR_FRACTION * rows[f"{side}_shoulder"]
            self.made.append(f"{side}_collar")

    def _toes(self, rows: dict[str, NDArray[np.float64]]) -> tuple[int, ...]:
        guessed = []
        for side in ("left", "right"):
            ankle, name = self.roles[f"{side}_ankle"], f"{side}_foot"
            toe = self.roles.get(name, -1)
            if toe < 0 or self._distance(toe, ankle) < 1e-3 * self.leg:
                toe = self._farthest_child(toe if toe >= 0 else ankle)
            if toe >= 0 and self._distance(toe, ankle) >= 1e-3 * self.leg:
                rows[name] = self._one(toe)
            else:
                rows[name] = self._one(ankle)
                guessed.append(SMPL_22.index(name))
        return tuple(guessed)

    def _farthest_child(self, joint: int) -> int:
        children = [child for child, parent in enumerate(self.parents) if parent == joint]
        return max(children, key=lambda child: self._distance(child, joint), default=-1)
