"""The residual transformer: the finer levels of tokens, one after the other, given all coarser ones.

- Its input is the sum of the codes of the coarser levels; its output is compared with the code vectors of the level asked
  for, so that no level needs tables of its own, and no id beyond the codes can be emitted.
- It reads the sentence, and exemplars where it is told to: in published controls a pooled exemplar in the residual stage
  does harm (ReMoMask-2: FID .042 without, .068 with); here they would be read as sequences of all levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generator.conditions import Conditions
from generator.layers import Backbone, Memory
from generator.tokenizer import Tokenizer, TokenizerConfig, kind_of


@dataclass(frozen=True)
class ResidualConfig:
    """Sizes of the residual transformer."""

    width: int = 256
    layers: int = 4
    heads: int = 8
    dropout: float = 0.1
    pooled: int = 410
    words: int = 384
    exemplars: bool = False


RESIDUAL = {"small": ResidualConfig(), "base": ResidualConfig(width=384, layers=8, heads=6, dropout=0.2)}


class ResidualTransformer(nn.Module):
    """Logits of the codes of one level, for all rows and time steps."""

    def __init__(self, config: ResidualConfig, tokens: TokenizerConfig) -> None:
        super().__init__()
        self.config, self.tokens = config, tokens
        rows, dim = len(tokens.rows), tokens.code_dim
        self.merge = nn.Linear(rows * dim, config.width)
        self.level = nn.Embedding(tokens.levels, config.width)
        self.backbone = Backbone(
            config.width, config.layers, config.heads, config.dropout, pooled=config.pooled, words=config.words,
            latents=(rows, 2 * dim) if config.exemplars else None,
        )  # fmt: skip
        kinds = {kind_of(row) for row in tokens.rows}
        self.part = nn.Linear(config.width, rows * dim)
        self.own = nn.ModuleDict({kind: nn.Linear(2 * dim, dim) for kind in sorted(kinds)})
        self.bias = nn.ParameterDict(
            {kind: nn.Parameter(torch.zeros(tokens.levels, tokens.codes)) for kind in sorted(kinds)}
        )
        self.scale = nn.Parameter(torch.zeros(tokens.levels))

    def memory(self, conditions: Conditions) -> Memory:
        """What of the conditions does not change from level to level."""
        return self.backbone.memory(conditions)

    def forward(self, latents: Tensor, level: Tensor, mask: Tensor, memory: Memory, tokenizer: Tokenizer) -> Tensor:
        """Logits [B, R, N, codes] of ``level`` [B] (1..) from the summed coarser codes ``latents`` [B, R, N, D].

        With V views in ``memory`` the logits are [B V, R, N, codes], those of a sample side by side.
        """
        if memory.views > 1:
            latents, level, mask = (x.repeat_interleave(memory.views, 0) for x in (latents, level, mask))
        b, r, n, d = latents.shape
        x = self.merge(latents.transpose(1, 2).reshape(b, n, r * d)) + self.level(level)[:, None]
        x = self.part(self.backbone(x, mask, memory)).view(b, n, r, d)
        out = []
        for i, row in enumerate(self.tokens.rows):
            kind = kind_of(row)
            state = self.own[kind](torch.cat([x[:, :, i], latents[:, i]], -1))
            books = tokenizer.codebooks(kind)  # [levels, codes, D]
            size = books.norm(dim=-1).mean(1).clamp(min=1e-6)
            books = (books * (self.scale.exp() / size)[:, None, None])[level].transpose(1, 2)
            out.append(torch.baddbmm(self.bias[kind][level][:, None], state, books))
        return torch.stack(out, 1)
