"""The state of a training run on disk, so that a run that was killed goes on where it was.

- One safetensors file, replaced atomically, with the step and the best score in its header: they cannot disagree.
- What a step does depends on seed and step alone, so a resumed run ends as one that was never interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from encoders.errors import EncoderError, WeightsError

STATE = "checkpoint.safetensors"
RUN = "run.json"
MARK = "data_mark"  # in run.json
FREE = ("device", "out", "eval_every")  # settings that a resumed run may change


def claim_run(out: Path, settings: Mapping[str, Any], data: str = "") -> str:
    """What run.json says of a run with these ``settings``; ``data`` is the mark of its clips, where they have been read.

    Raises:
        EncoderError: ``out`` holds a run with other settings or of other data, or its run.json is damaged.
    """
    path = out / RUN
    text = json.dumps(dict(settings) | ({MARK: data} if data else {}), indent=2, sort_keys=True) + "\n"
    if not (path.is_file() and (out / STATE).is_file()):
        return text
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EncoderError(f"{path} cannot be read ({error}); delete {out} or give another --out") from error
    now = json.loads(text)
    changed = sorted(k for k in now if k not in (*FREE, MARK) and before.get(k) != now[k])
    if changed:
        raise EncoderError(
            f"{out} holds a run with other settings ({', '.join(changed)}); resume it unchanged or use another --out"
        )
    if data and before.get(MARK, data) != data:
        raise EncoderError(f"{out} holds a run of other clips than those that are in --data now; use another --out")
    return text


class RunState:
    """Modules by name and their optimiser, the ``step`` reached, and the best validation score with its step."""

    def __init__(self, out: Path, modules: Mapping[str, torch.nn.Module], optimiser: torch.optim.Optimizer) -> None:
        self._path = out / STATE
        self._modules = dict(modules)
        self._optimiser = optimiser
        self.step = 0
        self.best_step = 0
        self.best_score = -1.0

    def resume(self) -> int:
        """Load what was kept, if anything was; the step to go on from.

        Raises:
            WeightsError: the file is damaged, or of other modules than these.
        """
        if not self._path.is_file():
            return 0
        try:
            with safe_open(self._path, "pt") as file:
                kept = (file.metadata() or {}).get("run")
            meta = json.loads(kept or self._path.with_suffix(".json").read_text(encoding="utf-8"))
            tensors = load_file(self._path)
            for name, module in self._modules.items():
                module.load_state_dict(_under(f"{name}/", tensors))
            self._optimiser.load_state_dict(self._optimiser_state(_under("optimiser/", tensors)))
            self.step, self.best_step, self.best_score = meta["step"], meta["best_step"], meta["best_score"]
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise WeightsError(
                f"{self._path} cannot be resumed ({reason}); delete the file to begin the run anew, or give another --out"
            ) from error
        return self.step

    def keep(self) -> None:
        """Write everything."""
        tensors = {f"{n}/{k}": v.contiguous() for n, m in self._modules.items() for k, v in m.state_dict().items()}
        for row, slots in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{row}/{slot}": torch.as_tensor(v) for slot, v in slots.items()}
        meta = {"step": self.step, "best_step": self.best_step, "best_score": self.best_score}
        save_atomically(tensors, self._path, {"run": json.dumps(meta)})

    def _optimiser_state(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        found = self._optimiser.state_dict()
        found["state"] = {}
        for key, value in tensors.items():
            row, slot = key.split("/")
            found["state"].setdefault(int(row), {})[slot] = value
        return found


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def save_atomically(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors so that ``path`` is the old file or the whole new one."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors, metadata=metadata))  # save_file makes files that their owner alone can read
    partial.replace(path)


def write_atomically(path: Path, text: str) -> None:
    """Write text so that ``path`` is the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
