"""Fakes that stand for weights: deterministic, without torch, in no time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders import Embeddings, EncoderSpec
from motion import PARTS, Clip


class FakeEncoder:
    """Hashed words as vectors: a clip lies where its first caption lies, one without captions where its frames do."""

    def __init__(self, *, name: str = "fake", dim: int = 16, fingerprint: str = "0123456789abcdef" * 2) -> None:
        self.spec = EncoderSpec(name, dim, PARTS, "humanml3d-263", 20.0, fingerprint)
        self.encoded = 0  # clips that passed through, so that tests can see what was left alone

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Whole [N, D] and parts [N, 6, D] of clips."""
        self.encoded += len(clips)
        words = [
            clip.captions[0].text if clip.captions else hashlib.sha256(clip.joints.round(3).tobytes()).hexdigest()
            for clip in clips
        ]
        return self._embed(words)

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Whole [N, D] and parts [N, 6, D] of sentences."""
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        dim = self.spec.dim
        both = np.stack([self._vectors(text) for text in texts]) if texts else np.zeros((0, 7, dim), np.float32)
        return Embeddings(both[:, 0], both[:, 1:])

    def _vectors(self, text: str) -> NDArray[np.float32]:
        """Whole and parts, [7, D]: the sum of a random vector for every word, of unit length."""
        total = np.full((1 + len(PARTS), self.spec.dim), 1e-3)
        for word in text.lower().replace(",", " ").split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
            total += np.random.default_rng(seed).standard_normal(total.shape)
        return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)
