"""Training of a text-motion encoder: one flat loop from folders of captioned clips to a folder of weights.

- Selection is on the validation split: class retrieval with the class sentence and with held-out wordings, averaged.
- The slow (momentum) copy gives the keys, in evaluation mode, and is what gets validated and saved where there is one.
- A run folder holds configuration, history, curves and a checkpoint of safetensors and JSON; a run resumes exactly:
  batches and dropout of a step depend on seed and step alone.
- The baseline is the same loop with the whole-body configuration: no parts, no queue, no slow copy.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from encoders.device import choose_device
from encoders.errors import EncoderError
from encoders.part_momentum.checkpoint import Checkpoint, draw_curves, write_atomically
from encoders.part_momentum.config import TrainConfig
from encoders.part_momentum.data import Batch, TrainingSet, clip_features, pad
from encoders.part_momentum.encoder import length_batches
from encoders.part_momentum.loss import Keys, Queue, contrastive_loss
from encoders.part_momentum.model import TextMotionModel, Towers
from encoders.text import TextTower, lexical_features, load_text_tower
from encoders.wordings import WordingBank, read_wordings
from motion import Clip
from motion.features import mirror_columns, part_features

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


Progress = Callable[[int, int, Mapping[str, float]], None]


def train_retriever(config: TrainConfig, *, progress: Progress | None = None) -> TrainReport:
    """Train (or resume) the run in ``config.out`` and write its weights folder; see the module docstring."""
    started = time.monotonic()
    device = choose_device(config.device)
    log.info("training on %s (%s)", device.name, device.reason)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    tower = load_text_tower(config.model.text_tower, device.name)
    config = replace(config, model=replace(config.model, text_dim=tower.dim))
    _write_run(config, out)

    bank = read_wordings(Path(config.wordings) if config.wordings else None)
    spec = part_features(config.model.features)
    data = TrainingSet(training_clips(config), spec=spec, tower=tower, bank=bank, seed=config.seed)
    validation = Validation(read_clips(config, "val"), data, bank, tower)

    torch.manual_seed(config.seed)
    signs = torch.from_numpy(mirror_columns(spec).signs)
    model = TextMotionModel(config.model, signs).to(device.name)
    slow = copy.deepcopy(model).eval().requires_grad_(requires_grad=False) if config.momentum else None
    queue = None
    if slow is not None and config.queue:
        queue = Queue(config.queue, config.model.dim, len(config.model.parts), config.model.text_dim).to(device.name)
    optimiser = torch.optim.AdamW(_decay_groups(model, config.weight_decay), lr=config.lr, betas=(0.9, 0.98))
    scaler = torch.amp.GradScaler(enabled=device.half_precision)
    run = Checkpoint(out, model, slow, queue, optimiser)
    first = run.resume()
    parameters = sum(p.numel() for p in model.parameters())
    log.info(
        "%d clips, %d sentences, %d parameters, from step %d", len(data), len(data.sentences.index), parameters, first
    )

    for step in range(first, config.steps):
        rng = np.random.default_rng([config.seed, step])
        torch.manual_seed(config.seed * 1_000_003 + step)
        batch = data.draw(config.batch, rng, max_frames=config.max_frames, styled=config.styled, blend=config.blend)
        batch = move(batch, device.name)
        for group in optimiser.param_groups:
            group["lr"] = config.lr * schedule(step, config)
        model.train()
        with torch.autocast(device.name.split(":")[0], enabled=device.half_precision):
            motion, text = embed(model, batch)
        keys = None
        if slow is not None and queue is not None:
            with torch.no_grad():
                keys = Keys(*embed(slow, batch), queue)
        losses = contrastive_loss(
            as_float(motion), as_float(text), batch.labels, model.scale,
            keys=keys, key_weight=config.key_weight, part_weight=config.part_weight, styles=config.styles,
        )  # fmt: skip
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(losses.total).backward()
        scaler.unscale_(optimiser)
        clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
        if slow is not None:
            follow(slow, model, min(config.momentum, (step + 1) / (step + 10)))
        if keys is not None:
            keys.queue.push(keys.motion, keys.text, batch.labels)
        loss = float(losses.total.detach())
        if not math.isfinite(loss):
            raise EncoderError(f"the loss is {loss} at step {step}; lower --lr (now {config.lr}) and resume")
        if progress is not None:
            progress(step + 1, config.steps, {"loss": loss, "best": run.best_score})
        if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
            scores = validation.score(slow or model, device.name)
            record = {
                "step": step + 1,
                "loss": float(losses.whole.detach()),
                "parts": float(losses.parts.detach()),
                **scores,
            }
            run.save(record, weights=slow or model, config=config, data=data, tower=tower)
            log.info("%s", " ".join(f"{k} {v:.4g}" for k, v in record.items()))
            if config.patience and run.stale(config.patience):
                break
    draw_curves(out)
    weights = out / "weights"
    return TrainReport(weights, run.step, run.best_step, run.best_score, time.monotonic() - started, parameters)


def embed(model: TextMotionModel, batch: Batch, chunks: int = 4) -> tuple[Towers, Towers]:
    """Motion and text vectors of a batch; motions of like length go through the tower together, with little padding."""
    lengths = batch.mask.sum(1)
    order = lengths.argsort()
    outs = []
    for rows in order.chunk(chunks):
        longest = int(lengths[rows].max())
        outs.append(model.motion(batch.features[rows, :longest], batch.mask[rows, :longest]))
    back = order.argsort()
    motion = Towers(torch.cat([o.whole for o in outs])[back], torch.cat([o.parts for o in outs])[back])
    text: Towers = model.text(batch.labels.sentence, batch.lexical)
    return motion, text


def as_float(towers: Towers) -> Towers:
    """Single precision for the loss."""
    return Towers(towers.whole.float(), towers.parts.float())


def move(batch: Batch, device: str) -> Batch:
    """The same batch on ``device``."""
    labels = type(batch.labels)(**{k: v.to(device) for k, v in vars(batch.labels).items()})
    return Batch(batch.features.to(device), batch.mask.to(device), labels, batch.lexical.to(device))


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


def _decay_groups(model: TextMotionModel, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


# ---- what it reads -------------------------------------------------------------------------------------------------


def read_clips(config: TrainConfig, split: str) -> list[Clip]:
    """Clips of one split of all data folders, without the excluded sources."""
    from motion.files import open_source

    clips: list[Clip] = []
    for folder in config.data:
        for take in open_source(Path(folder), split=split):
            clips.extend(take.read())
    return [clip for clip in clips if clip.source.dataset not in config.exclude_sources]


def training_clips(config: TrainConfig) -> list[Clip]:
    """The train split and the synthetic clips."""
    clips = read_clips(config, "train")
    if config.synthetic:
        from motion.synth import synthesise

        clips += synthesise(config.synthetic, seed=config.seed)
    return clips


# ---- validation ----------------------------------------------------------------------------------------------------


class Validation:
    """Class retrieval on the validation split: mAP of class sentences, of held-out wordings, and of parts alone."""

    def __init__(self, clips: Sequence[Clip], data: TrainingSet, bank: WordingBank, tower: TextTower) -> None:
        self._features = [data.normaliser(clip_features(clip, data.spec)) for clip in clips]
        classes = [clip.labels.get("class_id", "") for clip in clips]
        texts = {clip.labels.get("class_id", ""): clip.labels.get("class_text", "") for clip in clips}
        pairs = {"plain": [(c, t) for c, t in texts.items() if t]}
        pairs["wordings"] = [(c, w) for c in texts for w in bank.held_out.get(c, ())]
        self._queries = {}
        for name, rows in pairs.items():
            if rows:
                sentences = [text for _, text in rows]
                relevant = np.array([[own == c for own in classes] for c, _ in rows])
                vectors = torch.from_numpy(tower.encode(sentences)), torch.from_numpy(lexical_features(sentences))
                self._queries[name] = (*vectors, relevant)

    @torch.inference_mode()
    def score(self, model: TextMotionModel, device: str) -> dict[str, float]:
        """MAP by kind of query; ``score`` is their mean, the criterion of selection."""
        if not self._features or not self._queries:
            return {"score": 0.0}
        training = model.training
        model.eval()
        whole = torch.zeros(len(self._features), model.config.dim)
        for rows in length_batches([len(x) for x in self._features], 8192):
            x, mask = pad([self._features[i] for i in rows])
            whole[rows] = model.motion(x.to(device), mask.to(device)).whole.float().cpu()
        scores = {}
        for name, (sentence, lexical, relevant) in self._queries.items():
            queries = model.text(sentence.to(device), lexical.to(device)).whole.float().cpu()
            scores[name] = mean_average_precision((queries @ whole.T).numpy(), relevant)
        model.train(training)
        return scores | {"score": sum(scores.values()) / len(scores)}


def mean_average_precision(scores: np.ndarray[Any, Any], relevant: np.ndarray[Any, Any]) -> float:
    """Mean over queries of average precision, ``scores`` and ``relevant`` [Q, N]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hit = np.take_along_axis(relevant, order, axis=1)
    precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1)).mean())


def _write_run(config: TrainConfig, out: Path) -> None:
    path, text = out / "run.json", json.dumps(asdict(config), indent=2, sort_keys=True) + "\n"
    if path.is_file() and (out / "checkpoint.json").is_file():
        before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
        changed = sorted(k for k in now if k not in ("device", "eval_every") and before.get(k) != now[k])
        if changed:
            raise EncoderError(
                f"{out} holds a run with other settings ({', '.join(changed)}); resume it unchanged or use another --out"
            )
    write_atomically(path, text)
