"""Several processes that train one model, as ``accelerate launch`` or ``torchrun`` starts them; alone, nothing here acts."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from encoders.device import choose_device
from encoders.errors import EncoderError


def team() -> Any:
    """The processes that were launched together as an Accelerator, None where this process is alone.

    Raises:
        EncoderError: there are several and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    try:
        from accelerate import Accelerator
    except ImportError:
        raise EncoderError("several processes need the package accelerate; pip install 'remora[train]'") from None
    return Accelerator(cpu=choose_device().name == "cpu")


def rank_of(processes: Any) -> int:
    """The number of this process, 0 for the one that validates and writes."""
    return 0 if processes is None else int(processes.process_index)


def device_for(processes: Any, wanted: str) -> str:
    """``wanted``, or where that is "auto" the device that this process has been given."""
    if processes is None or wanted != "auto":
        return wanted
    return "cpu" if processes.device.type == "cpu" else str(processes.device)


def average_gradients(processes: Any, model: nn.Module) -> None:
    """Replace the gradients of ``model`` by their mean over all processes."""
    if processes is not None:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad = processes.reduce(parameter.grad, "mean")


def together(processes: Any, values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes."""
    if processes is None:
        return values
    summed: Tensor = processes.reduce(values, "sum")
    return summed


def said_by_first(processes: Any, said: bool) -> bool:
    """What the first process says, in all of them."""
    if processes is None:
        return said
    return bool(together(processes, torch.tensor(float(said and rank_of(processes) == 0), device=processes.device)))
