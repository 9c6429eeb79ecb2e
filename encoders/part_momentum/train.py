"""Training of a text-motion encoder: one flat loop from folders of captioned clips to a folder of weights.

- Selection is on the validation split (``validation``).
- The slow (momentum) copy gives the keys, in evaluation mode, and is what gets validated and saved where there is one.
- A run folder holds configuration, history, curves and a checkpoint of safetensors and JSON; a run resumes exactly:
  batches and dropout of a step depend on seed and step alone.
- Batches larger than a GPU's memory go through the motion towers in ``pieces`` (gradient cache).
- Several processes share one batch: each takes some of its pieces through the motion towers, all see the vectors of the whole,
  so that loss and weights are those of one process with the same ``batch`` and ``pieces``. The first validates and writes.
  GPUs: ``accelerate launch --multi_gpu --num_processes N .venv/bin/remora train retriever ...``;
  CPUs: ``.venv/bin/torchrun --nproc_per_node N -m remora train retriever ...``.
- The baseline is the same loop with the whole-body configuration: no parts, no queue, no slow copy.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from encoders.device import Device, choose_device
from encoders.errors import EncoderError
from encoders.part_momentum.checkpoint import Checkpoint, draw_curves
from encoders.part_momentum.config import TrainConfig
from encoders.part_momentum.data import TrainingSet, encode_kept, noisy
from encoders.part_momentum.loss import Queue
from encoders.part_momentum.model import VIEWS, TextMotionModel
from encoders.part_momentum.step import backward, move
from encoders.part_momentum.validation import Validation
from encoders.run_state import RUN, claim_run, write_atomically
from encoders.team import device_for, rank_of, said_by_first, team
from encoders.text import load_text_tower
from encoders.training_clips import captioned_clips, mark_of
from encoders.wordings import read_wordings
from motion import Clip
from motion.features import mirror_columns, part_features
from motion.synth import synthesise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """Where the weights lie and what they scored on validation."""

    weights: Path
    steps: int
    best_step: int
    best_score: float
    seconds: float
    parameters: int
    rank: int = 0  # of the process; the first alone knows scores


Progress = Callable[[int, int, Mapping[str, float]], None]


def train_retriever(config: TrainConfig, *, progress: Progress | None = None) -> TrainReport:
    """Train (or resume) the run in ``config.out`` and write its weights folder; see the module docstring."""
    started = time.monotonic()
    processes = team()
    rank = rank_of(processes)
    device = choose_device(device_for(processes, config.device))
    log.info("training on %s (%s)", device.name, device.reason)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    tower = load_text_tower(config.model.text_tower, device.name)
    config = replace(config, model=replace(config.model, text_dim=tower.dim))
    claim_run(out, asdict(config))

    bank = read_wordings(Path(config.wordings) if config.wordings else None)
    spec = part_features(config.model.features)
    cache = out.parent / f"sentences-{tower.fingerprint[:16]}.parquet"
    train, held_out = training_clips(config)
    settings = claim_run(out, asdict(config), mark_of([*train, *held_out]))
    if rank == 0:
        write_atomically(out / RUN, settings)
    data = TrainingSet(train, spec=spec, tower=tower, bank=bank, seed=config.seed, cache=cache)
    validation = Validation(held_out, data, bank, partial(encode_kept, tower, cache))

    torch.manual_seed(config.seed)
    signs = torch.from_numpy(mirror_columns(spec).signs)
    model = TextMotionModel(config.model, signs).to(device.name)
    slow = copy.deepcopy(model).eval().requires_grad_(requires_grad=False) if config.momentum else None
    queue = None if slow is None or not config.queue else _queue(config).to(device.name)
    optimiser = torch.optim.AdamW(_decay_groups(model, config.weight_decay), lr=config.lr, betas=(0.9, 0.98))
    scaler = torch.amp.GradScaler(enabled=use_half_precision(device, config))
    run = Checkpoint(out, model, slow, queue, optimiser)
    first = run.resume()
    parameters = sum(p.numel() for p in model.parameters())
    tell = log.info if rank == 0 else log.debug
    tell("%d clips, %d sentences, %d parameters, from step %d", len(data), len(data.sentences.index), parameters, first)

    stopped = bool(config.patience) and run.stale(config.patience)
    for step in range(first, first if stopped else config.steps):
        rng = np.random.default_rng([config.seed, step])
        torch.manual_seed(config.seed * 1_000_003 + step)
        batch = data.draw(config.batch, rng, max_frames=config.max_frames, styled=config.styled)
        batch = move(batch, device.name)
        batch = replace(batch, features=noisy(batch.features, spec, config.quirk))
        for group in optimiser.param_groups:
            group["lr"] = config.lr * schedule(step, config)
        model.train()
        optimiser.zero_grad(set_to_none=True)
        done = backward(model, slow, queue, batch, config, scaler, processes)
        scaler.unscale_(optimiser)
        clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
        if slow is not None:
            follow(slow, model, min(config.momentum, (step + 1) / (step + 10)))
        if done.keys is not None:
            done.keys.queue.push(done.keys.motion, done.keys.text, batch.labels)
        loss = float(done.total)
        if not math.isfinite(loss):
            raise EncoderError(f"the loss is {loss} at step {step}; lower --lr (now {config.lr}) and resume")
        if progress is not None and rank == 0:
            progress(step + 1, config.steps, {"loss": loss, "best": run.best_score})
        if (step + 1) % config.eval_every and step + 1 < config.steps:
            continue
        if rank == 0:
            scores = validation.score(slow or model, device.name)
            record = {
                "step": step + 1,
                "loss": float(done.losses.whole.detach()),
                "parts": float(done.losses.parts.detach()),
                **scores,
            }
            run.save(record, weights=slow or model, config=config, data=data, tower=tower)
            tell("%s", " ".join(f"{k} {v:.4g}" for k, v in record.items()))
        if config.patience and said_by_first(processes, rank == 0 and run.stale(config.patience)):
            tell("no better for %d evaluations: stopped at step %d", config.patience, step + 1)
            break
    if rank == 0:
        draw_curves(out)
    seconds = time.monotonic() - started
    return TrainReport(out / "weights", run.step, run.best_step, run.best_score, seconds, parameters, rank)


def use_half_precision(device: Device, config: TrainConfig) -> bool:
    """Whether this run computes in half precision; where not, a GPU still multiplies matrices in TF32."""
    if device.name != "cpu":
        torch.set_float32_matmul_precision("high")
    return config.amp and device.half_precision


def schedule(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to 1 % of the rate."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


@torch.no_grad()
def follow(slow: TextMotionModel, model: TextMotionModel, momentum: float) -> None:
    """Move the slow copy towards the model; called in training only."""
    for target, value in zip(slow.parameters(), model.parameters(), strict=True):
        target.lerp_(value, 1 - momentum)


def _queue(config: TrainConfig) -> Queue:
    parts = len(config.model.parts)
    return Queue(config.queue, config.model.dim, parts, VIEWS if parts else 0, config.model.text_dim)


def _decay_groups(model: TextMotionModel, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


# ---- what it reads -------------------------------------------------------------------------------------------------


def read_clips(config: TrainConfig, split: str) -> list[Clip]:
    """Clips of one split of all data folders, without the excluded sources."""
    return [c for c in captioned_clips(config.data, split) if c.source.dataset not in config.exclude_sources]


def training_clips(config: TrainConfig) -> tuple[list[Clip], list[Clip]]:
    """What is trained on (the train split and the synthetic clips) and what is validated on (the val split and persons).

    A class that is left out is in neither, also not as one of two synthetic events.
    """
    clips = read_clips(config, "train")
    train = [clip for clip in clips if clip.source.subject not in config.validation_subjects]
    persons = [clip for clip in clips if clip.source.subject in config.validation_subjects]
    train += synthesise(config.synthetic, seed=config.seed)
    held_out = read_clips(config, "val") + persons

    def trained(clip: Clip) -> bool:
        return not set(clip.labels.get("class_id", "").split("_then_")) & set(config.exclude_classes)

    return list(filter(trained, train)), list(filter(trained, held_out))
