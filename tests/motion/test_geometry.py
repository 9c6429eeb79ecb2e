"""Geometry: time, mirrors and body size as laws."""

from __future__ import annotations

import numpy as np
import pytest

from motion import SMPL_22
from motion.geometry import REFERENCE_BONES, mirror_clip, mirror_joints, resample, swap_sides, to_reference_bones, turn
from motion.rotation import (
    matrix_to_quaternion,
    quaternion_between,
    quaternion_inverse,
    quaternion_multiply,
    quaternion_to_matrix,
)
from motion.synth import synthesise

CLIP = synthesise(4, seed=6)[3]


def test_resampling_keeps_seconds_and_ends() -> None:
    for rate in (7.0, 20.0, 59.94, 120.0):
        out = resample(CLIP.joints, 20.0, rate)
        assert abs((len(out) - 1) / rate - (len(CLIP) - 1) / 20.0) <= 1 / rate
        np.testing.assert_allclose(out[0], CLIP.joints[0], atol=1e-6)
    np.testing.assert_array_equal(resample(CLIP.joints, 20.0, 20.0), CLIP.joints)
    np.testing.assert_allclose(resample(resample(CLIP.joints, 20, 60), 60, 20), CLIP.joints, atol=1e-5)


def test_mirroring_twice_is_nothing() -> None:
    np.testing.assert_array_equal(mirror_joints(mirror_joints(CLIP.joints, SMPL_22), SMPL_22), CLIP.joints)
    twice = mirror_clip(mirror_clip(CLIP))
    assert (twice.captions, twice.labels, twice.source) == (CLIP.captions, CLIP.labels, CLIP.source)
    assert mirror_clip(CLIP).source.mirrored


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("kicks with the left leg", "kicks with the right leg"),
        ("Left hand, RIGHT foot", "Right hand, LEFT foot"),
        ("turns clockwise", "turns counterclockwise"),
        ("kick_left", "kick_right"),
        ("leftwards and right-handed", "rightwards and left-handed"),
        ("bright lights, upright, leftover", "bright lights, upright, leftover"),
    ],
)
def test_sides_are_exchanged_in_words(text: str, other: str) -> None:
    assert swap_sides(text) == other
    assert swap_sides(other) == text


def test_reference_bones_keep_directions_and_set_lengths() -> None:
    out = to_reference_bones(CLIP.joints * 1.3, SMPL_22)
    parents = list(SMPL_22.parents)[1:]
    mine, given = out[:, 1:] - out[:, parents], CLIP.joints[:, 1:] - CLIP.joints[:, parents]
    lengths = np.linalg.norm(mine, axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(REFERENCE_BONES["smpl22"][1:], lengths.shape), atol=1e-5)
    cosine = (mine * given).sum(-1) / lengths / np.linalg.norm(given, axis=-1)
    np.testing.assert_allclose(cosine, 1, atol=1e-4)
    np.testing.assert_allclose(
        to_reference_bones(CLIP.joints, SMPL_22), to_reference_bones(CLIP.joints * 2, SMPL_22), atol=1e-4
    )


def test_quaternions_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    a, b = (q / np.linalg.norm(q, axis=-1, keepdims=True) for q in rng.normal(size=(2, 50, 4)))
    np.testing.assert_allclose(
        quaternion_to_matrix(quaternion_multiply(a, b)), quaternion_to_matrix(a) @ quaternion_to_matrix(b), atol=1e-12
    )
    np.testing.assert_allclose(
        quaternion_multiply(a, quaternion_inverse(a)), np.tile([1.0, 0, 0, 0], (50, 1)), atol=1e-12
    )
    back = matrix_to_quaternion(quaternion_to_matrix(a))
    np.testing.assert_allclose(back, a * np.sign(a[:, :1]), atol=1e-12)
    u, v = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in rng.normal(size=(2, 50, 3)))
    for start, end in ((u, v), (u, -u), (u, u)):
        matrix = quaternion_to_matrix(quaternion_between(start, end))
        np.testing.assert_allclose(np.einsum("nij,nj->ni", matrix, start), end, atol=1e-7)
    np.testing.assert_allclose(turn(np.array([0.0, 0, 1]), np.pi / 2), [1, 0, 0], atol=1e-12)
