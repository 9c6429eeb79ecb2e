"""Minimal pairs: is a clip nearer to its sentence than to the same sentence with its sides, or its events, exchanged?

- Both sentences have the same words but "left" for "right", or the same two events by the same joiner: no surface cue decides.
- On real clips whose class names a side, and on held-out synthetic ones, where sides and order are true by construction.
- Half of the pairs are right by chance. After the mirror test and CAR (line/ChronAccRet), which compares event orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from motion import Clip
from motion.geometry import swap_sides
from motion.synth import swap_order, synthesise

SEED = 9_001  # of the synthetic clips; no training seed
SYNTHETIC = 600
ARMS, LEGS = ("hand", "arm", "elbow", "fist"), ("leg", "foot", "lunge", "kick")


@dataclass(frozen=True)
class MinimalPairs:
    """Sentences with their twins: ``own`` [Q, N] says whose sentence each is, ``twin`` [Q] which row its twin is."""

    sentences: tuple[str, ...]
    own: NDArray[np.bool_]
    twin: NDArray[np.int64]

    def correct(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """For every clip that has a pair [M], 1 where its own sentence scores higher, 1/2 for a tie; ``scores`` [Q, N]."""
        rows, columns = np.nonzero(self.own)
        own, other = scores[rows, columns], scores[self.twin[rows], columns]
        return np.asarray((own > other) + 0.5 * (own == other), np.float64)


def minimal_pairs(sentences: Sequence[str], exchange: Callable[[str], str]) -> MinimalPairs | None:
    """Pairs of the clips' ``sentences`` [N] that ``exchange`` changes; None where it changes none."""
    asked = [text for text in sentences if exchange(text) != text]
    if not asked:
        return None
    rows = {text: row for row, text in enumerate(dict.fromkeys([*asked, *map(exchange, asked)]))}
    own = np.zeros((len(rows), len(sentences)), bool)
    for column, text in enumerate(sentences):
        if exchange(text) != text:
            own[rows[text], column] = True
    return MinimalPairs(tuple(rows), own, np.array([rows[exchange(text)] for text in rows]))


def limb_of(sentence: str) -> str:
    """What the side in a sentence is of: "hands", "legs", or "paths" where neither is named."""
    words = sentence.lower()
    if any(word in words for word in ARMS):
        return "hands"
    return "legs" if any(word in words for word in LEGS) else "paths"


@cache
def synthetic_clips() -> tuple[Clip, ...]:
    """Clips of one sided action and of two actions in a row, of no training seed."""
    return tuple(synthesise(SYNTHETIC, seed=SEED, sequences=0.5))


def swap_sides_of_one(sentence: str) -> str:
    """The sentence with its sides exchanged where it tells one event, else the sentence itself."""
    return sentence if swap_order(sentence) != sentence else swap_sides(sentence)
