"""Towers of the part-momentum model.

- One transformer a body part reads that part's columns of the features; one more reads the body as a whole, beside
  them or through them.
- Left limbs are mirrored and read by the same weights as right limbs (``share_sides``): half the parameters, and a rare
  left-sided action is learned from its frequent right-sided twin. Side-specific output maps keep the sides apart.
- Padding is masked everywhere and a token that is partly padding sees zeros there: an embedding depends on the clip alone.
- Every output is L2-normalised, in training and in use.
- Text: a linear map of the frozen sentence vector and its cues plus a small correction; parts see it through low-rank maps.
- Structure after the published part-level momentum model (AIGeeksGroup/ReMoMask, ``Part_TMR``); defects not taken over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.part_momentum.config import ModelConfig
from encoders.text import LEXICAL_DIM
from motion.features import part_columns, part_features

VIEWS = 2  # of a motion with parts: the body, and the parts together


@dataclass(frozen=True)
class Towers:
    """Unit vectors of one batch: ``whole`` [B, D], ``parts`` [B, P, D], and ``views`` [B, V, D] that the whole is the mean of.

    Only motion has views, and only if its configuration says so: the body, and the parts together.
    """

    whole: Tensor
    parts: Tensor
    views: Tensor


class Block(nn.Module):
    """Pre-norm transformer block with a key-padding mask."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.skip = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x`` [B, T, W], ``mask`` [B, T] True where a token is real."""
        b, t, w = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self._skipped(self.out(y.transpose(1, 2).reshape(b, t, w)))
        return x + self._skipped(self.mlp(self.norm_mlp(x)))

    def _skipped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: a sample leaves this branch out with probability ``skip`` (one draw a sample, cheap on a CPU)."""
        if not self.training or self.skip == 0:
            return branch
        keep = (torch.rand(len(branch), 1, 1, device=branch.device) >= self.skip).to(branch.dtype)
        return branch * (keep / (1 - self.skip))


class Tower(nn.Module):
    """Tokens [B, T, inputs] to token states [B, T, W] and one summary [B, W] read at a learned first token."""

    def __init__(self, inputs: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Token states and summary; ``mask`` [B, T] True where a token is real."""
        x = self.embed(x) + positions(x.shape[1], self.embed.out_features, x)
        x = torch.cat([self.summary.expand(len(x), 1, -1), x], dim=1)
        mask = F.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        return x[:, 1:], x[:, 0]


def positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal positions [length, width]."""
    time = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(time * rate), torch.cos(time * rate)], dim=-1).flatten(1).to(like.dtype)


def patches(features: Tensor, mask: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Frames [B, T, C] to tokens [B, ceil(T / patch), patch * C] and their mask; padded frames become zeros."""
    features = features * mask[..., None].to(features.dtype)
    extra = -features.shape[1] % patch
    features, mask = F.pad(features, (0, 0, 0, extra)), F.pad(mask, (0, extra), value=False)
    b, t, c = features.shape
    return features.reshape(b, t // patch, patch * c), mask.reshape(b, t // patch, patch).any(-1)


class Head(nn.Module):
    """Residual projection into the shared space."""

    def __init__(self, inputs: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, dim)
        self.second = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] to [B, D], not yet normalised to unit length."""
        p = self.first(x)
        out: Tensor = self.norm(p + self.dropout(self.second(F.gelu(p))))
        return out


class PartTowers(nn.Module):
    """The motion side: six part towers, a whole-body tower, and heads.

    With ``views`` the body tower reads the features beside the parts, and the whole is the mean of two unit vectors: one of the
    body, one of its parts together, each held against the sentence by itself; they err in different places. Without, the body
    tower reads the states of the parts, and one head reads everything.
    """

    signs: Tensor

    def __init__(self, config: ModelConfig, signs: Tensor) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("signs", signs, persistent=False)  # [C] mirror signs of the feature columns
        spec = part_features(config.features)
        self.columns = {part: torch.as_tensor(c) for part, c in part_columns(spec).items()}
        width, patch, count = config.part_width, config.patch, len(config.parts)
        self.towers = nn.ModuleDict()
        for part in config.parts:
            if self._tower_of(part) not in self.towers:
                inputs = len(self.columns[part]) * patch
                self.towers[self._tower_of(part)] = Tower(
                    inputs, width, config.part_layers, config.heads, config.dropout
                )
        self.part_heads = nn.ModuleDict({p: nn.Linear(width, config.dim) for p in config.parts})
        inputs = spec.dim * patch if config.views else count * width
        self.body = Tower(inputs, config.body_width, config.body_layers, config.heads, config.dropout)
        if config.views:
            self.parts_head = Head(count * width, config.dim, config.dropout)
            self.body_head = Head(config.body_width, config.dim, config.dropout)
        else:
            self.head = Head(count * width + config.body_width, config.dim, config.dropout)

    def _tower_of(self, part: str) -> str:
        return part.removeprefix("left_").removeprefix("right_") if self.config.share_sides else part

    def _inputs(self, features: Tensor, part: str) -> Tensor:
        columns = self.columns[part].to(features.device)
        x = features[..., columns]
        return x * self.signs[columns] if self.config.share_sides and part.startswith("left_") else x

    def forward(self, features: Tensor, mask: Tensor) -> Towers:
        """``features`` [B, T, C] normalised, ``mask`` [B, T] True where a frame is real."""
        parts = self.config.parts
        groups: dict[str, list[str]] = {}
        for part in parts:
            groups.setdefault(self._tower_of(part), []).append(part)
        states: dict[str, Tensor] = {}
        summaries: dict[str, Tensor] = {}
        for name, members in groups.items():
            x = torch.cat([self._inputs(features, part) for part in members])
            tokens, token_mask = patches(x, mask.repeat(len(members), 1), self.config.patch)
            state, summary = self.towers[name](tokens, token_mask)
            states.update(zip(members, state.chunk(len(members)), strict=True))
            summaries.update(zip(members, summary.chunk(len(members)), strict=True))
        keep = self._kept_parts(features)
        together = (torch.stack([summaries[p] for p in parts], 1) * keep[..., None]).flatten(1)
        outs = F.normalize(torch.stack([self.part_heads[p](summaries[p]) for p in parts], 1), dim=-1)
        if self.config.views:
            _, body = self.body(*patches(features, mask, self.config.patch))
            views = F.normalize(torch.stack([self.body_head(body), self.parts_head(together)], 1), dim=-1)
            return Towers(F.normalize(views.sum(1), dim=-1), outs, views)
        tokens = torch.stack([states[p] for p in parts], 2) * keep[:, None, :, None]
        _, body = self.body(tokens.flatten(2), token_mask[: len(features)])
        whole = F.normalize(self.head(torch.cat([together, body], dim=-1)), dim=-1)
        return Towers(whole, outs, outs[:, :0])

    def _kept_parts(self, features: Tensor) -> Tensor:
        shape = (len(features), len(self.config.parts))
        if not self.training or self.config.part_dropout == 0:
            return features.new_ones(shape)
        return (torch.rand(shape, device=features.device) >= self.config.part_dropout).to(features.dtype)


class WholeBodyTower(nn.Module):
    """The control: one tower over the whole feature vector, the same interface with no parts."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        inputs = part_features(config.features).dim * config.patch
        self.body = Tower(inputs, config.body_width, config.body_layers, config.heads, config.dropout)
        self.head = Head(config.body_width, config.dim, config.dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Towers:
        """``features`` [B, T, C] normalised, ``mask`` [B, T] True where a frame is real."""
        tokens, token_mask = patches(features, mask, self.config.patch)
        _, summary = self.body(tokens, token_mask)
        whole = F.normalize(self.head(summary), dim=-1)
        none = whole.new_zeros(len(whole), 0, whole.shape[-1])
        return Towers(whole, none, none)


class TextHead(nn.Module):
    """The text side: frozen sentence vectors and their cues to the shared space, whole and per part."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.cues = LEXICAL_DIM + config.text_dim * config.order
        inputs, dim, rank = config.text_dim + self.cues, config.dim, 32
        self.linear = nn.Linear(inputs, dim)
        self.correction = nn.Sequential(
            nn.Linear(inputs, config.text_hidden),
            nn.GELU(),
            nn.Dropout(2 * config.dropout),
            nn.Linear(config.text_hidden, dim),
        )
        self.dropout = nn.Dropout(config.dropout)
        count = len(config.parts)
        self.part_down = nn.Parameter(torch.randn(count, dim, rank) / math.sqrt(dim))
        self.part_up = nn.Parameter(torch.randn(count, rank, dim) / math.sqrt(rank))

    def forward(self, sentence: Tensor, cues: Tensor) -> Towers:
        """``sentence`` [B, text_dim] unit vectors, ``cues`` [B, LEXICAL_DIM + text_dim] as ``sentence_inputs`` gives them."""
        words, order = cues[:, : self.cues].split([LEXICAL_DIM, self.cues - LEXICAL_DIM], dim=-1)
        size = math.sqrt(self.config.text_dim)
        x = self.dropout(torch.cat([sentence * size, words, order * size], dim=-1))
        y = self.linear(x) + self.correction(x)
        parts = y[:, None] + torch.einsum("bd,pdr,pre->bpe", y, self.part_down, self.part_up)
        return Towers(F.normalize(y, dim=-1), F.normalize(parts, dim=-1), parts[:, :0])


PHASES = 16  # of a clip, that the decoder rebuilds


class Decoder(nn.Module):
    """Unit vectors [B, D] to the normalised features of ``PHASES`` equal stretches of the clip, [B, PHASES, C]."""

    def __init__(self, dim: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, PHASES * features))

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, PHASES, C]."""
        out: Tensor = self.layers(vectors).unflatten(-1, (PHASES, -1))
        return out


def stretches(features: Tensor, mask: Tensor) -> Tensor:
    """Means [B, PHASES, C] of features [B, T, C] over equal stretches of each clip; the nearest frame where it is shorter."""
    lengths = mask.sum(1)
    edges = torch.arange(PHASES + 1, device=mask.device) * lengths[:, None] / PHASES
    first = edges[:, :-1].floor().long()
    last = torch.maximum(edges[:, 1:].floor().long(), first + 1)
    totals = F.pad((features * mask[..., None]).cumsum(1), (0, 0, 1, 0))
    width = totals.shape[-1]

    def upto(places: Tensor) -> Tensor:
        return totals.gather(1, places.clamp(max=features.shape[1])[..., None].expand(-1, -1, width))

    return (upto(last) - upto(first)) / (last - first)[..., None]


class TextMotionModel(nn.Module):
    """Both sides and the learned temperature."""

    def __init__(self, config: ModelConfig, signs: Tensor) -> None:
        super().__init__()
        self.config = config
        self.motion: nn.Module = WholeBodyTower(config) if config.is_baseline else PartTowers(config, signs)
        self.text = TextHead(config)
        self.decoder = Decoder(config.dim, part_features(config.features).dim) if config.decoder else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def scale(self) -> Tensor:
        """Inverse temperature, at most 100."""
        return self.log_scale.exp().clamp(max=100.0)
