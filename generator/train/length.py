"""Training of the length estimator, and the weight that exemplars get in it, chosen on validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from encoders.text import load_text_tower
from generator.conditions import pooled_dim
from generator.length import WIDTH, LengthConfig, LengthEstimator, bumps
from generator.train.corpus import Corpus
from generator.train.masked import Progress, TokenTraining, read_corpora
from generator.train.run import Run, draw_curves
from generator.train.tokenizer import settings
from generator.weights import save_model

log = logging.getLogger(__name__)
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class LengthTraining(TokenTraining):
    """How the length estimator is trained."""

    model: LengthConfig = field(default_factory=LengthConfig)
    steps: int = 1200
    batch: int = 128


def train_length(config: LengthTraining, *, progress: Progress | None = None) -> Path:
    """Train (or resume) the run in ``config.out``; the folder of the best weights."""
    train, held = read_corpora(config)
    tower = load_text_tower(config.text_tower)
    torch.manual_seed(config.seed)
    sizes = replace(config.model, pooled=pooled_dim(tower))
    model = LengthEstimator(sizes)
    run = Run(config, model)
    smooth = np.stack([bumps([n], [0.0], sizes.longest) for n in range(1, sizes.longest + 1)]).astype(np.float32)
    targets = torch.from_numpy(smooth).to(run.device.name)
    weights = run.out / "weights"
    for step, rng in run.steps():
        rows = rng.choice(len(train), config.batch, p=train.odds)
        draws = [train.draw(int(i), rng, exemplars=0) for i in rows]
        pooled = torch.from_numpy(np.stack([d.sentence.pooled for d in draws])).to(run.device.name)
        length = torch.tensor([min(train.items[i].tokens[0][0].shape[1], sizes.longest) for i in rows]) - 1
        value = run.update(F.cross_entropy(model(pooled), targets[length.to(run.device.name)]))
        if progress is not None:
            progress(step + 1, config.steps, {"loss": value})
        if run.due:
            estimator: LengthEstimator = run.averaged  # type: ignore[assignment]
            scores = validate(estimator, held)
            best = min(WEIGHTS, key=lambda w: scores[w])
            log.info("step %d loss %.3f val %.3f without exemplars %.3f", step + 1, value, scores[best], scores[0.0])
            record = {"loss": value, "score": -scores[best], "without": scores[0.0], "exemplar_weight": best}
            if run.record(record):
                chosen = replace(sizes, exemplar_weight=best)
                notes = {"kind": "length", "model": asdict(chosen), "bump": WIDTH, "text_tower": config.text_tower,
                         "text_tower_sha256": tower.fingerprint, "step": step + 1, **record, **settings(config)}  # fmt: skip
                save_model(estimator, weights, notes)
    draw_curves(run.out)
    return weights


def validate(model: LengthEstimator, held: Corpus) -> dict[float, float]:
    """Negative log likelihood of the true length, for each weight of the exemplars' distribution."""
    scores: dict[float, list[float]] = {w: [] for w in WEIGHTS}
    for item in held.items:
        row = (item.human or item.plain)[0]
        length = min(item.tokens[0][0].shape[1], model.config.longest)
        found = held.exemplars_of(row, length, 4, without=item)
        text = model.distribution(held.sentences[row].pooled)
        near = _bumps([x.latents.shape[1] for x in found], [x.score for x in found], model.config.longest, text)
        for weight in WEIGHTS:
            scores[weight].append(
                -float(np.log(max((1 - weight) * text[length - 1] + weight * near[length - 1], 1e-9)))
            )
    return {weight: float(np.mean(values)) for weight, values in scores.items()}


def _bumps(
    lengths: Sequence[int], scores: Sequence[float], longest: int, text: NDArray[np.float64]
) -> NDArray[np.float64]:
    return bumps(lengths, scores, longest) if lengths else text
