"""Synthetic motion: true to its words, plausible, and the same for the same seed."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

from motion import SMPL_22, Clip
from motion.geometry import facing
from motion.synth import synthesise
from motion.synth.words import REPERTOIRE

CLIPS = synthesise(240, seed=0)


def first(class_id: str) -> Clip:
    return next(c for c in CLIPS if c.labels["class_id"] == class_id)


def test_equal_seeds_are_equal_and_others_are_not() -> None:
    again, other = synthesise(12, seed=0), synthesise(12, seed=1)
    assert all(
        (a.joints == b.joints).all() and a.captions == b.captions for a, b in zip(CLIPS[:12], again, strict=True)
    )
    assert any(
        a.joints.shape != b.joints.shape or (a.joints != b.joints).any() for a, b in zip(again, other, strict=True)
    )


def test_all_actions_come_up_with_captions_and_true_times() -> None:
    assert {c.labels["class_id"].split("_then_")[0] for c in CLIPS} == {entry.class_id for entry in REPERTOIRE}
    assert len(REPERTOIRE) >= 30
    for clip in CLIPS:
        events = json.loads(clip.labels["events"])
        assert events[0][1] == 0
        assert abs(events[-1][2] - clip.duration_s) < 0.01
        assert all(a[2] == b[1] for a, b in pairwise(events))
        assert len(events) == 1 + ("_then_" in clip.labels["class_id"])
        assert 1 <= len(clip.captions) <= 3


def test_bodies_are_rigid_upright_and_stand_on_the_floor() -> None:
    for clip in CLIPS:
        bones = np.linalg.norm(clip.joints[:, 1:] - clip.joints[:, list(SMPL_22.parents)[1:]], axis=-1)
        assert np.ptp(bones, axis=0).max() < 1e-4
        assert abs(clip.joints[..., 1].min()) < 1e-5
        assert 1.4 <= clip.duration_s <= 12.1
        left = np.cross([0, 1, 0], facing(clip.joints, SMPL_22))
        assert (((clip.joints[:, 1] - clip.joints[:, 2]) * left).sum(-1) > 0).mean() > 0.98


def test_knees_bend_backwards() -> None:
    for clip in CLIPS:
        forward = facing(clip.joints, SMPL_22)
        for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
            middle = (clip.joints[:, hip] + clip.joints[:, ankle]) / 2
            assert (((clip.joints[:, knee] - middle) * forward).sum(-1) > -0.06).all()


def test_people_go_where_the_words_say() -> None:
    for name, along, aside in (
        ("walk", 1, 0),
        ("walk_backward", -1, 0),
        ("run", 1, 0),
        ("sidestep_left", 0, 1),
        ("sidestep_right", 0, -1),
    ):
        clip = first(name)
        forward = facing(clip.joints, SMPL_22)
        way = np.diff(clip.joints[:, 0], axis=0)
        speed = (way * forward[1:]).sum(-1).mean() * clip.fps
        left = (way * np.cross([0, 1, 0], forward)[1:]).sum(-1).mean() * clip.fps
        assert (speed > 0.4) == (along > 0)
        assert (speed < -0.4) == (along < 0)
        assert (left > 0.1) == (aside > 0)
        assert (left < -0.1) == (aside < 0)


def test_named_hands_and_feet_move_most() -> None:
    for name, moving, still in (
        ("wave_left_hand", 20, 21),
        ("wave_right_hand", 21, 20),
        ("kick_left", 10, 11),
        ("kick_right", 11, 10),
        ("raise_left_hand", 20, 21),
    ):
        joints = first(name).joints - first(name).joints[:, :1]
        travel = np.linalg.norm(np.diff(joints, axis=0), axis=-1).sum(axis=0)
        assert travel[moving] > 2 * travel[still]


def test_planted_feet_do_not_slide() -> None:
    clip = first("walk")
    feet = clip.joints[:, [10, 11]]
    lower = feet[..., 1].argmin(axis=1)
    same = lower[1:] == lower[:-1]
    rows = np.flatnonzero(same)
    slide = np.linalg.norm((feet[rows + 1, lower[rows]] - feet[rows, lower[rows]])[:, [0, 2]], axis=-1) * clip.fps
    assert np.median(slide) < 0.15  # metres a second
