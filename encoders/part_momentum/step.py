"""One step of training: vectors of a batch by both copies, the loss, and its gradients.

With ``pieces`` motions go through the towers a few at a time, first without a graph; when the loss of the whole batch has been
taken to the vectors, each piece is computed once more and the gradients go on to the weights. The loss is that of the whole
batch, the memory that of a piece. Several processes share a batch so: each computes some pieces, all have the whole loss.

Source: Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (gradient cache).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import smooth_l1_loss

from encoders.device import seeded
from encoders.errors import EncoderError
from encoders.part_momentum.config import TrainConfig
from encoders.part_momentum.data import Batch
from encoders.part_momentum.loss import Keys, Losses, Queue, contrastive_loss
from encoders.part_momentum.model import TextMotionModel, Towers, stretches
from encoders.team import rank_of, together

PIECES = 4  # of a batch that a process takes, where their size is not given


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
    processes: Any = None,
) -> Done:
    """Gradients of the loss of ``batch`` added to those of ``model``, scaled by ``scaler``; the same in all ``processes``."""
    kind = batch.features.device.type

    def half() -> torch.autocast:
        return torch.autocast(kind, enabled=scaler.is_enabled())

    pieces = Pieces(batch, config.pieces, half, processes) if config.pieces or processes is not None else None
    with half():
        if pieces is not None:
            moved = Towers(*(vectors.requires_grad_() for vectors in vars(pieces.embed(model)).values()))
            text: Towers = model.text(batch.labels.sentence, batch.cues)
        else:
            motion, text = embed(model, batch)
            moved = as_float(motion)
    keys = None
    if slow is not None and queue is not None:
        with torch.no_grad():
            if pieces is not None:
                old_motion, old_text = pieces.embed(slow), slow.text(batch.labels.sentence, batch.cues)
            else:
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
    if pieces is not None:
        pieces.backward(model, moved)
    return Done(total.detach(), losses, keys)


class Pieces:
    """A batch cut into pieces of clips of like length; each process takes some of them through the motion towers.

    A piece brings the seed of its own dropout: the second pass drops what the first dropped, whichever process runs it.

    Raises:
        EncoderError: there are fewer pieces than processes.
    """

    def __init__(self, batch: Batch, clips: int, half: Callable[[], torch.autocast], processes: Any = None) -> None:
        count = 1 if processes is None else int(processes.num_processes)
        lengths = batch.mask.sum(1)
        self._pieces = lengths.argsort(stable=True).split(clips or -(-len(batch.features) // (PIECES * count)))
        if len(self._pieces) < count:
            raise EncoderError(f"{count} processes cannot share a batch of {len(self._pieces)} pieces; raise --batch")
        self._longest = [int(lengths[rows].max()) for rows in self._pieces]
        self._seeds = torch.randint(2**62, (len(self._pieces),)).tolist()
        self._own = range(rank_of(processes), len(self._pieces), count)
        self._batch, self._half, self._processes = batch, half, processes

    def _through(self, model: TextMotionModel, piece: int) -> Towers:
        device, (rows, longest) = self._batch.features.device, (self._pieces[piece], self._longest[piece])
        with seeded(self._seeds[piece], device), self._half():
            return as_float(model.motion(self._batch.features[rows, :longest], self._batch.mask[rows, :longest]))

    @torch.no_grad()
    def embed(self, model: TextMotionModel) -> Towers:
        """Motion vectors of the whole batch, without a graph."""
        whole: list[torch.Tensor] = []
        for piece in self._own:
            made = list(vars(self._through(model, piece)).values())
            whole = whole or [x.new_zeros(len(self._batch.features), *x.shape[1:]) for x in made]
            for vectors, some in zip(whole, made, strict=True):
                vectors[self._pieces[piece]] = some
        return Towers(*(together(self._processes, vectors) if vectors.numel() else vectors for vectors in whole))

    def backward(self, model: TextMotionModel, vectors: Towers) -> None:
        """Take the gradients of ``vectors`` on to the weights of the motion towers, and share all gradients."""
        for piece in self._own:
            again, rows = vars(self._through(model, piece)), self._pieces[piece]
            pairs = [(again[k], v.grad[rows]) for k, v in vars(vectors).items() if v.grad is not None]
            torch.autograd.backward([out for out, _ in pairs], [gradient for _, gradient in pairs])
        if self._processes is None:
            return
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:  # all else was computed in full by every process
                share = 1 if name.startswith("motion.") else 1 / self._processes.num_processes
                parameter.grad = together(self._processes, parameter.grad * share)


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
