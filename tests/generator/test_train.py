"""Trainings of the generator: a resumed run is the unbroken one, and exemplars are learned to be of use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generator import GeneratorError
from generator.masked import MaskedConfig
from generator.tokenizer import Tokenizer
from generator.train import MaskedTraining, train_masked
from generator.train import masked as masked_training
from generator.train.run import Run, read_history
from generator.weights import check_fingerprint, fingerprint, read_config, save_tokenizer
from motion import Clip
from tests.fakes import FakeEncoder
from tests.generator.conftest import FakeTower


@pytest.fixture
def config(tokenizer: Tokenizer, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MaskedTraining:
    save_tokenizer(tokenizer, tmp_path / "tokens", {})
    monkeypatch.setattr(masked_training, "load_text_tower", lambda _: FakeTower())
    monkeypatch.setattr(masked_training, "load_encoder", lambda _: FakeEncoder())
    parts = {"train": clips[:16], "val": clips[16:]}
    monkeypatch.setattr(masked_training, "read_clips", lambda data, split, *args, **kwargs: parts[split])
    sizes = MaskedConfig(width=32, layers=2, heads=2, row_width=16, row_layers=1)
    return MaskedTraining(
        data=("x",), out=str(tmp_path / "whole"), tokenizer=str(tmp_path / "tokens"), model=sizes, steps=6, batch=6,
        warmup=2, eval_every=3, text_tower="fake",
    )  # fmt: skip


def test_a_resumed_run_is_the_unbroken_one(config: MaskedTraining, tmp_path: Path) -> None:
    whole = train_masked(config)

    class Killed(Exception):
        pass

    def die(step: int, total: int, scalars: object) -> None:
        if step == 5:
            raise Killed

    broken = replace(config, out=str(tmp_path / "broken"))
    with pytest.raises(Killed):
        train_masked(broken, progress=die)
    again = train_masked(broken)
    from safetensors.torch import load_file

    a, b = (load_file(run.parent / "checkpoint.safetensors") for run in (whole, again))
    assert a.keys() == b.keys()
    for key in a.keys() - {
        "state/seconds"
    }:  # by their mean: where a gradient is rounding noise, AdamW's step is a coin's
        assert float((a[key].double() - b[key].double()).abs().mean()) < 2e-5, key
    notes = read_config(again, "masked")
    assert notes["tokenizer"] == fingerprint(Path(config.tokenizer)) and "with" in notes and "without" in notes
    assert str(tmp_path) not in (again / "config.json").read_text()


def test_weights_of_another_tokenizer_are_refused(config: MaskedTraining, tokenizer: Tokenizer, tmp_path: Path) -> None:
    other = Tokenizer(tokenizer.config)
    save_tokenizer(other, tmp_path / "other", {})
    with pytest.raises(GeneratorError, match="another tokenizer"):
        check_fingerprint({"tokenizer": fingerprint(tmp_path / "tokens")}, tmp_path / "other", tmp_path)


def test_a_loss_that_is_none_stops_the_run_with_its_step(
    config: MaskedTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        masked_training,
        "masked_loss",
        lambda model, *args: (next(model.parameters()).sum() * float("nan"), torch.ones(())),
    )
    with pytest.raises(GeneratorError, match="at step 0"):
        train_masked(config)


def test_a_run_of_so_many_minutes_ends_with_its_best_weights(config: MaskedTraining) -> None:
    timed = replace(config, steps=100_000, eval_every=100_000, minutes=0.02)
    weights = train_masked(timed)
    history = read_history(Path(timed.out))
    assert len(history) == 1 and 0 < history[0]["step"] < 100_000 and (weights / "model.safetensors").is_file()
    assert history[0]["step"] == read_config(weights, "masked")["step"]
    train_masked(timed)
    assert len(read_history(Path(timed.out))) == 1  # its time is over, however often it is resumed


def test_batches_drawn_ahead_are_those_drawn_in_turn(config: MaskedTraining) -> None:
    def draws(workers: int) -> list[float]:
        run = Run(replace(config, workers=workers), torch.nn.Linear(2, 2))
        run.on_gpu = workers > 0
        return [x for _, x in run.batches(lambda rng: float(rng.random()))]

    assert draws(2) == draws(0) == [float(np.random.default_rng([0, s, 0]).random()) for s in range(config.steps)]
