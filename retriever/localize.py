"""When in a long motion a sentence happens: windows of several lengths, scored, and the best that do not overlap.

- A window's score is the cosine of its embedding with the sentence's. The curve over time is the mean of the windows that
  hold a moment, so that it is smooth where windows agree and low where only one of them is lucky.
- A short window inside the right seconds scores as well as all of them, and so does one that reaches over their end. So the
  windows are ordered by score + 0.3 times the mean of the curve inside + 0.1 times the logarithm of their seconds; both
  weights were chosen on validation. Windows that overlap a better one by more than ``OVERLAP`` of their union are the same
  moment and left out.
- Source of the plain protocol (windows, cosine, suppression): TMR (Petrovich et al. 2023), section on localisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from motion import Clip
from retriever.errors import QueryError

LENGTHS_S = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
STRIDE_S = 0.5
OVERLAP = 0.3
LENGTH_BONUS, CURVE_WEIGHT = 0.1, 0.3
LONGEST_S = 600.0  # of a motion that is looked through: some 7,000 windows
WINDOWS_AT_ONCE = 256

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """Seconds of a motion where a sentence fits, and how well (cosine)."""

    rank: int
    start_s: float
    end_s: float
    score: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, seconds to three places."""
        return {
            "rank": self.rank, "start_s": round(self.start_s, 3), "end_s": round(self.end_s, 3), "score": round(self.score, 6),
        }  # fmt: skip


@dataclass(frozen=True)
class Moments:
    """The moments of one motion, best first, and the similarity curve: ``scores`` [W] at ``times`` [W] (seconds)."""

    clip: str
    text: str
    moments: tuple[Moment, ...]
    times: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.moments)

    def __getitem__(self, rank: int) -> Moment:
        return self.moments[rank]

    def to_json(self) -> dict[str, Any]:
        """What ``remora search --localize --json`` prints of each motion."""
        return {
            "clip": self.clip, "text": self.text, "moments": [moment.to_json() for moment in self.moments],
            "times": [round(float(t), 3) for t in self.times], "scores": [round(float(s), 6) for s in self.scores],
        }  # fmt: skip


@dataclass(frozen=True)
class Windows:
    """A motion's windows ``spans`` [W, 2] (seconds) and their unit vectors [W, D]: made once, asked many times."""

    clip: str
    duration_s: float
    spans: NDArray[np.float64]
    vectors: NDArray[np.float32]


def window_spans(duration_s: float, lengths_s: Sequence[float] = LENGTHS_S, stride_s: float = STRIDE_S) -> Array:
    """Begin and end [W, 2] of every window of a motion, seconds; the whole of it where it is shorter than all lengths."""
    spans = []
    for length in lengths_s:
        last = duration_s - length
        if last < 0:
            continue
        starts = [*np.arange(0.0, last, stride_s), last]
        spans += [(start, start + length) for start in starts]
    return np.array(spans or [(0.0, duration_s)], np.float64)


def embed_windows(
    encoder: DualEncoder, clip: Clip, *, lengths_s: Sequence[float] = LENGTHS_S, stride_s: float = STRIDE_S
) -> Windows:
    """The windows of ``clip`` with their vectors.

    Raises:
        QueryError: the clip is longer than :data:`LONGEST_S`.
    """
    name = clip.clip_id or clip.source.take
    if clip.duration_s > LONGEST_S:
        raise QueryError(
            f"{name} lasts {clip.duration_s:.0f} s; moments are looked for in {LONGEST_S:.0f} s at most: cut it, or index it "
            "and search the library"
        )
    spans = window_spans(clip.duration_s, lengths_s, stride_s)
    pieces = [
        encoder.encode_motion([clip.cut(start, end) for start, end in spans[at : at + WINDOWS_AT_ONCE]]).whole
        for at in range(0, len(spans), WINDOWS_AT_ONCE)
    ]
    return Windows(name, clip.duration_s, spans, np.concatenate(pieces))


def localize(encoder: DualEncoder, where: Clip | Windows, text: str, *, k: int = 3, offset_s: float = 0.0) -> Moments:
    """The ``k`` moments of a motion that fit ``text`` best, and the similarity curve; ``offset_s`` is added to all seconds.

    Raises:
        QueryError: the sentence is empty, or the motion too long.
    """
    if not text.strip():
        raise QueryError('the query is empty; say what to look for, such as "a person waves"')
    windows = where if isinstance(where, Windows) else embed_windows(encoder, where)
    scores = windows.vectors @ encoder.encode_text([text]).whole[0]
    times, curve = similarity_curve(windows.spans, scores, windows.duration_s)
    found = [
        _moment(rank, offset_s + windows.spans[row], float(scores[row]))
        for rank, row in enumerate(separate(windows.spans, _worth(windows.spans, scores, times, curve), k), start=1)
    ]
    return Moments(windows.clip, text, tuple(found), offset_s + times, curve)


def _moment(rank: int, span: Array, score: float) -> Moment:
    return Moment(rank, float(span[0]), float(span[1]), score)


def separate_takes(found: Sequence[Moments], takes: Sequence[object]) -> list[Moments]:
    """``found`` (one moment each), best first, without those that overlap a better one of the same take."""
    kept: list[tuple[Moments, object]] = []
    for moments, take in sorted(zip(found, takes, strict=True), key=lambda pair: -pair[0][0].score):
        span = (moments[0].start_s, moments[0].end_s)
        if all(t != take or overlap(span, (m[0].start_s, m[0].end_s)) <= OVERLAP for m, t in kept):
            kept.append((moments, take))
    return [moments for moments, _ in kept]


def separate(spans: Array, worth: Array, k: int) -> list[int]:
    """Rows of the ``k`` windows worth most of which none overlaps a better one by more than :data:`OVERLAP`, best first."""
    chosen: list[int] = []
    for row in np.argsort(-worth, kind="stable").tolist():
        if all(overlap(spans[row], spans[other]) <= OVERLAP for other in chosen):
            chosen.append(row)
        if len(chosen) == k:
            break
    return chosen


def _worth(spans: Array, scores: Array, times: Array, curve: Array) -> Array:
    """What windows are ordered by [W]: see the module docstring."""
    inside = _holding(spans, times).T
    mean = (inside @ curve) / np.maximum(inside.sum(axis=1), 1)
    length = np.log(np.maximum(spans[:, 1] - spans[:, 0], 1e-3))
    return np.asarray(scores + CURVE_WEIGHT * mean + LENGTH_BONUS * length)


def _holding(spans: Array, times: Array) -> NDArray[np.bool_]:
    """Which windows hold which time [times, W]."""
    return (spans[None, :, 0] <= times[:, None]) & (times[:, None] <= spans[None, :, 1])


def overlap(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Seconds that two spans share, over the seconds that either covers."""
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return float(shared / max((a[1] - a[0]) + (b[1] - b[0]) - shared, 1e-9))


def similarity_curve(spans: Array, scores: Array, duration_s: float, step_s: float = 0.25) -> tuple[Array, Array]:
    """Times [W] every ``step_s`` seconds, and at each the mean score of the windows that hold it."""
    times = np.arange(0.0, max(duration_s, step_s), step_s) + step_s / 2
    times = np.minimum(times, duration_s)
    holds = _holding(spans, times)
    return times, (holds @ scores) / np.maximum(holds.sum(axis=1), 1)
