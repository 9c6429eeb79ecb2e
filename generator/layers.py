"""Attention over motion in time, with text and exemplars beside it: what masked and residual transformer share.

- One token a time step holds all rows (parts); rows meet again, part by part, in :class:`RowMixer`. Attention over part x time
  is thus factored into time and parts: as long a sequence as a whole-body model has, so retrieval costs little more.
- Pre-norm residual blocks: what distinguishes two positions is never averaged away.
- Text and exemplars are sequences read by their own cross attention. A learned first entry is always visible, so that a
  sample that may see nothing attends to something that says so. The exemplar path starts at zero.
- Keys and values of text and exemplars do not depend on the motion: they are computed once for all sampling steps and all
  guidance branches (:class:`Memory`). Branches of a sample lie side by side in a batch and share them; a branch that may not
  see something reads the learned first entry alone, which is one vector, and costs no attention.
- Beside the attention to exemplars, :class:`Copy` takes tokens over from them: where to look is learned, and how much of the
  answer to take from there. It learns in hundreds of steps what the attention alone needs many thousands for.
- Padding is masked everywhere: a sample's result does not depend on what it shares a batch with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.conditions import Conditions

Pair = tuple[Tensor, Tensor]  # keys and values [B, H, M, d]
LOWEST = math.log(1e-9)  # logarithms of probabilities end here, or guidance would make the impossible likely


@dataclass(frozen=True)
class Copies:
    """What :class:`Copy` reads of the S steps of all exemplars.

    ``keys`` [B, R, S, d], ``codes`` [B, R, S, C] what a token there suggests, ``phase`` [B, S] of each step in its exemplar,
    ``mask`` [B, R, S] which are visible.
    """

    keys: Tensor
    codes: Tensor
    phase: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Memory:
    """Keys and values of text and exemplars for every block, and who sees which of them.

    ``steps`` [B, K N, W] are the time steps of all exemplars as the blocks read them. Of the ``views`` V of every sample the
    first ``text_views`` see text and the first ``exemplar_views`` exemplars.
    """

    text: list[Pair]
    exemplars: list[Pair]
    text_mask: Tensor  # [B, M]
    exemplar_mask: Tensor  # [B, M']
    steps: Tensor | None = None
    copies: Copies | None = None
    views: int = 1
    text_views: int = 1
    exemplar_views: int = 1

    def viewed(self, views: Sequence[tuple[bool, bool]]) -> Memory:
        """The same for V ``views`` (sees text, sees exemplars) of every sample, those that see most first."""
        if list(views) != sorted(views, reverse=True) or (False, True) in views:
            raise ValueError(f"views {views}: first those that see both, then those that see text, then the blind")
        text, exemplars = (sum(view[at] for view in views) for at in (0, 1))
        return replace(self, views=len(views), text_views=text, exemplar_views=exemplars)


def masks(conditions: Conditions) -> tuple[Tensor, Tensor]:
    """Visible entries of text [B, 2 + n] and exemplars [B, 1 + K (1 + N)]; the first of each always is."""
    seen = conditions.with_text[:, None]
    text = torch.cat([torch.ones_like(seen), seen, conditions.word_mask & seen], 1)
    there = conditions.exemplar_mask & conditions.with_exemplars[:, None, None]
    entries = torch.cat([there.any(-1, keepdim=True), there], -1).flatten(1)
    return text, torch.cat([torch.ones_like(seen), entries], 1)


def copy_mask(conditions: Conditions) -> Tensor:
    """Steps of exemplars that may be copied, by row: [B, R, K N]."""
    there = conditions.exemplar_mask & conditions.with_exemplars[:, None, None]
    rows = there[:, :, None] & conditions.rows[..., None]  # [B, K, R, N]
    return rows.transpose(1, 2).flatten(2)


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

    def forward(self, x: Tensor, pair: Pair, mask: Tensor | None = None, turn: Pair | None = None) -> Tensor:
        """``x`` [B, N, W], ``mask`` [B, M] true where visible; ``turn``: cosines and sines of rotary positions."""
        query, (key, value) = self._split(self.query(x)), pair
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        y = F.scaled_dot_product_attention(
            query, key, value, attn_mask=None if mask is None else mask[:, None, None, :]
        )
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out

    def first(self, pair: Pair) -> Tensor:
        """What is read by who sees the first entry alone: [B, 1, W]."""
        out: Tensor = self.out(pair[1][:, :, :1].transpose(1, 2).flatten(2))
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
        """``x`` [B V, N, W], ``mask`` [B V, N]."""
        y = self.norms[0](x)
        x = x + self.dropout(self.time(y, self.time.keys(y), mask, turn))
        read, views = memory.text[index], (memory.text_views, memory.views)
        x = x + self.dropout(seen(self.text, self.norms[1], x, read, memory.text_mask, *views))
        if self.exemplars is not None:
            read, views = memory.exemplars[index // 2], (memory.exemplar_views, memory.views)
            x = x + self.dropout(seen(self.exemplars, self.norms[3], x, read, memory.exemplar_mask, *views))
        out: Tensor = x + self.dropout(self.mlp(self.norms[2](x)))
        return out


def seen(attention: Attention, norm: nn.Module, x: Tensor, pair: Pair, mask: Tensor, seeing: int, views: int) -> Tensor:
    """What the first ``seeing`` of the V views in ``x`` [B V, N, W] read of ``pair``; the others read its first entry."""
    if seeing == views == 1:
        out: Tensor = attention(norm(x), pair, mask)
        return out
    own = x.unflatten(0, (-1, views))  # [B, V, N, W]
    b, _, n, w = own.shape
    parts = []
    if seeing:
        parts.append(attention(norm(own[:, :seeing].reshape(b, seeing * n, w)), pair, mask).view(b, seeing, n, w))
    if seeing < views:
        parts.append(attention.first(pair)[:, None].expand(-1, views - seeing, n, -1))
    return torch.cat(parts, 1).flatten(0, 1)


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
        # Every second block reads exemplars: half the cost of their keys.
        self.blocks = [
            Block(width, heads, dropout, exemplars=latents is not None and i % 2 == 1) for i in range(layers)
        ]
        self.layers = nn.ModuleList(self.blocks)
        self.norm = nn.LayerNorm(width)
        self.pooled = nn.Linear(pooled, width)
        self.words = nn.Linear(words, width)
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.kinds = nn.Parameter(torch.randn(2, width) * 0.02)
        self.text_norm = nn.LayerNorm(width)
        if latents is not None:
            rows, dim = latents
            self.latents = nn.Linear(rows * dim + rows, width)
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
        steps = None
        if hasattr(self, "latents"):
            found = self.exemplar_norm(self._exemplars(conditions))
            exemplars = [block.exemplars.keys(found) for block in self.blocks if block.exemplars is not None]
            _, k, _, n = conditions.ids.shape
            steps = found[:, 1:].unflatten(1, (k, 1 + n))[:, :, 1:].flatten(1, 2)
        return Memory(pairs, exemplars, *masks(conditions), steps)

    def _exemplars(self, c: Conditions) -> Tensor:
        b, k, _, n, _ = c.latents.shape
        used = c.rows.to(c.scores.dtype)
        tokens = (c.latents.to(c.scores.dtype) * used[..., None, None]).transpose(2, 3).flatten(3)  # [B, K, N, R D]
        tokens = self.latents(torch.cat([tokens, used[:, :, None].expand(-1, -1, n, -1)], -1))
        length = c.exemplar_mask.sum(-1)
        tokens = tokens + time_code(n, length.flatten(), self.width).view(b, k, n, -1)
        fit = self.fit(torch.stack([c.scores, length.to(c.scores.dtype) / 50], -1))
        caption = self.caption(c.captions) + fit
        entries = torch.cat([caption[:, :, None], tokens + fit[:, :, None]], 2).flatten(1, 2)
        return torch.cat([self.no_exemplar.expand(b, 1, -1), entries], 1)

    def forward(self, x: Tensor, mask: Tensor, memory: Memory) -> Tensor:
        """``x`` [B V, N, W], ``mask`` [B V, N]: V views of every sample side by side."""
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

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, R, W]."""
        y = self.norm(x)
        x = x + self.attention(y, self.attention.keys(y))
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
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x).view(b, n, r, w)
        return out


class Copy(nn.Module):
    """Tokens taken over from exemplars, a pointer network: p = a0 softmax(logits) + sum over steps s of a_s S[token at s].

    - The attention a over all steps of all exemplars, and staying with one's own answer (a0), is each row's own: the legs may
      follow one exemplar and the arms another. It starts out looking at the same phase of the motion.
    - S[u] is what a token u suggests: mostly itself, and codes that are learned to stand for nearly the same.
    - Where no exemplar may be seen a0 = 1, and the answer is that of a model without retrieval, exactly.

    Source: pointer-generator networks (See et al., ACL 2017), with soft identity and a phase bias of our own.
    """

    def __init__(self, rows: int, width: int, entry: int) -> None:
        super().__init__()
        self.dim = 32
        self.query = nn.Linear(width, self.dim)
        self.key = nn.Linear(entry, rows * self.dim)
        self.stay = nn.Linear(width, 1)
        self.sharpness = nn.Parameter(torch.full((rows,), 2.0))
        self.itself = nn.Parameter(torch.tensor(6.0))
        nn.init.zeros_(self.stay.weight)
        nn.init.constant_(self.stay.bias, 3.0)

    def read(self, steps: Tensor, c: Conditions, alike: Sequence[Tensor]) -> Copies:
        """Keys of the exemplars' ``steps`` [B, K N, W] and what their tokens suggest; ``alike`` [C, C] of every row."""
        _, _, r, n = c.ids.shape
        keys = self.key(steps).unflatten(-1, (r, self.dim)).transpose(1, 2)
        ids = c.ids.transpose(1, 2).flatten(2)  # [B, R, K N]
        own = self.itself * torch.eye(len(alike[0]), device=ids.device)
        codes = [F.embedding(ids[:, i], (table + own).softmax(-1)) for i, table in enumerate(alike)]
        length = c.exemplar_mask.sum(-1, keepdim=True).clamp(min=1)
        phase = (torch.arange(n, device=ids.device) / length).flatten(1)
        return Copies(keys, torch.stack(codes, 1), phase, copy_mask(c))

    def forward(self, states: Tensor, logits: Tensor, mask: Tensor, copies: Copies) -> Tensor:
        """Logarithms of p [B, R, N, C] from row states [B, N, R, W] and logits [B, R, N, C]; ``mask`` [B, N]."""
        query = self.query(states).transpose(1, 2)  # [B, R, N, d]
        scores = query @ copies.keys.transpose(-1, -2) / math.sqrt(self.dim)
        phase = torch.arange(mask.shape[1], device=mask.device) / mask.sum(1, keepdim=True).clamp(min=1)
        apart = (phase[:, :, None] - copies.phase[:, None]) ** 2
        scores = scores - F.softplus(self.sharpness)[None, :, None, None] * apart[:, None]
        scores = scores.masked_fill(~copies.mask[:, :, None], float("-inf"))
        share = torch.cat([self.stay(states).transpose(1, 2), scores], -1).softmax(-1)
        own = share[..., :1] * logits.softmax(-1)
        return torch.log((own + share[..., 1:] @ copies.codes).clamp(min=math.exp(LOWEST)))
