"""What training reads of a published folder: faults are left out and said, captions with times are clips of their own."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from encoders import EncoderError
from encoders.training_clips import captioned_clips, mark_of
from tests.fakes import somebody

WHOLE = "a person walks#walk/VERB#0.0#0.0"


def folder(root: Path, texts: dict[str, str]) -> Path:
    for name in ("new_joints", "texts"):
        (root / name).mkdir(parents=True)
    for number, (name, text) in enumerate(texts.items()):
        np.save(root / "new_joints" / f"{name}.npy", somebody(4.0, seed=number, fps=20.0), allow_pickle=False)
        (root / "texts" / f"{name}.txt").write_text(text, encoding="utf-8")
    (root / "train.txt").write_text("\n".join(texts), encoding="utf-8")
    return root


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path / "set", dict.fromkeys(("000000", "000001", "000002"), WHOLE) | {"000003": ""})
    joints = np.load(root / "new_joints" / "000001.npy")
    joints[3] = np.nan
    np.save(root / "new_joints" / "000001.npy", joints)
    (root / "new_joints" / "000002.npy").unlink()
    with caplog.at_level(logging.INFO):
        clips = captioned_clips([str(root)], "train")
    assert [clip.source.take for clip in clips] == ["000000"]
    assert "3 takes left out, the first: " in caplog.text
    assert "000001.npy: value nan" in caplog.text
    (root / "texts" / "000000.txt").write_text("")
    with pytest.raises(
        EncoderError, match=r"no captioned clip in the split 'train'; 000000 has no caption; add captions"
    ):
        captioned_clips([str(root)], "train")


def test_a_caption_with_times_tells_those_seconds_alone(tmp_path: Path) -> None:
    timed = "a person stops#stop/VERB#1.0#2.5\nblinks#blink/VERB#1.0#1.2\nall of it#it/PRON#0.0#3.95"
    root = folder(tmp_path / "set", {"000000": f"{WHOLE}\n{timed}", "000001": "a person stops#stop/VERB#1.0#2.5"})
    told = {
        (c.source.take, round(c.duration_s, 2)): [x.text for x in c.captions]
        for c in captioned_clips([str(root)], "train")
    }
    assert told == {
        ("000000", 4.0): ["a person walks", "all of it"],
        ("000000", 1.5): ["a person stops"],
        ("000001", 1.5): ["a person stops"],
    }


def test_the_mark_of_clips_changes_with_any_of_them(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", {"000000": WHOLE, "000001": WHOLE})
    before = mark_of(captioned_clips([str(root)], "train"))
    assert mark_of(captioned_clips([str(root)], "train")) == before
    (root / "texts" / "000001.txt").write_text("a person runs")
    assert mark_of(captioned_clips([str(root)], "train")) != before
