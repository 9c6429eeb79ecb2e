"""Which retrieved motions a generation reads: chosen by fit and length, off below a threshold.

- The fit of an exemplar is cosine x exp(-0.1 |l - L| / max(l, L)) (ReMoDiffuse): of two that fit the words alike, the one of
  about the wanted length is preferred.
- Where even the best hit does not fit, retrieval is off for that prompt: a bad neighbour is worse than none.
- An exemplar may be read for some body parts only: the legs of this, the arms of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from motion import Clip

LENGTH_WEIGHT = 0.1


@dataclass(frozen=True)
class ExemplarClip:
    """One retrieved motion with its cosine, what is said of it, and the parts to read (none named: all)."""

    clip: Clip
    score: float
    caption: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retrieval:
    """How exemplars are chosen, calibrated for one retrieval encoder.

    ``neighbours`` at most; none if the best cosine is under ``threshold``; from ``enough`` on a hit is what was asked for.
    """

    neighbours: int = 8
    threshold: float = 0.3
    enough: float = 0.6


def length_score(length: float, wanted: float) -> float:
    """exp(-0.1 |l - L| / max(l, L)), 1 for equal lengths."""
    return math.exp(-LENGTH_WEIGHT * abs(length - wanted) / max(length, wanted, 1e-9))


def chosen(found: Sequence[ExemplarClip], retrieval: Retrieval, seconds: float | None) -> tuple[ExemplarClip, ...]:
    """The exemplars to read, best first; those with parts of their own are always read."""
    asked = [x for x in found if x.parts]
    rest = [x for x in found if not x.parts]
    if not rest or max(x.score for x in rest) < retrieval.threshold:
        return tuple(asked)
    if seconds is not None:
        rest = sorted(rest, key=lambda x: -x.score * length_score(x.clip.duration_s, seconds))
    return (*asked, *rest[: retrieval.neighbours])
