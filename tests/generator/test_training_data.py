"""What training of the generator reads of a published folder: faults are left out and said, timed captions are clips."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from generator.errors import GeneratorError
from generator.train.data import read_clips
from tests.encoders.test_training_clips import WHOLE, folder


def test_faulty_takes_are_left_out_and_spans_are_clips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    timed = f"{WHOLE}\na person stops#stop/VERB#1.0#2.5"
    root = folder(tmp_path / "set", {"000000": timed, "000001": WHOLE, "000002": ""})
    joints = np.load(root / "new_joints" / "000001.npy")
    joints[3] = np.nan
    np.save(root / "new_joints" / "000001.npy", joints)
    with caplog.at_level(logging.INFO):
        clips = read_clips([str(root)], "train")
    told = [(clip.source.take, round(clip.duration_s, 2), [c.text for c in clip.captions]) for clip in clips]
    assert told == [("000000", 4.0, ["a person walks"]), ("000000", 1.5, ["a person stops"]), ("000002", 4.0, [])]
    assert "train: 1 takes left out, the first: " in caplog.text
    (root / "train.txt").write_text("000001")
    with pytest.raises(GeneratorError, match=r"no clips in the split 'train' .*000001\.npy: value nan"):
        read_clips([str(root)], "train")
