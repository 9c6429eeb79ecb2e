"""Moments of a sentence in a long motion, and the compositions they are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from encoders import Embeddings
from motion import KIT_21, Caption, Clip, MotionError, join
from motion.geometry import facing
from motion.skeleton import SMPL_22
from retriever import EvaluationError, QueryError, localize
from retriever.compositions import compose
from retriever.localize import embed_windows, overlap, separate, separate_takes, similarity_curve, window_spans
from tests.fakes import FakeEncoder, somebody


def clip_of(seconds: float, seed: int = 0, text: str = "") -> Clip:
    captions = (Caption(text),) if text else ()
    return Clip(somebody(seconds, seed=seed), SMPL_22, 20.0, captions, labels={"class_text": text} if text else {})


class Height(FakeEncoder):
    """Sees one thing: whether the root is high up. "high" asks for it."""

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        return self._of([float((clip.joints[:, 0, 1] > 2).mean()) for clip in clips])

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        return self._of([1.0 for _ in texts])

    def _of(self, shares: Sequence[float]) -> Embeddings:
        angle = np.array(shares) * np.pi / 2
        whole = np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
        return Embeddings(whole, np.repeat(whole[:, None], 6, axis=1))


def lifted(start: float, end: float) -> Clip:
    joints = somebody(20.0)
    joints[round(start * 20) : round(end * 20), :, 1] += 3
    return Clip(joints, SMPL_22, 20.0, clip_id="lifted")


@pytest.mark.parametrize("span", [(0.0, 3.0), (7.0, 11.0), (14.5, 20.0)])
def test_the_seconds_are_found_and_the_curve_is_highest_there(span: tuple[float, float]) -> None:
    found = localize(Height(), lifted(*span), "high")
    assert overlap((found[0].start_s, found[0].end_s), span) > 0.65
    assert span[0] - 0.5 <= found.times[found.scores.argmax()] <= span[1] + 0.5
    assert [m.rank for m in found.moments] == list(range(1, len(found) + 1))
    later = localize(Height(), lifted(*span), "high", offset_s=100.0)
    assert later[0].start_s == pytest.approx(found[0].start_s + 100)
    assert set(found.to_json()) == {"clip", "text", "moments", "times", "scores"}


def test_windows_cover_the_motion_and_stay_inside() -> None:
    for duration in (0.4, 1.0, 3.3, 12.0):
        spans = window_spans(duration)
        assert spans.min() == 0 and spans.max() == pytest.approx(duration)
        assert (spans[:, 1] > spans[:, 0]).all()
        times, curve = similarity_curve(spans, np.ones(len(spans)), duration)
        np.testing.assert_allclose(curve, 1)
        assert times.max() <= duration


def test_moments_are_different_ones() -> None:
    spans = np.array([(0.0, 4.0), (0.5, 4.5), (4.5, 8.0), (9.0, 12.0)])
    chosen = separate(spans, np.array([0.9, 0.89, 0.5, 0.7]), 3)
    assert chosen == [0, 3, 2]
    assert overlap((0, 2), (1, 3)) == pytest.approx(1 / 3)
    assert overlap((0, 1), (2, 3)) == 0


def test_one_moment_of_a_take_is_told_once() -> None:
    made = [localize(Height(), lifted(7, 11), "high", k=1, offset_s=offset) for offset in (0.0, 0.0, 30.0)]
    assert len(separate_takes(made, ["a", "a", "a"])) == 2
    assert len(separate_takes(made, ["a", "b", "a"])) == 3


def test_questions_that_are_none() -> None:
    with pytest.raises(QueryError, match="empty"):
        localize(Height(), lifted(1, 2), "  ")
    with pytest.raises(QueryError, match=r"lasts 700 s.*600 s at most"):
        embed_windows(Height(), Clip(np.zeros((7000, 22, 3), np.float32), SMPL_22, 10.0))


def test_joined_clips_keep_their_frames_and_go_on_where_they_were() -> None:
    first, second = (
        clip_of(2.0, 1, "one"),
        replace(clip_of(3.0, 2, "two"), joints=np.add(somebody(3.0, seed=2), (5, 0, -3))),
    )
    long = join([first, second])
    assert len(long) == len(first) + len(second)
    np.testing.assert_allclose(long.joints[: len(first)], first.joints, atol=1e-5)
    assert [(c.text, c.start_s, c.end_s) for c in long.captions] == [("one", 0, 2), ("two", 2, 5)]
    step = np.linalg.norm(np.diff(long.joints, axis=0), axis=-1).max(axis=1)
    assert step[len(first) - 1] < 1.5 * step.max(initial=0, where=np.arange(len(step)) != len(first) - 1)
    turned = facing(long.joints[[len(first) - 1, len(first) + 12]], SMPL_22)
    assert turned[0] @ turned[1] > 0.7
    tail = long.joints[-10:] - long.joints[-10:, :1]
    own = second.joints[-10:] - second.joints[-10:, :1]
    np.testing.assert_allclose(np.linalg.norm(tail, axis=-1), np.linalg.norm(own, axis=-1), atol=1e-4)
    assert np.array_equal(join([first]).joints, first.joints)
    with pytest.raises(MotionError, match="retarget"):
        join([first, Clip(np.zeros((3, 21, 3), np.float32), KIT_21, 20.0)])
    with pytest.raises(MotionError, match="nothing to join"):
        join([])


def test_compositions_are_of_different_classes_and_the_same_for_the_same_seed() -> None:
    clips = [clip_of(2.0, number, f"class {number % 5}") for number in range(10)]
    made = list(compose(clips, 3, seed=4))
    again = list(compose(clips, 3, seed=4))
    for (long, told), (same, _) in zip(made, again, strict=True):
        assert len({caption.text for caption in told}) == 4
        assert told[-1].end_s == pytest.approx(long.duration_s)
        assert np.array_equal(long.joints, same.joints)
    with pytest.raises(EvaluationError, match="4 classes"):
        next(compose(clips[:3], 1, seed=0))
