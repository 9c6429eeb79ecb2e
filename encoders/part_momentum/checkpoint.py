"""What a training run leaves on disk: checkpoint, history, curves, and the weights folder.

- safetensors and JSON only, replaced atomically: a run that is killed resumes from its last evaluation.
- Weights are saved in half precision with their normaliser; the slow copy and the queue stay in the checkpoint.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from encoders.part_momentum.config import TrainConfig
from encoders.part_momentum.data import TrainingSet
from encoders.part_momentum.loss import Queue
from encoders.part_momentum.model import TextMotionModel
from encoders.run_state import RunState, save_atomically
from encoders.run_state import write_atomically as write_atomically
from encoders.text import TextTower

log = logging.getLogger(__name__)


class Checkpoint(RunState):
    """The state of a run, its history, and the weights folder of its best step."""

    def __init__(
        self,
        out: Path,
        model: TextMotionModel,
        slow: TextMotionModel | None,
        queue: Queue | None,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        modules = {"model": model, "slow": slow, "queue": queue}
        super().__init__(out, {name: module for name, module in modules.items() if module is not None}, optimiser)
        self._out = out

    def save(
        self,
        record: Mapping[str, float],
        *,
        weights: TextMotionModel,
        config: TrainConfig,
        data: TrainingSet,
        tower: TextTower,
    ) -> None:
        """Append to the history, write the checkpoint, and the weights folder when this is the best score so far."""
        self.step = int(record["step"])
        if record["score"] > self.best_score:
            self.best_step, self.best_score = self.step, float(record["score"])
            write_weights(self._out / "weights", weights, config, data, tower, record)
        with (self._out / "history.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(dict(record)) + "\n")
        self.keep()
        meta = {"step": self.step, "best_step": self.best_step, "best_score": self.best_score}
        write_atomically(self._out / "checkpoint.json", json.dumps(meta))

    def stale(self, patience: int) -> bool:
        """Whether the last ``patience`` evaluations brought nothing."""
        history = list(read_history(self._out))
        return len(history) > patience and all(r["step"] > self.best_step for r in history[-patience:])


def write_weights(
    folder: Path,
    model: TextMotionModel,
    config: TrainConfig,
    data: TrainingSet,
    tower: TextTower,
    record: Mapping[str, float],
) -> None:
    """The folder ``load_encoder`` reads: half-precision weights, the normaliser, config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half().contiguous().cpu() for k, v in model.state_dict().items()}
    tensors["normaliser.mean"] = torch.from_numpy(data.normaliser.mean)
    tensors["normaliser.std"] = torch.from_numpy(data.normaliser.std)
    save_atomically(tensors, folder / "model.safetensors")
    run = {k: v for k, v in asdict(config).items() if k not in ("model", "data", "out", "wordings", "device")}
    text = json.dumps(
        {
            "name": config.name,
            "model": asdict(config.model),
            "text_tower_sha256": tower.fingerprint,
            "training": run | {"clips": len(data), "validation": dict(record)},
        },
        indent=2,
        sort_keys=True,
    )
    write_atomically(folder / "config.json", text + "\n")


def read_history(out: Path) -> Iterator[dict[str, float]]:
    """The records of a run, oldest first."""
    path = out / "history.jsonl"
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def draw_curves(out: Path) -> Path | None:
    """Loss and validation curves as ``curves.png``; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.info("no curves.png: install the extra remora[train] for it")
        return None
    history = list(read_history(out))
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, score = figure.subplots(1, 2)
    steps = [r["step"] for r in history]
    for axes, names in ((loss, ("loss", "parts")), (score, ("plain", "wordings", "styled", "captions", "score"))):
        for name in names:
            if history and name in history[0]:
                axes.plot(steps, [r[name] for r in history], label=name)
        axes.set_xlabel("step")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_title("training loss")
    score.set_title("validation mAP")
    figure.savefig(out / "curves.png", dpi=110)
    return out / "curves.png"
