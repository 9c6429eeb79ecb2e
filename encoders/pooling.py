"""What every tower of text does around its model: batches of similar length, means over word pieces, back in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

States = Callable[[list[str]], "tuple[torch.Tensor, torch.Tensor, torch.Tensor]"]


def unit_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Unit vectors [B, D] of the means of ``states`` [B, n, D] that ``mask`` [B, n] calls real."""
    import torch

    weights = mask[..., None].to(states.dtype)
    return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)


def pooled_and_words(
    texts: Sequence[str], states_of: States, dim: int
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Sentence vectors [N, dim] and states [n_i, W] of each sentence's pieces, from what gives (vectors, states, mask)."""
    words: list[NDArray[np.float32]] = [np.zeros((0, dim), np.float32)] * len(texts)
    batches = []
    for rows in by_length(texts, 64):
        pooled, states, mask = states_of([texts[i] for i in rows])
        batches.append((rows, pooled))
        for row, state, real in zip(rows, states.float().cpu().numpy(), mask.cpu().numpy(), strict=True):
            words[row] = state[real > 0]
    return in_order(batches, len(texts), dim), words


def by_length(texts: Sequence[str], size: int) -> list[list[int]]:
    """Batches of similar length: little padding, and results are put back in order."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    return [order[i : i + size] for i in range(0, len(order), size)]


def in_order(batches: list[tuple[list[int], torch.Tensor]], count: int, dim: int) -> NDArray[np.float32]:
    """Vectors [count, dim] of batches of rows, where they belong."""
    out = np.zeros((count, dim), dtype=np.float32)
    for rows, vectors in batches:
        out[rows] = vectors.float().cpu().numpy()
    return out
