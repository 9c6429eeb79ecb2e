"""What every training of the generator is told."""

from __future__ import annotations

from dataclasses import dataclass

OPTICAL = ("bandai-1", "bandai-2", "cmu-bvh", "cmu-asf", "cmu-daz", "cmu-humanoid", "cmu-expmap", "cmu-amc", "hdm05")


@dataclass(frozen=True)
class RunConfig:
    """Data, place and length of a run; the fields of a model's own training are added by its class."""

    data: tuple[str, ...]
    out: str
    sources: tuple[str, ...] = ()  # only these; empty: all
    synthetic: int = 300  # procedurally generated clips beside the real ones
    steps: int = 1000
    batch: int = 64
    lr: float = 8e-4
    weight_decay: float = 0.01
    warmup: int = 50
    ema: float = 0.99  # of the weights that are validated and saved; 0 for none
    clip_norm: float = 1.0
    eval_every: int = 200
    minutes: float = 0.0  # of wall clock; the rate falls to its end by then, and the run ends; 0 for no limit
    amp: bool = True  # bfloat16 on a GPU; small models are faster without
    workers: int = 3  # processes that draw batches ahead, beside a GPU
    seed: int = 0
    device: str = "auto"
