"""Which device a model runs on: decided here and nowhere else, with the reason, so that it can be shown to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoders.errors import EncoderError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """A torch device string, why it was chosen, and whether half precision pays there."""

    name: str
    reason: str
    half_precision: bool


def choose_device(wanted: str = "auto") -> Device:
    """Resolve ``wanted`` ("auto", "cpu", "cuda", "cuda:1"); EncoderError when it was asked for by name and is not there."""
    import torch

    if wanted == "cpu":
        return Device("cpu", "asked for", half_precision=False)
    available = torch.cuda.is_available()
    if wanted == "auto":
        if available:
            return Device("cuda", f"found {torch.cuda.get_device_name(0)}", half_precision=True)
        return Device("cpu", "no CUDA device found", half_precision=False)
    if not wanted.startswith("cuda"):
        raise EncoderError(f"unknown device {wanted!r}; use auto, cpu, cuda or cuda:N")
    if not available:
        raise EncoderError(
            f"device {wanted!r} is not available to torch {torch.__version__}; "
            "install the GPU variant (make install GPU=1) or use --device cpu"
        )
    return Device(wanted, "asked for", half_precision=True)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's random numbers on ``device`` begin at ``seed``, and go on afterwards as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
