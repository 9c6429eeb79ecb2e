"""Tokens from the two transformers: iterative unmasking, then the finer levels one by one.

- The number of masked tokens follows the same law as in training, cos(pi u / 2) of those to be made.
- What is known (an edit keeps most of a motion) is never touched, on no level.
- Some tokens are begun as those of an exemplar at the same phase of the motion, fewer the less it fits; the rest is made
  around them. What the model was trained on it knows by heart and hardly asks exemplars for; what it was not, it learns so.
- Every sample draws from its own generator, in its own shape: the same seed gives the same motion alone or in a batch.
- Logits are divided by the temperature and cut to top-k / top-p before a token is drawn, from one uniform number a token;
  towards 0 this is argmax. Only tokens that are still hidden are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from generator.conditions import Conditions
from generator.errors import GeneratorError
from generator.guidance import BOTH, NONE, Guidance, combine
from generator.masked import MaskedTransformer, masked_share
from generator.residual import ResidualTransformer
from generator.tokenizer import Tokenizer

UNKNOWN = -1
FIT = (0.3, 0.6)  # cosines of an exemplar from which something, and all of its share is taken over
FIT_SPREAD = 0.05  # of cosines: how much a better exemplar is preferred
Progress = Callable[[str, int, int], None]  # (stage, done, total)


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn."""

    steps: int = 10
    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 0.9
    noise: float = 2.0  # Gumbel noise on the confidence that decides what stays, falling to 0
    remask: bool = False  # tokens kept in earlier steps may be given up again
    draft: float = 0.3  # share of first-level tokens begun from an exemplar that fits well; 0: none
    levels: int = 6  # drawn, of as many as the tokenizer has; 1: the coarse ones only
    residual_temperature: float = 0.6
    residual_scale: float = 1.5  # text guidance of the finer levels
    guidance: Guidance = field(default_factory=Guidance)

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 200:
            raise GeneratorError(f"steps is {self.steps}; give a number from 1 to 200 (4 to 18 are usual)")
        if not (0 <= self.temperature <= 10 and 0 <= self.residual_temperature <= 10):
            raise GeneratorError(f"temperature is {self.temperature}; give a number from 0 to 10")
        if self.levels < 1:
            raise GeneratorError(f"levels is {self.levels}; give a number of 1 or more")
        if not 0 <= self.draft <= 1:
            raise GeneratorError(f"draft is {self.draft}; give a share from 0 to 1")
        if not 0 < self.top_p <= 1:
            raise GeneratorError(f"top-p is {self.top_p}; give a number above 0 and up to 1")


def sample_tokens(
    masked: MaskedTransformer,
    residual: ResidualTransformer,
    tokenizer: Tokenizer,
    conditions: Conditions,
    known: Tensor,
    valid: Tensor,
    *,
    seeds: Sequence[int],
    sampling: Sampling,
    progress: Progress | None = None,
) -> Tensor:
    """Ids [B, R, N, levels] that fill ``known`` [B, R, N, levels] (-1: make it), ``valid`` [B, N]; -1 where padded."""
    if sampling.guidance.retrieval_scale == 0:
        conditions = conditions.seeing(text=True, exemplars=False)
    draws = [torch.Generator().manual_seed(int(seed) % 2**63) for seed in seeds]
    begun = drafted(known[..., 0], valid, conditions, draws, sampling.draft)
    first = sample_first_level(masked, conditions, begun, valid, draws, sampling, progress)
    return sample_finer_levels(residual, tokenizer, conditions, first, known, valid, draws, sampling, progress)


def drafted(
    known: Tensor, valid: Tensor, conditions: Conditions, draws: Sequence[torch.Generator], share: float
) -> Tensor:
    """``known`` [B, R, N] with ``share`` of what is to be made taken over from an exemplar of each sample.

    The better an exemplar fits, the likelier it is the one, and the more of it is taken; a row that it has not comes from
    another.
    """
    out = known.clone()
    lengths = conditions.exemplar_mask.sum(-1).tolist()
    for i, draw in enumerate(draws):
        there = [k for k, n in enumerate(lengths[i]) if n]
        if share == 0 or not there or not bool(conditions.with_exemplars[i]):
            continue
        n = int(valid[i].sum())
        uniform = torch.rand(len(there) + known.shape[1] * n, generator=draw).to(known.device)
        scores = conditions.scores[i, there]
        order = (scores / FIT_SPREAD + gumbel(uniform[: len(there)])).argsort(descending=True).tolist()
        chance = uniform[len(there) :].view(-1, n)
        for row in range(known.shape[1]):
            k = next((there[at] for at in order if bool(conditions.rows[i, there[at], row])), None)
            if k is None:
                continue
            low, high = FIT
            fit = float(((conditions.scores[i, k] - low) / (high - low)).clamp(0, 1))
            step = (torch.arange(n, device=known.device) * lengths[i][k]) // n
            taken = (chance[row] < share * fit) & (known[i, row, :n] == UNKNOWN)
            out[i, row, :n] = torch.where(taken, conditions.ids[i, k, row, step], known[i, row, :n])
    return out


@torch.inference_mode()
def sample_first_level(
    model: MaskedTransformer,
    conditions: Conditions,
    known: Tensor,
    valid: Tensor,
    draws: Sequence[torch.Generator],
    sampling: Sampling,
    progress: Progress | None = None,
) -> Tensor:
    """First-level ids [B, R, N] for ``known`` [B, R, N] (-1: make it)."""
    model.eval()
    real = valid[:, None].expand_as(known)
    wanted = (known == UNKNOWN) & real
    total = wanted.flatten(1).sum(1)
    ids = torch.where(wanted | ~real, model.mask_id, known)
    hidden, confidence = wanted.clone(), torch.zeros(known.shape, device=known.device)
    memory = model.memory(conditions)
    for step in range(sampling.steps):
        weights = sampling.guidance.weights(step / sampling.steps)
        logits = guided(model(ids, valid, memory.viewed(list(weights))), weights, hidden)
        uniform, fresh = own_noise(draws, valid, known.shape[1], 2).unbind(-1)
        drawn, chance = pick(logits, uniform[hidden], sampling.temperature, sampling.top_k, sampling.top_p)
        ids[hidden] = drawn
        share = (step + 1) / sampling.steps
        confidence[hidden] = chance.clamp(min=1e-9).log() + sampling.noise * (1 - share) * gumbel(fresh[hidden])
        left = torch.floor(float(masked_share(share)) * total + 1e-6).long() if share < 1 else torch.zeros_like(total)
        order = confidence if sampling.remask else confidence.masked_fill(~hidden, float("inf"))
        rank = order.masked_fill(~wanted, float("inf")).flatten(1).argsort(1).argsort(1).view_as(order)
        hidden = (rank < left[:, None, None]) & wanted
        ids = torch.where(hidden, model.mask_id, ids)
        if progress is not None:
            progress("tokens", step + 1, sampling.steps)
    return torch.where(real, ids, UNKNOWN)


@torch.inference_mode()
def sample_finer_levels(
    model: ResidualTransformer,
    tokenizer: Tokenizer,
    conditions: Conditions,
    first: Tensor,
    known: Tensor,
    valid: Tensor,
    draws: Sequence[torch.Generator],
    sampling: Sampling,
    progress: Progress | None = None,
) -> Tensor:
    """Ids [B, R, N, levels] with ``first`` [B, R, N] as level 0; known ones of ``known`` are kept."""
    model.eval()
    levels = min(tokenizer.config.levels, sampling.levels)
    ids = known.clone()
    ids[..., 0] = first
    weights = {BOTH: sampling.residual_scale, NONE: 1 - sampling.residual_scale}
    weights = {branch: weight for branch, weight in weights.items() if weight}
    memory = model.memory(conditions).viewed(list(weights))
    for level in range(1, levels):
        latents = tokenizer.codes(ids[..., :level])
        at = torch.full((len(ids),), level, device=ids.device)
        wanted = (known[..., level] == UNKNOWN) & valid[:, None]
        logits = guided(model(latents, at, valid, memory, tokenizer), weights, wanted)
        uniform = own_noise(draws, valid, known.shape[1], 1)[..., 0]
        drawn, _ = pick(logits, uniform[wanted], sampling.residual_temperature, sampling.top_k, sampling.top_p)
        ids[..., level][wanted] = drawn
        if progress is not None:
            progress("detail", level, levels - 1)
    return ids


def guided(logits: Tensor, weights: dict[tuple[bool, bool], float], wanted: Tensor) -> Tensor:
    """Guided logits [M, C] of the tokens ``wanted`` [B, R, N] from those of all views [B V, R, N, C]."""
    views = logits.unflatten(0, (-1, len(weights)))
    return combine({branch: views[:, i][wanted] for i, branch in enumerate(weights)}, weights)


def pick(logits: Tensor, uniform: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Ids [M] drawn from ``logits`` [M, C] with ``uniform`` numbers [M] of 0 to 1, and their probabilities [M]."""
    if temperature < 1e-6:
        chance, drawn = logits.softmax(-1), logits.argmax(-1)
        return drawn, chance.gather(-1, drawn[..., None])[..., 0]
    chance = cut((logits / temperature).softmax(-1), top_k, top_p)
    mass = chance.cumsum(-1)
    total = mass[..., -1:]
    drawn = (mass <= uniform.clamp(max=1 - 1e-6)[..., None] * total).sum(-1)
    return drawn, (chance.gather(-1, drawn[..., None]) / total)[..., 0]


def cut(chance: Tensor, top_k: int, top_p: float) -> Tensor:
    """Probabilities [M, C] with all but the ``top_k`` best, and then all beyond the ``top_p`` mass, at 0."""
    if 0 < top_k < chance.shape[-1]:
        chance = chance.masked_fill(chance < chance.topk(top_k, -1).values[:, -1:], 0)
        chance = chance / chance.sum(-1, keepdim=True)
    if top_p < 1:
        ordered = ascending(chance)
        beyond = (ordered.cumsum(-1) <= 1 - top_p).sum(-1, keepdim=True)
        chance = chance.masked_fill(chance < ordered.gather(-1, beyond.clamp(max=chance.shape[-1] - 1)), 0)
    return chance


def ascending(x: Tensor) -> Tensor:
    """Rows of ``x`` [M, C] sorted; on a processor by numpy, which is far faster at it."""
    return torch.from_numpy(np.sort(x.numpy(), -1)) if x.device.type == "cpu" else x.sort(-1).values


def gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise of uniform noise."""
    return -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))


def own_noise(draws: Sequence[torch.Generator], valid: Tensor, rows: int, numbers: int) -> Tensor:
    """Uniform noise [B, R, N, numbers]: each sample's from its own generator and in its own length."""
    out = torch.full((len(draws), rows, valid.shape[1], numbers), 0.5)
    for b, (draw, n) in enumerate(zip(draws, valid.sum(1).tolist(), strict=True)):
        out[b, :, :n] = torch.rand((rows, n, numbers), generator=draw)
    return out.to(valid.device)


def without_exemplars(sampling: Sampling) -> Sampling:
    """The same sampling with retrieval off."""
    return replace(sampling, guidance=replace(sampling.guidance, retrieval_scale=0.0))
