"""What training sees: never a clip as its own exemplar, and text that fits the side it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from generator.tokenizer import Tokenizer
from generator.train.corpus import Corpus, family_of, nearest, said_of
from motion import Caption, Clip
from tests.fakes import FakeEncoder
from tests.generator.conftest import FakeTower


@pytest.fixture
def told(clips: list[Clip]) -> list[Clip]:
    """Of every clip a second span of its take, its mirror file, and another take that a person described alike."""
    out = []
    for i, clip in enumerate(clips[:6]):
        human = replace(clip, captions=(Caption(f"somebody raises the left arm {i}", kind="human"),), labels={})
        for take in (f"{i:06d}", f"{i:06d}", f"M{i:06d}", f"other{i}"):
            out.append(replace(human, source=replace(clip.source, dataset="d", take=take)))
    return out


def corpus_of(clips: list[Clip], tokenizer: Tokenizer, cache: Path | None = None) -> Corpus:
    return Corpus(clips, tokenizer=tokenizer, own="0", tower=FakeTower(), encoder=FakeEncoder(), cache=cache)


def test_a_clip_never_gets_itself_its_mirror_its_take_or_its_words(told: list[Clip], tokenizer: Tokenizer) -> None:
    corpus = corpus_of(told, tokenizer)
    rng = np.random.default_rng(0)
    for index, item in enumerate(corpus.items):
        for row in (*item.human, *item.plain):
            allowed = [o for o in corpus.items if o.family != item.family and not (o.said & item.said)]
            tokens = {o.tokens[0][0][..., 0].tobytes() for o in allowed}
            for draws in (rng, None):
                found = corpus.exemplars_of(row, 10, 8, rng=draws, without=item)
                assert found and all(x.ids.tobytes() in tokens for x in found), index


def test_mirrored_motion_is_told_by_the_mirrored_sentence(told: list[Clip], tokenizer: Tokenizer) -> None:
    corpus = corpus_of(told, tokenizer)
    item, names = corpus.items[0], list(corpus.texts)
    seen = set()
    for seed in range(40):
        draw = corpus.draw(0, np.random.default_rng(seed), exemplars=1)
        side = next(names[i].split()[3] for i, s in enumerate(corpus.sentences) if s is draw.sentence)
        mirrored = any(draw.tokens.tobytes() == phase.tobytes() for phase in item.tokens[1])
        plain = any(draw.tokens.tobytes() == phase.tobytes() for phase in item.tokens[0])
        if mirrored or plain:  # not cut
            assert side == ("right" if mirrored else "left")
            seen.add(side)
    assert seen == {"left", "right"}


def test_what_is_kept_is_what_was_made(told: list[Clip], tokenizer: Tokenizer, tmp_path: Path) -> None:
    first, second = corpus_of(told, tokenizer, tmp_path), corpus_of(told, tokenizer, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2 and not list(tmp_path.glob("*.partial"))
    for a, b in zip(first.items, second.items, strict=True):
        assert all(
            np.array_equal(x, y) for v, w in zip(a.tokens, b.tokens, strict=True) for x, y in zip(v, w, strict=True)
        )
    assert np.array_equal(first.neighbours, second.neighbours)


def test_neighbours_are_the_best_by_cosine() -> None:
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(5, 4)).astype("f"), rng.normal(size=(30, 4)).astype("f")
    rows, scores = nearest(queries, gallery, 7)
    every = queries @ gallery.T
    np.testing.assert_allclose(scores, -np.sort(-every, axis=1)[:, :7], rtol=1e-5)
    assert np.array_equal(rows[:, 0], every.argmax(1)) and nearest(queries, gallery[:3], 7)[0].shape == (5, 3)


def test_a_mirror_file_is_of_the_family_of_its_take(told: list[Clip]) -> None:
    assert family_of(told[0]) == family_of(told[2]) != family_of(told[3])
    assert said_of(told[0]) == {"somebody raises the left arm 0"}


def test_bad_exemplars_are_any_clips_with_the_cosine_they_really_have(told: list[Clip], tokenizer: Tokenizer) -> None:
    corpus = corpus_of(told, tokenizer)
    item, rng = corpus.items[0], np.random.default_rng(0)
    row = item.human[0]
    cosines = {round(float(x), 5) for x in corpus.spoken[row] @ corpus.motion.T}
    own = {o.tokens[0][0][..., 0].tobytes() for o in corpus.items if o.family == item.family}
    seen = set()
    for _ in range(40):
        for x in corpus.exemplars_of(row, 10, 2, rng=rng, without=item, bad=1.0):
            assert round(x.score, 5) in cosines and x.ids.tobytes() not in own
            seen.add(x.ids.tobytes())
    assert len(seen) == 5  # all others; its neighbours are of two
