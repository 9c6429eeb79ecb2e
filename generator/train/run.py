"""A run folder: checkpoint, history, curves; safetensors and JSON, replaced atomically, so that a killed run resumes.

- Whatever has a ``state_dict`` of tensors is kept: model, its averaged copy, codebooks (with their counts and started flag).
- A step's batch and dropout depend on seed and step alone: a resumed run draws what an unbroken one would have drawn.
- Beside a GPU batches are drawn ahead by other processes, and the loss is looked at now and then only: it never waits.
- A run may have a time instead of a number of steps (``minutes``), as a machine is lent for.
- Several GPUs: ``accelerate launch --num_processes N .venv/bin/remora train ...``. Every process draws its own batch, gradients
  are averaged (so are the codebooks of a tokenizer), the first process validates and writes.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from encoders.device import choose_device
from encoders.team import average_gradients, device_for, rank_of, team
from generator.errors import GeneratorError
from generator.train.config import RunConfig

T = TypeVar("T")


class Run:
    """Optimiser, averaged weights and files of one training."""

    def __init__(self, config: RunConfig, model: nn.Module) -> None:
        self.config = config
        self.out = Path(config.out)
        self.team = team()
        self.rank = rank_of(self.team)
        if self.team is not None and config.minutes:
            raise GeneratorError(
                "minutes are for one process: several would stop at different steps; give steps instead"
            )
        self.device = choose_device(device_for(self.team, config.device))
        self.model = model.to(self.device.name)
        self.averaged = (
            copy.deepcopy(self.model).eval().requires_grad_(requires_grad=False) if config.ema else self.model
        )
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        others = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.on_gpu = self.device.name != "cpu"
        if self.on_gpu:
            torch.set_float32_matmul_precision("high")
        self.optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), fused=self.on_gpu)
        self.step, self.best_step, self.best_score = 0, 0, -math.inf
        self.spent, self.started, self._loss, self.over = 0.0, time.monotonic(), 0.0, False
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        self.over = self.time_share >= 1

    def steps(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Step numbers still to do, each with its own random generator; torch is seeded too and the rate set."""
        for step in range(self.step, self.config.steps):
            if self.over:
                return
            torch.manual_seed((self.config.seed * 1_000_003 + step) * 64 + self.rank)
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.lr * schedule(step, self.config, self.time_share)
            self.model.train()
            yield step, np.random.default_rng([self.config.seed, step, self.rank])

    def batches(self, draw: Callable[[np.random.Generator], T]) -> Iterator[tuple[int, T]]:
        """Step numbers still to do, each with what ``draw`` makes of the step's own generator; beside a GPU made ahead."""
        ahead = self.config.workers if self.on_gpu else 0
        loader = DataLoader(
            Draws(draw, self.config.seed, self.rank), batch_size=None, sampler=range(self.step, self.config.steps),
            num_workers=ahead, prefetch_factor=4 if ahead else None, collate_fn=_as_it_is,
            multiprocessing_context="fork" if ahead else None,
        )  # fmt: skip
        drawn = iter(loader)
        for step, _ in self.steps():
            yield step, next(drawn)

    @property
    def time_share(self) -> float:
        """How much of the time is over, 0 to 1; 0 where there is no limit."""
        limit = 60 * self.config.minutes
        return min(1.0, (self.spent + time.monotonic() - self.started) / limit) if limit else 0.0

    def half_precision(self) -> torch.autocast:
        """Forward passes in bfloat16 where that pays, as a context; it needs no scaling of the loss."""
        enabled = self.device.half_precision and self.config.amp
        return torch.autocast(self.device.name.split(":")[0], dtype=torch.bfloat16, enabled=enabled)

    def update(self, loss: torch.Tensor) -> float:
        """One optimiser step with clipped gradients; the averaged weights follow. The loss, on a GPU that of a few steps ago.

        Raises:
            GeneratorError: the loss is NaN.
        """
        if not self.on_gpu or self.step % 20 == 0 or self.will_be_due:
            self._loss = float(loss.detach())
        if not math.isfinite(self._loss):
            raise GeneratorError(
                f"the loss is {self._loss} at step {self.step}; lower lr (now {self.config.lr}) and resume"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.team, self.model)
        clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.step += 1
        if self.config.ema:
            self._follow()
        self.over = self.time_share >= 1
        return self._loss

    @property
    def will_be_due(self) -> bool:
        """Whether the step that is being done may be validated."""
        step = self.step + 1
        return step % self.config.eval_every == 0 or step == self.config.steps or self.time_share >= 0.999

    @property
    def due(self) -> bool:
        """Whether the step just done is to be validated."""
        return self.step % self.config.eval_every == 0 or self.step == self.config.steps or self.over

    def record(self, scalars: Mapping[str, float]) -> bool:
        """Write history and checkpoint; whether ``scalars["score"]`` (higher is better) is the best so far and to be kept."""
        if self.rank > 0:
            return False
        best = scalars["score"] > self.best_score
        if best:
            self.best_step, self.best_score = self.step, float(scalars["score"])
        with (self.out / "history.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": self.step, **scalars}) + "\n")
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        if self.config.ema:
            tensors |= {f"averaged/{k}": v for k, v in self.averaged.state_dict().items()}
        for row, slots in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{row}/{slot}": torch.as_tensor(v) for slot, v in slots.items()}
        tensors["state/step"] = torch.tensor(self.step)
        seconds = self.spent + time.monotonic() - self.started
        tensors["state/seconds"] = torch.tensor(seconds, dtype=torch.float64)
        tensors["state/best_step"] = torch.tensor(self.best_step)
        tensors["state/best_score"] = torch.tensor(self.best_score, dtype=torch.float64)
        save_tensors(tensors, self.out / "checkpoint.safetensors")
        return best

    def _resume(self) -> None:
        path = self.out / "checkpoint.safetensors"
        settings = json.dumps(asdict(self.config), indent=2, sort_keys=True, default=str)
        if not path.is_file():
            write_text(self.out / "run.json", settings + "\n")
            return
        loaded = load_file(path)

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in loaded.items() if k.startswith(prefix)}

        try:
            self.model.load_state_dict(part("model/"))
            if self.config.ema:
                self.averaged.load_state_dict(part("averaged/"))
        except RuntimeError as error:
            raise GeneratorError(f"{path} is of another configuration; give a fresh --out ({error})") from error
        state = self.optimiser.state_dict()
        state["state"] = {}
        for key, value in part("optimiser/").items():
            row, slot = key.split("/")
            state["state"].setdefault(int(row), {})[slot] = value
        self.optimiser.load_state_dict(state)
        self.step, self.best_step = int(loaded["state/step"]), int(loaded["state/best_step"])
        self.best_score = float(loaded["state/best_score"])
        self.spent = float(loaded.get("state/seconds", 0.0))

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        get_ema_multi_avg_fn(decay)(list(self.averaged.parameters()), list(self.model.parameters()), None)
        buffers = dict(self.model.named_buffers())
        for name, own in self.averaged.named_buffers():
            own.copy_(buffers[name])


class Draws(Dataset[T]):
    """What ``draw`` makes for each step number."""

    def __init__(self, draw: Callable[[np.random.Generator], T], seed: int, rank: int) -> None:
        self._draw, self._seed, self._rank = draw, seed, rank

    def __getitem__(self, step: int) -> T:
        return self._draw(np.random.default_rng([self._seed, step, self._rank]))


def _as_it_is(drawn: T) -> T:
    return drawn


def schedule(step: int, config: RunConfig, time_share: float = 0.0) -> float:
    """Linear warm-up, then half a cosine down to 1 % of the rate, by steps or by time, whichever is ahead."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    share = max(time_share, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors so that ``path`` is the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    save_file({k: v.detach().clone().contiguous().cpu() for k, v in tensors.items()}, partial)
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write text so that ``path`` is the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def read_history(out: Path) -> list[dict[str, float]]:
    """The records of a run, oldest first."""
    path = out / "history.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def draw_curves(out: Path) -> Path | None:
    """Everything in the history over steps as ``curves.png``; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    history = read_history(out)
    names = sorted({key for record in history for key in record} - {"step"})
    figure: Any = Figure(figsize=(3.2 * max(1, len(names)), 2.8), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, max(1, len(names)))), names, strict=False):
        points = [(r["step"], r[name]) for r in history if name in r]
        axes.plot(*zip(*points, strict=True))
        axes.set_title(name)
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "curves.png", dpi=100)
    return out / "curves.png"
