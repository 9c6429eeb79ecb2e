"""The two transformers: what each position, sample and branch may depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from generator import ExemplarClip, Generator
from generator.conditions import Conditions, encode_sentences, stack
from generator.guidance import BOTH, NONE, TEXT
from generator.masked import MaskedTransformer, draw_mask, masked_share
from generator.train.masked import MaskedTraining, dropped
from motion import Clip

TEXTS = ["a person waves", "somebody walks forward slowly and sits down", "a jump"]


def conditions_of(generator: Generator, found: list[tuple[ExemplarClip, ...]]) -> Conditions:
    sentences = encode_sentences(generator.tower, TEXTS[: len(found)])
    return stack(sentences, [generator.read_exemplars(x) for x in found], shape=generator.tokenizer.exemplar_shape)


@pytest.fixture
def conditions(generator: Generator, clips: list[Clip]) -> Conditions:
    found = [(0, 1), (2,), (3, 4, 5)]
    return conditions_of(generator, [tuple(ExemplarClip(clips[i], 0.6, "so") for i in rows) for rows in found])


@pytest.fixture
def ids(masked: MaskedTransformer) -> Tensor:
    return torch.randint(0, masked.mask_id + 1, (3, 6, 9), generator=torch.Generator().manual_seed(3))


def one(c: Conditions, row: int) -> Conditions:
    return Conditions(**{name: value[row : row + 1] for name, value in vars(c).items()})


@torch.inference_mode()
def test_a_sample_alone_and_in_a_batch(generator: Generator, conditions: Conditions, ids: Tensor) -> None:
    lengths = torch.tensor([9, 5, 7])
    valid = torch.arange(9)[None] < lengths[:, None]
    masked, residual, tokenizer = generator.masked, generator.residual, generator.tokenizer
    together = masked(ids, valid, masked.memory(conditions))
    latents = tokenizer.codes(ids.clamp(max=masked.mask_id - 1)[..., None])
    level = torch.tensor([1, 2, 1])
    finer = residual(latents, level, valid, residual.memory(conditions), tokenizer)
    for row, n in enumerate(lengths.tolist()):
        own, seen = one(conditions, row), torch.ones(1, n, dtype=torch.bool)
        alone = masked(ids[row : row + 1, :, :n], seen, masked.memory(own))
        torch.testing.assert_close(alone[0], together[row, :, :n], atol=2e-5, rtol=1e-4)
        alone = residual(latents[row : row + 1, :, :n], level[row : row + 1], seen, residual.memory(own), tokenizer)
        torch.testing.assert_close(alone[0], finer[row, :, :n], atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_every_known_token_reaches_every_other(masked: MaskedTransformer, conditions: Conditions) -> None:
    ids = torch.full((1, 6, 9), masked.mask_id)
    ids[0, 2, 4] = 3
    valid, memory = torch.ones(1, 9, dtype=torch.bool), masked.memory(one(conditions, 0))
    before = masked(ids, valid, memory)
    ids[0, 2, 4] = 8
    change = (masked(ids, valid, memory) - before).abs().amax(-1)[0]
    assert float(change.min()) > 1e-6  # in all rows and at all time steps


@torch.inference_mode()
def test_positions_stay_distinct_through_the_layers(masked: MaskedTransformer, conditions: Conditions) -> None:
    own = one(conditions, 0)
    x = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(0))
    out = masked.backbone(x, torch.ones(1, 9, dtype=torch.bool), masked.memory(own))
    assert float(out.var(1).mean() / out.var()) > 0.1


@torch.inference_mode()
def test_who_sees_what(generator: Generator, conditions: Conditions, ids: Tensor, clips: list[Clip]) -> None:
    masked, valid = generator.masked, torch.ones(3, 9, dtype=torch.bool)
    others = conditions_of(generator, [tuple(ExemplarClip(c, 0.2, "other") for c in clips[6:8]) for _ in range(3)])
    words = {"pooled": conditions.pooled, "words": conditions.words, "word_mask": conditions.word_mask}
    reworded = replace(conditions, **{name: value.flip(0) for name, value in words.items()})

    def logits(c: Conditions, *, text: bool, exemplars: bool) -> Tensor:
        return masked(ids, valid, masked.memory(c.seeing(text=text, exemplars=exemplars)))

    for text in (True, False):
        assert not torch.allclose(
            logits(conditions, text=text, exemplars=True), logits(others, text=text, exemplars=True)
        )
        blind = logits(conditions, text=text, exemplars=False)
        torch.testing.assert_close(blind, logits(others, text=text, exemplars=False), atol=1e-6, rtol=0)
    assert not torch.allclose(
        logits(conditions, text=True, exemplars=True), logits(reworded, text=True, exemplars=True)
    )
    nothing = logits(conditions, text=False, exemplars=False)
    torch.testing.assert_close(nothing, logits(reworded, text=False, exemplars=False), atol=0, rtol=0)


@torch.inference_mode()
def test_views_side_by_side_are_what_each_is_alone(generator: Generator, conditions: Conditions, ids: Tensor) -> None:
    masked, residual, tokenizer = generator.masked, generator.residual, generator.tokenizer
    valid = torch.arange(9)[None] < torch.tensor([9, 5, 7])[:, None]
    latents = tokenizer.codes(ids.clamp(max=masked.mask_id - 1)[..., None])
    level = torch.tensor([1, 2, 1])
    for views in ([BOTH, TEXT, NONE], [BOTH, NONE], [TEXT, NONE], [TEXT], [NONE]):
        first = masked(ids, valid, masked.memory(conditions).viewed(views)).unflatten(0, (3, -1))
        finer = residual(latents, level, valid, residual.memory(conditions).viewed(views), tokenizer)
        finer = finer.unflatten(0, (3, -1))
        for i, (text, exemplars) in enumerate(views):
            own = conditions.seeing(text=text, exemplars=exemplars)
            torch.testing.assert_close(first[:, i], masked(ids, valid, masked.memory(own)), atol=2e-5, rtol=1e-4)
            alone = residual(latents, level, valid, residual.memory(own), tokenizer)
            torch.testing.assert_close(finer[:, i], alone, atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="views"):
        masked.memory(conditions).viewed([NONE, BOTH])


@torch.inference_mode()
def test_without_any_exemplar_it_is_the_model_without_retrieval(generator: Generator, ids: Tensor) -> None:
    masked, valid = generator.masked, torch.ones(3, 9, dtype=torch.bool)
    none = conditions_of(generator, [(), (), ()])
    logits = masked(ids, valid, masked.memory(none))
    memory = replace(masked.memory(none), copies=None)
    torch.testing.assert_close(logits, masked(ids, valid, memory).log_softmax(-1), atol=1e-5, rtol=1e-5)
    assert float(logits.exp().sum(-1).sub(1).abs().max()) < 1e-4


@torch.inference_mode()
def test_tokens_are_taken_over_from_the_parts_that_are_asked_for(generator: Generator, clips: list[Clip]) -> None:
    masked, rows = generator.masked, generator.tokenizer.config.rows
    bias = masked.copy.stay.bias.clone()  # type: ignore[union-attr]
    masked.copy.stay.bias.fill_(-20)  # type: ignore[union-attr]
    try:
        found = (ExemplarClip(clips[0], 0.9, "so", ("left_leg",)),)
        c = conditions_of(generator, [found])
        n = int(c.exemplar_mask.sum())
        ids, valid = torch.full((1, 6, n), masked.mask_id), torch.ones(1, n, dtype=torch.bool)
        drawn = masked(ids, valid, masked.memory(c)).argmax(-1)[0]
    finally:
        masked.copy.stay.bias.copy_(bias)  # type: ignore[union-attr]
    own = set(c.ids[0, 0, rows.index("left_leg")].tolist())
    assert set(drawn[rows.index("left_leg")].tolist()) <= own
    other = c.ids[0, 0, rows.index("right_arm")]
    assert (drawn[rows.index("right_arm")] == other).float().mean() < 0.5  # that row had to answer by itself


def test_the_masked_count_is_exact_on_valid_tokens_and_follows_the_law_of_sampling() -> None:
    lengths = torch.tensor([3, 12, 49, 30] * 500)
    valid = torch.arange(49)[None] < lengths[:, None]
    hidden = draw_mask(valid, 6, torch.Generator().manual_seed(0))
    assert not (hidden & ~valid[:, None]).any()
    count = hidden.flatten(1).sum(1)
    assert int(count.min()) >= 1 and bool((count <= 6 * lengths).all())
    share = (count / (6 * lengths)).numpy()[lengths.numpy() > 10]
    grid = np.linspace(0, 1, 9)
    expected = np.quantile([float(masked_share(u)) for u in np.linspace(0, 1, 2001)], grid)
    np.testing.assert_allclose(np.quantile(share, grid), expected, atol=0.06)


def test_text_and_exemplars_are_hidden_independently_in_the_shares_asked_for(conditions: Conditions) -> None:
    config = MaskedTraining(data=(), out="", drop_both=0.1, drop_text=0.2, drop_exemplars=0.3)
    rng = np.random.default_rng(0)
    seen = np.zeros((2, 2))
    for _ in range(3000):
        hidden = dropped(conditions, config, rng)
        np.add.at(seen, (hidden.with_text.numpy().astype(int), hidden.with_exemplars.numpy().astype(int)), 1 / 9000)
    np.testing.assert_allclose(seen, [[0.1, 0.2], [0.3, 0.4]], atol=0.02)
    assert bool(conditions.with_text.all()) and bool(conditions.with_exemplars.all())  # the input is not changed


@torch.inference_mode()
def test_the_residual_transformer_knows_no_id_beyond_the_codes(generator: Generator, conditions: Conditions) -> None:
    latents = generator.tokenizer.codes(torch.zeros(3, 6, 4, 1, dtype=torch.long))
    residual, valid = generator.residual, torch.ones(3, 4, dtype=torch.bool)
    level = torch.tensor([1, 1, 2])
    logits = residual(latents, level, valid, residual.memory(conditions), generator.tokenizer)
    assert logits.shape[-1] == generator.tokenizer.config.codes
