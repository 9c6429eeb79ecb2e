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
from torch.nn import functional as F

from encoders.text import load_text_tower
from generator.conditions import Conditions, pooled_dim
from generator.residual import ResidualConfig, ResidualTransformer
from generator.tokenizer import Tokenizer
from generator.train.corpus import Corpus, Draw
from generator.train.masked import Progress, TokenTraining, collate, dropped, read_corpora
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
    for step, rng in run.steps():
        rows = rng.choice(len(train), config.batch, p=train.odds)
        draws = sorted((train.draw(int(i), rng, exemplars=0) for i in rows), key=lambda d: d.tokens.shape[1])
        losses, count = [], 0.0
        for piece in np.array_split(np.arange(len(draws)), 3):
            ids, valid, conditions = collate([draws[i] for i in piece], shape)
            conditions = dropped(conditions, config, rng).to(run.device.name)
            level = torch.from_numpy(rng.choice(levels, len(ids), p=odds))
            with run.half_precision():
                loss, n = residual_loss(
                    model, tokenizer, ids.to(run.device.name), valid.to(run.device.name), conditions,
                    level.to(run.device.name), config.wrong_ids, config.label_smoothing,
                )  # fmt: skip
            losses.append(loss)
            count += n
        value = run.update(torch.stack(losses).sum() / count)
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
) -> tuple[Tensor, float]:
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
    loss = F.cross_entropy(logits[real], target[real], label_smoothing=smoothing, reduction="sum")
    return loss, float(real.sum())


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
            draws.append(Draw(item.tokens[0][0][:, : held.longest], held.sentences[row], []))
        ids, valid, conditions = collate(draws, shape)
        for q in range(1, tokenizer.config.levels):
            level = torch.full((len(ids),), q, device=device)
            loss, n = residual_loss(model, tokenizer, ids.to(device), valid.to(device), conditions.to(device), level)
            total, count = total + float(loss), count + n
    return total / count
