"""What joints do in numbers: laws of turning, mirroring, rate and size, and bodies whose numbers are known."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from db.schema import STATISTICS
from motion import SMPL_22, Clip, JointStatistics, joint_statistics, mirror_clip, resample
from motion.geometry import turn
from tests.fakes import somebody


@pytest.fixture(params=range(3))
def clip(request: pytest.FixtureRequest) -> Clip:
    return Clip(somebody(4.0, seed=request.param), SMPL_22, 20.0)


def close(one: JointStatistics, other: JointStatistics, tolerance: float = 1e-3) -> None:
    for name, value in asdict(one).items():
        assert asdict(other)[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


def test_where_somebody_stands_and_faces_does_not_matter(clip: Clip) -> None:
    moved = turn(clip.joints, np.full((len(clip), 1), 1.1)) + np.array((3.0, 0.5, -2.0))
    close(joint_statistics(clip), joint_statistics(replace(clip, joints=moved.astype(np.float32))))


def test_a_mirror_image_exchanges_sides_and_turns_the_other_way(clip: Clip) -> None:
    own, twin = asdict(joint_statistics(clip)), asdict(joint_statistics(mirror_clip(clip)))
    for name, value in own.items():
        other = name.replace("left", "?").replace("right", "left").replace("?", "right")
        assert twin[other] == pytest.approx(-value if name == "turn_deg" else value, abs=1e-3)


def test_the_rate_of_a_clip_does_not_matter(clip: Clip) -> None:
    fast = Clip(resample(clip.joints, 20.0, 120.0), SMPL_22, 120.0)
    close(joint_statistics(clip), joint_statistics(fast), 0.02)


def test_a_straight_walk_a_turn_to_the_left_and_a_jump_have_their_numbers() -> None:
    still = np.repeat(somebody(1.0)[:1], 41, axis=0)
    time = np.arange(41) / 20.0
    walk = still.copy()
    walk[..., 2] += 1.5 * time[:, None]
    found = joint_statistics(Clip(walk, SMPL_22, 20.0))
    assert (found.speed_m_s, found.path_m, found.distance_m) == pytest.approx((1.5, 3.0, 3.0), rel=1e-4)
    assert found.contact_share == 0.0
    assert found.left_hand_m_s == pytest.approx(0, abs=1e-4)
    root = still[:, :1] * (1, 0, 1)
    left = turn(still - root, (np.radians(200) * time / 2)[:, None])
    assert joint_statistics(Clip(left.astype(np.float32), SMPL_22, 20.0)).turn_deg == pytest.approx(200, abs=0.5)
    jump = still.copy()
    jump[..., 1] += (0.4 * np.clip(np.sin(np.pi * time), 0, None))[:, None]
    found = joint_statistics(Clip(jump, SMPL_22, 20.0))
    assert found.rise_m == pytest.approx(0.4, abs=0.01)
    assert found.steps == 2
    assert 0.3 < found.contact_share < 0.8
    assert joint_statistics(Clip(still[:1], SMPL_22, 20.0)) == joint_statistics(Clip(still[:5], SMPL_22, 20.0))


def test_the_store_has_a_column_for_each() -> None:
    assert tuple(field.name for field in fields(JointStatistics)) == STATISTICS
