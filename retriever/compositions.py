"""How well moments are found: long motions joined of held-out clips, each asked for by its sentence.

- A composition is four clips of one source and four classes, joined without a cut (:func:`motion.join`). The seconds of a clip
  inside it are the truth; a query is right when its first moment overlaps them by more than a third, half, seven tenths.
- Beside it stand a random window of the same lengths, and the answer "all of it".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from motion import Caption, Clip, join
from retriever import protocols
from retriever.errors import EvaluationError
from retriever.localize import embed_windows, localize, overlap
from retriever.pairs import Progress, read_split
from retriever.protocols import Interval

LEVELS = (0.3, 0.5, 0.7)
SEGMENTS = 4
SHORTEST_S, LONGEST_S = 1.0, 8.0  # of a clip that is joined


@dataclass(frozen=True)
class LocalizationReport:
    """R@1 at each overlap and the mean overlap, of the encoder, a random window, and the whole motion."""

    data: str
    split: str
    encoder: str
    compositions: int
    queries: int
    seconds: float  # mean length of a composition
    rows: Mapping[str, Mapping[str, Interval]]

    def to_json(self) -> dict[str, Any]:
        """Plain values, four places."""
        rows = {
            name: {figure: {k: round(v, 4) for k, v in vars(value).items()} for figure, value in row.items()}
            for name, row in self.rows.items()
        }
        return vars(self) | {"rows": rows}


def evaluate_localization(
    data: Path,
    *,
    encoder: DualEncoder,
    split: str = "test",
    sources: Sequence[str] | None = None,
    compositions: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> LocalizationReport:
    """R@1 at IoU 0.3, 0.5, 0.7 over ``compositions`` joined of the labelled clips of ``split``.

    Raises:
        EvaluationError: no source has clips of four classes that last between one and eight seconds.
    """
    clips = read_split(data, split, sources, progress=progress).clips
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {encoder.spec.name: [], "a random window": [], "all of it": []}
    seconds = []
    for number, (long, told) in enumerate(compose(clips, compositions, seed=seed), start=1):
        windows = embed_windows(encoder, long)
        seconds.append(long.duration_s)
        for caption in told:
            truth = (caption.start_s, caption.end_s)
            best = localize(encoder, windows, caption.text, k=1)[0]
            found[encoder.spec.name].append(overlap((best.start_s, best.end_s), truth))
            found["a random window"].append(overlap(windows.spans[rng.integers(len(windows.spans))], truth))
            found["all of it"].append(overlap((0.0, long.duration_s), truth))
        if progress is not None:
            progress("compositions", number, compositions)
    return LocalizationReport(
        data=data.name, split=split, encoder=encoder.spec.name, compositions=len(seconds),
        queries=len(found["all of it"]), seconds=float(np.mean(seconds)),
        rows={name: _figures(np.array(values)) for name, values in found.items()},
    )  # fmt: skip


def compose(clips: Sequence[Clip], count: int, *, seed: int) -> Iterator[tuple[Clip, tuple[Caption, ...]]]:
    """``count`` long motions of four clips each, with the sentence and the seconds of each clip.

    Raises:
        EvaluationError: no source has enough classes.
    """
    fitting = [c for c in clips if c.labels.get("class_text") and SHORTEST_S <= c.duration_s <= LONGEST_S]
    pools: dict[str, list[Clip]] = {}
    for clip in fitting:
        pools.setdefault(clip.source.dataset, []).append(clip)
    names = sorted(n for n, pool in pools.items() if len({c.labels["class_text"] for c in pool}) >= SEGMENTS)
    if not names:
        raise EvaluationError(
            f"no source has {SEGMENTS} classes of labelled clips of {SHORTEST_S:g} to {LONGEST_S:g} s; add clips"
        )
    rng = np.random.default_rng(seed)
    for number in range(count):
        pool = pools[names[number % len(names)]]
        chosen: dict[str, Clip] = {}
        for row in rng.permutation(len(pool)):
            chosen.setdefault(pool[row].labels["class_text"], pool[row])
            if len(chosen) == SEGMENTS:
                break
        told = [replace(clip, captions=(Caption(text, kind="template"),)) for text, clip in chosen.items()]
        long = join(told)
        yield long, long.captions


def _figures(overlaps: NDArray[np.float64]) -> dict[str, Interval]:
    figures = {f"R@1, IoU {level}": protocols.bootstrap((overlaps >= level).astype(float)) for level in LEVELS}
    return figures | {"mean IoU": protocols.bootstrap(overlaps)}
