"""Late interaction on the best hits: what it gives, what it holds and what it costs, beside the cosine of whole bodies.

    python -m benchmarks.rerank --data FOLDER --wordings FOLDER [--fit-on val] [--split test] [--encoder NAME|DIR]

- ``parts``: outputs of the sentence for body parts against those of the clip, the best for each (``--score maxsim``).
- ``moments``: the same outputs against every moment of that part, the best moment of each.
- ``words``: every word piece against every moment of every part, the best of each (``--score tokens``); part-time tokens.
- Each is added to the cosine of whole bodies; its weight is chosen on ``--fit-on`` (0 is among the weights) over the mean of
  class sentences, held-out wordings, styled sentences and captions, and judged on ``--split`` among all clips of the split.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import load_encoder
from encoders.base import TokenEncoder
from encoders.part_momentum.validation import _asked, mean_average_precision
from encoders.wordings import read_wordings
from motion import Clip
from retriever.pairs import read_split
from retriever.scores import max_sim

Array = NDArray[np.float32]
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
RERANKED = 1000


class Gallery:
    """Clips, their vectors and their tokens."""

    def __init__(self, encoder: TokenEncoder, clips: list[Clip]) -> None:
        self.clips = clips
        made = [encoder.encode_motion(clips[i : i + 256]) for i in range(0, len(clips), 256)]
        self.whole, self.parts = (np.concatenate([getattr(m, n) for m in made]) for n in ("whole", "parts"))
        self.tokens = [t for i in range(0, len(clips), 256) for t in encoder.encode_motion_tokens(clips[i : i + 256])]
        self.first = np.cumsum([0, *(len(t) for t in self.tokens)])[:-1]
        self.stacked = np.concatenate(self.tokens).transpose(1, 0, 2).copy()  # [P, all moments, D]


def scores(encoder: TokenEncoder, gallery: Gallery, texts: list[str]) -> dict[str, Array]:
    """Scores [Q, N] of sentences by each way."""
    said, words = encoder.encode_text(texts), encoder.encode_words(texts)
    found = {"whole": said.whole @ gallery.whole.T}
    found["parts"] = np.stack([max_sim(own, gallery.parts) for own in said.parts])
    moments = [said.parts[:, p] @ part.T for p, part in enumerate(gallery.stacked)]
    found["moments"] = np.mean([np.maximum.reduceat(m, gallery.first, axis=1) for m in moments], axis=0)
    rows = []
    for own in words:
        best = np.max([own @ part.T for part in gallery.stacked], axis=0)
        rows.append(np.maximum.reduceat(best, gallery.first, axis=1).mean(axis=0))
    found["words"] = np.stack(rows)
    return found


def measured(encoder: TokenEncoder, gallery: Gallery, wordings: Path) -> dict[str, dict[str, list[float]]]:
    """Mean average precision by way, question and weight."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, (rows, among) in _asked(gallery.clips, read_wordings(wordings)).items():
        if not rows:
            continue
        made = scores(encoder, gallery, [text for text, _ in rows])
        right = np.array([row for _, row in rows], bool)
        for way in ("parts", "moments", "words"):
            values = [(made["whole"] + w * made[way])[:, among] for w in WEIGHTS] + [made[way][:, among]]
            found.setdefault(way, {})[name] = [mean_average_precision(v, right) for v in values]
    return found


def cost(encoder: TokenEncoder, gallery: Gallery) -> dict[str, float]:
    """Milliseconds for a sentence and :data:`RERANKED` clips, and bytes a clip."""
    rows = [i % len(gallery.clips) for i in range(RERANKED)]
    clips, parts = [gallery.clips[i] for i in rows], gallery.parts[rows]
    tokens = [gallery.tokens[i] for i in rows]
    said = encoder.encode_text(["a person waves"])
    (words,) = encoder.encode_words(["a person waves with the left hand"])
    stacked = np.concatenate(tokens).reshape(-1, words.shape[1])
    first = parts.shape[1] * np.cumsum([0, *(len(t) for t in tokens)])[:-1]
    number = iter(range(10**6))

    def ms(work: Callable[[], Any], repeats: int = 5) -> float:
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return 1e3 * min(seconds)

    return {
        "parts, ms": ms(lambda: max_sim(said.parts[0], parts)),
        "words, ms from tokens at hand": ms(lambda: np.maximum.reduceat(words @ stacked.T, first, axis=1).mean(0)),
        "words, ms to make the tokens": ms(lambda: encoder.encode_motion_tokens(clips), 2),
        "sentence to words, ms": ms(lambda: encoder.encode_words([f"a person waves {next(number)}"])),
        "whole, bytes a clip": 4.0 * gallery.whole.shape[1],
        "parts, bytes a clip": 4.0 * gallery.parts[0].size,
        "tokens, bytes a clip in half precision": 2.0 * float(np.mean([t.size for t in gallery.tokens])),
        "tokens a clip": float(np.mean([len(t) * t.shape[1] for t in gallery.tokens])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wordings", type=Path, required=True)
    parser.add_argument("--fit-on", default="val")
    parser.add_argument("--split", default="test")
    parser.add_argument("--encoder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only-cost", action="store_true", help="Times and bytes alone, on the clips of --fit-on.")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    encoder = load_encoder(chosen.encoder, device="cpu")
    assert isinstance(encoder, TokenEncoder)
    report: dict[str, Any] = {"encoder": encoder.spec.name, "weights": [*WEIGHTS, "alone"]}
    gallery = Gallery(encoder, read_split(chosen.data, chosen.fit_on, None).clips)
    if chosen.only_cost:
        report["cost"] = cost(encoder, gallery)
    else:
        fitted = measured(encoder, gallery, chosen.wordings)
        gallery = Gallery(encoder, read_split(chosen.data, chosen.split, None).clips)
        judged = measured(encoder, gallery, chosen.wordings)
        for way, figures in fitted.items():
            best = int(np.mean(list(figures.values()), axis=0)[: len(WEIGHTS)].argmax())
            told = {name: [values[0], values[best], values[-1]] for name, values in judged[way].items()}
            report[way] = {chosen.fit_on: figures, "chosen": WEIGHTS[best], f"{chosen.split}: whole, both, alone": told}
    text = json.dumps(report, indent=1, default=float)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
