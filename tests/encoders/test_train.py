"""Training: it learns, resumes exactly, never learns from validation, and its weights load strictly."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from encoders import EncoderError, WeightsError, load_encoder
from encoders.part_momentum import data as data_module
from encoders.part_momentum import train as train_module
from encoders.part_momentum.config import TrainConfig
from encoders.part_momentum.model import TextMotionModel
from encoders.part_momentum.step import Pieces, backward
from encoders.part_momentum.train import train_retriever
from encoders.part_momentum.validation import mean_average_precision
from encoders.wordings import HELD_OUT_WORDINGS, read_wordings
from motion import Clip
from motion.features import mirror_columns, mirror_features, part_features
from motion.synth import synthesise
from tests.encoders.test_model import TINY, TINY_WHOLE


class WordTower:
    """A sentence tower of hashed words: no weights, deterministic."""

    name = "minilm"
    dim = 384
    fingerprint = "words"

    def encode(self, texts: list[str]) -> np.ndarray:
        out = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                out[row] += np.random.default_rng(sum(map(ord, word)) * 7919 + len(word)).standard_normal(self.dim)
        return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_the_world(monkeypatch)


def shrink_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = synthesise(60, seed=5)

    def read(config: TrainConfig, split: str) -> list[Clip]:
        return clips[:48] if split == "train" else clips[48:]

    monkeypatch.setattr(train_module, "read_clips", read)
    monkeypatch.setattr(train_module, "load_text_tower", lambda name, device: WordTower())


def config(out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        data=(),
        out=str(out),
        model=TINY,
        synthetic=0,
        steps=4,
        batch=12,
        max_frames=40,
        warmup=2,
        queue=16,
        eval_every=2,
        device="cpu",
    )
    return replace(base, **changes)


def test_training_learns_what_it_saw(tmp_path: Path) -> None:
    losses: list[float] = []
    train_retriever(
        config(tmp_path, steps=60, batch=24, eval_every=60, lr=3e-3),
        progress=lambda step, total, scalars: losses.append(scalars["loss"]),
    )
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert (tmp_path / "curves.png").stat().st_size > 5_000


@pytest.mark.parametrize("model", [TINY, TINY_WHOLE], ids=["part-momentum", "whole-body"])
def test_an_interrupted_run_ends_where_an_unbroken_one_does(tmp_path: Path, model: object) -> None:
    def stop_at_two(step: int, total: int, scalars: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    train_retriever(config(tmp_path / "whole", model=model))
    with pytest.raises(KeyboardInterrupt):
        train_retriever(config(tmp_path / "broken", model=model), progress=stop_at_two)
    train_retriever(config(tmp_path / "broken", model=model))
    whole, broken = (load_file(tmp_path / run / "checkpoint.safetensors") for run in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    for key, value in whole.items():
        np.testing.assert_allclose(broken[key], value, atol=1e-6, err_msg=key)


def test_rebuilding_the_motion_is_learned_and_needs_a_decoder(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="decoder"):
        train_retriever(config(tmp_path / "without", reconstruction=0.5))
    for name, weight in (("with", 5.0), ("idle", 0.0)):
        model = replace(TINY, decoder=True)
        train_retriever(config(tmp_path / name, model=model, reconstruction=weight, steps=30, eval_every=30, lr=3e-3))
    learned, idle = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("with", "idle"))
    bias = "model/decoder.layers.2.bias"
    assert np.abs(learned[bias] - idle[bias]).max() > 1e-3
    assert load_encoder(tmp_path / "with", device="cpu").spec.dim == TINY.dim


def model_and_batch(dropout: float) -> tuple[TextMotionModel, data_module.Batch]:
    spec = part_features(TINY.features)
    data = data_module.TrainingSet(
        synthesise(48, seed=5), spec=spec, tower=WordTower(), bank=read_wordings(None), seed=0
    )
    torch.manual_seed(0)
    model = TextMotionModel(
        replace(TINY, dropout=dropout, part_dropout=dropout), torch.from_numpy(mirror_columns(spec).signs)
    )
    return model.train(), data.draw(12, np.random.default_rng(0), max_frames=40)


def test_a_batch_in_pieces_has_the_gradients_of_the_whole_batch(tmp_path: Path) -> None:
    model, batch = model_and_batch(0.0)
    found = []
    for pieces in (0, 5):
        model.zero_grad(set_to_none=True)
        backward(model, None, None, batch, config(tmp_path, pieces=pieces), torch.amp.GradScaler(enabled=False))
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=2e-5, rtol=1e-3, msg=name)


def test_the_second_pass_over_a_piece_drops_what_the_first_dropped() -> None:
    model, batch = model_and_batch(0.3)
    seen: list[torch.Tensor] = []
    model.motion.register_forward_hook(lambda _, __, out: seen.append(out.whole.detach()))
    pieces = Pieces(batch, 5, lambda: torch.autocast("cpu", enabled=False))
    motion = pieces.embed(model)
    for leaf in vars(motion).values():
        leaf.requires_grad_().grad = torch.ones_like(leaf)
    pieces.backward(model, motion)
    assert len(seen) == 6
    torch.testing.assert_close(torch.cat(seen[3:]), torch.cat(seen[:3]))
    assert not torch.equal(pieces.embed(model).whole, Pieces(batch, 5, torch.inference_mode).embed(model).whole)


def test_a_run_is_not_resumed_with_other_settings_or_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_retriever(config(tmp_path, steps=2))
    with pytest.raises(EncoderError, match="lr"):
        train_retriever(config(tmp_path, steps=2, lr=1e-5))
    monkeypatch.setattr(train_module, "read_clips", lambda config, split: synthesise(12, seed=6))
    with pytest.raises(EncoderError, match="other clips"):
        train_retriever(config(tmp_path, steps=2))
    (tmp_path / "run.json").write_text('{"a"')
    with pytest.raises(EncoderError, match=r"run.json cannot be read .* give another --out"):
        train_retriever(config(tmp_path, steps=2))


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module.Validation, "score", lambda *_: {"score": 0.5})
    settings = config(tmp_path, steps=40, patience=2)
    assert train_retriever(settings).steps == 6  # the first of three evaluations was the best
    steps: list[int] = []
    assert train_retriever(settings, progress=lambda step, *_: steps.append(step)).best_step == 2
    assert not steps


def train_as_one_of_two(rank: int, port: int, settings: TrainConfig) -> None:
    """What each of two processes does that a launcher starts."""
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        shrink_the_world(patch)
        train_retriever(settings)


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    model = replace(TINY, dropout=0.2, part_dropout=0.3)
    settings = {"model": model, "pieces": 3, "batch": 13, "patience": 9}
    alone = train_retriever(config(tmp_path / "alone", **settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_as_one_of_two, (port, config(tmp_path / "two", **settings)), nprocs=2)
    one, two = (
        [json.loads(line) for line in (tmp_path / run / "history.jsonl").read_text().splitlines()]
        for run in ("alone", "two")
    )
    assert len(one) == len(two) == 2
    for here, there in zip(one, two, strict=True):
        assert there == pytest.approx(here, rel=1e-5)
    weights, others = (load_file(tmp_path / run / "checkpoint.safetensors") for run in ("alone", "two"))
    assert weights.keys() == others.keys()
    for (
        key,
        value,
    ) in weights.items():  # where a gradient is zero Adam makes steps of its rounding: the mean, not the largest
        assert np.abs(others[key].astype(np.float64) - value).mean() < 1e-4, key
    assert alone.steps == 4


def test_weights_load_strictly_and_keep_their_fingerprint(tmp_path: Path) -> None:
    report = train_retriever(config(tmp_path, steps=2))
    first, second = load_encoder(report.weights, device="cpu"), load_encoder(tmp_path, device="cpu")
    assert first.spec.fingerprint == second.spec.fingerprint
    weights = report.weights / "model.safetensors"
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if not k.startswith("text.linear")}, weights)
    with pytest.raises(WeightsError, match=r"text.linear"):
        load_encoder(report.weights, device="cpu")
    save_file({k: np.asarray(v + np.float16(0.01)) if k == "log_scale" else v for k, v in tensors.items()}, weights)
    assert load_encoder(report.weights, device="cpu").spec.fingerprint != first.spec.fingerprint
    weights.write_bytes(b"not safetensors")
    with pytest.raises(WeightsError, match="cannot read"):
        load_encoder(report.weights, device="cpu")
    settings = json.loads((report.weights / "config.json").read_text())
    settings["model"]["warp_drive"] = 1
    (report.weights / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="warp_drive"):
        load_encoder(report.weights, device="cpu")


def test_unknown_encoder_names_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="neither a shipped one"):
        load_encoder("no-such-encoder")


def test_held_out_wordings_never_enter_training(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"class_id": "walk", "wording": f"walking way number {i}", "register": "sentence"} for i in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "wordings.parquet")
    pq.write_table(pa.table({"style": ["sad"], "wording": ["sadly"]}), tmp_path / "style_wordings.parquet")
    bank = read_wordings(tmp_path)
    assert len(bank.held_out["walk"]) == HELD_OUT_WORDINGS
    assert not set(bank.held_out["walk"]) & set(bank.classes["walk"])
    clips = [
        replace(c, labels={"class_id": "walk", "class_text": "a person walks", "style": "sad"})
        for c in synthesise(4, seed=0)
    ]
    items = data_module.TrainingSet(clips, spec=part_features("humanml3d-263"), tower=WordTower(), bank=bank, seed=0)
    seen = " | ".join(items.sentences.index)
    assert all(wording not in seen for wording in bank.held_out["walk"])
    assert "sadly" in seen


def test_mirrored_draws_exchange_sides_in_motion_and_words() -> None:
    clips = [c for c in synthesise(200, seed=1) if "left" in c.labels["class_id"]][:6]
    items = data_module.TrainingSet(
        clips,
        spec=part_features("humanml3d-263"),
        tower=WordTower(),
        bank=read_wordings(None),
        seed=0,
    )
    texts = list(items.sentences.index)
    sides = set()
    for seed in range(12):
        batch = items.draw(3, np.random.default_rng(seed), max_frames=40)
        for row in range(len(batch.labels)):
            nearest = int((items.sentences.vectors @ batch.labels.sentence[row]).argmax())
            group = next(name for name, number in items._groups.items() if number == int(batch.labels.group[row]))
            side = "left" if "left" in group else "right"
            if "left" in texts[nearest] or "right" in texts[nearest]:
                assert side in texts[nearest]
                sides.add(side)
    assert sides == {"left", "right"}


def test_average_precision_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6]])
    assert mean_average_precision(scores, np.array([[True, False, True, False]])) == pytest.approx((1 + 2 / 3) / 2)
    assert torch.is_inference_mode_enabled() is False


def test_an_encoder_on_clip_is_trained_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from encoders.text import load_text_tower
    from tests.encoders.test_text import tiny_clip

    (tmp_path / "clip").mkdir()
    monkeypatch.setattr(train_module, "load_text_tower", load_text_tower)
    tower = f"clip:{tiny_clip(tmp_path / 'clip')}"
    report = train_retriever(config(tmp_path / "run", steps=2, model=replace(TINY, text_tower=tower)))
    model = load_encoder(report.weights, device="cpu")
    texts = ["a person walks", "jump"]
    found = model.encode_text(texts)
    assert found.whole.shape == (2, TINY.dim)
    np.testing.assert_allclose(found.whole[0], model.encode_text(texts[:1]).whole[0], atol=1e-5)


def test_a_take_and_its_mirror_image_are_one_family() -> None:
    def named(take: str) -> str:
        clip = synthesise(1, seed=0)[0]
        return data_module.family_of(replace(clip, source=replace(clip.source, dataset="h3d", take=take)))

    assert named("M000012") == named("000012") != named("000013")
    assert named("Music_01") != named("usic_01")
    assert named("walk/M07") == named("walk/07")


def test_sentence_vectors_are_kept_and_only_new_ones_are_embedded(tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(WordTower):
        def encode(self, texts: list[str]) -> np.ndarray:
            asked.extend(texts)
            return super().encode(texts)

    cache = tmp_path / "sentences.parquet"
    first = data_module.encode_kept(Counting(), cache, ["a b", "c d", "a b"])
    second = data_module.encode_kept(Counting(), cache, ["e f", "c d"])
    assert asked == ["a b", "c d", "e f"]
    np.testing.assert_array_equal(first, WordTower().encode(["a b", "c d", "a b"]))
    np.testing.assert_array_equal(second, WordTower().encode(["e f", "c d"]))


def test_hard_negatives_differ_by_side_or_order_alone() -> None:
    clips = synthesise(60, seed=2, sequences=0.5)
    items = data_module.TrainingSet(
        clips, spec=part_features("humanml3d-137"), tower=WordTower(), bank=read_wordings(None), seed=0
    )
    texts = list(items.sentences.index)
    batch = items.draw(40, np.random.default_rng(0), max_frames=40)
    assert len(batch.hard_rows) > 10
    for row, wrong in zip(batch.hard_rows, batch.hard_sentence, strict=True):
        own = texts[int((items.sentences.vectors @ batch.labels.sentence[row]).argmax())]
        other = texts[int((items.sentences.vectors @ wrong).argmax())]
        words = [sorted(t.replace("left", "right").replace(",", "").split()) for t in (own, other)]
        assert words[0] == words[1] or "clockwise" in own


def test_persons_and_classes_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = train_module.read_clips(config(Path("unused")), "train")
    someone, name = clips[0].source.subject, clips[1].labels["class_id"]
    settings = config(Path("unused"), validation_subjects=(someone,), exclude_classes=(name,))
    train, held_out = train_module.training_clips(settings)
    assert someone not in {c.source.subject for c in train}
    assert someone in {c.source.subject for c in held_out}
    assert all(name not in c.labels["class_id"].split("_then_") for c in (*train, *held_out))


def test_the_normaliser_is_that_of_all_frames_and_their_mirror_images() -> None:
    spec = part_features("humanml3d-137")
    features = [data_module.clip_features(clip, spec) for clip in synthesise(12, seed=2)]
    both = np.concatenate([*features, *(mirror_features(x, spec) for x in features)]).astype(np.float64)
    found = data_module.fit_normaliser(features, spec)
    np.testing.assert_allclose(found.mean, both.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std, np.maximum(both.std(0), 0.02), rtol=1e-5)


def test_sentences_are_kept_as_they_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "KEPT_AT_ONCE", 2)
    texts, asked = [f"a person does {number}" for number in range(5)], []

    class Failing(WordTower):
        def encode(self, texts: list[str]) -> np.ndarray:
            asked.append(list(texts))
            if len(asked) == 3:
                raise KeyboardInterrupt
            return super().encode(texts)

    tower, kept = Failing(), tmp_path / "sentences.parquet"
    with pytest.raises(KeyboardInterrupt):
        data_module.encode_kept(tower, kept, texts)
    vectors = data_module.encode_kept(tower, kept, texts)
    assert asked[3:] == [texts[4:]]
    np.testing.assert_array_equal(vectors, WordTower().encode(texts))
