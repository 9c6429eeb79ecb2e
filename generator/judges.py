"""Who judges generated motion: a model that maps captions and motions to one space, always named beside its figures.

- Our own: a text-motion encoder of Remora that is not the one that retrieves. It can be run by anybody, and its figures are
  comparable among themselves only.
- The published one (``published``), where its files are given: official random pools, captions with parts of speech, clips
  of the length it reads. Its figures are those of the field's tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from generator.errors import GeneratorError
from generator.published import MAX_FRAMES, UNIT, PublishedEvaluator
from motion import Caption, Clip, joints_to_features, resample

Vectors = NDArray[np.floating[Any]]


class Judge(Protocol):
    """``name`` and ``fingerprint`` of the model; ``distinct``: whether pools hold a caption once."""

    name: str
    fingerprint: str
    distinct: bool

    def encode_captions(self, captions: Sequence[Caption]) -> Vectors:
        """Rows [N, D] of captions."""

    def encode_motion(self, clips: Sequence[Clip]) -> Vectors:
        """Rows [N, D] of clips."""


class EncoderJudge:
    """A text-motion encoder of our own as judge; pools of distinct captions."""

    distinct = True

    def __init__(self, encoder: DualEncoder) -> None:
        self._encoder = encoder
        self.name = f"{encoder.spec.name} (our own, not comparable with published figures)"
        self.fingerprint = encoder.spec.fingerprint

    def encode_captions(self, captions: Sequence[Caption]) -> Vectors:
        """Rows [N, D], unit vectors."""
        return self._encoder.encode_text([c.text for c in captions]).whole

    def encode_motion(self, clips: Sequence[Clip]) -> Vectors:
        """Rows [N, D], unit vectors."""
        return self._encoder.encode_motion(list(clips)).whole


class PublishedJudge:
    """The published evaluator as judge, official random pools."""

    distinct = False

    def __init__(self, evaluator: PublishedEvaluator) -> None:
        self._evaluator = evaluator
        self.name = f"published evaluator of {evaluator.features.name}"
        self.fingerprint = evaluator.fingerprint

    def encode_captions(self, captions: Sequence[Caption]) -> Vectors:
        """Rows [N, 512].

        Raises:
            GeneratorError: a caption without parts of speech, which only the published data sets have.
        """
        for caption in captions:
            if not caption.tokens:
                raise GeneratorError(
                    f"the caption {caption.text!r} has no parts of speech; the published evaluator needs the texts of "
                    "HumanML3D or KIT-ML as they come (--data)"
                )
        return self._evaluator.encode_text([c.tokens for c in captions])

    def encode_motion(self, clips: Sequence[Clip]) -> Vectors:
        """Rows [N, 512]; of a long clip its first 196 frames are seen.

        Raises:
            GeneratorError: a clip of another skeleton than the evaluator's, or one shorter than a unit of four frames.
        """
        spec = self._evaluator.features
        rows = []
        for clip in clips:
            if clip.skeleton.name != spec.skeleton.name:
                raise GeneratorError(
                    f"clip {clip.source.take!r} has skeleton {clip.skeleton.name!r}, the published evaluator of {spec.name} "
                    f"reads {spec.skeleton.name!r}; name the other --dataset"
                )
            joints = resample(clip.joints, clip.fps, spec.fps)[: MAX_FRAMES + 1]
            if len(joints) <= UNIT:
                raise GeneratorError(
                    f"clip {clip.source.take!r} has {len(joints)} frames at {spec.fps:g} fps; the published evaluator "
                    f"needs more than {UNIT}"
                )
            rows.append(joints_to_features(joints, spec))
        return self._evaluator.encode_motion(rows)
