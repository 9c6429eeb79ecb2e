"""Weights on disk: the same generator comes back, or one line says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from generator import Generator, GeneratorError, load_generator
from tests.generator.conftest import save_generator


def test_what_was_saved_is_what_is_loaded(generator: Generator, tmp_path: Path) -> None:
    folder = save_generator(generator, tmp_path / "mine")
    loaded = load_generator(folder, device="cpu")
    for name in ("tokenizer", "masked", "residual", "length"):
        own, other = getattr(generator, name).state_dict(), getattr(loaded, name).state_dict()
        for key, value in own.items():
            if not key.endswith(("cluster_size", "embed_avg")):
                torch.testing.assert_close(other[key], value, atol=2e-3, rtol=2e-3)
    assert loaded.name == "mine" and loaded.fingerprint == load_generator(folder, device="cpu").fingerprint


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda f: (f / "masked/model.safetensors").write_bytes(b"no"), "cannot read"),
        (lambda f: (f / "residual/config.json").unlink(), "cannot read"),
        (lambda f: (f / "length/config.json").write_text('{"kind": "masked"}'), "not a length"),
        (lambda f: change(f / "masked/config.json", "tokenizer", "0" * 32), "another tokenizer"),
        (lambda f: change(f / "masked/config.json", "model", {"colour": 3}), "unknown settings colour"),
        (lambda f: change(f / "masked/config.json", "model", {"layers": 7}), "does not fit"),
    ],
)
def test_broken_folders(generator: Generator, tmp_path: Path, break_it: object, words: str) -> None:
    folder = save_generator(generator, tmp_path / "mine")
    break_it(folder)  # type: ignore[operator]
    with pytest.raises(GeneratorError, match=words):
        load_generator(folder, device="cpu")


def change(path: Path, key: str, value: object) -> None:
    config = json.loads(path.read_text())
    config[key] = value
    path.write_text(json.dumps(config))


def test_a_name_that_is_none() -> None:
    with pytest.raises(GeneratorError, match="neither a shipped one"):
        load_generator("nosuch")
