"""Training of the tokenizer: one flat loop over windows of clips.

- Losses: normalised rows, joints in space (path included), their velocities and accelerations, the drift of planted feet,
  and the commitment of the encoder to its codes.
- Clips shorter than a window are seen whole, with their padding masked.
- Selection: root-relative joint error on the validation split.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from generator.frames import frames_to_joints, mirror_frames, tensor_joints
from generator.reconstruction import Reconstruction, reconstruction
from generator.tokenizer import Tokenizer, TokenizerConfig, batch_frames
from generator.train.config import RunConfig
from generator.train.data import balanced, read_clips, read_frames
from generator.train.run import Run, draw_curves
from generator.weights import save_tokenizer

log = logging.getLogger(__name__)
Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TokenizerTraining(RunConfig):
    """How the tokenizer is trained."""

    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    steps: int = 1500
    lr: float = 1e-3
    warmup: int = 100
    eval_every: int = 150
    window: int = 64  # frames
    commit: float = 0.02
    joints: float = 4.0  # weight of the joints' places, per metre
    velocity: float = 4.0  # of their velocities and accelerations, per metre a frame
    contact: float = 4.0  # of planted feet that move, per metre a frame


def train_tokenizer(config: TokenizerTraining, *, progress: Progress | None = None) -> Path:
    """Train (or resume) the run in ``config.out``; the folder of the best weights."""
    torch.manual_seed(config.seed)
    model = Tokenizer(config.model)
    spec = model.frames
    clips = read_clips(config.data, "train", config.sources, synthetic=config.synthetic, seed=config.seed)
    train = read_frames(clips, spec, shortest=2 * config.model.patch)
    held = [
        f for _, f in read_frames(read_clips(config.data, "val", config.sources), spec, shortest=config.model.patch)
    ]
    model.set_statistics([frames for _, frames in train])
    run = Run(config, model)
    odds = balanced([clip for clip, _ in train])
    log.info("%d clips, %d parameters, from step %d", len(train), sum(p.numel() for p in model.parameters()), run.step)
    weights = run.out / "weights"

    for step, rng in run.steps():
        rows = rng.choice(len(train), config.batch, p=odds)
        frames, mask = batch_frames([window(train[i][1], rng, config, model) for i in rows], config.model.patch)
        frames, mask = frames.to(run.device.name), mask.to(run.device.name)
        with run.half_precision():
            quantised = model.quantise(model.latents(frames, mask), mask)
            decoded = model.decode(quantised.latents, mask).float()
        losses = tokenizer_losses(decoded, frames, mask.repeat_interleave(config.model.patch, 1), model)
        total = (
            losses["rows"]
            + config.joints * losses["joints"]
            + config.velocity * losses["velocity"]
            + config.contact * losses["contact"]
            + config.commit * quantised.commit
        )
        loss = run.update(total)
        if progress is not None:
            progress(step + 1, config.steps, {"loss": loss, **{k: float(v.detach()) for k, v in losses.items()}})
        if run.due:
            tokenizer: Tokenizer = run.averaged  # type: ignore[assignment]
            quality = rebuild(tokenizer, held)
            record = {"loss": loss, "score": -quality.mpjpe_mm, "global_mm": quality.global_mm}
            log.info(
                "step %d loss %.3f mpjpe %.1f mm global %.1f mm", step + 1, loss, quality.mpjpe_mm, quality.global_mm
            )
            if run.record(record):
                save_tokenizer(tokenizer, weights, {"step": step + 1, **record, **settings(config)})
    draw_curves(run.out)
    return weights


def window(
    x: NDArray[np.float32], rng: np.random.Generator, config: TokenizerTraining, model: Tokenizer
) -> NDArray[np.float32]:
    """A random window of a clip, half of them mirrored, some faster or slower."""
    if rng.random() < 0.5:
        x = mirror_frames(x, model.frames)
    if rng.random() < 0.3 and len(x) > 24:
        x = change_speed(x, float(rng.uniform(0.8, 1.25)))
    if len(x) > config.window:
        start = rng.integers(len(x) - config.window + 1)
        x = x[start : start + config.window]
    return x


def change_speed(x: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """Rows [T, C] played ``rate`` times as fast: read between rows, steps scaled."""
    time = np.arange(0, len(x) - 1, rate)
    first = time.astype(int)
    share = (time - first)[:, None].astype(np.float32)
    out = np.asarray(x[first] * (1 - share) + x[first + 1] * share, np.float32)
    out[:, :3] *= rate
    return out


def tokenizer_losses(decoded: Tensor, frames: Tensor, mask: Tensor, model: Tokenizer) -> dict[str, Tensor]:
    """Scalars over the real frames: rows (normalised), joints, velocity (both in metres), drift of planted feet."""
    real = mask.to(frames.dtype)
    weight = real / real.sum()

    def mean(x: Tensor, w: Tensor = weight) -> Tensor:
        return (x.flatten(2).mean(-1) * w).sum()

    rows = F.smooth_l1_loss(decoded / model.std, frames / model.std, reduction="none", beta=0.5)
    made, true = tensor_joints(decoded), tensor_joints(frames)
    local = (made - made[:, :, :1] - true + true[:, :, :1]).abs()
    speed, true_speed = made.diff(dim=1), true.diff(dim=1)
    both = real[:, 1:] * real[:, :-1]
    both = both / both.sum()
    change = (speed.diff(dim=1) - true_speed.diff(dim=1)).abs()
    three = real[:, 2:] / real[:, 2:].sum()
    feet = list(model.frames.feet)
    planted = frames[:, 1:, model.frames.contacts] * frames[:, :-1, model.frames.contacts]
    drift = speed[:, :, feet, ::2].norm(dim=-1) * planted
    return {
        "rows": mean(rows),
        "joints": mean(local) + 0.5 * mean((made - true).abs()),
        "velocity": mean((speed - true_speed).abs(), both) + 0.5 * mean(change, three),
        "contact": mean(drift, both),
    }


def rebuild(model: Tokenizer, frames: Sequence[NDArray[np.float32]]) -> Reconstruction:
    """How well clips come back from their tokens."""
    ids = model.encode_frames(frames)
    made = model.decode_ids(ids)
    spec = model.frames
    pairs = [
        (frames_to_joints(x[: len(y)], spec), frames_to_joints(y, spec)) for x, y in zip(frames, made, strict=True)
    ]
    return reconstruction(pairs, spec.fps)


def settings(config: RunConfig) -> dict[str, object]:
    """The part of a training's settings that goes beside the weights: no places, no devices."""
    skip = ("model", "data", "out", "device", "library", "tokenizer", "wordings")
    return {"training": {k: v for k, v in vars(config).items() if k not in skip}}
