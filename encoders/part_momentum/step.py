"""One step of training: vectors of a batch by both copies, the loss, and its gradients.

With ``pieces`` motions go through the towers a few at a time, first without a graph; when the loss of the whole batch has been
taken to the vectors, each piece is computed once more and the gradients go on to the weights. The loss is that of the whole
batch, the memory that of a piece.

Source: Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (gradient cache).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import smooth_l1_loss

from encoders.device import random_state, set_random_state
from encoders.errors import EncoderError
from encoders.part_momentum.config import TrainConfig
from encoders.part_momentum.data import Batch
from encoders.part_momentum.loss import Keys, Losses, Queue, contrastive_loss
from encoders.part_momentum.model import TextMotionModel, Towers, stretches


@dataclass(frozen=True)
class Done:
    """What a step made: ``total`` [] as minimised, its terms, and the slow copy's keys of the batch."""

    total: torch.Tensor
    losses: Losses
    keys: Keys | None


def backward(
    model: TextMotionModel,
    slow: TextMotionModel | None,
    queue: Queue | None,
    batch: Batch,
    config: TrainConfig,
    scaler: torch.amp.GradScaler,
) -> Done:
    """Gradients of the loss of ``batch`` added to those of ``model``, scaled by ``scaler``."""
    kind = batch.features.device.type

    def half() -> torch.autocast:
        return torch.autocast(kind, enabled=scaler.is_enabled())

    finish: Callable[[], None] | None = None
    with half():
        if config.pieces:
            moved, finish = embed_in_pieces(model, batch, config.pieces, half)
            text: Towers = model.text(batch.labels.sentence, batch.cues)
        else:
            motion, text = embed(model, batch)
            moved = as_float(motion)
    keys = None
    if slow is not None and queue is not None:
        with torch.no_grad():
            old_motion, old_text = embed(slow, batch)
        keys = Keys(as_float(old_motion), as_float(old_text), queue)
    told = as_float(text)
    losses = contrastive_loss(
        moved, told, batch.labels, model.scale,
        keys=keys, hard=hard_negatives(model, batch) if config.hard else None, key_weight=config.key_weight,
        part_weight=config.part_weight, view_weight=config.view_weight, styles=config.styles, mask=config.mask,
    )  # fmt: skip
    total = losses.total
    if config.reconstruction:
        total = total + config.reconstruction * rebuilding(model, batch, moved, told)
    scaler.scale(total).backward()
    if finish is not None:
        finish()
    return Done(total.detach(), losses, keys)


def embed_in_pieces(
    model: TextMotionModel, batch: Batch, clips: int, half: Callable[[], torch.autocast]
) -> tuple[Towers, Callable[[], None]]:
    """Motion vectors of a batch as leaves of the graph, ``clips`` at a time, and what takes their gradients to the weights."""
    pieces = torch.arange(len(batch.features), device=batch.features.device).split(clips)
    states, outs = [], []
    with torch.no_grad():
        for rows in pieces:
            states.append(random_state(rows.device))
            outs.append(as_float(model.motion(batch.features[rows], batch.mask[rows])))
    leaves = Towers(
        *(torch.cat(found).requires_grad_() for found in zip(*(vars(o).values() for o in outs), strict=True))
    )

    def finish() -> None:
        now = random_state(batch.features.device)
        for rows, state in zip(pieces, states, strict=True):
            set_random_state(state, rows.device)
            with half():
                again = as_float(model.motion(batch.features[rows], batch.mask[rows]))
            pairs = [
                (o, x.grad[rows])
                for o, x in zip(vars(again).values(), vars(leaves).values(), strict=True)
                if x.grad is not None
            ]
            torch.autograd.backward([out for out, _ in pairs], [gradient for _, gradient in pairs])
        set_random_state(now, batch.features.device)

    return leaves, finish


def embed(model: TextMotionModel, batch: Batch) -> tuple[Towers, Towers]:
    """Motion and text vectors of a batch; on a CPU motions of like length go together, with little padding."""
    chunks = 1 if batch.mask.is_cuda else 4
    lengths = batch.mask.sum(1)
    order = lengths.argsort()
    outs = []
    for rows in order.chunk(chunks):
        longest = int(lengths[rows].max())
        outs.append(model.motion(batch.features[rows, :longest], batch.mask[rows, :longest]))
    back = order.argsort()
    motion = Towers(*(torch.cat(pieces)[back] for pieces in zip(*(vars(o).values() for o in outs), strict=True)))
    text: Towers = model.text(batch.labels.sentence, batch.cues)
    return motion, text


def hard_negatives(model: TextMotionModel, batch: Batch) -> tuple[torch.Tensor, Towers]:
    """Rows of the batch that have a caption wrong by its side or order alone, and that caption embedded."""
    return batch.hard_rows, as_float(model.text(batch.hard_sentence, batch.hard_cues))


def rebuilding(model: TextMotionModel, batch: Batch, motion: Towers, text: Towers) -> torch.Tensor:
    """How far the motion rebuilt from its own vector, and from its caption's, is from what it is: TMR's further loss."""
    if model.decoder is None:
        raise EncoderError('"reconstruction" needs a model with a decoder; set "model": {"decoder": true}')
    target = stretches(batch.features, batch.mask)
    return torch.stack([smooth_l1_loss(model.decoder(side.whole), target) for side in (motion, text)]).sum()


def as_float(towers: Towers) -> Towers:
    """Single precision for the loss."""
    return Towers(*(x.float() for x in vars(towers).values()))


def move(batch: Batch, device: str) -> Batch:
    """The same batch on ``device``."""
    labels = type(batch.labels)(**{k: v.to(device) for k, v in vars(batch.labels).items()})
    moved = {k: v.to(device) for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return replace(batch, labels=labels, **moved)
