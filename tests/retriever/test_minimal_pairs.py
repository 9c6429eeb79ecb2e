"""Minimal pairs: who knows sides and order gets all, who is blind to them gets half."""

from __future__ import annotations

import numpy as np

from motion.geometry import swap_sides
from motion.synth import swap_order, synthesise
from retriever.minimal_pairs import limb_of, minimal_pairs, swap_sides_of_one

SAID = [
    "a person waves the left hand",
    "a person jumps",
    "a person waves the right hand",
    "a person waves the left hand",
]


def test_knowing_blind_and_contrary_scores() -> None:
    pairs = minimal_pairs(SAID, swap_sides)
    assert pairs is not None
    assert len(pairs.sentences) == 2
    knowing = pairs.own.astype(np.float32)
    assert pairs.correct(knowing).tolist() == [1, 1, 1]
    assert pairs.correct(np.zeros_like(knowing)).tolist() == [0.5, 0.5, 0.5]
    assert pairs.correct(-knowing).tolist() == [0, 0, 0]
    assert minimal_pairs(["a person jumps"], swap_sides) is None


def test_exchanging_events_is_its_own_inverse_and_keeps_the_words() -> None:
    changed = 0
    for clip in synthesise(80, seed=3, sequences=0.6):
        for caption in clip.captions:
            other = swap_order(caption.text)
            assert swap_order(other) == caption.text
            assert sorted(other.replace(",", "").split()) == sorted(caption.text.replace(",", "").split())
            changed += other != caption.text
    assert changed > 40
    assert swap_order("a person walks") == "a person walks"


def test_side_pairs_leave_sequences_out() -> None:
    assert swap_sides_of_one("a person waves with the left hand") == "a person waves with the right hand"
    assert swap_sides_of_one("a person turns left, then jumps") == "a person turns left, then jumps"


def test_limbs() -> None:
    said = (
        "a person raises the left hand",
        "a person kicks forward with the left foot",
        "a person walks and turns left",
    )
    assert [limb_of(text) for text in said] == ["hands", "legs", "paths"]
