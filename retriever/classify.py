"""Zero-shot classification: which of some labels fits a motion, by cosine with the label's sentences.

- A label becomes a sentence through a template; "{}" takes labels as they are, which did best on validation. With several
  templates, or a label with synonyms, the sentences' vectors are averaged: that is the label's vector.
- Probabilities say how the labels compare with one another; with ``none`` also how likely it is that none of them fits
  (:mod:`retriever.calibration`). The score (cosine) knows no other labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from motion import Clip
from retriever.calibration import Calibration, calibration_of
from retriever.errors import QueryError

TEMPLATE = "{}"
NONE = "none of these"
AT_ONCE = 256


@dataclass(frozen=True)
class Label:
    """A name, and all the ways to say it; the name is the first."""

    name: str
    synonyms: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Label:
        """``"walk|stroll|go on foot"``: the name and its synonyms."""
        name, *synonyms = [piece.strip() for piece in text.split("|")]
        return cls(name, tuple(word for word in synonyms if word))


@dataclass(frozen=True)
class Classification:
    """Scores (cosines) and probabilities of ``labels`` for one clip, all in the order the labels were given.

    ``none`` is the probability that none of them fits, where that was asked, and ``calibrated`` whether the probabilities
    were fitted to the encoder.
    """

    clip: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    none: float | None = None
    calibrated: bool = False

    @property
    def best(self) -> str:
        """The likeliest label; "none of these" where that is likelier."""
        row = int(np.argmax(self.scores))
        return NONE if self.none is not None and self.none > self.probabilities[row] else self.labels[row]

    def __repr__(self) -> str:
        share = max(*self.probabilities, self.none or 0.0)
        return f"Classification({self.clip!r}: {self.best!r}, p={share:.2f})"

    def to_json(self, top: int | None = None) -> dict[str, Any]:
        """Labels best first, with score and probability; only ``top`` of them, where given."""
        order = np.argsort([-score for score in self.scores], kind="stable")[:top]
        ranked = [
            {"label": self.labels[i], "score": round(self.scores[i], 6), "probability": round(self.probabilities[i], 6)}
            for i in order
        ]
        none = {} if self.none is None else {"none": round(self.none, 6)}
        return {"clip": self.clip, "best": self.best, **none, "calibrated": self.calibrated, "labels": ranked}


def classify(
    encoder: DualEncoder,
    clips: Sequence[Clip],
    labels: Sequence[str | Label],
    *,
    template: str | Sequence[str] | None = None,
    none: bool = False,
    calibration: Calibration | None = None,
) -> list[Classification]:
    """Scores and probabilities of every label for every clip.

    Args:
        encoder: where motion and labels meet.
        clips: what is classified.
        labels: two or more; "walk|stroll" is a label with a synonym.
        template: one or several sentences with {} for the label.
        none: also offer "none of these".
        calibration: temperature and floor; by default the encoder's.

    Raises:
        QueryError: fewer than two labels, an empty or repeated one, or a template without {}.
    """
    parsed = [label if isinstance(label, Label) else Label.parse(label) for label in labels]
    vectors = label_vectors(encoder, parsed, template)
    fitted = calibration or calibration_of(encoder.spec.fingerprint)
    scores = np.asarray(encoder.encode_motion(clips).whole @ vectors.T)
    shares = fitted.probabilities(scores, none=none)
    names, count = tuple(label.name for label in parsed), len(parsed)
    return [
        Classification(
            clip.clip_id or clip.source.take, names, tuple(map(float, row)), tuple(map(float, share[:count])),
            float(share[count]) if none else None, bool(fitted.fitted_on),
        )
        for clip, row, share in zip(clips, scores, shares, strict=True)
    ]  # fmt: skip


def label_vectors(
    encoder: DualEncoder, labels: Sequence[Label], template: str | Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Unit vectors [L, D] of labels: the mean over their names, synonyms and templates.

    Raises:
        QueryError: as :func:`classify`.
    """
    check_labels(labels)
    patterns = [TEMPLATE] if template is None else [template] if isinstance(template, str) else list(template)
    for pattern in patterns:
        if "{}" not in pattern:
            raise QueryError(f"the template {pattern!r} has no {{}} for the label; write e.g. 'a person {{}}'")
    sentences = [
        [pattern.replace("{}", word) for word in (label.name, *label.synonyms) for pattern in patterns]
        for label in labels
    ]
    flat = [sentence for several in sentences for sentence in several]
    made = np.concatenate([encoder.encode_text(flat[i : i + AT_ONCE]).whole for i in range(0, len(flat), AT_ONCE)])
    owner = np.repeat(np.arange(len(labels)), [len(several) for several in sentences])
    sums = np.zeros((len(labels), made.shape[1]), np.float32)
    np.add.at(sums, owner, made)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), np.float32)


def check_labels(labels: Sequence[Label]) -> None:
    """QueryError when there are fewer than two labels, or one is empty or repeated, be it as a synonym or in capitals."""
    names = [label.name for label in labels]
    if len(names) < 2:
        raise QueryError(f"classification needs two or more labels, not {names}; add one, or ask for --none")
    if not all(names):
        raise QueryError(f"label {names.index('') + 1} of {len(names)} is empty; remove it")
    known: dict[str, int] = {}
    for row, label in enumerate(labels):
        for word in (label.name, *label.synonyms):
            other = known.setdefault(word.casefold(), row)
            if other != row:
                raise QueryError(
                    f"label {word!r} is given twice, as label {other + 1} and {row + 1} or a synonym of them; give each label "
                    f"once, synonyms as {names[other]}|other words"
                )
