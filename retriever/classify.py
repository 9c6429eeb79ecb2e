"""Zero-shot classification: which of some labels fits a motion, by cosine with the label's sentence.

- A label becomes a sentence through a template; "a person {}" unless told otherwise, "{}" takes labels as they are.
- Probabilities are a softmax over the labels given, at :data:`TEMPERATURE`: they say how the labels compare with one another,
  not whether any of them is right. The score (cosine) says that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders import DualEncoder
from motion import Clip
from retriever.errors import QueryError

TEMPLATE = "a person {}"
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Classification:
    """Scores (cosines) and probabilities of ``labels`` for one clip, all in the order the labels were given."""

    clip: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @property
    def best(self) -> str:
        """The label with the highest score."""
        return self.labels[int(np.argmax(self.scores))]

    def __repr__(self) -> str:
        return f"Classification({self.clip!r}: {self.best!r}, p={max(self.probabilities):.2f})"

    def to_json(self) -> dict[str, Any]:
        """Labels best first, with score and probability."""
        order = np.argsort([-score for score in self.scores], kind="stable")
        ranked = [
            {"label": self.labels[i], "score": round(self.scores[i], 6), "probability": round(self.probabilities[i], 6)}
            for i in order
        ]
        return {"clip": self.clip, "best": self.best, "labels": ranked}


def classify(
    encoder: DualEncoder, clips: Sequence[Clip], labels: Sequence[str], *, template: str | None = None
) -> list[Classification]:
    """Scores and probabilities of every label for every clip.

    Raises:
        QueryError: fewer than two labels, an empty or repeated one, or a template without {}.
    """
    names = [label.strip() for label in labels]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise QueryError(f"classification needs two or more different labels, not {list(labels)}")
    pattern = TEMPLATE if template is None else template
    if "{}" not in pattern:
        raise QueryError(f"the template {pattern!r} has no {{}} for the label; write e.g. 'a person {{}}'")
    texts = encoder.encode_text([pattern.replace("{}", name) for name in names]).whole
    scores = encoder.encode_motion(clips).whole @ texts.T
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / TEMPERATURE)
    shares = weights / weights.sum(axis=1, keepdims=True)
    return [
        Classification(clip.clip_id or clip.source.take, tuple(names), tuple(map(float, row)), tuple(map(float, share)))
        for clip, row, share in zip(clips, scores, shares, strict=True)
    ]
