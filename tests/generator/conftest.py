"""A generator that has learned nothing: every law that is not about quality holds for it too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from generator import ExemplarClip, Generator
from generator.conditions import pooled_dim
from generator.exemplars import Retrieval
from generator.frames import clip_to_frames
from generator.length import LengthConfig, LengthEstimator
from generator.masked import MaskedConfig, MaskedTransformer
from generator.residual import ResidualConfig, ResidualTransformer
from generator.tokenizer import Tokenizer, TokenizerConfig, batch_frames
from generator.weights import fingerprint, save_model, save_tokenizer
from motion import Clip
from motion.synth import synthesise

TOKENS = TokenizerConfig(
    levels=3, codes=32, code_dim=16, row_width=16, row_depth=1, body_width=32, body_depth=1, frame_width=24, frame_depth=1
)  # fmt: skip


class FakeTower:
    """Random states for every word, the same for the same word."""

    name, dim, fingerprint = "fake", 24, "f" * 64

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, 24]."""
        return self.encode_words(texts)[0]

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Sentences [N, 24] and their words [n, 24]."""
        words = [np.stack([self._vector(w) for w in ("[CLS]", *text.lower().split())]) for text in texts]
        whole = np.stack([w.sum(0) for w in words])
        return (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float32), words

    def _vector(self, word: str) -> NDArray[np.float32]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)


def tiny_tokenizer(clips: list[Clip]) -> Tokenizer:
    """Started codebooks, random weights."""
    torch.manual_seed(0)
    model = Tokenizer(TOKENS)
    frames = [clip_to_frames(clip, model.frames) for clip in clips]
    model.set_statistics(frames)
    x, mask = batch_frames(frames, TOKENS.patch)
    model.train()
    with torch.no_grad():
        model.quantise(model.latents(x, mask), mask)
    return model.eval()


def tiny_generator(tokenizer: Tokenizer) -> Generator:
    """Random weights; the zero-initialised exemplar path is opened, so that everything has an effect."""
    torch.manual_seed(1)
    tower = FakeTower()
    text = {"pooled": pooled_dim(tower), "words": tower.dim}
    sizes = MaskedConfig(width=32, layers=2, heads=2, row_width=16, row_layers=1, **text)
    masked = MaskedTransformer(sizes, tokenizer.config)
    residual = ResidualTransformer(
        ResidualConfig(width=32, layers=2, heads=2, exemplars=True, **text), tokenizer.config
    )
    for block in (*masked.backbone.blocks, *residual.backbone.blocks):
        if block.exemplars is not None:
            torch.nn.init.normal_(block.exemplars.out.weight, std=0.2)
    return Generator(
        tokenizer=tokenizer, masked=masked,
        residual=residual,
        length=LengthEstimator(LengthConfig(pooled_dim(tower))), retrieval=Retrieval(), text_tower=tower, name="tiny",
        fingerprint="0" * 32,
    )  # fmt: skip


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    """Procedural motion."""
    return synthesise(24, seed=5)


@pytest.fixture(scope="session")
def tokenizer(clips: list[Clip]) -> Tokenizer:
    """A tokenizer of random weights."""
    return tiny_tokenizer(clips)


@pytest.fixture(scope="session")
def generator(tokenizer: Tokenizer) -> Generator:
    """A generator of random weights."""
    return tiny_generator(tokenizer)


@pytest.fixture(scope="session")
def masked(generator: Generator) -> MaskedTransformer:
    """Its masked transformer."""
    return generator.masked


@pytest.fixture(scope="session")
def exemplars(clips: list[Clip]) -> tuple[ExemplarClip, ...]:
    """Two clips as retrieved."""
    return tuple(ExemplarClip(clip, 0.7, clip.captions[0].text) for clip in clips[:2])


def save_generator(generator: Generator, folder: Path) -> Path:
    """The folder :func:`generator.load_generator` reads."""
    save_tokenizer(generator.tokenizer, folder / "tokenizer", {})
    own = {"tokenizer": fingerprint(folder / "tokenizer"), "text_tower": "minilm"}
    models = {"masked": generator.masked, "residual": generator.residual, "length": generator.length}
    for kind, model in models.items():
        save_model(model, folder / kind, {"kind": kind, "model": asdict(model.config), **own})
    return folder
