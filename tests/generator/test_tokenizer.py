"""Tokens: of a clip's true length, independent of the batch, local to their part, and exactly restored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from generator import GeneratorError
from generator.frames import clip_to_frames, mirror_frames
from generator.tokenizer import Tokenizer, batch_frames
from generator.weights import fingerprint, load_tokenizer, save_tokenizer
from motion import Clip


def test_tokens_do_not_depend_on_the_batch_or_its_padding(tokenizer: Tokenizer, clips: list[Clip]) -> None:
    frames = [clip_to_frames(clip, tokenizer.frames) for clip in clips[:6]]
    together = tokenizer.encode_frames(frames)
    assert len({x.shape[1] for x in together}) > 1
    for x, ids in zip(frames, together, strict=True):
        (alone,) = tokenizer.encode_frames([x])
        assert alone.shape == (6, len(x) // 4, 3) and np.array_equal(alone, ids)
    decoded = tokenizer.decode_ids(together)
    for ids, y in zip(together, decoded, strict=True):
        np.testing.assert_allclose(tokenizer.decode_ids([ids])[0], y, atol=1e-4)


def test_a_token_tells_of_its_own_part_alone(tokenizer: Tokenizer, clips: list[Clip]) -> None:
    frames = clip_to_frames(clips[0], tokenizer.frames)
    wrist = tokenizer.frames.skeleton.index("left_wrist") - 1
    moved = frames.copy()
    moved[:, 4 + 3 * wrist : 7 + 3 * wrist] += 0.4
    rows = [i for i, (a, b) in enumerate(zip(*tokenizer.encode_frames([frames, moved]), strict=True)) if (a != b).any()]
    assert [tokenizer.config.rows[i] for i in rows] == ["left_arm"]


def test_the_mirror_image_has_the_tokens_of_the_other_side(tokenizer: Tokenizer, clips: list[Clip]) -> None:
    frames = clip_to_frames(clips[0], tokenizer.frames)
    own, other = tokenizer.encode_frames([frames, mirror_frames(frames, tokenizer.frames)])
    names = tokenizer.config.rows
    for left in ("left_leg", "left_arm"):
        right = left.replace("left", "right")
        assert (own[names.index(left)] == other[names.index(right)]).mean() > 0.99


def test_a_level_more_comes_nearer(tokenizer: Tokenizer, clips: list[Clip]) -> None:
    frames = [clip_to_frames(clip, tokenizer.frames) for clip in clips]
    x, mask = batch_frames(frames, 4)
    with torch.inference_mode():
        latents = tokenizer.latents(x, mask)
        ids = tokenizer.quantise(latents, mask).ids
        errors = [
            float(((tokenizer.codes(ids[..., : q + 1]) - latents) ** 2).sum(-1)[mask[:, None].expand(-1, 6, -1)].mean())
            for q in range(3)
        ]
    assert errors[0] > errors[1] > errors[2]


def test_codebooks_survive_saving_and_the_next_step_does_not_start_them_anew(
    tokenizer: Tokenizer, clips: list[Clip], tmp_path: Path
) -> None:
    other = Tokenizer(tokenizer.config)
    other.load_state_dict(tokenizer.state_dict())
    before = other.codebooks("leg").clone()
    x, mask = batch_frames([clip_to_frames(clips[3], tokenizer.frames)], 4)
    other.train()
    with torch.no_grad():
        other.quantise(other.latents(x, mask), mask)
    moved = (other.codebooks("leg") - before).norm(dim=-1)
    assert float((moved < 0.5 * before.norm(dim=-1)).float().mean()) > 0.6  # averages move, they are not drawn again
    save_tokenizer(tokenizer, tmp_path / "a", {})
    loaded = load_tokenizer(tmp_path / "a")
    frames = [clip_to_frames(clip, tokenizer.frames) for clip in clips[:4]]
    for a, b in zip(tokenizer.encode_frames(frames), loaded.encode_frames(frames), strict=True):
        assert (a == b).mean() > 0.99  # half precision of the encoder
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "a")


def test_a_clip_under_a_token_and_a_folder_of_something_else(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="at least 4 frames"):
        tokenizer.encode_frames([np.zeros((3, tokenizer.frames.dim), np.float32)])
    with pytest.raises(GeneratorError, match=r"config\.json"):
        load_tokenizer(tmp_path)
    save_tokenizer(tokenizer, tmp_path / "t", {})
    config = (tmp_path / "t/config.json").read_text().replace('"codes": 32', '"codes": 64')
    (tmp_path / "t/config.json").write_text(config)
    with pytest.raises(GeneratorError, match="does not fit"):
        load_tokenizer(tmp_path / "t")
