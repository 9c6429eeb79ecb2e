"""Frames travel in few bytes and arrive where they were."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motion import KIT_21, SMPL_22, Clip, MotionError
from remora.web.frames import MOST_ERROR, decode_frames, encode_frames, pack12, unpack12
from tests.fakes import somebody
from tests.web.conftest import ids


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 4095), max_size=50))
def test_twelve_bits_are_unpacked_as_they_were(values: list[int]) -> None:
    numbers = np.array(values, np.uint16)
    assert len(pack12(numbers)) == (len(numbers) + 1) // 2 * 3
    np.testing.assert_array_equal(unpack12(pack12(numbers), len(numbers)), numbers)


@pytest.mark.parametrize("far", [0.0, 1.0, 900.0])
@pytest.mark.parametrize("size", [1.0, 8.0])
def test_no_joint_is_off_by_more_than_is_said_and_never_a_millimetre(far: float, size: float) -> None:
    clip = Clip((somebody(4.0, seed=3) * size + far).astype(np.float32), SMPL_22, 30.0, clip_id="ü#1")
    head, joints, contacts = decode_frames(encode_frames(clip))
    error = np.linalg.norm(joints.astype(np.float64) - clip.joints, axis=-1).max()
    rounding = 1e-6 + far * 1e-6  # float32 of the arrays that are compared
    assert error <= head["max_error_m"] + rounding and head["max_error_m"] <= MOST_ERROR
    assert (head["clip_id"], head["fps"], len(contacts)) == ("ü#1", 30.0, len(clip))
    assert tuple(head["names"]) == SMPL_22.names and tuple(head["parents"]) == SMPL_22.parents
    assert head["bits"] == (12 if size == 1.0 else 16)


def test_a_frame_of_22_joints_takes_at_most_120_bytes() -> None:
    clip = Clip(somebody(5.0), SMPL_22, 20.0, clip_id="some/take of a usual name.bvh#0.00-5.00")
    assert len(encode_frames(clip)) <= 120 * len(clip)


def test_one_frame_and_other_skeletons_travel_too() -> None:
    clip = Clip(np.random.default_rng(0).normal(size=(1, 21, 3)).astype(np.float32), KIT_21, 12.5)
    _, joints, contacts = decode_frames(encode_frames(clip))
    np.testing.assert_allclose(joints, clip.joints, atol=1e-3)
    assert contacts.shape == (1,)


def test_joints_that_are_no_places_are_refused() -> None:
    joints = somebody(1.0)
    joints[3, 4, 1] = np.nan
    with pytest.raises(MotionError, match="no positions"):
        encode_frames(Clip(joints, SMPL_22, 20.0))


def test_a_foot_that_is_held_still_on_the_floor_stands() -> None:
    joints = np.repeat(somebody(1.0)[:1], 40, axis=0)
    joints[20:, 10, 2] += np.linspace(0, 2, 20)  # the left toe glides away
    _, _, contacts = decode_frames(encode_frames(Clip(joints, SMPL_22, 20.0)))
    assert set(contacts[:15]) == {0b1111}
    assert not (contacts[25:] & 0b0010).any()


def test_a_page_gets_the_frames_of_the_library(client: TestClient) -> None:
    clip = next(one for one in ids(client) if "wave" in one)
    answer = client.get(f"/api/frames/{quote(clip, safe='')}")
    _, joints, _ = decode_frames(answer.content)
    np.testing.assert_allclose(joints, somebody(2.0, seed=1), atol=1e-3)
    slow, _, _ = decode_frames(client.get(f"/api/frames/{quote(clip, safe='')}", params={"fps": 10}).content)
    assert (slow["fps"], slow["frames"]) == (10.0, 20)
    again = client.get(f"/api/frames/{quote(clip, safe='')}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
