"""Training of the residual transformer: one flat loop; a level is drawn for every sample, coarse ones more often.

- In training some of the coarser codes are replaced by others, since at generation they were sampled, not measured.
- Selection: cross entropy over all levels on the validation split.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoders.text import load_text_tower
from generator.conditions import Conditions, pooled_dim
from generator.residual import ResidualConfig, ResidualTransformer
from generator.tokenizer import Tokenizer
from generator.train.corpus import Corpus, Draw
from generator.train.masked import (
    CHUNKS,
    Batch,
    Progress,
    TokenTraining,
    collate,
    draw_batch,
    mean_loss,
    moved,
    read_corpora,
    summed_loss,
)
from generator.train.run import Run, draw_curves
from generator.train.tokenizer import settings
from generator.weights import fingerprint, load_tokenizer, save_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResidualTraining(TokenTraining):
    """How the residual transformer is trained."""

    model: ResidualConfig = field(default_factory=ResidualConfig)
    steps: int = 2000
    batch: int = 32
    warmup: int = 100
    ema: float = 0.995
    eval_every: int = 250
    exemplars: int = 2
    wrong_ids: float = 0.05


def train_residual(config: ResidualTraining, *, progress: Progress | None = None) -> Path:
    """Train (or resume) the run in ``config.out``; the folder of the best weights."""
    train, held = read_corpora(config)
    tokenizer = load_tokenizer(Path(config.tokenizer))
    tower = load_text_tower(config.text_tower)
    torch.manual_seed(config.seed)
    sizes = replace(config.model, pooled=pooled_dim(tower), words=tower.dim)
    model = ResidualTransformer(sizes, tokenizer.config)
    run = Run(config, model)
    tokenizer = tokenizer.to(run.device.name)
    shape = tokenizer.exemplar_shape
    levels = np.arange(1, tokenizer.config.levels)
    odds = (tokenizer.config.levels - levels + 1.0) / (tokenizer.config.levels - levels + 1.0).sum()
    log.info("%d clips, %d parameters, from step %d", len(train), sum(p.numel() for p in model.parameters()), run.step)
    weights = run.out / "weights"
    chunks, count = 1 if run.on_gpu else CHUNKS, config.exemplars if sizes.exemplars else 0
    if run.on_gpu and count:
        train.make_ready()

    def draw(rng: np.random.Generator) -> list[tuple[Batch, Tensor]]:
        batch = draw_batch(train, rng, config, shape, chunks, exemplars=count)
        return [(piece, torch.from_numpy(rng.choice(levels, len(piece[0]), p=odds))) for piece in batch]

    for step, batch in run.batches(draw):
        losses = []
        for piece, level in batch:
            ids, valid, conditions = moved(piece, run.device.name)
            with run.half_precision():
                losses.append(
                    residual_loss(
                        model, tokenizer, ids, valid, conditions, level.to(run.device.name), config.wrong_ids,
                        config.label_smoothing,
                    )
                )  # fmt: skip
        value = run.update(mean_loss(losses))
        if progress is not None:
            progress(step + 1, config.steps, {"loss": value})
        if run.due:
            score = validate(run.averaged, tokenizer, held, shape, run.device.name)
            log.info("step %d loss %.3f val %.3f", step + 1, value, score)
            record = {"loss": value, "score": -score}
            if run.record(record):
                notes = {"kind": "residual", "model": asdict(sizes), "tokenizer": fingerprint(Path(config.tokenizer)),
                         "text_tower": config.text_tower, "text_tower_sha256": tower.fingerprint,
                         "step": step + 1, **record, **settings(config)}  # fmt: skip
                save_model(run.averaged, weights, notes)
    draw_curves(run.out)
    return weights


def residual_loss(
    model: ResidualTransformer,
    tokenizer: Tokenizer,
    ids: Tensor,
    valid: Tensor,
    conditions: Conditions,
    level: Tensor,
    wrong: float = 0.0,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Summed cross entropy of ``level`` [B] of ``ids`` [B, R, N, levels], and how many tokens they are."""
    coarse = ids.clone()
    if wrong:
        noise = torch.randint_like(coarse, tokenizer.config.codes)
        coarse = torch.where(torch.rand(coarse.shape, device=ids.device) < wrong, noise, coarse)
    below = torch.arange(ids.shape[-1], device=ids.device) < level[:, None, None, None]
    latents = tokenizer.codes(coarse.masked_fill(~below, -1)).detach() * valid[:, None, :, None]
    logits = model(latents, level, valid, model.memory(conditions), tokenizer).float()
    target = ids.gather(-1, level[:, None, None, None].expand(*ids.shape[:-1], 1))[..., 0]
    real = valid[:, None].expand_as(target)
    return summed_loss(logits, target, real, smoothing), real.sum()


@torch.no_grad()
def validate(model: torch.nn.Module, tokenizer: Tokenizer, held: Corpus, shape: tuple[int, int], device: str) -> float:
    """Cross entropy a token on held-out clips, mean over levels."""
    assert isinstance(model, ResidualTransformer)
    model.eval()
    total, count = 0.0, 0.0
    for start in range(0, len(held), 64):
        draws = []
        for item in held.items[start : start + 64]:
            row = (item.human or item.plain)[0]
            tokens = item.tokens[0][0][:, : held.longest]
            near = held.exemplars_of(row, tokens.shape[1], 2, without=item) if model.config.exemplars else []
            draws.append(Draw(tokens, held.sentences[row], near))
        ids, valid, conditions = collate(draws, shape)
        for q in range(1, tokenizer.config.levels):
            level = torch.full((len(ids),), q, device=device)
            loss, n = residual_loss(model, tokenizer, ids.to(device), valid.to(device), conditions.to(device), level)
            total, count = total + float(loss), count + float(n)
    return total / count
