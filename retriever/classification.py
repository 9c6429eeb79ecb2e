"""How well zero-shot classification does on a folder of labelled clips, and whether its probabilities can be believed.

- Labels are class names as a user would type them ("wave left hand" for ``wave_left_hand``), or the class sentences.
- Temperature and floor are fitted on one split and judged on another; errors are given before and after.
- "Norm" is the mean over classes: where walks dominate, the honest figure. Chance and the largest class stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from motion import Clip
from retriever import protocols
from retriever.calibration import UNFITTED, Calibration, expected_calibration_error, fit, label_sets
from retriever.classify import AT_ONCE, Label, label_vectors
from retriever.errors import EvaluationError
from retriever.pairs import Progress, read_split
from retriever.protocols import Interval


@dataclass(frozen=True)
class Reliability:
    """Expected calibration error of label sets of one size, before and after fitting."""

    labels: int
    before: float
    after: float


@dataclass(frozen=True)
class ClassificationReport:
    """Figures of one split: accuracy, calibration, "none of these", and the confusion matrix [L, L] (rows: true)."""

    data: str
    split: str
    encoder: str
    clips: int
    labels: tuple[str, ...]
    accuracy: Mapping[str, Interval]  # top-1, top-5, top-1 norm
    chance: float
    largest: float  # share of the largest class
    calibration: Calibration
    reliability: tuple[Reliability, ...]
    none_recall: float  # of clips whose class is not among the labels, the share called "none of these"
    none_false: float  # of clips whose class is, the share called so
    confusion: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Plain values, four places."""
        accuracy = {name: {k: round(v, 4) for k, v in vars(value).items()} for name, value in self.accuracy.items()}
        return vars(self) | {
            "accuracy": accuracy, "calibration": asdict(self.calibration), "confusion": self.confusion.tolist(),
            "reliability": [asdict(row) for row in self.reliability], "labels": list(self.labels),
        }  # fmt: skip


def evaluate_classification(
    data: Path,
    *,
    encoder: DualEncoder,
    split: str = "test",
    fit_on: str = "val",
    sources: Sequence[str] | None = None,
    sentences: bool = False,
    template: str | Sequence[str] | None = None,
    progress: Progress | None = None,
) -> ClassificationReport:
    """Zero-shot classification of ``split`` with a calibration fitted on ``fit_on``.

    Args:
        data: a folder of labelled clips.
        encoder: what is measured.
        split: whose clips are classified.
        fit_on: whose clips temperature and floor are fitted on.
        sources: only clips of these.
        sentences: labels are the class sentences, not the class names.
        template: as in :func:`retriever.classify`.
        progress: told (stage, done, total).

    Raises:
        EvaluationError: a split has no labelled clip, or clips of one class only.
    """
    if split == fit_on:
        raise EvaluationError(f"split {split!r} cannot both fit and judge; give two different splits")
    fitting = _Labelled(data, fit_on, encoder, sources, sentences, template, progress)
    judged = _Labelled(data, split, encoder, sources, sentences, template, progress)
    told = (
        f"{data.name}, split {fit_on}, {len(fitting.right)} clips of {len(fitting.names)} classes, {encoder.spec.name}"
    )
    calibration = fit(fitting.scores, fitting.right, fitted_on=told)
    scores, right = judged.scores, judged.right
    hit = protocols.recall_at(protocols.first_ranks(scores, judged.relevant), 1)
    five = protocols.recall_at(protocols.first_ranks(scores, judged.relevant), 5)
    counts = np.bincount(right, minlength=len(judged.names))

    def of_classes(drawn: NDArray[np.float64]) -> float:
        classes, owner = np.unique(drawn[:, 1], return_inverse=True)
        return float((np.bincount(owner, drawn[:, 0]) / np.bincount(owner)).mean()) if len(classes) else 0.0

    accuracy = {
        "top-1": protocols.bootstrap(hit),
        "top-5": protocols.bootstrap(five),
        "top-1 norm": protocols.bootstrap(np.stack([hit, right.astype(float)], axis=1), of_classes),
    }
    none = [calibration.probabilities(s, none=True).argmax(axis=1) == s.shape[1] for s, _ in label_sets(scores, right)]
    confusion = np.zeros((len(judged.names), len(judged.names)), np.int64)
    np.add.at(confusion, (right, scores.argmax(axis=1)), 1)
    return ClassificationReport(
        data=data.name, split=split, encoder=encoder.spec.name, clips=len(right), labels=tuple(judged.names),
        accuracy=accuracy, chance=1 / len(judged.names), largest=float(counts.max() / counts.sum()),
        calibration=calibration, reliability=tuple(_reliability(scores, right, calibration)),
        none_recall=float(np.mean(np.concatenate(none[1::2]))), none_false=float(np.mean(np.concatenate(none[::2]))),
        confusion=confusion,
    )  # fmt: skip


def _reliability(scores: NDArray[Any], right: NDArray[np.int64], fitted: Calibration) -> list[Reliability]:
    rows = []
    for sampled, answers in [*list(label_sets(scores, right))[::2], (scores, right)]:
        errors = [expected_calibration_error(c.probabilities(sampled), answers) for c in (UNFITTED, fitted)]
        rows.append(Reliability(sampled.shape[1], *errors))
    return rows


class _Labelled:
    """Clips of a split, cosines [N, L] with the labels, and which is right [N]."""

    def __init__(
        self,
        data: Path,
        split: str,
        encoder: DualEncoder,
        sources: Sequence[str] | None,
        sentences: bool,
        template: str | Sequence[str] | None,
        progress: Progress | None,
    ) -> None:
        clips = [c for c in read_split(data, split, sources, progress=progress).clips if c.labels.get("class_id")]
        self.names = sorted({_name(clip, sentences) for clip in clips})
        if len(self.names) < 3:
            raise EvaluationError(
                f"{data.name}: split {split!r} has {len(self.names)} classes; classification needs three or more"
            )
        self.right = np.array([self.names.index(_name(clip, sentences)) for clip in clips])
        pieces = []
        for start in range(0, len(clips), AT_ONCE):
            pieces.append(encoder.encode_motion(clips[start : start + AT_ONCE]).whole)
            if progress is not None:
                progress(f"embed {split}", min(start + AT_ONCE, len(clips)), len(clips))
        self.scores = np.concatenate(pieces) @ label_vectors(encoder, [Label(n) for n in self.names], template).T
        self.relevant = np.arange(len(self.names))[None] == self.right[:, None]


def _name(clip: Clip, sentences: bool) -> str:
    text = clip.labels.get("class_text", "") if sentences else clip.labels["class_id"].replace("_", " ")
    return text or clip.labels["class_id"].replace("_", " ")


def draw_confusion(report: ClassificationReport, path: Path) -> None:
    """The confusion matrix as a picture: rows are true classes, columns what they were taken for, shares of the row.

    Classes without a clip in the split are left out of the rows' names but not of the columns.
    """
    from matplotlib.figure import Figure

    shares = report.confusion / np.maximum(report.confusion.sum(axis=1, keepdims=True), 1)
    size = max(0.17 * len(report.labels), 4.0)
    figure = Figure(figsize=(size + 2.5, size + 2.0), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="magma_r", vmin=0, vmax=1, interpolation="nearest")
    ticks = range(len(report.labels))
    small = 7 if len(report.labels) > 12 else 9
    axes.set_xticks(ticks, report.labels, rotation=90, fontsize=small)
    axes.set_yticks(ticks, report.labels, fontsize=small)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    top = report.accuracy["top-1"].value
    axes.set_title(f"{report.encoder}, {report.split}: {report.clips} clips, top-1 {100 * top:.1f} %", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.5, label="share of the true class")
    figure.savefig(path, dpi=110)
