"""Feature formats: parity with published arrays, round trips, parts and mirrors as laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from motion import KIT_21, PARTS, FeatureError
from motion.features import (
    FEATURES,
    HUMANML3D_263,
    KIT_251,
    FeatureSpec,
    features_to_joints,
    joints_to_features,
    merge_parts,
    mirror_features,
    part_columns,
    split_parts,
)
from motion.features_272 import (
    MOTION_272,
    Motion272,
    change_to_heading,
    heading_is_absolute,
    heading_to_change,
    matrices_of,
    rotations_272,
    rows_of,
)
from motion.geometry import facing, mirror_joints, to_canonical, turn
from motion.synth import synthesise

BLOCKS = ("root rate", "root velocity", "root height", "positions", "rotations", "velocities", "contacts")


def blocks(spec: FeatureSpec) -> dict[str, slice]:
    named = (slice(0, 1), slice(1, 3), slice(3, 4), spec.positions, spec.rotations, spec.velocities, spec.contacts)
    return dict(zip(BLOCKS, named, strict=True))


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(shared_data / "humanml3d-samples" / "sample_012314_263.npz", allow_pickle=False) as data:
        return {"features": data["features"], "joints": data["joints"]}


def kit_person(frames: int = 60) -> NDArray[np.float32]:
    """KIT-21 joints of somebody who walks: SMPL's where they mean the same, in between where not."""
    j = synthesise(2, seed=11)[0].joints[:frames]
    order = [0, 3, 6, 9, 15, 17, 19, 21, 16, 18, 20, 2, 5, 8, 8, 11, 1, 4, 7, 7, 10]
    out = j[:, order].copy()
    out[:, 14], out[:, 19] = (j[:, 8] + j[:, 11]) / 2, (j[:, 7] + j[:, 10]) / 2
    assert len(KIT_21) == out.shape[1]
    return out


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_equals_the_published_array(golden: dict[str, NDArray[np.float32]], block: str) -> None:
    mine = joints_to_features(golden["joints"], HUMANML3D_263)
    columns = blocks(HUMANML3D_263)[block]
    # The published clip lacks the frame after its last: the smoothed heading differs towards the end,
    # so the first half is exact.
    np.testing.assert_allclose(mine[:80, columns], golden["features"][:80, columns], atol=2e-5)
    np.testing.assert_allclose(mine[:, columns], golden["features"][:169, columns], atol=0.02)


def test_published_features_give_the_published_joints(golden: dict[str, NDArray[np.float32]]) -> None:
    np.testing.assert_allclose(features_to_joints(golden["features"], HUMANML3D_263), golden["joints"], atol=1e-6)


@pytest.mark.parametrize("spec", [HUMANML3D_263, KIT_251], ids=lambda s: s.name)
def test_decoding_undoes_encoding(spec: FeatureSpec) -> None:
    people = [kit_person()] if spec is KIT_251 else [clip.joints for clip in synthesise(12, seed=2)]
    for joints in people:
        back = features_to_joints(joints_to_features(joints, spec), spec)
        np.testing.assert_allclose(back, to_canonical(joints, spec.skeleton)[:-1], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spec", FEATURES.values(), ids=lambda s: s.name)
def test_merging_undoes_splitting_to_the_last_bit(spec: FeatureSpec | Motion272, dtype: type) -> None:
    features = np.random.default_rng(0).normal(size=(2, 7, spec.dim)).astype(dtype)
    parts = split_parts(features, spec)
    assert tuple(parts) == PARTS
    widths = {
        "humanml3d-263": [7, 50, 50, 60, 60, 60], "humanml3d-137": [7, 26, 26, 30, 30, 30],
        "kit-251": [7, 62, 62, 48, 48, 48], "motion-272": [20, 48, 48, 60, 60, 60],
    }  # fmt: skip
    assert [parts[p].shape[-1] for p in PARTS] == widths[spec.name]
    np.testing.assert_array_equal(merge_parts(parts, spec), features)
    assert set(np.concatenate(list(part_columns(spec).values()))) == set(range(spec.dim))
    with pytest.raises(FeatureError, match="root"):
        merge_parts({p: v for p, v in parts.items() if p != "root"}, spec)


@pytest.mark.parametrize("spec", FEATURES.values(), ids=lambda s: s.name)
def test_copies_of_the_chest_that_differ_are_averaged(spec: FeatureSpec | Motion272) -> None:
    parts = split_parts(np.zeros((3, spec.dim)), spec)
    chest = part_columns(spec)["backbone"]
    shared = np.isin(chest, part_columns(spec)["left_arm"])
    parts["backbone"] = parts["backbone"] + 3.0
    merged = merge_parts(parts, spec)
    np.testing.assert_allclose(merged[:, chest[shared]], 1.0)
    np.testing.assert_allclose(merged[:, chest[~shared]], 3.0)


def test_a_part_reads_its_own_joints_alone() -> None:
    for spec in (HUMANML3D_263, MOTION_272):
        joints = synthesise(1, seed=3)[0].joints
        moved = joints.copy()
        moved[:, 20] += (0.01, 0.02, 0.03)  # the left wrist
        before, after = (split_parts(joints_to_features(j, spec), spec) for j in (joints, moved))
        changed = {part for part in PARTS if not np.allclose(before[part], after[part], atol=1e-7)}
        assert changed == {"left_arm"}, spec.name


@pytest.mark.parametrize("spec", [HUMANML3D_263, KIT_251], ids=lambda s: s.name)
def test_mirroring_features_equals_mirroring_joints(spec: FeatureSpec) -> None:
    joints = kit_person() if spec is KIT_251 else synthesise(3, seed=4)[1].joints
    features = joints_to_features(joints, spec)
    mirrored = joints_to_features(mirror_joints(joints, spec.skeleton), spec)
    if spec is HUMANML3D_263:
        np.testing.assert_allclose(mirror_features(features, spec), mirrored, atol=2e-4)
    np.testing.assert_array_equal(mirror_features(mirror_features(features, spec), spec), features)


def test_heading_and_place_do_not_matter() -> None:
    joints = synthesise(3, seed=4)[2].joints
    moved = turn(joints, 2.2) + np.array((3.0, 0.5, -7.0))
    np.testing.assert_allclose(
        joints_to_features(moved, HUMANML3D_263)[:, :259], joints_to_features(joints, HUMANML3D_263)[:, :259], atol=2e-5
    )


def test_272_gives_the_published_joints_and_comes_back(shared_data: Path) -> None:
    for name in ("sample_000000_272", "sample_M000000_272"):
        with np.load(shared_data / "humanml3d-samples" / f"{name}.npz", allow_pickle=False) as data:
            features, joints = data["features"], data["joints"]
        mine = features_to_joints(features, MOTION_272)
        offset = (mine - joints).mean(axis=(0, 1), dtype=np.float64)
        np.testing.assert_allclose(mine - offset, joints, atol=1e-5)
        again = joints_to_features(mine, MOTION_272, rotations=rotations_272(features))
        shift = again[:1, 9:74:3] - features[:1, 9:74:3]  # the floor of 300 frames is not that of the whole take
        assert np.ptp(shift) < 1e-5
        again[:, 9:74:3] -= shift
        np.testing.assert_allclose(again, features, atol=2e-5)


def test_272_round_trip_from_positions_alone() -> None:
    for clip in synthesise(6, seed=8):
        back = features_to_joints(joints_to_features(clip.joints, MOTION_272), MOTION_272)
        np.testing.assert_allclose(back, to_canonical(clip.joints, clip.skeleton), atol=1e-5)


def test_272_heading_variants_are_told_apart_and_converted() -> None:
    turning = next(c for c in synthesise(80, seed=1) if c.labels["class_id"] == "walk_circle_left")
    features = joints_to_features(turning.joints, MOTION_272)
    absolute = change_to_heading(features)
    assert heading_is_absolute(absolute)
    assert not heading_is_absolute(features)
    np.testing.assert_allclose(heading_to_change(absolute), features, atol=1e-5)


def test_two_rows_are_a_rotation() -> None:
    clip = synthesise(1, seed=0)[0]
    rotations = rotations_272(joints_to_features(clip.joints, MOTION_272))
    np.testing.assert_allclose(matrices_of(rows_of(rotations)), rotations, atol=1e-6)
    np.testing.assert_allclose(
        rotations @ np.swapaxes(rotations, -1, -2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-6
    )


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_arrays_of_another_shape_are_refused(name: str) -> None:
    spec = FEATURES[name]
    with pytest.raises(FeatureError, match=str(spec.dim)):
        features_to_joints(np.zeros((5, spec.dim + 1)), spec)
    with pytest.raises(FeatureError, match="retarget"):
        joints_to_features(np.zeros((5, len(spec.skeleton) + 1, 3)), spec)


def test_first_frame_faces_forward_on_the_floor() -> None:
    for clip in synthesise(5, seed=3):
        placed = to_canonical(clip.joints, clip.skeleton)
        assert placed[..., 1].min() == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(facing(placed[:1], clip.skeleton)[0], [0, 0, 1], atol=1e-5)
        np.testing.assert_allclose(placed[0, 0, [0, 2]], 0, atol=1e-6)
        assert placed[0, 1, 0] > placed[0, 2, 0]  # left hip at +x
