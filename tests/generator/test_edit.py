"""Editing: what is not asked for stays."""

from __future__ import annotations

import numpy as np
import pytest

from generator import Edit, ExemplarClip, Generator, GeneratorError, Sampling, edit
from generator.frames import clip_to_frames
from motion import PARTS, Clip

QUICK = Sampling(steps=3, levels=6)


@pytest.fixture
def clip(clips: list[Clip]) -> Clip:
    return next(c for c in clips if 3 < c.duration_s < 6 and round(c.duration_s * 20) % 4 == 0)


def tokens_of(generator: Generator, clip: Clip) -> np.ndarray:
    return generator.tokenizer.encode_frames([clip_to_frames(clip, generator.spec)])[0]


def test_a_range_is_made_anew_and_the_rest_kept_on_all_levels(generator: Generator, clip: Clip) -> None:
    done = edit(generator, clip, Edit(start_s=1.05, end_s=1.9), text="a person jumps", seed=1, sampling=QUICK)
    own, new = tokens_of(generator, clip), done.result.tokens
    assert (done.start_s, done.end_s) == (1.0, 2.0) and done.parts == PARTS
    inside = np.zeros(own.shape[1], bool)
    inside[5:10] = True
    assert np.array_equal(new[:, ~inside], own[:, ~inside]) and (new[:, inside] != own[:, inside]).any()
    frames = clip_to_frames(clip, generator.spec)
    assert len(done.result.clip) == len(frames)
    np.testing.assert_allclose(done.result.frames[:20], frames[:20], atol=1e-6)
    np.testing.assert_allclose(done.result.frames[40:], frames[40:], atol=1e-6)


def test_a_body_part_alone(generator: Generator, clip: Clip) -> None:
    done = edit(generator, clip, Edit(parts=("left_arm",)), text="a person waves", seed=1, sampling=QUICK)
    own, new = tokens_of(generator, clip), done.result.tokens
    arm = PARTS.index("left_arm")
    assert np.array_equal(np.delete(new, arm, 0), np.delete(own, arm, 0)) and (new[arm] != own[arm]).any()
    moved = np.abs(done.result.frames - clip_to_frames(clip, generator.spec)).max(0) > 1e-6
    joints = {generator.spec.skeleton.names[1 + i] for i in np.flatnonzero(moved[4:67].reshape(21, 3).any(1))}
    assert joints == {"left_collar", "left_shoulder", "left_elbow", "left_wrist"}
    assert not moved[:4].any() and not moved[67:].any()


@pytest.mark.parametrize(("what", "at"), [(Edit(before_s=1.0), "front"), (Edit(after_s=1.0), "back")])
def test_before_and_after(generator: Generator, clip: Clip, what: Edit, at: str) -> None:
    done = edit(generator, clip, what, seed=1, sampling=QUICK)
    own, frames = tokens_of(generator, clip), clip_to_frames(clip, generator.spec)
    n, t = own.shape[1], len(frames)
    kept = slice(5, 5 + n) if at == "front" else slice(0, n)
    assert np.array_equal(done.result.tokens[:, kept], own)
    kept = slice(20, 20 + t) if at == "front" else slice(0, t)
    assert len(done.result.clip) == t + 20
    np.testing.assert_allclose(done.result.frames[kept], frames, atol=1e-6)
    assert done.end_s - done.start_s == pytest.approx(1.0)


def test_a_loop_leads_back_to_the_start_and_ends_there(generator: Generator, clip: Clip) -> None:
    done = edit(generator, clip, Edit(loop_s=1.0), seed=1, sampling=QUICK)
    frames = clip_to_frames(clip, generator.spec)
    assert len(done.result.clip) == len(frames) + 20
    made = done.result.frames[:, generator.spec.positions]
    last, first = made[-1], frames[0, generator.spec.positions]
    middle = made[len(frames) + 8]
    assert np.abs(last - first).mean() < np.abs(middle - first).mean()  # blended into the pose it started from


def test_style_comes_from_an_exemplar(generator: Generator, clip: Clip, exemplars: tuple[ExemplarClip, ...]) -> None:
    what = Edit(start_s=0.0, end_s=2.0)
    plain = edit(generator, clip, what, seed=4, sampling=QUICK)
    styled = edit(generator, clip, what, seed=4, exemplars=exemplars, sampling=QUICK)
    assert (plain.result.tokens != styled.result.tokens).any() and styled.result.exemplars


def test_a_clip_longer_than_the_models_have_seen(generator: Generator, clip: Clip) -> None:
    from dataclasses import replace

    joints = np.concatenate([clip.joints] * 6)
    long = replace(clip, joints=joints)
    done = edit(generator, long, Edit(start_s=14.0, end_s=15.0), text="a jump", seed=1, sampling=QUICK)
    frames = clip_to_frames(long, generator.spec)
    assert len(done.result.clip) == len(frames) and (done.start_s, done.end_s) == (14.0, 15.0)
    np.testing.assert_allclose(done.result.frames[:280], frames[:280], atol=1e-6)
    done = edit(
        generator, long, Edit(start_s=2.0, end_s=14.0, parts=("left_arm",)), text="a jump", seed=1, sampling=QUICK
    )
    own, new = tokens_of(generator, long), done.result.tokens
    arm, inside = PARTS.index("left_arm"), slice(10, 70)
    assert (new >= 0).all() and np.array_equal(np.delete(new, arm, 0), np.delete(own, arm, 0))
    assert (new[arm, inside] != own[arm, inside]).any(-1).mean() > 0.9 and np.array_equal(new[arm, 70:], own[arm, 70:])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (Edit(start_s=1.0, end_s=99.0), "not inside the clip"),
        (Edit(start_s=2.0, end_s=1.0), "not inside the clip"),
        (Edit(parts=("left_arms",)), "did you mean left_arm"),
        (Edit(parts=("tail",)), "unknown body part"),
        (Edit(before_s=1.0, after_s=1.0), "one at a time"),
        (Edit(after_s=-1.0), "more than 0"),
        (Edit(loop_s=1e6), "more than 0 and up to"),
        (Edit(parts=("left_arm",), after_s=1.0), "inside a clip"),
    ],
)
def test_edits_that_cannot_be(generator: Generator, clip: Clip, what: Edit, words: str) -> None:
    with pytest.raises(GeneratorError, match=words):
        edit(generator, clip, what, sampling=QUICK)
