"""What training of the generator reads: clips as frames, with what is said of them.

Takes that cannot be read are left out and said; a caption with times of its own tells a clip of its own, as for the encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.training_clips import by_caption
from generator.errors import GeneratorError
from generator.frames import FrameSpec, clip_to_frames
from motion import Clip, MotionError, open_source

log = logging.getLogger(__name__)


def read_clips(
    folders: Sequence[str], split: str, sources: Sequence[str] = (), *, synthetic: int = 0, seed: int = 0
) -> list[Clip]:
    """Clips of one split of all folders, of the named sources only, and ``synthetic`` generated ones.

    Raises:
        GeneratorError: nothing is left to read.
        MotionError: a folder is not there, or knows no such split.
    """
    clips: list[Clip] = []
    faults: list[str] = []
    for folder in folders:
        for take in open_source(Path(folder), split=split):
            try:
                read = take.read()
            except MotionError as error:
                faults.append(str(error))
            else:
                clips += [part for clip in read for part in (list(by_caption(clip)) or [clip])]
    if faults:
        log.info("%s: %d takes left out, the first: %s", split, len(faults), faults[0])
    clips = [c for c in clips if not sources or c.source.dataset in sources]
    if synthetic:
        from motion.synth import synthesise

        clips += synthesise(synthetic, seed=seed)
    if not clips:
        fault = f" ({faults[0]})" if faults else ""
        raise GeneratorError(
            f"no clips in the split {split!r} of {', '.join(folders)}{fault}; check --data and --sources"
        )
    return clips


def read_frames(clips: Sequence[Clip], spec: FrameSpec, *, shortest: int) -> list[tuple[Clip, NDArray[np.float32]]]:
    """Clips with their frames; those under ``shortest`` frames are left out."""
    pairs = [(clip, clip_to_frames(clip, spec)) for clip in clips]
    return [(clip, frames) for clip, frames in pairs if len(frames) >= shortest]


def balanced(clips: Sequence[Clip]) -> NDArray[np.float64]:
    """Probabilities [N] that draw a class in proportion to the square root of its size."""
    names = [clip.labels.get("class_id") or clip.source.dataset for clip in clips]
    kinds, counts = np.unique(names, return_counts=True)
    size = dict(zip(kinds, counts, strict=True))
    weights = np.array([size[name] ** -0.5 for name in names])
    return np.asarray(weights / weights.sum())
