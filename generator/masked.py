"""The masked transformer: which first-level token stands at each part and time step, given those that are known.

- Its input holds the known tokens and [MASK] elsewhere; all masked ones are predicted at once.
- One law of masking for training and sampling: a share cos(pi u / 2) of the *valid* tokens, u uniform in training and the
  progress in sampling. Training spreads them at random, over whole time steps, whole parts or one span, since editing asks
  for such holes; the count is always exact.

Source: MoMask (masked modelling of motion tokens, schedule); attention and conditions are our own, see ``layers``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from generator.conditions import Conditions
from generator.layers import LOWEST, Backbone, Copy, Memory, RowMixer
from generator.tokenizer import TokenizerConfig, kind_of


@dataclass(frozen=True)
class MaskedConfig:
    """Sizes of the masked transformer."""

    width: int = 192
    layers: int = 4
    heads: int = 6
    row_width: int = 96
    row_layers: int = 2
    dropout: float = 0.1
    pooled: int = 410  # P: pooled sentence vector with lexical features
    words: int = 384  # W of a word piece's state
    exemplars: bool = True


MASKED = {
    "small": MaskedConfig(),
    "base": MaskedConfig(width=512, layers=8, heads=8, row_width=256, row_layers=2, dropout=0.2),
}


class MaskedTransformer(nn.Module):
    """Logits of the first-level codes of all rows and time steps."""

    def __init__(self, config: MaskedConfig, tokens: TokenizerConfig) -> None:
        super().__init__()
        self.config, self.tokens = config, tokens
        self.rows = tokens.rows
        width = config.row_width
        self.embeddings = nn.ModuleDict({kind_of(row): nn.Embedding(tokens.codes + 1, width) for row in self.rows})
        self.row_code = nn.Parameter(torch.randn(len(self.rows), width) * 0.02)
        self.merge = nn.Linear(len(self.rows) * width, config.width)
        self.backbone = Backbone(
            config.width, config.layers, config.heads, config.dropout, pooled=config.pooled, words=config.words,
            latents=(len(self.rows), 2 * tokens.code_dim) if config.exemplars else None,
        )  # fmt: skip
        self.part = nn.Linear(config.width, len(self.rows) * width)
        self.mixer = RowMixer(width, 4, config.row_layers)
        self.heads = nn.ModuleDict({kind_of(row): nn.Linear(width, tokens.codes) for row in self.rows})
        self.copy = Copy(len(self.rows), width, config.width) if config.exemplars else None

    @property
    def mask_id(self) -> int:
        """The id that stands for an unknown token."""
        return self.tokens.codes

    def memory(self, conditions: Conditions) -> Memory:
        """What of the conditions does not change from step to step."""
        memory = self.backbone.memory(conditions)
        if self.copy is None or memory.steps is None:
            return memory
        alike = {kind: self._alike(kind) for kind in self.heads}
        copies = self.copy.read(memory.steps, conditions, [alike[kind_of(row)] for row in self.rows])
        return replace(memory, steps=None, copies=copies)

    def _alike(self, kind: str) -> Tensor:
        """How much a code of an exemplar [C] suggests each code [C], beyond itself."""
        head, known = self.heads[kind], self.embeddings[kind]
        assert isinstance(head, nn.Linear) and isinstance(known, nn.Embedding)
        return known.weight[: head.out_features] @ head.weight.T / math.sqrt(head.in_features)

    def forward(self, ids: Tensor, mask: Tensor, memory: Memory) -> Tensor:
        """Logits [B, R, N, codes] of ``ids`` [B, R, N] (``mask_id`` where unknown); ``mask`` [B, N] true where valid.

        With V views in ``memory`` the logits are [B V, R, N, codes], those of a sample side by side.
        """
        known = torch.stack([self.embeddings[kind_of(row)](ids[:, i]) for i, row in enumerate(self.rows)], 2)
        known = known + self.row_code  # [B, N, R, W]
        merged = self.merge(known.flatten(2))
        if memory.views > 1:
            known, merged, mask = (x.repeat_interleave(memory.views, 0) for x in (known, merged, mask))
        x = self.backbone(merged, mask, memory)
        rows = self.mixer(self.part(x).unflatten(-1, (len(self.rows), -1)) + known)
        logits = torch.stack([self.heads[kind_of(row)](rows[:, :, i]) for i, row in enumerate(self.rows)], 1)
        if self.copy is None or memory.copies is None:
            return logits
        return self._copied(self.copy, rows, logits, mask, memory)

    @staticmethod
    def _copied(copy: Copy, rows: Tensor, logits: Tensor, mask: Tensor, memory: Memory) -> Tensor:
        """Logarithms of probabilities: views that see exemplars may copy, the others answer by themselves."""
        assert memory.copies is not None
        seeing, views = memory.exemplar_views, memory.views
        if seeing == views == 1:
            out: Tensor = copy(rows, logits, mask, memory.copies)
            return out
        rows, logits, mask = (x.unflatten(0, (-1, views)) for x in (rows, logits, mask))
        led = [copy(rows[:, i], logits[:, i], mask[:, i], memory.copies) for i in range(seeing)]
        alone = logits[:, seeing:].log_softmax(-1).clamp(min=LOWEST)
        return torch.cat([*(x[:, None] for x in led), alone], 1).flatten(0, 1)


def masked_share(progress: float | Tensor) -> float | Tensor:
    """The share of tokens still masked at ``progress`` 0 to 1: cos(pi u / 2)."""
    if isinstance(progress, Tensor):
        return torch.cos(progress * (math.pi / 2))
    return math.cos(progress * math.pi / 2)


PATTERNS = (0.5, 0.15, 0.2, 0.15)  # tokens at random, time steps, parts, one span


def draw_mask(valid: Tensor, rows: int, generator: torch.Generator | None = None) -> Tensor:
    """Which tokens [B, R, N] to hide in training; ``valid`` [B, N]. Exactly ceil(cos(pi u / 2) * R * n) of a sample."""
    b, n = valid.shape
    device = valid.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device, generator=generator)

    lengths = valid.sum(1)
    count = torch.ceil(masked_share(rand(b)) * lengths * rows).clamp(min=1)
    jitter = 1e-3 * rand(b, rows, n)
    time = torch.arange(n, device=device)
    centre = rand(b, 1) * lengths[:, None]
    orders = torch.stack(
        [
            rand(b, rows, n),
            rand(b, 1, n).expand(-1, rows, -1) + jitter,
            rand(b, rows, 1).expand(-1, -1, n) + jitter,
            ((time[None] - centre).abs() / n)[:, None].expand(-1, rows, -1) + jitter,
        ]
    )
    pattern = torch.multinomial(torch.tensor(PATTERNS, device=device), b, replacement=True, generator=generator)
    order = orders[pattern, torch.arange(b, device=device)]
    order = order.masked_fill(~valid[:, None], float("inf")).flatten(1)
    rank = order.argsort(1).argsort(1)
    return (rank < count[:, None]).view(b, rows, n)
