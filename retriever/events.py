"""Sentences of several events, "walks, then sits": every event by its own stretch of a clip, in the order they are told.

- One vector of a whole clip hardly knows what came first. A clip is cut into as many stretches as the sentence has events,
  evenly and with all cuts earlier or later by ``SHIFT`` of a stretch; the mean cosine of events and stretches counts, of the
  three ways to cut the best.
- It is added to the cosine of the whole with ``WEIGHT``. Shift and weight were chosen on compositions of validation clips.
- Compositions of two labelled clips, both ways round, measure it (:func:`joined_both_ways`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from encoders.text import events_of
from motion import Caption, Clip, join

SHIFTS = (-0.4, 0.0, 0.4)  # of a stretch
WEIGHT = 2.0
MOST_EVENTS = 8
AT_ONCE = 256
SHORTEST_S, LONGEST_S = 1.0, 8.0  # of a clip that is joined
JOINED = 60  # pairs of clips
SEED = 0


def stretches(duration_s: float, count: int) -> NDArray[np.float64]:
    """Begin and end [S, count, 2], seconds, of ``count`` stretches that fill a clip, for every way to cut it."""
    inner = np.arange(1, count)
    cuts = np.stack([np.concatenate([[0.0], inner + shift, [count]]) for shift in SHIFTS]) / count * duration_s
    return np.stack([cuts[:, :-1], cuts[:, 1:]], axis=2)


def embed_stretches(encoder: DualEncoder, clips: Sequence[Clip], count: int) -> NDArray[np.float32]:
    """Unit vectors [N, S, count, D] of the stretches of clips."""
    cut = [clip.cut(*span) for clip in clips for span in stretches(clip.duration_s, count).reshape(-1, 2)]
    pieces = [encoder.encode_motion(cut[at : at + AT_ONCE]).whole for at in range(0, len(cut), AT_ONCE)]
    made = np.concatenate([np.zeros((0, encoder.spec.dim), np.float32), *pieces])
    return made.reshape(len(clips), len(SHIFTS), count, encoder.spec.dim)


def event_scores(events: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean cosine [N] of events [E, D] with the stretches [N, S, E, D] in their order, of the S ways to cut the best."""
    return np.asarray(np.einsum("ed,nsed->nse", events, found).mean(axis=2).max(axis=1), np.float32)


def joined_both_ways(clips: Sequence[Clip], *, count: int = JOINED, seed: int = SEED) -> list[Clip]:
    """Pairs of labelled clips of one source and two classes, joined both ways round, each with its sentence.

    Empty where no source has two classes that tell one event.
    """
    pools: dict[str, list[Clip]] = {}
    for clip in clips:
        text = clip.labels.get("class_text", "")
        if text and len(events_of(text)) == 1 and SHORTEST_S <= clip.duration_s <= LONGEST_S:
            pools.setdefault(clip.source.dataset, []).append(replace(clip, captions=()))
    names = sorted(name for name, pool in pools.items() if len({c.labels["class_text"] for c in pool}) > 1)
    rng = np.random.default_rng(seed)
    made: list[Clip] = []
    for number in range(count if names else 0):
        pool = pools[names[number % len(names)]]
        one = pool[rng.integers(len(pool))]
        others = [clip for clip in pool if clip.labels["class_text"] != one.labels["class_text"]]
        other = others[rng.integers(len(others))]
        made += [_told(one, other), _told(other, one)]
    return made


def _told(one: Clip, other: Clip) -> Clip:
    first, second = (clip.labels["class_text"].rstrip(". ") for clip in (one, other))
    text = f"{first}, then {second.removeprefix('a person ')}"
    labels = {"class_id": text, "class_text": text}
    return replace(join([one, other]), captions=(Caption(text, kind="template"),), labels=labels)
