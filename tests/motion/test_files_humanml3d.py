"""Folders of the field: captions with their spans, splits, mirrors, decoding, and the clip that is NaN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motion import FEATURES, KIT_21, SMPL_22, Clip, FileFormatError, joints_to_features, open_source, read
from motion.files.humanml3d import parse_texts
from tests.fakes import somebody

TEXT = """a person waves, then stops.#a/DET person/NOUN wave/VERB then/ADV stop/VERB#0.0#0.0
a person waves#a/DET person/NOUN wave/VERB#0.1#0.3
he stops#he/PRON stop/VERB#0.3#nan

they wave
"""


def make_humanml3d(folder: Path, clip: Clip, arrays: str = "new_joints", *, texts: bool = True) -> None:
    """Four ids, one of them a mirror and one NaN, and split files that name one id too many."""
    (folder / arrays).mkdir(parents=True)
    (folder / "texts").mkdir()
    for name in ("000001", "M000001", "000002", "000003"):
        joints = clip.joints.copy()
        if name == "000003":
            joints[2, 4, 0] = np.nan
        np.save(folder / arrays / f"{name}.npy", joints)
        if texts:
            (folder / "texts" / f"{name}.txt").write_text(TEXT)
    (folder / "train.txt").write_text("000001\nM000001\n")
    (folder / "test.txt").write_text("000002\r\n000003\r\n000009")
    (folder / "val.txt").write_text("")
    (folder / "all.txt").write_text("000001\nM000001\n000002\n000003")
    np.save(folder / "Mean.npy", np.zeros(263))


def test_a_humanml3d_folder(some_clip: Clip, tmp_path: Path) -> None:
    make_humanml3d(tmp_path / "HumanML3D", some_clip)
    source = open_source(tmp_path / "HumanML3D")
    assert source.kind == "humanml3d"
    assert [take.take for take in source] == ["000001", "000002", "000003", "M000001", "test.txt"]
    (clip,) = source.takes[0].read()
    assert (clip.fps, clip.skeleton, clip.source.split, clip.source.dataset) == (20, SMPL_22, "train", "HumanML3D")
    assert [(c.text, round(c.start_s, 3), round(c.end_s, 3)) for c in clip.captions] == [
        ("a person waves, then stops.", 0, 0),
        ("a person waves", 0.1, 0.3),
        ("he stops", 0, 0),
        ("they wave", 0, 0),
    ]
    assert clip.captions[0].tokens[1] == "person/NOUN"
    assert {caption.kind for caption in clip.captions} == {"human"}
    (mirror,) = source.takes[3].read()
    assert mirror.source.mirrored
    assert mirror.source.notes["mirror_of"] == "000001"

    with pytest.raises(FileFormatError, match=r"000003.npy: value nan at frame 2, joint 'left_knee'"):
        source.takes[2].read()
    with pytest.raises(FileFormatError, match="lists 1 of 3 ids that have no array, the first is '000009'"):
        source.takes[4].read()
    assert [take.take for take in open_source(tmp_path / "HumanML3D", split="train")] == ["000001", "M000001"]


def test_a_name_that_begins_with_m_is_no_mirror_by_that_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new_joints"
    folder.mkdir()
    for name in ("Martha01", "artha02", "Martha02", "M000007"):
        np.save(folder / f"{name}.npy", somebody(2.0))
    mirrored = {take.take: take.read()[0].source.mirrored for take in open_source(tmp_path)}
    assert mirrored == {"Martha01": False, "artha02": False, "Martha02": True, "M000007": True}


def test_captions_change_the_stamp(some_clip: Clip, tmp_path: Path) -> None:
    make_humanml3d(tmp_path / "a", some_clip)
    before = {take.take: take.stamp for take in open_source(tmp_path / "a")}
    (tmp_path / "a" / "texts" / "000002.txt").write_text("a person walks#a/DET#0.0#0.0\n")
    after = {take.take: take.stamp for take in open_source(tmp_path / "a")}
    assert {name for name in before if before[name] != after[name]} == {"000002"}


def test_spans_end_with_the_clip(some_clip: Clip, tmp_path: Path) -> None:
    make_humanml3d(tmp_path / "a", some_clip)
    (tmp_path / "a" / "texts" / "000001.txt").write_text("long#a/DET#0.2#99.0\nlate#a/DET#50#60\n")
    clip = open_source(tmp_path / "a").takes[0].read()[0]
    assert [(c.start_s, c.end_s) for c in clip.captions] == [(0.2, clip.duration_s), (0, 0)]


def test_bad_seconds_are_named() -> None:
    with pytest.raises(FileFormatError, match=r"line 2 has 'soon'"):
        parse_texts("fine#a/DET#0.0#0.0\nbad#a/DET#soon#0.0\n", Path("000001.txt"))


def test_a_kit_folder(tmp_path: Path) -> None:
    (tmp_path / "KIT-ML" / "new_joints").mkdir(parents=True)
    joints = np.zeros((6, 21, 3), np.float32)
    for child, parent in enumerate(KIT_21.parents):
        if parent >= 0:
            down = any(word in KIT_21.names[child] for word in ("knee", "ankle", "foot", "toe", "hip"))
            joints[:, child] = joints[:, parent] + np.array([0, -220 if down else 60, 0])
    np.save(tmp_path / "KIT-ML" / "new_joints" / "00001.npy", joints)
    source = open_source(tmp_path / "KIT-ML")
    assert source.kind == "kit-ml"
    (clip,) = source.takes[0].read()
    assert (clip.skeleton, clip.fps) == (KIT_21, 12.5)
    assert clip.source.notes["unit"].startswith("mm")
    np.testing.assert_allclose(clip.joints, joints / 1000, atol=1e-6)


def test_nested_and_beside_loose_files(some_clip: Clip, tmp_path: Path) -> None:
    make_humanml3d(tmp_path / "data" / "HumanML3D", some_clip)
    np.save(tmp_path / "data" / "jump_high.npy", some_clip.joints)
    takes = [take.take for take in open_source(tmp_path / "data")]
    assert takes == [
        "jump_high.npy",
        *(f"HumanML3D/{name}" for name in ("000001", "000002", "000003", "M000001", "test.txt")),
    ]


@pytest.mark.parametrize(("width", "name"), [(263, "humanml3d-263"), (251, "kit-251"), (272, "motion-272")])
def test_features_are_decoded(tmp_path: Path, width: int, name: str) -> None:
    spec = FEATURES[name]
    array = np.zeros((9, width), np.float32)
    array[:, 3] = 0.9
    joints = np.random.default_rng(0).normal(size=(9, len(spec.skeleton), 3))
    array = joints_to_features(joints, spec)
    folder = tmp_path / "set" / ("motion_data" if width == 272 else "new_joint_vecs")
    folder.mkdir(parents=True)
    np.save(folder / "000001.npy", array)
    source = open_source(tmp_path / "set")
    (clip,) = source.takes[0].read()
    assert clip.fps == spec.fps
    assert clip.skeleton is spec.skeleton
    assert clip.source.notes["features"] == name
    assert len(clip) == len(array)


def test_published_samples_read_as_their_joints(shared_data: Path) -> None:
    folder = shared_data / "humanml3d-samples"
    with np.load(folder / "sample_012314_263.npz") as data:
        joints, features = data["joints"], data["features"]
    (clip,) = read(folder / "sample_012314_263.npz")
    assert clip.fps == 20
    np.testing.assert_allclose(clip.joints, joints, atol=1e-6)
    assert len(features) == len(clip)
    (other,) = read(folder / "sample_000612_263.npz")
    assert (len(other), other.fps) == (199, 20)
    with pytest.raises(FileFormatError, match="is a motion"):
        read(folder / "mean_std.npz")
