"""A clip that was stored is the clip that comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.rows import StampedClip, caption_table, clip_of_row, frame_block, joints_of_block, row_table, with_ids
from motion import KIT_21, SMPL_22, Caption, Clip, MotionError, Source

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
captions = st.builds(
    Caption, texts, st.floats(0, 5), st.floats(0, 5), st.sampled_from(["human", "template", "model"]),
    st.lists(texts, max_size=3).map(tuple),
)  # fmt: skip
sources = st.builds(
    Source, dataset=texts, take=texts, start_s=st.floats(0, 100), end_s=st.floats(100, 200), subject=texts,
    licence=texts, origin=texts, split=texts, mirrored=st.booleans(),
    notes=st.dictionaries(texts.filter(lambda key: key != "folder"), texts),
)  # fmt: skip


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    skeleton = draw(st.sampled_from([SMPL_22, KIT_21]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    joints = rng.standard_normal((draw(st.integers(1, 30)), len(skeleton), 3)).astype(np.float32)
    labels = draw(st.dictionaries(st.sampled_from(["class_id", "class_text", "style"]), texts.filter(bool)))
    said = tuple(draw(st.lists(captions, max_size=3)))
    return Clip(joints, skeleton, draw(st.sampled_from([12.5, 20.0, 30.0, 120.0])), said, draw(sources), labels)


@settings(max_examples=60, deadline=None)
@given(clips())
def test_a_stored_clip_comes_back(clip: Clip) -> None:
    (clip,) = with_ids("source/take", [clip])
    stored = [StampedClip(clip, "stamp", "/folder")]
    row, said = row_table(stored).to_pylist()[0], caption_table(stored).to_pylist()
    back = clip_of_row(row, said, frame_block(clip))
    assert back.content_hash() == clip.content_hash() == row["sha256"]
    assert (back.clip_id, back.captions, back.labels, back.skeleton) == (
        clip.clip_id,
        clip.captions,
        clip.labels,
        clip.skeleton,
    )
    assert back.source.notes == {**clip.source.notes, "folder": "/folder"}
    assert np.array_equal(back.joints, clip.joints) and row["n_frames"] == len(clip)


def test_ids_of_a_take_are_readable_and_different() -> None:
    clip = Clip(np.zeros((20, 22, 3), np.float32), SMPL_22, 20.0, source=Source(start_s=1.0, end_s=2.0))
    assert [named.clip_id for named in with_ids("a/b.bvh", [clip, clip])] == [
        "a/b.bvh#1.00-2.00",
        "a/b.bvh#1.00-2.00~2",
    ]


def test_blocks_are_npy_files_and_damage_is_noticed() -> None:
    clip = Clip(np.ones((5, 22, 3), np.float32), SMPL_22, 20.0)
    block = frame_block(clip)
    assert block.startswith(b"\x93NUMPY")
    assert np.array_equal(joints_of_block(block), clip.joints)
    for damaged in (b"", block[:-1], block[:40]):
        with pytest.raises(MotionError, match="verify"):
            joints_of_block(damaged)
