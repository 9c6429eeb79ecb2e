"""Attention over motion in time, with text and exemplars beside it: what masked and residual transformer share.

- One token a time step holds all rows (parts); rows meet again, part by part, in :class:`RowMixer`. Attention over part x time
  is thus factored into time and parts: as long a sequence as a whole-body model has, so retrieval costs little more.
- Pre-norm residual blocks: what distinguishes two positions is never averaged away.
- Text and exemplars are sequences read by their own cross attention. A learned first entry is always visible, so that a
  sample that may see nothing attends to something that says so. The exemplar path starts at zero.
- Keys and values of text and exemplars do not depend on the motion: they are computed once for all sampling steps and all
  guidance branches (:class:`Memory`).
- Padding is masked everywhere: a sample's result does not depend on what it shares a batch with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.conditions import Conditions

Pair = tuple[Tensor, Tensor]  # keys and values [B, H, M, d]


@dataclass(frozen=True)
class Memory:
    """Keys and values of text and exemplars for every block, and who sees which of them."""

    text: list[Pair]
    exemplars: list[Pair]
    text_mask: Tensor  # [B, M]
    exemplar_mask: Tensor  # [B, M']

    def seeing(self, conditions: Conditions) -> Memory:
        """The same keys for other visibility (``with_text``, ``with_exemplars``)."""
        text, exemplars = masks(conditions)
        return Memory(self.text, self.exemplars, text, exemplars)

    def repeated(self, others: list[Memory]) -> Memory:
        """This and ``others`` (same keys, other visibility) as one batch, for guidance in one pass."""
        n = 1 + len(others)

        def twice(pairs: list[Pair]) -> list[Pair]:
            return [(k.repeat(n, 1, 1, 1), v.repeat(n, 1, 1, 1)) for k, v in pairs]

        return Memory(
            twice(self.text),
            twice(self.exemplars),
            torch.cat([self.text_mask, *(o.text_mask for o in others)]),
            torch.cat([self.exemplar_mask, *(o.exemplar_mask for o in others)]),
        )


def masks(conditions: Conditions) -> tuple[Tensor, Tensor]:
    """Visible entries of text [B, 2 + n] and exemplars [B, 1 + K (1 + N)]; the first of each always is."""
    seen = conditions.with_text[:, None]
    text = torch.cat([torch.ones_like(seen), seen, conditions.word_mask & seen], 1)
    there = conditions.exemplar_mask & conditions.with_exemplars[:, None, None]
    entries = torch.cat([there.any(-1, keepdim=True), there], -1).flatten(1)
    return text, torch.cat([torch.ones_like(seen), entries], 1)


class Attention(nn.Module):
    """Multi-head attention; keys and values can be computed ahead."""

    def __init__(self, width: int, heads: int, *, zero: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def keys(self, memory: Tensor) -> Pair:
        """Keys and values [B, H, M, d] of ``memory`` [B, M, W]."""
        key, value = self.key_value(memory).chunk(2, -1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, pair: Pair, mask: Tensor, turn: Pair | None = None) -> Tensor:
        """``x`` [B, N, W], ``mask`` [B, M] true where visible; ``turn``: cosines and sines of rotary positions."""
        query, (key, value) = self._split(self.query(x)), pair
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split


def rotary(length: int, dim: int, device: torch.device) -> Pair:
    """Cosines and sines [length, dim / 2] of rotary positions."""
    rate = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(1000.0) / dim))
    angle = torch.arange(length, device=device)[:, None] * rate
    return angle.cos(), angle.sin()


def rotate(x: Tensor, turn: Pair) -> Tensor:
    """``x`` [B, H, N, d] turned by its position (RoFormer)."""
    cos, sin = turn
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """Self attention over time, attention to text and, where asked for, to exemplars, then a feed-forward layer."""

    def __init__(self, width: int, heads: int, dropout: float, *, exemplars: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 + exemplars))
        self.time = Attention(width, heads)
        self.text = Attention(width, heads)
        self.exemplars = Attention(width, heads, zero=True) if exemplars else None
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, turn: Pair, memory: Memory, index: int) -> Tensor:
        """``x`` [B, N, W], ``mask`` [B, N]."""
        y = self.norms[0](x)
        x = x + self.dropout(self.time(y, self.time.keys(y), mask, turn))
        x = x + self.dropout(self.text(self.norms[1](x), memory.text[index], memory.text_mask))
        if self.exemplars is not None:
            x = x + self.dropout(self.exemplars(self.norms[3](x), memory.exemplars[index], memory.exemplar_mask))
        out: Tensor = x + self.dropout(self.mlp(self.norms[2](x)))
        return out


class Backbone(nn.Module):
    """Tokens [B, N, W] of time steps, aware of text and exemplars."""

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        *,
        pooled: int,
        words: int,
        latents: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.blocks = [Block(width, heads, dropout, exemplars=latents is not None) for _ in range(layers)]
        self.layers = nn.ModuleList(self.blocks)
        self.norm = nn.LayerNorm(width)
        self.pooled = nn.Linear(pooled, width)
        self.words = nn.Linear(words, width)
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.kinds = nn.Parameter(torch.randn(2, width) * 0.02)
        self.text_norm = nn.LayerNorm(width)
        if latents is not None:
            rows, dim = latents
            self.latents = nn.Sequential(
                nn.Linear(rows * dim + rows, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )
            self.caption = nn.Linear(pooled, width)
            self.fit = nn.Linear(2, width)
            self.no_exemplar = nn.Parameter(torch.randn(width) * 0.02)
            self.exemplar_norm = nn.LayerNorm(width)

    def memory(self, conditions: Conditions) -> Memory:
        """Keys and values of ``conditions`` for every block."""
        n = len(conditions)
        text = torch.cat(
            [
                self.no_text.expand(n, 1, -1),
                (self.pooled(conditions.pooled) + self.kinds[0])[:, None],
                self.words(conditions.words) + self.kinds[1],
            ],
            1,
        )
        text = self.text_norm(text)
        pairs = [block.text.keys(text) for block in self.blocks]
        exemplars: list[Pair] = []
        if hasattr(self, "latents"):
            found = self.exemplar_norm(self._exemplars(conditions))
            exemplars = [block.exemplars.keys(found) for block in self.blocks if block.exemplars is not None]
        return Memory(pairs, exemplars, *masks(conditions))

    def _exemplars(self, c: Conditions) -> Tensor:
        b, k, _, n, _ = c.latents.shape
        used = c.rows.to(c.latents.dtype)
        tokens = (c.latents * used[..., None, None]).transpose(2, 3).flatten(3)  # [B, K, N, R D]
        tokens = self.latents(torch.cat([tokens, used[:, :, None].expand(-1, -1, n, -1)], -1))
        length = c.exemplar_mask.sum(-1)
        tokens = tokens + time_code(n, length.flatten(), self.width).view(b, k, n, -1)
        fit = self.fit(torch.stack([c.scores, length.to(c.scores.dtype) / 50], -1))
        caption = self.caption(c.captions) + fit
        entries = torch.cat([caption[:, :, None], tokens + fit[:, :, None]], 2).flatten(1, 2)
        return torch.cat([self.no_exemplar.expand(b, 1, -1), entries], 1)

    def forward(self, x: Tensor, mask: Tensor, memory: Memory) -> Tensor:
        """``x`` [B, N, W], ``mask`` [B, N]."""
        x = x + time_code(x.shape[1], mask.sum(1), self.width)
        turn = rotary(x.shape[1], self.width // self.heads, x.device)
        for index, block in enumerate(self.blocks):
            x = block(x, mask, turn, memory, index)
        out: Tensor = self.norm(x)
        return out


def time_code(steps: int, lengths: Tensor, width: int) -> Tensor:
    """[B, steps, width]: half tells the time step, half the share of the whole length, so that like phases find each other."""
    time = torch.arange(steps, device=lengths.device, dtype=torch.float32).expand(len(lengths), -1)
    share = time / lengths.clamp(min=1)[:, None]
    rate = torch.exp(torch.arange(0, width // 4, device=lengths.device) * (-math.log(1000.0) / (width // 4)))
    angles = torch.cat([time[..., None] * rate, share[..., None] * 200 * rate], -1)
    return torch.cat([angles.sin(), angles.cos()], -1)


class RowBlock(nn.Module):
    """Attention among rows, then a feed-forward layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """``x`` [B, R, W], ``seen`` [B, R]."""
        y = self.norm(x)
        x = x + self.attention(y, self.attention.keys(y), seen)
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class RowMixer(nn.Module):
    """Attention among the rows of one time step: [B, N, R, W]."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RowBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; time steps do not see one another."""
        b, n, r, w = x.shape
        x = x.reshape(b * n, r, w)
        seen = torch.ones(b * n, r, dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, seen)
        out: Tensor = self.norm(x).view(b, n, r, w)
        return out
