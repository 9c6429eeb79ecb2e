"""``remora evaluate generation`` on folders laid out as the field's, judged by the published evaluator's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import generator
import tests.generator.conftest
from motion import KIT_21, SMPL_22, open_source
from motion.synth import synthesise
from tests.generator.conftest import TOKENS, tiny_generator, tiny_tokenizer
from tests.generator.test_published import checkpoint, write_published
from tests.remora.conftest import Remora

TAGGED = "a person walks number {0}#a/DET person/NOUN walk/VERB number/NOUN {0}/NUM#0.0#0.0"


ALIKE = {"root": "pelvis", "lower_trunk": "spine1", "upper_trunk": "spine3", "chest": "neck"}
ALIKE |= {f"{side}_toe": f"{side}_foot" for side in ("left", "right")}


def as_kit(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints [T, 22, 3] as the 21 of KIT-ML, millimetres; the foot lies between ankle and toe."""
    found = {name: joints[:, SMPL_22.index(ALIKE.get(name, name))] for name in KIT_21.names}
    for side in ("left", "right"):
        found[f"{side}_foot"] = (found[f"{side}_ankle"] + found[f"{side}_toe"]) / 2
    return 1000 * np.stack([found[name] for name in KIT_21.names], 1)


def write_dataset(folder: Path, name: str) -> None:
    """38 procedural clips of 2 s laid out as a data set of the field, four of them for the gallery."""
    (folder / "new_joints").mkdir(parents=True)
    (folder / "texts").mkdir()
    clips = [c for c in synthesise(60, seed=8) if len(c.joints) >= 40][:38]
    for number, clip in enumerate(clips):
        joints = clip.joints[:40]
        np.save(folder / "new_joints" / f"{number:06d}.npy", as_kit(joints) if name == "kit" else joints)
        (folder / "texts" / f"{number:06d}.txt").write_text(TAGGED.format(number) + "\n")
    for split, rows in (("train", range(4)), ("test", range(4, 38))):
        (folder / f"{split}.txt").write_text("\n".join(f"{i:06d}" for i in rows))


@pytest.mark.parametrize(
    ("name", "folder", "features", "width", "other"),
    [("humanml3d", "t2m", "humanml3d-263", 263, "kit"), ("kit", "kit", "kit-251", 251, "humanml3d")],
)
def test_a_data_set_by_name(
    name: str, folder: str, features: str, width: int, other: str, remora: Remora, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_dataset(tmp_path / name, name)
    write_published(tmp_path / "published", folder, width, checkpoint(width))
    monkeypatch.setattr(tests.generator.conftest, "TOKENS", replace(TOKENS, features=features))
    clips = [clip for take in open_source(tmp_path / name, split="test") for clip in take.read()]
    tiny = tiny_generator(tiny_tokenizer(clips))
    monkeypatch.setattr(generator, "load_generator", lambda *args, **kwargs: tiny)
    options = ("--data", tmp_path / name, "--published", tmp_path / "published", "--rung", "retrieved", "--steps", 1)
    done = remora("evaluate", "generation", *options, "--dataset", name, "--json")
    assert done.code == 0, done.err
    assert done.json["judge"] == f"published evaluator of {features}"
    assert [row["name"] for row in done.json["rows"]] == ["real", "retrieved"]
    assert all(row["count"] == 34 and np.isfinite(row["fid"]["value"]) for row in done.json["rows"])
    wrong = remora("evaluate", "generation", *options, "--dataset", other)
    assert wrong.code == 1 and "download_evaluator" in wrong.err and "Traceback" not in wrong.err
