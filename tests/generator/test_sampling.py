"""Guidance and sampling: formulas, special cases, seeds, and what is known stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from generator import ExemplarClip, Generator, GeneratorError, Guidance, Prompt, Sampling
from generator.guidance import BOTH, NONE, TEXT, combine
from generator.sampling import cut, gumbel, pick

TEXTS = ["a person waves", "somebody walks forward slowly and then sits down", "a jump"]
QUICK = Sampling(steps=4, levels=6)


def tokens(generator: Generator, prompts: list[Prompt], sampling: Sampling = QUICK) -> list[np.ndarray]:
    return [made.tokens for made in generator.generate(prompts, sampling=sampling)]


# ---- guidance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "retrieval"), [(1.0, 1.0), (4.0, 1.0), (2.5, 2.0), (3.0, 0.0), (0.0, 0.0), (0.5, 3.0)]
)
def test_guided_logits_are_the_formula(text: float, retrieval: float) -> None:
    rng = torch.Generator().manual_seed(0)
    both, only, none = torch.randn(3, 5, 7, generator=rng)
    weights = Guidance(text_scale=text, retrieval_scale=retrieval).weights(0.3)
    expected = none + text * (only - none) + retrieval * (both - only)
    torch.testing.assert_close(combine({BOTH: both, TEXT: only, NONE: none}, weights), expected)


def test_special_cases_run_no_branch_they_do_not_need() -> None:
    assert Guidance(text_scale=1, retrieval_scale=1).weights(0.5) == {BOTH: 1.0}
    assert Guidance(text_scale=1, retrieval_scale=0).weights(0.5) == {TEXT: 1.0}
    assert Guidance(text_scale=0, retrieval_scale=0).weights(0.5) == {NONE: 1.0}
    assert Guidance.single(3.0).weights(0.5) == {BOTH: 4.0, NONE: -3.0}  # (1 + s) l(t, r) - s l(-, -)


@pytest.mark.parametrize("schedule", ["linear", "late"])
def test_schedules_grow_from_plain_conditioning_to_the_scale(schedule: str) -> None:
    guidance = Guidance(text_scale=3, retrieval_scale=2, schedule=schedule)
    assert guidance.weights(0.0) == {BOTH: 1.0}
    assert guidance.weights(1.0) == Guidance(text_scale=3, retrieval_scale=2).weights(0.0)
    assert -guidance.weights(0.7)[NONE] > -guidance.weights(0.3)[NONE] > 0


@pytest.mark.parametrize("options", [{"schedule": "never"}, {"text_scale": -1}, {"retrieval_scale": 99}])
def test_guidance_that_is_none(options: dict) -> None:
    with pytest.raises(GeneratorError, match=r"schedule|0 to 50"):
        Guidance(**options)


# ---- drawing -------------------------------------------------------------------------------------------------------


def test_no_temperature_is_argmax_and_more_of_it_spreads() -> None:
    logits = torch.randn(2000, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(2000, generator=torch.Generator().manual_seed(2))
    assert torch.equal(pick(logits, noise, 0.0, 0, 1.0)[0], logits.argmax(-1))
    hits = [
        float((pick(logits, noise, t, 0, 1.0)[0] == logits.argmax(-1)).float().mean()) for t in (1e-3, 0.3, 1.0, 4.0)
    ]
    assert hits[0] > 0.99 and hits[0] > hits[1] > hits[2] > hits[3] > 1 / 8


def test_draws_follow_the_probabilities() -> None:
    chance = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = chance.log().expand(40_000, 4)
    noise = torch.rand(40_000, generator=torch.Generator().manual_seed(3))
    drawn, told = pick(logits, noise, 1.0, 0, 1.0)
    found = torch.bincount(drawn, minlength=4) / 40_000
    torch.testing.assert_close(found, chance, atol=0.01, rtol=0)
    torch.testing.assert_close(told, chance[drawn])
    drawn, told = pick(logits, noise, 1.0, 0, 0.75)
    found = torch.bincount(drawn, minlength=4) / 40_000
    torch.testing.assert_close(found, torch.tensor([0.625, 0.375, 0, 0]), atol=0.01, rtol=0)
    edges = torch.tensor([0.0, 1.0, 1 - 1e-7])
    assert torch.equal(pick(logits[:3], edges, 1.0, 0, 0.75)[0], torch.tensor([0, 1, 1]))
    assert bool(gumbel(edges).isfinite().all())


def test_top_k_and_top_p_keep_the_likeliest() -> None:
    chance = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    kept = [(cut(chance, k, p)[0] > 0).tolist() for k, p in ((2, 1.0), (0, 0.7), (0, 0.81), (0, 1e-6), (3, 0.5))]
    assert [sum(x) for x in kept] == [2, 2, 3, 1, 1]
    assert all(x == sorted(x, reverse=True) for x in kept)


@pytest.mark.parametrize("options", [{"steps": 0}, {"temperature": -1}, {"top_p": 0}, {"steps": 10**6}])
def test_sampling_that_is_none(options: dict) -> None:
    with pytest.raises(GeneratorError, match="give a number"):
        Sampling(**options)


# ---- whole generations ---------------------------------------------------------------------------------------------


def test_the_same_alone_and_in_a_batch(generator: Generator, exemplars: tuple[ExemplarClip, ...]) -> None:
    found = [(), exemplars, exemplars[:1]]
    prompts = [
        Prompt(t, seconds=1.4 + i, seed=i + 5, exemplars=x) for i, (t, x) in enumerate(zip(TEXTS, found, strict=True))
    ]
    for prompt, together in zip(prompts, tokens(generator, prompts), strict=True):
        (alone,) = tokens(generator, [prompt])
        assert (alone == together).mean() > 0.98  # near ties may fall otherwise in another matrix product
        assert together.shape[1] == round(prompt.seconds / 0.2) and together.min() >= 0
        assert together.max() < generator.tokenizer.config.codes


def test_seeds_make_other_motions_and_none_is_argmax(generator: Generator) -> None:
    prompt = Prompt(TEXTS[0], seconds=2.0, seed=1)
    same, other = tokens(generator, [prompt, replace(prompt, seed=2)])
    assert np.array_equal(same, tokens(generator, [prompt])[0]) and (same != other).any()
    calm = Sampling(steps=1, levels=6, temperature=0, residual_temperature=0)
    assert np.array_equal(*tokens(generator, [prompt, replace(prompt, seed=2)], calm))


def test_retrieval_changes_the_motion_and_scale_zero_is_no_retrieval(
    generator: Generator, exemplars: tuple[ExemplarClip, ...]
) -> None:
    bare, led = Prompt(TEXTS[0], seconds=2.0, seed=3), Prompt(TEXTS[0], seconds=2.0, seed=3, exemplars=exemplars)
    off = replace(QUICK, guidance=Guidance(retrieval_scale=0.0))
    assert (tokens(generator, [led])[0] != tokens(generator, [bare], off)[0]).any()
    assert np.array_equal(tokens(generator, [led], off)[0], tokens(generator, [bare], off)[0])
    # Without exemplars the branch that would see them sees what the text branch sees: any scale is no retrieval.
    assert (tokens(generator, [bare])[0] == tokens(generator, [bare], off)[0]).mean() > 0.98


def test_a_draft_is_the_exemplar_at_the_same_phase_in_the_share_asked_for(
    generator: Generator, exemplars: tuple[ExemplarClip, ...]
) -> None:
    (read,) = generator.read_exemplars(exemplars[:1])
    at = np.arange(10) * read.ids.shape[1] // 10
    bare = Prompt(TEXTS[0], seconds=2.0, seed=3)
    led = replace(bare, exemplars=(replace(exemplars[0], score=0.9),))
    (whole,) = tokens(generator, [led], replace(QUICK, draft=1.0))
    assert np.array_equal(whole[..., 0], read.ids[:, at])
    legs = replace(led, exemplars=(replace(exemplars[0], score=0.9, parts=("left_leg", "right_leg")),))
    (made,) = tokens(generator, [legs], replace(QUICK, draft=1.0))
    rows = [r.endswith("leg") for r in generator.tokenizer.config.rows]
    assert np.array_equal(made[rows][..., 0], read.ids[:, at][rows])
    assert (made[..., 0] != read.ids[:, at])[np.logical_not(rows)].any()
    poor = replace(led, exemplars=(replace(exemplars[0], score=0.3),))
    (little,) = tokens(generator, [poor], replace(QUICK, draft=1.0))
    assert (little[..., 0] == read.ids[:, at]).mean() < 0.5  # at the edge nothing is taken
    with pytest.raises(GeneratorError, match="draft"):
        Sampling(draft=1.5)


@pytest.mark.parametrize("remask", [False, True])
def test_what_is_known_is_never_touched(generator: Generator, remask: bool) -> None:
    (whole,) = tokens(generator, [Prompt(TEXTS[0], seconds=2.4, seed=1)])
    known = whole.astype(np.int64)
    known[2, 3:8] = -1
    (made,) = tokens(generator, [Prompt(TEXTS[1], seed=9, known=known)], replace(QUICK, remask=remask))
    assert np.array_equal(made[known >= 0], whole[known >= 0]) and (made >= 0).all()
    assert (made[2, 3:8] != whole[2, 3:8]).any()


def test_progress_tells_every_step(generator: Generator) -> None:
    seen: list[tuple[str, int, int]] = []
    list(generator.generate([Prompt(TEXTS[0], seconds=1.0)], sampling=QUICK, progress=lambda *at: seen.append(at)))
    assert seen == [("tokens", i, 4) for i in (1, 2, 3, 4)] + [("detail", i, 2) for i in (1, 2)]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 5e4, float("nan"), -3.0])
def test_lengths_that_cannot_be_made(generator: Generator, seconds: float) -> None:
    with pytest.raises(GeneratorError, match="length"):
        tokens(generator, [Prompt(TEXTS[0], seconds=seconds)])


def test_an_empty_prompt_and_one_longer_than_the_text_tower(generator: Generator) -> None:
    with pytest.raises(GeneratorError, match="empty"):
        tokens(generator, [Prompt("  ")])
    (made,) = tokens(generator, [Prompt("walks " * 400, seconds=1.0, seed=1)])
    assert made.shape[1] == 5


def test_an_estimated_length_is_never_empty_and_comes_with_its_range(
    generator: Generator, exemplars: tuple[ExemplarClip, ...]
) -> None:
    for made in generator.generate(
        [Prompt(t, seed=s, exemplars=exemplars) for s, t in enumerate(TEXTS)], sampling=QUICK
    ):
        assert made.seconds_estimated is not None
        low, middle, high = made.seconds_estimated
        assert 0 < low <= middle <= high and 1.0 <= made.clip.duration_s <= 9.8
