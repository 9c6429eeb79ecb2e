"""The contract between a model and the rest of Remora: motion and text in, unit vectors of one space out.

- An encoder is known by its fingerprint (hash of weights, configuration and normaliser); a library refuses any other.
- An embedding depends on the clip alone: not on padding, batch composition or order.
- This module imports no torch, so that a library can be opened and listed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from encoders.errors import EncoderError
from motion import Clip


@dataclass(frozen=True)
class EncoderSpec:
    """What an encoder is: ``dim`` D of its vectors, ``parts`` P in order, the features and rate it reads, its fingerprint."""

    name: str
    dim: int
    parts: tuple[str, ...]
    features: str
    fps: float
    fingerprint: str  # 32 hex digits: blake2b-128 of weights, configuration and normaliser
    provenance: Mapping[str, str] = field(default_factory=dict)  # weights_sha256, config_sha256, text tower, ...


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors, float32: ``whole`` [N, D] and ``parts`` [N, P, D] in the order of ``EncoderSpec.parts``."""

    whole: NDArray[np.float32]
    parts: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.whole)


class DualEncoder(Protocol):
    """Maps clips and sentences to one space."""

    @property
    def spec(self) -> EncoderSpec:
        """What this encoder is."""
        ...

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Embed clips of any supported skeleton and rate; whole [N, D], parts [N, P, D]."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Embed sentences; whole [N, D] compares with whole motions, parts [N, P, D] with the parts of motions."""
        ...


@runtime_checkable
class TokenEncoder(DualEncoder, Protocol):
    """One that also tells body parts at every moment, and words, for late interaction."""

    def encode_motion_tokens(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        """Unit vectors [n_i, P, D] of each clip: what every part does at every moment."""
        ...

    def encode_words(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Unit vectors [n_i, D] of each sentence's word pieces."""
        ...


Loader = Callable[[str, str], DualEncoder]  # (weights folder or name, device) -> encoder
_LOADERS: dict[str, Loader] = {}


def register_encoder(architecture: str, loader: Loader) -> None:
    """Make ``loader`` responsible for weight folders whose config.json names ``architecture``."""
    _LOADERS[architecture] = loader


def loader_for(architecture: str) -> Loader:
    """The loader registered for ``architecture``; EncoderError naming the known ones otherwise."""
    try:
        return _LOADERS[architecture]
    except KeyError:
        known = ", ".join(sorted(_LOADERS)) or "none"
        raise EncoderError(f"no encoder architecture {architecture!r}; known: {known}") from None
