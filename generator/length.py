"""How long a motion should be: a distribution over token counts, from the sentence and from what was retrieved for it.

- The sentence gives a categorical distribution (a small network); exemplars give a mixture of bumps at their own lengths,
  weighted by fit. The two are averaged with a weight chosen on validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WIDTH = 0.12  # deviation of an exemplar's bump, as a share of its length
SHARPNESS = 20.0  # of the weighting of exemplars by cosine


@dataclass(frozen=True)
class LengthConfig:
    """Sizes of the length estimator."""

    pooled: int = 410
    hidden: int = 128
    longest: int = 64  # tokens
    exemplar_weight: float = 0.5  # of the exemplars' distribution where there are any; chosen on validation


class LengthEstimator(nn.Module):
    """Pooled sentences [B, P] to logits [B, longest] of 1, 2, ... tokens."""

    def __init__(self, config: LengthConfig) -> None:
        super().__init__()
        self.config = config
        self.net = nn.Sequential(
            nn.Linear(config.pooled, config.hidden),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(config.hidden, config.longest),
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits [B, longest]."""
        out: Tensor = self.net(pooled)
        return out

    @torch.inference_mode()
    def distribution(
        self, pooled: NDArray[np.float32], lengths: Sequence[int] = (), scores: Sequence[float] = ()
    ) -> NDArray[np.float64]:
        """Probabilities [longest] of 1, 2, ... tokens for one sentence and the lengths (tokens) of its exemplars."""
        self.eval()
        weights = next(self.parameters())
        logits = self(torch.from_numpy(pooled)[None].to(weights.device, weights.dtype))[0]
        text = np.asarray(logits.double().softmax(-1).cpu().numpy())
        if not lengths:
            return text
        weight = self.config.exemplar_weight
        return (1 - weight) * text + weight * bumps(lengths, scores, len(text))


def bumps(lengths: Sequence[int], scores: Sequence[float], longest: int) -> NDArray[np.float64]:
    """A mixture of Gaussians at ``lengths``, weighted by softmax of ``scores``; [longest], sums to 1."""
    at = np.arange(1, longest + 1, dtype=np.float64)
    fit = np.exp(SHARPNESS * (np.asarray(scores, np.float64) - max(scores)))
    fit /= fit.sum()
    out = np.zeros(longest)
    for length, share in zip(lengths, fit, strict=True):
        width = max(1.0, WIDTH * length)
        bump = np.exp(-0.5 * ((at - length) / width) ** 2) + 1e-12
        out += share * bump / bump.sum()
    return out


def quantile(distribution: NDArray[np.float64], share: float) -> int:
    """The smallest token count whose cumulated probability reaches ``share``."""
    return int(np.searchsorted(np.cumsum(distribution), share * (1 - 1e-9)) + 1)
