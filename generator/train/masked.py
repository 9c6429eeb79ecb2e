"""Training of the masked transformer: one flat loop over tokens, sentences and exemplars.

- Text and exemplars are dropped independently, so that every branch of guidance has been learned.
- Selection: cross entropy of masked tokens on the validation split, with exemplars from the train split; the same loss
  without exemplars stands beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders import load_encoder
from encoders.text import load_text_tower
from generator.conditions import Conditions, pooled_dim, stack
from generator.guidance import TEXT
from generator.masked import MaskedConfig, MaskedTransformer, draw_mask
from generator.train.config import RunConfig
from generator.train.corpus import Corpus, Draw, calibrated
from generator.train.data import read_clips
from generator.train.run import Run, draw_curves
from generator.train.tokenizer import settings
from generator.weights import fingerprint, load_tokenizer, save_model

log = logging.getLogger(__name__)
Progress = Callable[[int, int, Mapping[str, float]], None]
Batch = tuple[Tensor, Tensor, Conditions]  # ids [B, R, N, levels], valid [B, N], conditions
CHUNKS = 3  # parts of a batch, by length: little padding


@dataclass(frozen=True)
class TokenTraining(RunConfig):
    """How a model over tokens is trained."""

    tokenizer: str = ""  # folder
    encoder: str = ""  # that finds neighbours; empty: the default one
    text_tower: str = "minilm"
    wordings: str = ""
    exemplars: int = 3  # at most, in training
    drop_text: float = 0.1
    drop_exemplars: float = 0.2
    drop_both: float = 0.05
    label_smoothing: float = 0.05
    bad_exemplars: float = 0.15  # share of them that are any clip, with the cosine it really has


@dataclass(frozen=True)
class MaskedTraining(TokenTraining):
    """How the masked transformer is trained."""

    model: MaskedConfig = field(default_factory=MaskedConfig)
    steps: int = 3000
    exemplars: int = 2
    batch: int = 32
    warmup: int = 200
    ema: float = 0.995
    eval_every: int = 250
    random_ids: float = 0.1  # share of hidden tokens that show a random id instead of [MASK]
    wrong_ids: float = 0.05  # share of shown tokens that show a random id


def read_corpora(config: TokenTraining) -> tuple[Corpus, Corpus]:
    """The train and validation corpus; neighbours of both come from the train split."""
    tokenizer, own = load_tokenizer(Path(config.tokenizer)), fingerprint(Path(config.tokenizer))
    tower, encoder = load_text_tower(config.text_tower), load_encoder(config.encoder or None)
    cache = Path(config.out).parent
    cache.mkdir(parents=True, exist_ok=True)
    train = Corpus(
        read_clips(config.data, "train", config.sources, synthetic=config.synthetic, seed=config.seed),
        tokenizer=tokenizer, own=own, tower=tower, encoder=encoder, wordings=config.wordings, cache=cache,
    )  # fmt: skip
    held = Corpus(
        read_clips(config.data, "val", config.sources),
        tokenizer=tokenizer, own=own, tower=tower, encoder=encoder, gallery=train, cache=cache,
    )  # fmt: skip
    return train, held


def train_masked(config: MaskedTraining, *, progress: Progress | None = None) -> Path:
    """Train (or resume) the run in ``config.out``; the folder of the best weights."""
    train, held = read_corpora(config)
    tokenizer = load_tokenizer(Path(config.tokenizer))
    tower = load_text_tower(config.text_tower)
    torch.manual_seed(config.seed)
    sizes = replace(config.model, pooled=pooled_dim(tower), words=tower.dim)
    model = MaskedTransformer(sizes, tokenizer.config)
    run = Run(config, model)
    shape = tokenizer.exemplar_shape
    log.info("%d clips, %d sentences, %d parameters, from step %d", len(train), len(train.texts),
             sum(p.numel() for p in model.parameters()), run.step)  # fmt: skip
    weights = run.out / "weights"
    chunks = 1 if run.on_gpu else CHUNKS
    if run.on_gpu:
        train.make_ready()

    def draw(rng: np.random.Generator) -> list[Batch]:
        return draw_batch(train, rng, config, shape, chunks, exemplars=config.exemplars)

    for step, batch in run.batches(draw):
        losses = []
        for piece in batch:
            ids, valid, conditions = moved(piece, run.device.name)
            with run.half_precision():
                losses.append(masked_loss(model, ids[..., 0], valid, conditions, config))
        value = run.update(mean_loss(losses))
        if progress is not None:
            progress(step + 1, config.steps, {"loss": value})
        if run.due:
            scores = validate(run.averaged, held, shape, config, run.device.name)
            log.info("step %d loss %.3f val %.3f without exemplars %.3f accuracy %.3f", step + 1, value,
                     scores["with"], scores["without"], scores["accuracy"])  # fmt: skip
            record = {"loss": value, "score": -scores["with"], **scores}
            if run.record(record):
                notes = {"kind": "masked", "model": asdict(sizes), "tokenizer": fingerprint(Path(config.tokenizer)),
                         "retrieval": asdict(calibrated(held)),
                         "text_tower": config.text_tower, "text_tower_sha256": tower.fingerprint,
                         "step": step + 1, **record, **settings(config)}  # fmt: skip
                save_model(run.averaged, weights, notes)
    draw_curves(run.out)
    return weights


def draw_batch(
    corpus: Corpus,
    rng: np.random.Generator,
    config: TokenTraining,
    shape: tuple[int, int],
    chunks: int,
    *,
    exemplars: int,
) -> list[Batch]:
    """A batch in ``chunks`` of like lengths, with up to ``exemplars`` a sample; text and exemplars hidden from some."""
    rows = rng.choice(len(corpus), config.batch, p=corpus.odds)
    draws = []
    for row in rows:
        count = int(rng.integers(1, exemplars + 1)) if exemplars else 0
        draws.append(corpus.draw(int(row), rng, exemplars=count, bad=config.bad_exemplars))
    draws.sort(key=lambda d: d.tokens.shape[1])
    batch = []
    for piece in np.array_split(np.arange(len(draws)), chunks):
        ids, valid, conditions = collate([draws[i] for i in piece], shape)
        batch.append((ids, valid, dropped(conditions, config, rng)))
    return batch


def moved(piece: Batch, device: str) -> Batch:
    """The same on ``device``."""
    ids, valid, conditions = piece
    return ids.to(device), valid.to(device), conditions.to(device)


def mean_loss(losses: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Loss a token, from summed losses and counts of the pieces of a batch."""
    return torch.stack([loss for loss, _ in losses]).sum() / torch.stack([n for _, n in losses]).sum()


def collate(draws: list[Draw], shape: tuple[int, int]) -> tuple[Tensor, Tensor, Conditions]:
    """Ids [B, R, N, levels] (0 where padded), valid [B, N] and conditions of a list of samples."""
    longest = max(d.tokens.shape[1] for d in draws)
    ids = np.zeros((len(draws), shape[0], longest, draws[0].tokens.shape[2]), np.int64)
    valid = np.zeros((len(draws), longest), bool)
    for b, d in enumerate(draws):
        n = d.tokens.shape[1]
        ids[b, :, :n] = d.tokens
        valid[b, :n] = True
    conditions = stack([d.sentence for d in draws], [d.exemplars for d in draws], shape=shape)
    return torch.from_numpy(ids), torch.from_numpy(valid), conditions


def dropped(conditions: Conditions, config: TokenTraining, rng: np.random.Generator) -> Conditions:
    """Text, exemplars, or both hidden from some samples."""
    u = rng.random(len(conditions))
    both = u < config.drop_both
    no_text = both | ((u >= config.drop_both) & (u < config.drop_both + config.drop_text))
    edge = config.drop_both + config.drop_text
    no_exemplars = both | ((u >= edge) & (u < edge + config.drop_exemplars))
    return replace(
        conditions,
        with_text=conditions.with_text & torch.from_numpy(~no_text),
        with_exemplars=conditions.with_exemplars & torch.from_numpy(~no_exemplars),
    )


def masked_loss(
    model: MaskedTransformer, ids: Tensor, valid: Tensor, conditions: Conditions, config: MaskedTraining
) -> tuple[Tensor, Tensor]:
    """Summed cross entropy of the hidden tokens of ``ids`` [B, R, N], and how many they are."""
    hidden = draw_mask(valid, ids.shape[1])
    chance = torch.rand(ids.shape, device=ids.device)
    noise = torch.randint_like(ids, model.tokens.codes)
    shown = torch.where(hidden, torch.where(chance < config.random_ids, noise, model.mask_id), ids)
    shown = torch.where(~hidden & (chance < config.wrong_ids), noise, shown)
    logits = model(shown, valid, model.memory(conditions)).float()
    return summed_loss(logits, ids, hidden, config.label_smoothing), hidden.sum()


def summed_loss(logits: Tensor, ids: Tensor, counted: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of ``ids`` [B, R, N] where ``counted``, summed; nothing is picked out, so a GPU need not be waited for."""
    every = F.cross_entropy(logits.flatten(0, 2), ids.flatten(), label_smoothing=smoothing, reduction="none")
    return (every * counted.flatten()).sum()


@torch.no_grad()
def validate(
    model: torch.nn.Module, held: Corpus, shape: tuple[int, int], config: TokenTraining, device: str
) -> dict[str, float]:
    """Cross entropy a token and accuracy on held-out clips, half of the tokens hidden, with and without exemplars."""
    assert isinstance(model, MaskedTransformer)
    model.eval()
    rng = np.random.default_rng(0)
    totals = np.zeros(4)
    for start in range(0, len(held), 64):
        items = range(start, min(start + 64, len(held)))
        draws = []
        for i in items:
            item = held.items[i]
            row = (item.human or item.plain)[0]
            tokens = item.tokens[0][0][:, : held.longest]
            draws.append(Draw(tokens, held.sentences[row], held.exemplars_of(row, tokens.shape[1], 2, without=item)))
        ids, valid, conditions = collate(draws, shape)
        ids, valid, conditions = ids[..., 0].to(device), valid.to(device), conditions.to(device)
        hidden = torch.from_numpy(rng.random(ids.shape) < 0.7).to(device) & valid[:, None]
        shown = torch.where(hidden, model.mask_id, ids)
        memory = model.memory(conditions)
        for k, seen in enumerate((memory, memory.viewed([TEXT]))):
            logits = model(shown, valid, seen)[hidden]
            totals[k] += float(F.cross_entropy(logits, ids[hidden], reduction="sum"))
            if k == 0:
                totals[2] += float((logits.argmax(-1) == ids[hidden]).sum())
        totals[3] += float(hidden.sum())
    return {"with": totals[0] / totals[3], "without": totals[1] / totals[3], "accuracy": totals[2] / totals[3]}
