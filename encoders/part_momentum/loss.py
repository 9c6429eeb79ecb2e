"""The contrastive loss, its momentum queue, and what may not be a negative.

- Unit vectors on both sides, so a logit never exceeds the inverse temperature.
- A queue starts empty and counts what is valid; it holds less than one epoch.
- Every entry remembers its clip family, class, styles and sentence: the same clip, its mirror image, the same class unless a
  style tells them apart, and all but identical sentences are masked, in the batch and in the queue alike.
- A pair of sentences that differ in the side they name is a true negative however close the sentence encoder puts them.

Source of the idea: AIGeeksGroup/ReMoMask ``Part_TMR`` (bidirectional momentum), Mathux/TMR (caption-similarity filter).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.part_momentum.model import Towers

SAME_SENTENCE = 0.9  # cosine of frozen sentence vectors above which two captions count as one
NO_STYLE = 0


@dataclass(frozen=True)
class Labels:
    """What is known of each item of a batch [B]: used only to decide which pairs are false negatives."""

    family: Tensor  # int64, one number for a take with its mirror image and spans
    group: Tensor  # int64, the class with its side; -1 unknown
    motion_style: Tensor  # int64, style of the motion, 0 none
    caption_style: Tensor  # int64, style the caption names, 0 none
    sentence: Tensor  # [B, S] frozen sentence vectors, unit
    sides: Tensor  # [B, 2] whether the caption says left, right

    def __len__(self) -> int:
        return len(self.family)


def false_negatives(queries: Labels, keys: Labels, *, styles: bool, to_text: bool, mask: bool = True) -> Tensor:
    """Pairs [B, N] that must not count as negatives; ``to_text``: queries are motions and keys captions, else reversed.

    Without ``mask`` only pairs of one take, which the other terms rest on.
    """
    same = queries.family[:, None] == keys.family[None]
    if not mask:
        return same
    same_group = (queries.group[:, None] == keys.group[None]) & (queries.group[:, None] >= 0)
    if styles:
        said = keys.caption_style[None] if to_text else queries.caption_style[:, None]
        moved = queries.motion_style[:, None] if to_text else keys.motion_style[None]
        same_group = same_group & ((said == NO_STYLE) | (said == moved))
    close = queries.sentence @ keys.sentence.T > SAME_SENTENCE
    one_side = (queries.sides[:, None] == keys.sides[None]).all(-1)
    if styles:
        close = close & (queries.caption_style[:, None] == keys.caption_style[None])
    return same | same_group | (close & one_side)


class Queue(nn.Module):
    """The last ``size`` momentum keys of both sides with their labels; empty at the start."""

    def __init__(self, size: int, dim: int, parts: int, views: int, sentence_dim: int) -> None:
        super().__init__()
        self.size, self.parts = size, parts
        for name, spaces in (("motion", 1 + parts + views), ("text", 1 + parts)):
            self.register_buffer(name, torch.zeros(size, spaces, dim))
        for name in ("family", "group", "motion_style", "caption_style"):
            self.register_buffer(name, torch.full((size,), -2))
        self.register_buffer("sentence", torch.zeros(size, sentence_dim))
        self.register_buffer("sides", torch.zeros(size, 2, dtype=torch.bool))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.long))

    def labels(self) -> Labels:
        """Labels of the valid entries."""
        n = int(self.get_buffer("filled"))
        return Labels(**{f.name: self.get_buffer(f.name)[:n] for f in fields(Labels)})

    def keys(self, side: str) -> Towers:
        """Valid keys of "motion" or "text"."""
        kept = self.get_buffer(side)[: int(self.get_buffer("filled"))]
        return Towers(kept[:, 0], kept[:, 1 : 1 + self.parts], kept[:, 1 + self.parts :])

    @torch.no_grad()
    def push(self, motion: Towers, text: Towers, labels: Labels) -> None:
        """Store a batch of momentum keys over the oldest entries."""
        cursor, filled = self.get_buffer("cursor"), self.get_buffer("filled")
        rows = (torch.arange(len(labels), device=cursor.device) + cursor) % self.size
        for name, towers in (("motion", motion), ("text", text)):
            self.get_buffer(name)[rows] = torch.cat([towers.whole[:, None], towers.parts, towers.views], 1)
        for field in fields(Labels):
            self.get_buffer(field.name)[rows] = getattr(labels, field.name)
        cursor.copy_((cursor + len(labels)) % self.size)
        filled.copy_((filled + len(labels)).clamp(max=self.size))


@dataclass(frozen=True)
class Hard:
    """Keys [H, D] that are wrong for the queries ``rows`` [H] and close to what is right."""

    rows: Tensor
    keys: Tensor


@dataclass(frozen=True)
class Losses:
    """Scalars of one step."""

    total: Tensor
    whole: Tensor
    parts: Tensor


def info_nce(queries: Tensor, keys: Tensor, masked: Tensor, scale: Tensor, hard: Hard | None = None) -> Tensor:
    """Cross entropy of ``queries`` [B, D] against ``keys`` [B + K, D], target the diagonal, ``masked`` [B, B + K] left out.

    ``hard`` brings one more key for some of the queries, each for its own query alone.
    """
    eye = torch.eye(len(queries), masked.shape[1], dtype=torch.bool, device=masked.device)
    logits = (scale * queries @ keys.T).masked_fill(masked & ~eye, float("-inf"))
    if hard is not None:
        own = logits.new_full((len(queries),), float("-inf"))
        own[hard.rows] = scale * (queries[hard.rows] * hard.keys).sum(-1)
        logits = torch.cat([logits, own[:, None]], 1)
    return F.cross_entropy(logits, torch.arange(len(queries), device=logits.device))


@dataclass(frozen=True)
class Keys:
    """What the slow copy makes of the same batch, and its queue of earlier ones."""

    motion: Towers
    text: Towers
    queue: Queue


def contrastive_loss(
    motion: Towers,
    text: Towers,
    labels: Labels,
    scale: Tensor,
    *,
    keys: Keys | None,
    hard: tuple[Tensor, Towers] | None = None,
    key_weight: float = 0.25,
    part_weight: float = 0.5,
    view_weight: float = 0.5,
    styles: bool = True,
    mask: bool = True,
) -> Losses:
    """Bidirectional InfoNCE on the whole and on every part.

    Within the batch both sides learn; against the slow copy's keys of the batch and of the queue only the queries do.
    Positives and negatives of one softmax always come from the same copy: mixed, the copies' difference is what is learned.
    """
    masked = partial(false_negatives, styles=styles, mask=mask)
    to_text, to_motion = masked(labels, labels, to_text=True), masked(labels, labels, to_text=False)
    if keys is not None:
        old = keys.queue.labels()
        far_text = torch.cat([to_text, masked(labels, old, to_text=True)], 1)
        far_motion = torch.cat([to_motion, masked(labels, old, to_text=False)], 1)

    def one_space(side: Callable[[Towers], Tensor], text_side: Callable[[Towers], Tensor]) -> Tensor:
        m, t = side(motion), text_side(text)
        near = None if hard is None else Hard(hard[0], text_side(hard[1]))
        cost = (info_nce(m, t, to_text, scale, near) + info_nce(t, m, to_motion, scale)) / 2
        if keys is None:
            return cost
        m_keys = torch.cat([side(keys.motion), side(keys.queue.keys("motion"))])
        t_keys = torch.cat([text_side(keys.text), text_side(keys.queue.keys("text"))])
        far = (info_nce(m, t_keys, far_text, scale) + info_nce(t, m_keys, far_motion, scale)) / 2
        return (1 - key_weight) * cost + key_weight * far

    whole = one_space(_whole, _whole)
    none = whole.new_zeros(())
    parts = views = none
    if part_weight and motion.parts.shape[1]:
        sides = [partial(_part, part=part) for part in range(motion.parts.shape[1])]
        parts = torch.stack([one_space(side, side) for side in sides]).mean()
    if view_weight and motion.views.shape[1]:
        sides = [partial(_view, view=view) for view in range(motion.views.shape[1])]
        views = torch.stack([one_space(side, _whole) for side in sides]).mean()
    return Losses(total=whole + part_weight * parts + view_weight * views, whole=whole, parts=parts)


def _whole(towers: Towers) -> Tensor:
    return towers.whole


def _part(towers: Towers, part: int) -> Tensor:
    return towers.parts[:, part]


def _view(towers: Towers, view: int) -> Tensor:
    return towers.views[:, view]
