"""The towers: an embedding depends on the clip alone, sides are mirror images, and the parts see only their part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from encoders import EncoderError
from encoders.base import EncoderSpec
from encoders.part_momentum.config import BASE, SMALL, WHOLE_BODY, ModelConfig
from encoders.part_momentum.data import Normaliser
from encoders.part_momentum.encoder import PartMomentumEncoder
from encoders.part_momentum.loss import Queue
from encoders.part_momentum.model import PHASES, TextMotionModel, stretches
from encoders.part_momentum.train import follow
from motion import SMPL_22, Clip
from motion.features import mirror_columns, mirror_features, part_columns, part_features

SPEC = part_features(SMALL.features)
TINY = replace(SMALL, dim=32, part_width=16, part_layers=1, body_width=16, body_layers=1, heads=2, text_hidden=32)
TINY_WHOLE = replace(WHOLE_BODY, dim=32, body_width=16, body_layers=1, heads=2, text_hidden=32)


TINY_THROUGH = replace(TINY, views=False, order=False)  # as the first shipped weights are


def build(config: ModelConfig, seed: int = 0) -> TextMotionModel:
    torch.manual_seed(seed)
    return TextMotionModel(config, torch.from_numpy(mirror_columns(SPEC).signs)).eval()


def encoder(config: ModelConfig) -> PartMomentumEncoder:
    normaliser = Normaliser(np.zeros(SPEC.dim, np.float32), np.ones(SPEC.dim, np.float32))
    spec = EncoderSpec("test", config.dim, config.parts, config.features, SPEC.fps, "0" * 32)
    return PartMomentumEncoder(model=build(config), normaliser=normaliser, spec=spec, device="cpu")


def wandering(frames: int, seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    rest = rng.normal(size=(22, 3)) * 0.3 + [0, 1, 0]
    sway = np.cumsum(rng.normal(size=(frames, 22, 3)) * 0.01, axis=0)
    return Clip(joints=(rest + sway).astype(np.float32), skeleton=SMPL_22, fps=20.0)


def test_moments_of_parts_depend_on_the_clip_alone_and_each_on_its_own_part() -> None:
    model, clips = encoder(TINY), [wandering(frames, seed) for seed, frames in enumerate((9, 40, 61))]
    together = model.encode_motion_tokens(clips)
    for clip, tokens in zip(clips, together, strict=True):
        assert tokens.shape[1:] == (len(TINY.parts), TINY.dim)
        np.testing.assert_allclose(tokens, model.encode_motion_tokens([clip])[0], atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), 1, atol=1e-5)
    assert [len(tokens) for tokens in together] == sorted(len(tokens) for tokens in together)
    moved = clips[2].joints.copy()
    moved[:, [SMPL_22.index("left_wrist"), SMPL_22.index("left_elbow")]] += np.float32(0.2)
    other = model.encode_motion_tokens([Clip(moved, SMPL_22, 20.0)])[0]
    changed = np.abs(other - together[2]).max(axis=(0, 2)) > 1e-5
    assert dict(zip(TINY.parts, changed, strict=True))["left_arm"] and not changed[TINY.parts.index("right_leg")]
    with pytest.raises(EncoderError, match="no body parts"):
        encoder(TINY_WHOLE).encode_motion_tokens(clips)


@pytest.mark.parametrize(
    "config", [TINY, TINY_THROUGH, TINY_WHOLE], ids=["part-momentum", "through-parts", "whole-body"]
)
def test_embedding_depends_on_the_clip_alone(config: ModelConfig) -> None:
    clips = [wandering(frames, seed) for seed, frames in enumerate((9, 40, 61, 120, 23))]
    model = encoder(config)
    together = model.encode_motion(clips)
    alone = [model.encode_motion([clip]) for clip in clips]
    backwards = model.encode_motion(clips[::-1])
    for row in range(len(clips)):
        np.testing.assert_allclose(together.whole[row], alone[row].whole[0], atol=2e-6)
        np.testing.assert_allclose(together.parts[row], alone[row].parts[0], atol=2e-6)
        np.testing.assert_allclose(together.whole[row], backwards.whole[-1 - row], atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(together.whole, axis=-1), 1, atol=1e-5)
    assert together.parts.shape == (5, len(config.parts), 32)


def test_other_skeletons_and_sizes_are_brought_to_the_encoders(tmp_path: object) -> None:
    from motion import KIT_21
    from motion.synth import synthesise

    walking = synthesise(1, seed=2)[0]
    order = [0, 3, 6, 9, 15, 17, 19, 21, 16, 18, 20, 2, 5, 8, 8, 11, 1, 4, 7, 7, 10]
    kit = Clip(joints=walking.joints[:, order] * 0.6, skeleton=KIT_21, fps=20.0)
    small = Clip(joints=walking.joints * 0.6, skeleton=SMPL_22, fps=20.0)
    model = encoder(TINY)
    whole = model.encode_motion([walking, small, kit]).whole
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-4)  # body size does not matter
    assert float(whole[0] @ whole[2]) > 0.8


@pytest.mark.parametrize("config", [TINY, TINY_THROUGH], ids=["part-momentum", "through-parts"])
def test_padding_is_never_seen_even_when_it_is_not_zero(config: ModelConfig) -> None:
    model = build(config)
    x = torch.randn(2, 37, SPEC.dim)
    mask = torch.ones(2, 37, dtype=torch.bool)
    junk = torch.cat([x, torch.full((2, 20, SPEC.dim), 1e3)], dim=1)
    longer = torch.nn.functional.pad(mask, (0, 20), value=False)
    torch.testing.assert_close(model.motion(x, mask).whole, model.motion(junk, longer).whole, atol=2e-6, rtol=0)
    torch.testing.assert_close(model.motion(x, mask).parts, model.motion(junk, longer).parts, atol=2e-6, rtol=0)


def test_the_whole_is_the_mean_of_its_views() -> None:
    found = build(TINY).motion(torch.randn(3, 30, SPEC.dim), torch.ones(3, 30, dtype=torch.bool))
    assert found.views.shape == (3, 2, TINY.dim)
    torch.testing.assert_close(found.whole, torch.nn.functional.normalize(found.views.mean(1), dim=-1))


def test_left_limbs_are_read_as_mirrored_right_limbs() -> None:
    towers = build(TINY).motion
    x = torch.randn(1, 24, SPEC.dim)
    mirrored = torch.from_numpy(mirror_features(x.numpy(), SPEC))
    for limb in ("leg", "arm"):
        left = towers._inputs(x, f"left_{limb}")
        right = towers._inputs(mirrored, f"right_{limb}")
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("share", [True, False])
def test_a_part_vector_changes_with_its_own_columns_only(share: bool) -> None:
    config = replace(TINY, share_sides=share)
    towers = build(config).motion
    x, mask = torch.randn(1, 24, SPEC.dim), torch.ones(1, 24, dtype=torch.bool)
    before = towers(x, mask).parts[0]
    changed = x.clone()
    changed[..., part_columns(SPEC)["left_leg"]] += 1.0
    moved = (towers(changed, mask).parts[0] - before).norm(dim=-1) > 1e-4
    assert [p for p, m in zip(config.parts, moved.tolist(), strict=True) if m] == ["left_leg"]


def test_the_slow_copy_follows_and_makes_no_dropout() -> None:
    model, slow = build(TINY, seed=1), build(TINY, seed=2)
    x, mask = torch.randn(2, 24, SPEC.dim), torch.ones(2, 24, dtype=torch.bool)
    torch.testing.assert_close(slow.motion(x, mask).whole, slow.motion(x, mask).whole)
    for _ in range(60):
        follow(slow, model, 0.8)
    torch.testing.assert_close(slow.motion(x, mask).whole, model.motion(x, mask).whole, atol=1e-4, rtol=0)


def test_sizes_are_what_the_model_card_says() -> None:
    count = {
        name: sum(p.numel() for p in build(c).parameters()) for name, c in (("small", SMALL), ("whole", WHOLE_BODY))
    }
    assert 2e6 < count["small"] < 5e6
    assert abs(count["whole"] - count["small"]) / count["small"] < 0.01  # the control has equal parameters
    assert len(Queue(4, SMALL.dim, 6, 2, SMALL.text_dim).keys("text").whole) == 0
    assert BASE.part_layers == 4
    assert BASE.part_width == 512


@pytest.mark.parametrize("frames", [3, 16, 50])
def test_stretches_are_means_over_equal_shares_of_the_real_frames(frames: int) -> None:
    features = torch.randn(1, 60, 2, generator=torch.Generator().manual_seed(0))
    found = stretches(features, torch.arange(60)[None] < frames)[0]
    for phase in range(PHASES):
        first = phase * frames // PHASES
        last = max((phase + 1) * frames // PHASES, first + 1)
        torch.testing.assert_close(found[phase], features[0, first:last].mean(0), atol=1e-5, rtol=1e-4)
