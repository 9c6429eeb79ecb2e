"""``motionclip``: folders of the published layout, its laws, its training, and the tethered text tower."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import EncoderError, TextTowerError, WeightsError, load_encoder
from encoders.motion_clip.model import MotionClipConfig, MotionTower, tower_of
from encoders.motion_clip.train import MotionClipTraining, contrastive, train_motion_clip
from encoders.text import load_text_tower
from motion import Clip
from motion.skeleton import SMPL_22
from tests.encoders.test_text import tiny_clip
from tests.fakes import somebody, write_labelled

SIZES = MotionClipConfig(width=32, layers=2, heads=4, dim=24, frames=64, feed_forward=48)
PUBLISHED = {"hidden_dim": 32, "num_layers": 2, "num_heads": 4, "embed_dim": 24, "max_frames": 64}


def foreign(name: str) -> str:
    """A tower's tensor as others might call it."""
    for ours, theirs in (
        ("layers.", "motion_encoder.transformer.layers."), ("linear1.", "mlp.fc1."), ("linear2.", "mlp.fc2."),
        ("self_attn.in_proj_", "attn.qkv."), ("self_attn.out_proj.", "attn.proj."),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    heads = {"input.": "input_proj.", "projection.": "output_proj.", "norm.": "final_norm."}
    for ours, theirs in heads.items():
        name = f"motion_encoder.{theirs}{name.removeprefix(ours)}" if name.startswith(ours) else name
    return {"cls": "motion_encoder.cls_token", "position": "motion_encoder.pos_embed"}.get(name, name)


def write_published(folder: Path, *, rename: Callable[[str], str] = foreign, text: bool = True) -> MotionTower:
    """A random checkpoint of the published layout: config.json, pytorch_model.bin in half precision, mean.npy, std.npy."""
    torch.manual_seed(0)
    tower = MotionTower(SIZES).eval()
    state = {rename(name): tensor.half() for name, tensor in tower.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    if text:
        (folder / "text").mkdir()
        tiny_clip(folder / "text")
    torch.save(state | {"logit_scale": torch.tensor(2.6)}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(PUBLISHED), encoding="utf-8")
    np.save(folder / "mean.npy", np.zeros(272, np.float32))
    np.save(folder / "std.npy", np.ones(272, np.float32))
    return tower


def clip(seconds: float = 1.5, seed: int = 0, fps: float = 20.0) -> Clip:
    return Clip(somebody(seconds, seed=seed, fps=fps), SMPL_22, fps)


@pytest.mark.parametrize("rename", [foreign, str, lambda name: f"module.model.{name}"])
def test_a_published_folder_gives_the_vectors_of_its_tower(tmp_path: Path, rename: Callable[[str], str]) -> None:
    from encoders.motion_clip.encoder import features_of

    tower = write_published(tmp_path / "m", rename=rename)
    tower.load_state_dict({k: v.half().float() for k, v in tower.state_dict().items()})
    encoder = load_encoder(tmp_path / "m", device="cpu")
    x = torch.from_numpy(features_of(clip(), "absolute"))[None]
    with torch.inference_mode():
        wanted = tower(x, torch.ones(x.shape[:2], dtype=torch.bool)).numpy()
    found = encoder.encode_motion([clip()])
    np.testing.assert_allclose(found.whole, wanted, atol=1e-5)
    assert found.parts.shape == (1, 0, 24)
    assert encoder.encode_text(["a person walks"]).whole.shape == (1, 24)
    assert (encoder.spec.dim, encoder.spec.parts, encoder.spec.fps) == (24, (), 30.0)


def test_an_embedding_depends_on_its_clip_alone(tmp_path: Path) -> None:
    write_published(tmp_path / "m")
    encoder = load_encoder(tmp_path / "m", device="cpu")
    clips = [clip(0.6, 1), clip(2.0, 2), clip(1.1, 3)]
    together = encoder.encode_motion(clips).whole
    np.testing.assert_allclose(together, np.concatenate([encoder.encode_motion([c]).whole for c in clips]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    backwards = Clip(clips[1].joints[::-1].copy(), SMPL_22, 20.0)
    assert not np.allclose(
        encoder.encode_motion([backwards]).whole[0], together[1], atol=1e-3
    )  # order of frames counts


def test_separate_projections_and_missing_tensors() -> None:
    torch.manual_seed(1)
    tower = MotionTower(SIZES, cls=False, norm=False).eval()
    state = dict(tower.state_dict())
    for i in range(2):
        for kind in ("weight", "bias"):
            joined = state.pop(f"layers.{i}.self_attn.in_proj_{kind}")
            for part, piece in zip(("q_proj", "k_proj", "v_proj"), joined.chunk(3), strict=True):
                state[f"layers.{i}.self_attn.{part}.{kind}"] = piece
    found = tower_of(SIZES, state)
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, tower.state_dict()[name])
    state["layers.0.mystery"] = torch.zeros(3)
    with pytest.raises(WeightsError, match=r"1 tensors have no place \(layers\.0\.mystery\)"):
        tower_of(SIZES, state)


class Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_published(folder, text=False)
    weights = folder / "pytorch_model.bin"
    whole = weights.read_bytes()
    hostile: list[bytes] = [
        whole[: len(whole) // 2],
        b"",
        b"no weights",
        pickle.dumps({"a": Boom()}),
        pickle.dumps([1]),
    ]
    for content in hostile:
        weights.write_bytes(content)
        with pytest.raises(WeightsError, match="holds no readable weights"):
            load_encoder(folder, device="cpu")
    torch.save({"conv.weight": torch.zeros(3, 3)}, weights)
    with pytest.raises(WeightsError, match="places stay empty"):
        load_encoder(folder, device="cpu")
    weights.write_bytes(whole)
    (folder / "config.json").write_text(json.dumps(PUBLISHED | {"num_layers": 3}), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"places stay empty \(layers\.2"):
        load_encoder(folder, device="cpu")
    (folder / "config.json").write_text(json.dumps(PUBLISHED | {"num_heads": 5}), encoding="utf-8")
    with pytest.raises(WeightsError, match="do not divide"):
        load_encoder(folder, device="cpu")
    (folder / "config.json").write_text(json.dumps(PUBLISHED), encoding="utf-8")
    np.save(folder / "std.npy", np.ones(263, np.float32))
    with pytest.raises(WeightsError, match=r"std\.npy has the shape \[263\]"):
        load_encoder(folder, device="cpu")
    np.save(folder / "std.npy", np.ones(272, np.float32))
    with pytest.raises(TextTowerError, match="has no text tower; put CLIP's"):
        load_encoder(folder, device="cpu").encode_text(["a person walks"])
    weights.unlink()
    with pytest.raises((WeightsError, EncoderError)):
        load_encoder(folder, device="cpu")


def test_pairs_that_are_the_same_are_no_negatives() -> None:
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    vectors[1] = vectors[0]
    none, same = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    scale = torch.tensor(20.0)
    assert contrastive(vectors, vectors, scale, same) < contrastive(vectors, vectors, scale, none)


def data(folder: Path) -> Path:
    classes = {"walk": 3, "kick": 3, "wave": 3}
    write_labelled(folder / "a", classes, split="train")
    write_labelled(folder / "b", classes, split="val")
    return folder


def training(tmp_path: Path, **changes: object) -> MotionClipTraining:
    (tmp_path / "clip").mkdir(exist_ok=True)
    torch.manual_seed(0)
    settings: dict[str, object] = {
        "data": (str(tmp_path / "data"),), "out": str(tmp_path / "run"), "text_tower": f"clip:{tiny_clip(tmp_path / 'clip')}",
        "model": SIZES, "steps": 30, "batch": 9, "lr": 3e-3, "warmup": 2, "evaluate_every": 10, "device": "cpu",
    }  # fmt: skip
    return MotionClipTraining(**(settings | changes))  # type: ignore[arg-type]


def test_training_from_scratch_writes_a_folder_that_loads(tmp_path: Path) -> None:
    data(tmp_path / "data")
    config = training(tmp_path)
    seen = []
    weights = train_motion_clip(config, progress=lambda step, total, scalars: seen.append(scalars["loss"]))
    encoder = load_encoder(weights, device="cpu")
    assert encoder.spec.name == "motionclip"
    assert seen[-1] < seen[0]
    again = train_motion_clip(training(tmp_path, out=str(tmp_path / "again")))
    other = load_encoder(again, device="cpu")
    np.testing.assert_array_equal(other.encode_motion([clip()]).whole, encoder.encode_motion([clip()]).whole)
    with pytest.raises(EncoderError, match="other settings"):
        train_motion_clip(training(tmp_path, data=(str(tmp_path / "elsewhere"),)))
    with pytest.raises(EncoderError, match="only a CLIP text tower"):
        train_motion_clip(training(tmp_path, text_tower="minilm", tuned_steps=3, out=str(tmp_path / "c")))


def test_a_tethered_tower_moves_less_and_is_an_ordinary_folder(tmp_path: Path) -> None:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    data(tmp_path / "data")
    sentences = ["a person walks", "a person kicks"]
    before = load_text_tower(training(tmp_path).text_tower).encode(sentences)
    moved = {}
    for tether in (0.0, 50.0):
        settings = {"tuned_steps": 20, "tether": tether, "text_lr": 3e-3, "out": str(tmp_path / f"t{tether}")}
        weights = train_motion_clip(training(tmp_path, **settings, evaluate_every=30))
        after = load_text_tower(f"clip:{weights / 'text'}").encode(sentences)
        moved[tether] = float(1 - (before * after).sum(axis=1).mean())
        np.testing.assert_allclose(load_encoder(weights, device="cpu").encode_text(sentences).whole, after, atol=1e-6)
    assert 0 < moved[50.0] < 0.5 * moved[0.0]
    model = CLIPTextModelWithProjection.from_pretrained(weights / "text", local_files_only=True)
    tokens = CLIPTokenizer.from_pretrained(weights / "text", local_files_only=True)(
        sentences, padding=True, return_tensors="pt"
    )
    assert model(**tokens).text_embeds.shape == (2, 24)


@pytest.mark.parametrize("tuned", [0, 12], ids=["motionclip", "text-tether"])
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, tuned: int) -> None:
    data(tmp_path / "data")
    settings = {"steps": 20, "evaluate_every": 5, "tuned_steps": tuned, "text_lr": 1e-3}

    def kill(step: int, total: int, scalars: object) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_motion_clip(training(tmp_path, **settings), progress=kill)
    steps: list[int] = []
    resumed = train_motion_clip(training(tmp_path, **settings), progress=lambda step, *_: steps.append(step))
    whole = train_motion_clip(training(tmp_path, **settings, out=str(tmp_path / "whole")))
    assert steps == [15, 20]
    for name in ("model.safetensors", "config.json", *(["text/model.safetensors"] if tuned else [])):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    assert train_motion_clip(training(tmp_path, **settings)) == resumed  # nothing is left to do
    kept = tmp_path / "run" / "checkpoint.safetensors"
    content = kept.read_bytes()
    for damaged in (content[: len(content) // 2], b"", pickle.dumps({"a": Boom()})):
        kept.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"cannot be resumed .* delete the file"):
            train_motion_clip(training(tmp_path, **settings))
