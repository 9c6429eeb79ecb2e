"""``remora train retriever`` hands its options to the trainer, and names a field that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.part_momentum import train as trainer
from tests.remora.conftest import Remora


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[trainer.TrainConfig]:
    """The configurations that were trained."""
    configs: list[trainer.TrainConfig] = []

    def train(config: trainer.TrainConfig, **options: object) -> trainer.TrainReport:
        configs.append(config)
        return trainer.TrainReport(tmp_path / "weights", 10, 5, 0.5, 1.0, 1000)

    monkeypatch.setattr(trainer, "train_retriever", train)
    return configs


def test_options_and_file_reach_the_trainer(remora: Remora, asked: list[trainer.TrainConfig], tmp_path: Path) -> None:
    (tmp_path / "more.json").write_text('{"lr": 0.0005, "steps": 7, "model": {"patch": 4}}')
    options = ["--data", "a", "--data", "b", "--out", tmp_path / "run", "--model", "whole-body", "--steps", 9]
    report = remora("train", "retriever", *options, "--config", tmp_path / "more.json", "--seed", 3, "--json").json
    (config,) = asked
    assert (config.data, config.name, config.seed) == (("a", "b"), "run", 3)
    assert (config.lr, config.steps) == (0.0005, 9)  # an option outdoes the file
    assert config.model.is_baseline and config.model.patch == 4
    assert report["best_step"] == 5 and report["weights"] == str(tmp_path / "weights")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"nosuch": 1}', "nosuch"),
        ('{"model": {"nosuch": 1}}', "nosuch"),
        ("{", "JSON"),
        ("[1]", "object"),
        ('{"lr": "x"}', "lr is 'x'; give a float"),
        ('{"model": {"dim": 1.5}}', "model.dim is 1.5; give a int"),
        ('{"hard": 1}', "hard is 1"),
    ],
)
def test_a_configuration_that_is_none(
    remora: Remora, asked: list[trainer.TrainConfig], tmp_path: Path, text: str, word: str
) -> None:
    (tmp_path / "more.json").write_text(text)
    result = remora("train", "retriever", "--data", "a", "--out", tmp_path, "--config", tmp_path / "more.json")
    assert result.code == 1 and "more.json" in result.err and word in result.err and not asked


def test_an_unknown_model_is_wrong_usage(remora: Remora, asked: list[trainer.TrainConfig], tmp_path: Path) -> None:
    result = remora("train", "retriever", "--data", "a", "--out", tmp_path, "--model", "huge")
    assert result.code == 2 and "small" in result.err and not asked
