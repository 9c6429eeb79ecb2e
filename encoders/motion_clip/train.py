"""Training of ``motionclip``, and of a CLIP text tower on motion with a tether: one loop.

- The motion tower learns to land where the frozen text tower puts the motion's captions; symmetric InfoNCE, learned
  temperature. Pairs that share their caption or class are no negatives of one another.
- In the last ``tuned_steps`` the text tower trains too, at its own small rate, held by the tether: the squared distance of what
  it says now from what it said before, summed over coordinates (2 - 2 cosine), not averaged into nothing.
- Selection is on the validation split, where a text tower is tuned among the steps that tune it. A run that was killed goes on
  from its last evaluation (:mod:`encoders.run_state`).
- The run writes what :mod:`encoders.motion_clip.encoder` loads, with the tuned tower as
  an ordinary transformers folder in ``text/``: any model that is conditioned on CLIP can load that.

Source of the idea: MoCLIP (TeCSAR-UNCC/MoCLIP ``train_moCLIP.py``), without its defects: positions are those of frames, padding
is masked, the tether is felt.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.device import choose_device
from encoders.errors import EncoderError
from encoders.hub_towers import ClipTower
from encoders.motion_clip.encoder import features_of
from encoders.motion_clip.model import MotionClipConfig, MotionTower
from encoders.part_momentum.data import pad
from encoders.part_momentum.encoder import length_batches
from encoders.run_state import RUN, RunState, claim_run, save_atomically, write_atomically
from encoders.text import TextTower, load_text_tower
from encoders.training_clips import captioned_clips, mark_of
from motion import Clip

log = logging.getLogger(__name__)

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class MotionClipTraining:
    """Everything a run depends on; written to ``run.json``."""

    data: tuple[str, ...]
    out: str
    name: str = "motionclip"
    text_tower: str = "minilm"
    model: MotionClipConfig = field(default_factory=MotionClipConfig)
    steps: int = 3000
    tuned_steps: int = 0  # the last ones, in which the text tower trains too
    tether: float = 1.0
    batch: int = 64
    lr: float = 1e-4
    text_lr: float = 1e-6
    warmup: int = 100
    evaluate_every: int = 200
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class _Pairs:
    """Clips ready for training: features, rows of their captions, and what makes two of them the same."""

    features: list[NDArray[np.float32]]
    captions: list[list[int]]
    classes: NDArray[np.int64]
    sentences: list[str]


def train_motion_clip(config: MotionClipTraining, *, progress: Progress | None = None) -> Path:
    """Train and write ``config.out``/weights; its path.

    Raises:
        EncoderError: no captioned clip, the run folder is another run's, or a tower that cannot be tuned is to be.
    """
    device = choose_device(config.device).name
    out = Path(config.out)
    tower = load_text_tower(config.text_tower, device)
    if config.tuned_steps and not isinstance(tower, ClipTower):
        raise EncoderError(
            f"only a CLIP text tower can be tuned, not {config.text_tower!r}; give clip:FOLDER-OR-HUB-ID"
        )
    config = replace(config, model=replace(config.model, dim=tower.dim, text_tower=config.text_tower))
    claim_run(out, asdict(config))
    clips = {split: _clips(config, split) for split in ("train", "val")}
    settings = claim_run(out, asdict(config), mark_of([*clips["train"], *clips["val"]]))
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / RUN, settings)
    train, val = (_pairs(found, config) for found in clips.values())
    mean, std = _normaliser(train.features)
    train, val = (replace(p, features=[(x - mean) / std for x in p.features]) for p in (train, val))
    torch.manual_seed(config.seed)
    model = MotionTower(config.model).to(device)
    scale = nn.Parameter(torch.tensor(math.log(1 / 0.07), device=device))
    groups = [{"params": [*model.parameters(), scale], "lr": config.lr}]
    if isinstance(tower, ClipTower) and config.tuned_steps:
        groups.append({"params": list(tower.module.parameters()), "lr": config.text_lr})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    base = [group["lr"] for group in optimiser.param_groups]
    teacher = torch.from_numpy(tower.encode(train.sentences)).to(device)
    scalar = nn.Module()
    scalar.register_parameter("scale", scale)
    modules = {"model": model, "temperature": scalar}
    if isinstance(tower, ClipTower) and config.tuned_steps:
        modules["text"] = tower.module
    run = RunState(out, modules, optimiser)
    for step in range(run.resume(), config.steps):
        rng = np.random.default_rng([config.seed, step])
        torch.manual_seed(config.seed * 1_000_003 + step)
        tuned = step >= config.steps - config.tuned_steps
        for group, rate in zip(optimiser.param_groups, base, strict=True):
            group["lr"] = rate * _schedule(step, config)
        rows = rng.choice(len(train.features), min(config.batch, len(train.features)), replace=False)
        said = np.array([train.captions[row][rng.integers(len(train.captions[row]))] for row in rows])
        x, mask = pad([train.features[row][: config.model.frames] for row in rows])
        motion = model.train()(x.to(device), mask.to(device))
        text = teacher[said]
        loss = torch.zeros((), device=device)
        if tuned and isinstance(tower, ClipTower):
            text = tower.embed([train.sentences[i] for i in said])
            loss = config.tether * (2 - 2 * (text * teacher[said]).sum(-1)).mean()
        loss = loss + contrastive(motion, text, scale.exp().clamp(max=100), _same(train, rows, said).to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        last = step + 1 == config.steps
        if (step + 1) % config.evaluate_every == 0 or last:
            score = _validate(model.eval(), tower, val, device)
            value = float(loss.detach())
            log.info("step %d: loss %.3f, validation mAP %.3f", step + 1, value, score)
            run.step = step + 1
            if score > run.best_score and (tuned or not config.tuned_steps):
                run.best_step, run.best_score = step + 1, score
                write_folder(out / "weights", model, tower, mean, std, config, score)
            run.keep()
            if progress is not None:
                progress(step + 1, config.steps, {"loss": value, "mAP": score})
    return out / "weights"


def contrastive(motion: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE of unit vectors [B, D]; pairs that are the ``same`` [B, B] are left out of the negatives."""
    logits = scale * motion @ text.T
    logits = logits.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool, device=same.device), -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def write_folder(
    folder: Path,
    model: MotionTower,
    tower: TextTower,
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    config: MotionClipTraining,
    score: float,
) -> None:
    """The layout of the published folder, weights as safetensors; a tuned text tower as ``text/``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().half().cpu().contiguous() for k, v in model.state_dict().items()}
    save_atomically(tensors, folder / "model.safetensors")
    np.save(folder / "mean.npy", mean, allow_pickle=False)
    np.save(folder / "std.npy", std, allow_pickle=False)
    if config.tuned_steps and isinstance(tower, ClipTower):
        tower.save(folder / "text")
    data = {"name": config.name, "model": asdict(config.model), "validation": round(score, 4)}
    write_atomically(folder / "config.json", json.dumps(data, indent=2, sort_keys=True) + "\n")


def _clips(config: MotionClipTraining, split: str) -> list[Clip]:
    clips = [c for c in captioned_clips(config.data, split) if c.captions and len(c) > 1]
    if len(clips) < 2:
        raise EncoderError(
            f"{', '.join(config.data)}: {len(clips)} captioned clips of split {split!r}; two or more are needed"
        )
    return clips


def _pairs(clips: Sequence[Clip], config: MotionClipTraining) -> _Pairs:
    sentences: dict[str, int] = {}
    captions = [[sentences.setdefault(c.text, len(sentences)) for c in clip.captions] for clip in clips]
    classes: dict[str, int] = {}
    names = [clip.labels.get("class_id", "") for clip in clips]
    numbers = [classes.setdefault(name, len(classes)) if name else -1 for name in names]
    features = [features_of(clip, config.model.heading) for clip in clips]
    return _Pairs(features, captions, np.array(numbers), list(sentences))


def _normaliser(features: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    frames = np.concatenate(features)
    return frames.mean(0), np.maximum(frames.std(0), 0.02).astype(np.float32)


def _same(pairs: _Pairs, rows: NDArray[np.int64], said: NDArray[np.int64]) -> Tensor:
    classes = pairs.classes[rows]
    return torch.from_numpy((said[:, None] == said) | ((classes[:, None] == classes) & (classes >= 0)))


def _schedule(step: int, config: MotionClipTraining) -> float:
    warm = min((step + 1) / max(config.warmup, 1), 1.0)
    return warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def _validate(model: MotionTower, tower: TextTower, val: _Pairs, device: str) -> float:
    """Mean average precision of captions over the validation clips; a clip is right that has the caption."""
    motions = np.zeros((len(val.features), tower.dim), np.float32)
    for rows in length_batches([len(x) for x in val.features], 8192):
        x, mask = pad([val.features[i][: model.config.frames] for i in rows])
        with torch.inference_mode():
            motions[rows] = model(x.to(device), mask.to(device)).cpu().numpy()
    scores = tower.encode(val.sentences) @ motions.T
    right = np.array([[row in said for said in val.captions] for row in range(len(val.sentences))])
    hit = np.take_along_axis(right, np.argsort(-scores, axis=1, kind="stable"), axis=1)
    precision = (hit.cumsum(axis=1) / np.arange(1, hit.shape[1] + 1) * hit).sum(axis=1)
    return float((precision / hit.sum(axis=1)).mean())
