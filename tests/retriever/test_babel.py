"""BABEL's protocol on a made file of its layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import Embeddings
from motion import Clip
from retriever import EvaluationError, evaluate_babel
from retriever.babel import babel_classes, segments
from tests.fakes import FakeEncoder

FILES = {"walk": "CMU/CMU/01/01_01_poses.npz", "kick": "KIT/KIT/3/kick_poses.npz", "none": "KIT/KIT/3/gone_poses.npz"}


def label(categories: Sequence[str] | None, *span: float) -> dict[str, Any]:
    times = dict(zip(("start_t", "end_t"), span, strict=False))
    return {"raw_label": "x", "proc_label": "x", "act_cat": categories, **times}


@pytest.fixture
def babel(tmp_path: Path) -> Path:
    """Three sequences: one with frames, one as a whole, one whose motion is not there."""
    sequences = {
        "1": {
            "feat_p": FILES["walk"], "dur": 4.0, "seq_ann": {"labels": [label(["kick"])]},
            "frame_ann": {"labels": [
                label(["transition"], 0.0, 0.6), label(["walk", "forwards movement"], 0.5, 2.0), label(["jump"], 2.0, 4.0),
                label(["zombie"], 1.0, 2.0), label(None, 1.0, 2.0), label(["turn"], 2.0, 2.1),
            ]},
        },
        "2": {"feat_p": FILES["kick"], "dur": 4.0, "seq_ann": {"labels": [label(["kick"])]}, "frame_ann": None},
        "3": {"feat_p": FILES["none"], "dur": 4.0, "seq_ann": {"labels": [label(["run"])]}, "frame_ann": None},
    }  # fmt: skip
    (tmp_path / "val.json").write_text(json.dumps(sequences), encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in ("walk", "kick"):
        path = tmp_path / "amass" / Path(FILES[name]).relative_to(FILES[name].split("/")[0])
        path.parent.mkdir(parents=True)
        poses = 0.1 * rng.normal(size=(240, 156))
        np.savez(path, poses=poses, trans=np.zeros((240, 3)), mocap_framerate=60.0)
    return tmp_path


class Naming(FakeEncoder):
    """Takes the long one for a kick, all others for "forwards movement"."""

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        return self.encode_text(["kick" if clip.duration_s > 3 else "forwards movement" for clip in clips])


def test_segments_are_those_with_an_action(babel: Path) -> None:
    names = babel_classes(60)
    found = list(segments(babel / "val.json", names))
    assert [(s.start_s, s.end_s, tuple(names[i] for i in s.labels)) for s in found] == [
        (0.5, 2.0, ("walk", "forwards movement")), (0.0, 4.0, ("kick",)), (0.0, 4.0, ("run",)),
    ]  # fmt: skip
    assert len(list(segments(babel / "val.json", names, first=False))) == 4
    assert len(set(babel_classes(120))) == 120
    assert babel_classes(120)[:60] == names


def test_the_best_true_label_counts(babel: Path) -> None:
    report = evaluate_babel(babel / "val.json", babel / "amass", encoder=Naming(dim=256))
    assert (report.segments, report.absent) == (2, 1)
    assert report.metrics["R@1"].value == report.metrics["R@1 norm"].value == 1
    every = evaluate_babel(babel / "val.json", babel / "amass", encoder=Naming(dim=256), first=False)
    assert every.metrics["R@1"].value == pytest.approx(2 / 3)  # the jump is taken for a movement forwards
    assert json.loads(json.dumps(every.to_json()))["chance"] == pytest.approx(1 / 60, abs=1e-4)


def test_what_is_no_babel_is_said(babel: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="60 or 120 classes, not 50"):
        evaluate_babel(babel / "val.json", babel / "amass", encoder=Naming(), classes=50)
    with pytest.raises(EvaluationError, match="none of 3 segments"):
        evaluate_babel(babel / "val.json", tmp_path / "nowhere", encoder=Naming())
    for text in ("no json", "[1]", '{"1": {"frame_ann": {"labels": [{"act_cat": ["walk"]}]}}}'):
        (babel / "bad.json").write_text(text, encoding="utf-8")
        with pytest.raises(EvaluationError, match=r"bad\.json: is no file of BABEL"):
            evaluate_babel(babel / "bad.json", babel / "amass", encoder=Naming())
