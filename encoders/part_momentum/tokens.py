"""The finer grain of a part-momentum model: one vector for each body part and moment, one for each word.

- A motion token is the state of a part's tower at one moment, read by that part's own head; a word is the sentence encoder's
  state of a word piece, read by the text head as if it were a sentence, with the sides and directions its sentence names.
- Neither head was trained on single moments or words: what comes of comparing them is measured, not promised.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.part_momentum.model import PartTowers, TextHead, patches


def motion_tokens(towers: PartTowers, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors [B, N, P, D] of ``features`` [B, T, C] under ``mask`` [B, T], and which of them are real [B, N]."""
    found = []
    for part in towers.config.parts:
        columns = towers.columns[part].to(features.device)
        x = features[..., columns]
        if towers.config.share_sides and part.startswith("left_"):
            x = x * towers.signs[columns]
        tokens, real = patches(x, mask, towers.config.patch)
        states, _ = towers.towers[towers._tower_of(part)](tokens, real)
        found.append(F.normalize(towers.part_heads[part](states), dim=-1))
    return torch.stack(found, 2), real


def word_vectors(head: TextHead, words: Tensor, cues: Tensor) -> Tensor:
    """Unit vectors [n, D] of the states [n, S] of a sentence's words, with the cues [L] of the sentence."""
    whole: Tensor = head(F.normalize(words, dim=-1), cues.expand(len(words), -1)).whole
    return whole
