"""How fast motion is made, and what the time goes into: python -m benchmarks.generate [--batch 32] [--seconds 6]

- The peer is a model of MoMask's published sizes without retrieval (8 layers of 384, feed-forward 1024, one token a step; the
  same for its residual levels), with random weights, its two guidance branches and the same steps. Everything is timed in
  turns, so that a machine that slows down slows all of it.
- Everything is as ``remora generate`` has it by default, drafts included; what four candidates cost is told beside it.
- The share of peak is the model's multiply-adds, counted by torch, over the best rate of a large matrix product here.
- Random exemplars and weights cost what trained ones do; where a generator is shipped it is the one that is timed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from encoders import load_encoder
from generator import ExemplarClip, Prompt, Sampling, load_generator
from generator.conditions import encode_sentences, stack
from generator.model import Generator
from generator.sampling import UNKNOWN, drafted, sample_finer_levels, sample_first_level
from motion.feet import clean_feet
from motion.synth import synthesise
from remora.candidates import DEFAULT_CANDIDATES, best_of

GOAL_RATIO, GOAL_PEAK = 1.25, 0.35


class Peer(nn.Module):
    """A transformer of MoMask's sizes: condition and motion tokens in, logits out."""

    def __init__(self, codes: int = 512, width: int = 384, layers: int = 8) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 6, 1024, dropout=0.2, activation="gelu", batch_first=True)
        self.embed, self.condition = nn.Embedding(codes + 2, width), nn.Linear(512, width)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, codes))

    def forward(self, ids: Tensor, condition: Tensor) -> Tensor:
        """Logits [B, N, codes] of ids [B, N] under a sentence [B, 512]."""
        x = torch.cat([self.condition(condition)[:, None], self.embed(ids)], 1)
        out: Tensor = self.head(self.body(x))[:, 1:]
        return out


@torch.inference_mode()
def peer_run(masked: Peer, residual: Peer, batch: int, tokens: int, steps: int) -> None:
    """What MoMask does for ``batch`` motions: ``steps`` guided passes, five guided residual levels."""
    ids = torch.zeros(2 * batch, tokens, dtype=torch.long)
    condition = torch.randn(2 * batch, 512)
    for model, passes in ((masked, steps), (residual, 5)):
        for _ in range(passes):
            logits = model(ids, condition)
            with_text, without = logits.chunk(2)
            chosen = (without + 4 * (with_text - without)).softmax(-1).argmax(-1)
            ids = chosen.repeat(2, 1)


def timed(works: Mapping[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each call, all in turns, after one each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def gemm_peak() -> float:
    """Multiply-adds a second of the best large single-precision matrix product."""
    best = 0.0
    for size in (1024, 1536, 2048):
        a, b = torch.randn(size, size), torch.randn(size, size)
        best = max(best, size**3 / timed({"": lambda a=a, b=b: a @ b})[""])  # type: ignore[misc]
    return best


def prompts_of(batch: int, seconds: float) -> list[Prompt]:
    """``batch`` sentences with two exemplars each."""
    clips = synthesise(2 * batch, seed=1)
    return [
        Prompt(
            f"a person walks forward and waves {i}", seconds=seconds, seed=i + 1,
            exemplars=tuple(ExemplarClip(c, 0.7, "a person waves") for c in clips[2 * i : 2 * i + 2]),
        )
        for i in range(batch)
    ]  # fmt: skip


def measure(generator: Generator, peer: Callable[[], Any], batch: int, seconds: float, steps: int) -> dict[str, Any]:
    """Seconds of each stage, and of the peer, for ``batch`` motions of ``seconds``, with two exemplars each."""
    prompts, sampling = prompts_of(batch, seconds), Sampling(steps=steps)
    masked, residual, tokenizer, spec = generator.masked, generator.residual, generator.tokenizer, generator.spec
    sentences = encode_sentences(generator.tower, [p.text for p in prompts])
    read = [generator.read_exemplars(p.exemplars) for p in prompts]
    conditions = stack(sentences, read, shape=tokenizer.exemplar_shape)
    count = round(seconds / generator.token_s)
    known = torch.full((batch, len(tokenizer.config.rows), count, tokenizer.config.levels), UNKNOWN)
    valid = torch.ones(batch, count, dtype=torch.bool)

    def draws() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(i) for i in range(batch)]

    def draft() -> Tensor:
        return drafted(known[..., 0], valid, conditions, draws(), sampling.draft)

    def first_level() -> Tensor:
        return sample_first_level(masked, conditions, begun, valid, draws(), sampling)

    def finer_levels() -> Tensor:
        return sample_finer_levels(residual, tokenizer, conditions, first, known, valid, draws(), sampling)

    begun = draft()
    first = first_level()
    ids = finer_levels()
    made = list(generator.generate(prompts, sampling=sampling))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        first_level()
        finer_levels()
    stages = timed(
        {
            "sentences": lambda: encode_sentences(generator.tower, [p.text for p in prompts]),
            "exemplar tokens": lambda: [generator.read_exemplars(p.exemplars) for p in prompts],
            "drafts": draft,
            "masked": first_level,
            "residual": finer_levels,
            "decode": lambda: tokenizer.decode_ids([x.numpy() for x in ids]),
            "feet": lambda: [clean_feet(g.raw, spec.skeleton, spec.fps, g.frames[:, spec.contacts]) for g in made],
            "peer": peer,
        }
    )
    peer_s = stages.pop("peer")
    return {"stages_s": stages, "peer_s": peer_s, "multiply_adds": counter.get_total_flops() / 2}


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--generator", default=None)
    parser.add_argument(
        "--candidates", type=int, default=DEFAULT_CANDIDATES, help="of the sentence that is timed whole"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    generator = load_generator(options.generator, device="cpu")
    peak = gemm_peak()
    tokens = round(options.seconds / generator.token_s)
    masked, residual = Peer().eval(), Peer().eval()
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "gemm_gmac_s": peak / 1e9,
    }
    for batch in (1, 32):
        turn = partial(peer_run, masked, residual, batch, tokens, options.steps)
        found = measure(generator, turn, batch, options.seconds, options.steps)
        stages, peer = found["stages_s"], found["peer_s"]
        models = stages["drafts"] + stages["masked"] + stages["residual"]
        report[f"batch {batch}"] = {
            "ms_per_clip": 1000 * sum(stages.values()) / batch,
            "clips_per_s": batch / sum(stages.values()),
            "share_of_time": {name: value / sum(stages.values()) for name, value in stages.items()},
            "share_of_gemm_peak": found["multiply_adds"] / models / peak,
            "peer_ms_per_clip": 1000 * peer / batch,
            "ratio_to_peer": models / peer,
        }
    encoder, asked = load_encoder(device="cpu"), prompts_of(1, options.seconds)
    report["candidates"] = options.candidates
    report["candidates_ms"] = (
        1000
        * timed(
            {
                "": lambda: list(
                    best_of(generator, encoder, asked, options.candidates, sampling=Sampling(steps=options.steps))
                )
            }
        )[""]
    )
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    at = report["batch 32"]
    return int(at["ratio_to_peer"] > GOAL_RATIO or at["share_of_gemm_peak"] < GOAL_PEAK)


if __name__ == "__main__":
    sys.exit(main())
