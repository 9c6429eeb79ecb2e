"""Retargeting: names of any maker, the shape of the tree, and what is made up where a rig has no joint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from motion import SMPL_22, Clip, SkeletonError, read, to_smpl22
from motion.joint_names import find_roles, side_and_word
from motion.retarget import leg_length
from motion.topology import roles_by_shape

SIDED = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
RIGS = {
    "mixamo": ("mixamorig:{S}{n}", "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand", ("Left", "Right")),
    "mixamo, no colon": ("mixamorig{S}{n}", "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand", ("Left", "Right")),
    "motionbuilder": ("Character1_{S}{n}", "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand", ("Left", "Right")),
    "cmu asf": ("{S}{n}", "femur tibia foot toes clavicle humerus radius wrist", ("l", "r")),
    "daz": ("{S}{n}", "Thigh Shin Foot Toe Collar Shldr ForeArm Hand", ("l", "r")),
    "bandai": ("{n}_{S}", "UpperLeg LowerLeg Foot Toes Shoulder UpperArm LowerArm Hand", ("L", "R")),
    "xsens": ("{S} {n}", "Upper%Leg Lower%Leg Foot Toe Shoulder Upper%Arm Forearm Hand", ("Left", "Right")),
    "unreal": ("{n}_{S}", "thigh calf foot ball clavicle upperarm lowerarm hand", ("l", "r")),
    "vrm": ("J_Bip_{S}_{n}", "UpperLeg LowerLeg Foot ToeBase Shoulder UpperArm LowerArm Hand", ("L", "R")),
    "unity": ("{S}{n}", "UpperLeg LowerLeg Foot Toes Shoulder UpperArm LowerArm Hand", ("left", "right")),
    "100style": ("{S}{n}", "Hip Knee Ankle Toe Collar Shoulder Elbow Wrist", ("Left", "Right")),
    "smpl": ("{S}_{n}", "Hip Knee Ankle Foot Collar Shoulder Elbow Wrist", ("L", "R")),
    "biped": ("Bip01 {S} {n}", "Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand", ("L", "R")),
    "blender": ("{n}.{S}", "thigh shin foot toe shoulder upper_arm forearm hand", ("L", "R")),
    "rokoko": ("{S}{n}", "Thigh Shin Foot Toe Shoulder Arm ForeArm Hand", ("Left", "Right")),
}


@pytest.mark.parametrize("rig", RIGS)
def test_names_of_every_maker_are_known(rig: str) -> None:
    pattern, words, marks = RIGS[rig]
    names, expected = ["Hips", "Neck", "Head"], {"pelvis": 0, "neck": 1, "head": 2}
    for side, mark in zip(("left", "right"), marks, strict=True):
        for role, word in zip(SIDED, words.split(), strict=True):
            expected[f"{side}_{role}"] = len(names)
            names.append(pattern.format(S=mark, n=word.replace("%", " ")))
            names.append(pattern.format(S=mark, n=word.replace("%", " ")) + "Twist1")
    assert find_roles(names) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lowerback", ("", "lowerback")),
        ("LowerBack", ("", "lowerback")),
        ("L5", ("", "l5")),
        ("root", ("", "root")),
        ("LHipJoint", ("left", "hipjoint")),
        ("ns:a:RightArm", ("right", "arm")),
        ("LEFTARM", ("left", "arm")),
        ("spine_01", ("", "spine1")),
        ("J_Bip_C_Hips", ("", "hips")),
        ("", ("", "")),
        ("___", ("", "")),
    ],
)
def test_sides_and_words(name: str, expected: tuple[str, str]) -> None:
    assert side_and_word(name) == expected


def cmu_like(clip: Clip) -> tuple[list[str], list[int], np.ndarray]:
    """The clip on a rig with other names, fingers, a doubled hip and no collar of its own."""
    names = {
        "pelvis": "Hips",
        "spine1": "Spine",
        "spine2": "Spine1",
        "spine3": "Spine2",
        "neck": "Neck",
        "head": "Head",
        **{
            f"{s}_{a}": f"{s.title()}{b}"
            for s in ("left", "right")
            for a, b in zip(SIDED, "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand".split(), strict=True)
        },
    }
    rig = [names[name] for name in SMPL_22.names]
    positions = np.concatenate([clip.joints, clip.joints[:, [20, 21]] + 0.05], axis=1)
    return [*rig, "LeftHandIndex1", "RightHandIndex1"], [*SMPL_22.parents, 20, 21], positions


def test_named_joints_are_taken_as_they_are(some_clip: Clip) -> None:
    names, parents, positions = cmu_like(some_clip)
    joints, notes = to_smpl22(names, parents, positions)
    kept = [i for i, name in enumerate(SMPL_22.names) if "spine" not in name]
    np.testing.assert_allclose(joints[:, kept], some_clip.joints[:, kept], atol=1e-6)
    assert np.abs(joints - some_clip.joints).max() < 0.06
    assert notes["interpolated"] == "spine1 spine2 spine3"


def test_order_unit_and_place_do_not_matter(some_clip: Clip) -> None:
    names, parents, positions = cmu_like(some_clip)
    base, _ = to_smpl22(names, parents, positions)
    order = [0, 3, 6, 9, 12, 15, 14, 17, 19, 21, 23, 13, 16, 18, 20, 22, 2, 5, 8, 11, 1, 4, 7, 10]
    place = {joint: at for at, joint in enumerate(order)}
    moved, _ = to_smpl22(
        [names[joint] for joint in order],
        [place.get(parents[joint], -1) for joint in order],
        positions[:, order] * 100 + 7,
    )
    np.testing.assert_allclose((moved - 7) / 100, base, atol=1e-5)


@pytest.mark.parametrize(
    "dropped",
    [
        "Neck",
        "Head",
        "Spine",
        "Spine1 Spine2",
        "Hips",
        "LeftShoulder RightShoulder",
        "LeftToeBase RightToeBase",
        "Spine Spine1 Spine2",
    ],
)
def test_missing_joints_are_made_up_nearby(some_clip: Clip, dropped: str) -> None:
    names, parents, positions = cmu_like(some_clip)
    gone = [names.index(name) for name in dropped.split()]
    kept = [joint for joint in range(len(names)) if joint not in gone]

    def lifted(joint: int) -> int:
        parent = parents[joint]
        while parent in gone:
            parent = parents[parent]
        return kept.index(parent) if parent >= 0 else -1

    joints, notes = to_smpl22([names[j] for j in kept], [lifted(j) for j in kept], positions[:, kept])
    assert np.linalg.norm(joints - some_clip.joints, axis=-1).max() < 0.13
    if "Toe" in dropped:
        assert "toes" in notes
    else:
        assert set(notes["interpolated"].split())


def test_joint_maps_blend(some_clip: Clip) -> None:
    names, parents, positions = cmu_like(some_clip)
    joints, _ = to_smpl22(
        names,
        parents,
        positions,
        joint_map={"head": ["Neck", "Head"], "neck": {"Neck": 0.25, "Head": 0.75}, "spine1": "Spine"},
    )
    neck, head = some_clip.joints[:, 12], some_clip.joints[:, 15]
    np.testing.assert_allclose(joints[:, 15], (neck + head) / 2, atol=1e-6)
    np.testing.assert_allclose(joints[:, 12], 0.25 * neck + 0.75 * head, atol=1e-6)
    np.testing.assert_allclose(joints[:, 3], some_clip.joints[:, 3], atol=1e-6)


def test_unknown_rigs_say_what_is_missing() -> None:
    with pytest.raises(SkeletonError, match=r"left_hip.*among a, b; write a joint map"):
        to_smpl22(["a", "b"], [-1, 0], np.zeros((3, 2, 3)))


def test_large_and_broken_trees_are_answered_quickly() -> None:
    random = np.random.default_rng(0)
    star = [-1] + [0] * 500
    assert roles_by_shape(star, random.normal(size=(2, 501, 3))) is None
    assert roles_by_shape([-1] + [0] * 4000, random.normal(size=(1, 4001, 3))) is None
    chain = list(range(-1, 399))
    assert roles_by_shape(chain, random.normal(size=(1, 400, 3))) is None


def test_the_shape_finds_what_names_do_not(raw_motion: Path, tmp_path: Path) -> None:
    for name in ("bandai-1/dataset-1_walk_normal_001", "cmu-sample/bvh/02_03", "cmu-sample/bvh-daz/salsa_10"):
        path = raw_motion / f"{name}.bvh"
        count = iter(range(1000))
        text = re.sub(r"(ROOT|JOINT)\s+\S+", lambda match, n=count: f"{match[1]} b{next(n)}", path.read_text())  # type: ignore[misc]
        (tmp_path / "a.bvh").write_text(text)
        (named,), (unnamed,) = read(path), read(tmp_path / "a.bvh")
        assert "shape" in unnamed.source.notes["mapping"]
        assert np.linalg.norm(named.joints - unnamed.joints, axis=-1).max() < 0.05


def test_guessed_toes_lie_ahead(some_bvh: Callable[..., Path]) -> None:
    clip = read(some_bvh())[0]
    names, parents, positions = cmu_like(clip)
    kept = [joint for joint in range(len(names)) if "Toe" not in names[joint]]
    joints, _ = to_smpl22(
        [names[j] for j in kept], [kept.index(parents[j]) if parents[j] >= 0 else -1 for j in kept], positions[:, kept]
    )
    ahead = joints[:, [10, 11]] - joints[:, [7, 8]]
    np.testing.assert_allclose(np.linalg.norm(ahead, axis=-1), 0.17 * leg_length(joints[:1]), rtol=1e-4)
    assert (np.sum(ahead * (clip.joints[:, [10, 11]] - clip.joints[:, [7, 8]]), axis=-1) > 0).all()
