"""Feet that stand still, and measures of physics: laws on motion whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from motion import SMPL_22
from motion.feet import badness, clean_feet, lift_foot, move_foot, settled
from motion.physics import mean_physics, physics
from motion.synth import synthesise

FPS = 20.0
PARENTS = np.array(SMPL_22.parents)


def bones(joints: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.linalg.norm(joints[:, 1:] - joints[:, PARENTS[1:]], axis=-1)


def shaken(joints: NDArray[np.float32], seed: int, size: float = 0.015) -> NDArray[np.float32]:
    """The same person slid over the floor to and fro, as generators do."""
    steps = np.random.default_rng(seed).normal(0, size, (len(joints), 1, 3)) * (1, 0, 1)
    return (joints + np.cumsum(steps, axis=0)).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_never_worse_and_bones_keep_their_length(seed: int) -> None:
    clip = synthesise(12, seed=3)[seed]
    for joints in (clip.joints, shaken(clip.joints, seed)):
        before = joints.copy()
        made = clean_feet(joints, SMPL_22, FPS)
        assert np.array_equal(joints, before) and made.shape == joints.shape and made.dtype == np.float32
        placed = joints - np.array([0, 1, 0]) * (joints - made)[0, 0]  # only moved onto the floor
        assert badness(physics(made, SMPL_22, FPS)) <= badness(physics(placed, SMPL_22, FPS)) + 1e-6
        np.testing.assert_allclose(bones(made), bones(joints), atol=2e-3)


def test_a_standing_person_who_slides_is_held() -> None:
    clip = next(c for c in synthesise(80, seed=4) if c.labels["class_id"] == "stand")
    slid = shaken(clip.joints, 1, 0.006)
    made = clean_feet(slid, SMPL_22, FPS)
    before, after = (physics(x, SMPL_22, FPS) for x in (slid, made))
    assert after.slide_m_s < 0.5 * before.slide_m_s and after.foot_skate <= before.foot_skate


def test_a_foot_that_glides_at_walking_speed_is_not_pinned_to_a_point() -> None:
    clip = next(c for c in synthesise(80, seed=4) if c.labels["class_id"] == "stand")
    glide = clip.joints + np.linspace(0, 2.0, len(clip.joints))[:, None, None].astype("f") * np.array([0, 0, 1], "f")
    made = clean_feet(glide, SMPL_22, FPS)
    toe = list(SMPL_22.toes)
    assert np.abs(made[:, toe] - glide[:, toe])[..., [0, 2]].max() < 0.15


def test_a_foot_that_drags_while_the_other_stands_is_lifted() -> None:
    clip = next(c for c in synthesise(80, seed=4) if c.labels["class_id"] == "stand")
    time = np.arange(len(clip.joints)) / FPS
    move = np.zeros((len(time), 3))
    move[:, 2] = 0.12 * np.sin(2 * np.pi * time)  # the left foot, to and fro along the floor, up to .75 m/s
    dragged = move_foot(clip.joints, SMPL_22, 0, move)
    made = clean_feet(dragged, SMPL_22, FPS)
    before, after = (physics(x, SMPL_22, FPS) for x in (dragged, made))
    assert before.foot_skate > 0.2 and after.foot_skate < 0.3 * before.foot_skate
    left = SMPL_22.toes[0]
    assert made[:, left, 1].max() > dragged[:, left, 1].max() + 0.02
    np.testing.assert_allclose(bones(made), bones(dragged), atol=2e-3)
    glide = clip.joints + time[:, None, None].astype("f") * np.array([0, 0, 1], "f")  # both travel: nobody hovers
    for side in (0, 1):
        np.testing.assert_allclose(lift_foot(glide, SMPL_22, FPS, side), glide, atol=1e-6)


def test_who_slowly_leaves_the_floor_is_brought_down_and_a_jump_keeps_its_height() -> None:
    clips = synthesise(80, seed=4)
    stand = next(c for c in clips if c.labels["class_id"] == "stand").joints
    stand = stand - np.array([0, 1, 0], "f") * stand[..., 1].min()
    rising = stand + np.linspace(0, 0.08, len(stand))[:, None, None].astype("f") * np.array([0, 1, 0], "f")
    before, after = (physics(x, SMPL_22, FPS) for x in (rising, clean_feet(rising, SMPL_22, FPS)))
    assert before.float_mm > 35 and after.float_mm < 15 and after.penetration_mm < 1
    np.testing.assert_allclose(bones(settled(rising, FPS)), bones(rising), atol=1e-5)
    hop = stand.copy()
    hop[20:32] += (0.4 * np.sin(np.linspace(0, np.pi, 12)))[:, None, None].astype("f") * np.array([0, 1, 0], "f")
    np.testing.assert_allclose(settled(hop, FPS)[..., 1].max(0), hop[..., 1].max(0), atol=0.01)


def test_root_and_feet_are_lowered_together() -> None:
    clip = synthesise(4, seed=5)[1]
    high = clip.joints + np.array([0, 0.4, 0], np.float32)
    down, own = clean_feet(high, SMPL_22, FPS), clean_feet(clip.joints, SMPL_22, FPS)
    np.testing.assert_allclose(down, own, atol=1e-3)
    assert abs(float(np.quantile(down[..., 1].min(-1), 0.05))) < 0.02


def test_physics_of_what_is_known() -> None:
    still = np.repeat(synthesise(1, seed=6)[0].joints[:1], 40, axis=0)
    still[..., 1] -= still[..., 1].min()
    calm = physics(still, SMPL_22, FPS)
    assert calm.foot_skate == calm.slide_m_s == calm.jerk_m_s3 == calm.penetration_mm == 0
    assert physics(still - np.array([0, 0.03, 0], "f"), SMPL_22, FPS).penetration_mm == pytest.approx(30, abs=0.1)
    assert physics(still + np.array([0, 0.05, 0], "f"), SMPL_22, FPS).float_mm == pytest.approx(50, abs=0.1)
    slide = still + np.arange(40)[:, None, None] * np.array([0.05, 0, 0], "f")  # 1 m/s
    moving = physics(slide, SMPL_22, FPS)
    assert moving.foot_skate == 1.0 and 0 < moving.slide_m_s <= 1.0 + 1e-3 and moving.jerk_m_s3 < 1e-2
    assert mean_physics([calm, moving]).foot_skate == 0.5
    for rate in (2, 3):  # the rate of the file does not matter
        smooth = np.stack(
            [np.interp(np.arange(40 * rate) / rate, np.arange(40), c) for c in slide.reshape(40, -1).T], 1
        )
        found = physics(smooth.reshape(-1, 22, 3), SMPL_22, FPS * rate)
        assert found.slide_m_s == pytest.approx(moving.slide_m_s, rel=0.05)
