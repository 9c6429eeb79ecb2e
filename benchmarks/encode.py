"""Speed of the encoder: clips and sentences a second, and which share of the machine's matrix product that is.

python -m benchmarks.encode [--encoder NAME|DIR] [--threads N] [--device cpu] [--json FILE]

- The peak is measured in the same run: the best of several float32 products of 1024 x 1024 matrices, same threads. The tower's
  operations are counted by torch on the very batches that are timed, padding included: it is work that is done.
- "clips/s" is all of ``encode_motion`` (features, batches by length, tower); "tower" the forward pass alone.
- int8 (dynamic, linear layers) and bfloat16 are tried on the tower: time, and how often the nearest clip is the same.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from encoders import load_encoder
from encoders.device import choose_device
from encoders.part_momentum.data import clip_features, pad
from encoders.part_momentum.encoder import PartMomentumEncoder
from motion.features import part_features
from motion.synth import synthesise

BATCHES = (1, 32, 256)
SIZE = 1024


def best(work: Callable[[], Any], repeats: int = 5) -> float:
    """Seconds of the fastest of some runs, after one to warm up; what a card was given is waited for."""
    settle = torch.accelerator.synchronize if torch.accelerator.is_available() else lambda: None
    work()
    settle()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        settle()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def gemm_peak(device: str) -> float:
    """Operations a second of a float32 matrix product."""
    size = SIZE if device == "cpu" else 8 * SIZE
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    return 2 * size**3 / best(lambda: a @ b, 10)


def tower_rows(encoder: PartMomentumEncoder, clips: list[Any], peak: float) -> list[dict[str, Any]]:
    spec = part_features(encoder.spec.features)
    features = [encoder._normaliser(clip_features(clip, spec)) for clip in clips]
    order = sorted(range(len(features)), key=lambda i: len(features[i]))
    rows = []
    for size in BATCHES:
        batches = [pad([features[i] for i in order[at : at + size]]) for at in range(0, len(order), size)]
        batches = batches[:: max(len(batches) // 16, 1)]  # a sample over all lengths
        batches = [(x.to(encoder._device), mask.to(encoder._device)) for x, mask in batches]
        model = encoder._model.motion

        def run(batches: list[Any] = batches, model: Any = model) -> None:
            with torch.inference_mode():
                for x, mask in batches:
                    model(x, mask)

        with FlopCounterMode(display=False) as counter:
            run()
        seconds, clips_run = best(run, 3), sum(len(x) for x, _ in batches)
        share = counter.get_total_flops() / seconds / peak
        rows.append({"batch": size, "clips/s": clips_run / seconds, "share of peak": share})
    return rows


def variants(encoder: PartMomentumEncoder, clips: list[Any]) -> list[dict[str, Any]]:
    """Time of the tower at batch 32, and agreement of nearest neighbours with float32."""
    spec = part_features(encoder.spec.features)
    features = sorted((encoder._normaliser(clip_features(clip, spec)) for clip in clips), key=len)
    batches = [pad(features[at : at + 32]) for at in range(0, len(features), 32)]
    plain = encoder._model.motion
    kinds: dict[str, tuple[Any, torch.dtype]] = {
        "float32": (plain, torch.float32),
        "int8": (torch.ao.quantization.quantize_dynamic(copy.deepcopy(plain), {torch.nn.Linear}), torch.float32),
        "bfloat16": (copy.deepcopy(plain).bfloat16(), torch.bfloat16),
    }
    rows: list[dict[str, Any]] = []
    nearest: dict[str, np.ndarray] = {}
    base = 0.0
    for name, (model, kind) in kinds.items():

        def run(model: Any = model, kind: torch.dtype = kind) -> np.ndarray:
            with torch.inference_mode():
                return torch.cat([model(x.to(kind), mask).whole.float() for x, mask in batches]).numpy()

        try:
            vectors, seconds = run(), best(run, 3)
        except (RuntimeError, TypeError, NotImplementedError) as error:
            rows.append({"tower": name, "error": str(error).splitlines()[0][:100]})
            continue
        base = base or seconds
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -2)
        nearest[name] = scores.argmax(axis=1)
        same = float((nearest[name] == nearest["float32"]).mean())
        rows.append({"tower": name, "time to float32": seconds / base, "same nearest clip": same})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, auto, or a card.")
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = choose_device(chosen.device).name
    encoder = load_encoder(chosen.encoder, device=device)
    assert isinstance(encoder, PartMomentumEncoder)
    clips = synthesise(chosen.clips, seed=0)
    report: dict[str, Any] = {
        "encoder": encoder.spec.name, "threads": chosen.threads, "device": device, "clips": len(clips),
        "seconds a clip": float(np.mean([c.duration_s for c in clips])),
    }  # fmt: skip
    peak = gemm_peak(device)
    report["peak GFLOP/s"] = peak / 1e9
    report["tower"] = tower_rows(encoder, clips, peak)
    report["motion"] = [
        {"batch": size, "clips/s": size / best(lambda size=size: encoder.encode_motion(clips[:size]), 3)}
        for size in BATCHES
    ]
    number = iter(range(10**9))

    def fresh(size: int) -> list[str]:  # never asked before: the cache must not help
        return [f"{clips[i % len(clips)].captions[0].text} {next(number)}" for i in range(size)]

    report["text"] = [
        {"batch": size, "sentences/s": size / best(lambda size=size: encoder.encode_text(fresh(size)), 3)}
        for size in BATCHES
    ]
    known = fresh(1)
    report["known sentence, ms"] = 1e3 * best(lambda: encoder.encode_text(known))
    if device == "cpu":
        report["variants"] = variants(encoder, clips)
    report["peak again GFLOP/s"] = gemm_peak(device) / 1e9
    text = json.dumps(report, indent=2)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
