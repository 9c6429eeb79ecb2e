"""BABEL-60 and BABEL-120: zero-shot action recognition for whoever has BABEL's annotations and AMASS's motions.

- Labels are the first 60 or 120 categories of BABEL, as they are written, slashes and all; a template is an option and then
  another protocol. A segment takes its best-scoring true label: the rule of TMR++ (averaged ties), and for top-1 and top-5 that
  of MotionCLIP (a hit when any true label is among the k best).
- "Norm" is the mean over the labels taken; chance and the largest class stand beside it.
- Segments are the frame annotations, or the whole sequence where there are none; "transition" is no action. ``first`` takes
  the first one of each sequence only, as TMR++ does.
- HumanML3D and BABEL share files of AMASS: an encoder trained on one has seen motions of the other.

Sources: leorebensabath/TMRPlusPlus ``retrieval_action_multi_labels.py``; GuyTevet/MotionCLIP ``action_classifier.py``;
abhinanda-punnakkal/BABEL ``action_recognition/data/action_label_2_idx.json`` (order of the categories).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from motion import Clip, MotionError, read
from retriever import protocols
from retriever.classify import AT_ONCE, Label, label_vectors
from retriever.errors import EvaluationError
from retriever.pairs import Progress
from retriever.protocols import KS, Interval

SHORTEST_S = 0.5


@dataclass(frozen=True)
class Segment:
    """Seconds of a file of AMASS, and the rows of the labels that are true of them."""

    file: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]


@dataclass(frozen=True)
class BabelReport:
    """R@k over segments and, as "norm", over the labels they took."""

    encoder: str
    classes: int
    segments: int
    absent: int  # segments whose file is not there or cannot be read
    metrics: Mapping[str, Interval]
    largest: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, four places."""
        metrics = {name: {k: round(v, 4) for k, v in vars(value).items()} for name, value in self.metrics.items()}
        return vars(self) | {"metrics": metrics, "chance": round(1 / self.classes, 4)}


def babel_classes(count: int) -> tuple[str, ...]:
    """The first ``count`` categories, most frequent first; EvaluationError unless 60 or 120."""
    if count not in (60, 120):
        raise EvaluationError(f"BABEL's protocols have 60 or 120 classes, not {count}")
    text = resources.files("retriever").joinpath("data/babel_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines()[:count])


def segments(annotations: Path, classes: Sequence[str], *, first: bool = True) -> Iterator[Segment]:
    """The labelled segments of one of BABEL's files (``val.json``), in its order.

    Raises:
        EvaluationError: the file is none of BABEL's.
    """
    try:
        sequences = json.loads(annotations.read_text(encoding="utf-8"))
        for sequence in sequences.values():
            told = (
                (sequence.get("frame_ann") or {}).get("labels") or (sequence.get("seq_ann") or {}).get("labels") or ()
            )
            for label in told:
                true = tuple(sorted({classes.index(c) for c in label.get("act_cat") or () if c in classes}))
                start, end = float(label.get("start_t", 0.0)), float(label.get("end_t", sequence["dur"]))
                if true and end - start >= SHORTEST_S:
                    yield Segment(str(sequence["feat_p"]), start, end, true)
                    if first:
                        break
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{annotations}: is no file of BABEL ({error!r}); give its train.json or val.json"
        ) from error


def evaluate_babel(
    annotations: Path,
    amass: Path,
    *,
    encoder: DualEncoder,
    classes: int = 60,
    first: bool = True,
    template: str | Sequence[str] | None = None,
    progress: Progress | None = None,
) -> BabelReport:
    """Zero-shot recognition of BABEL's segments; see the module docstring.

    Raises:
        EvaluationError: ``annotations`` is no file of BABEL, or no segment's motion is below ``amass``.
    """
    names = babel_classes(classes)
    wanted = sorted(segments(annotations, names, first=first), key=lambda s: s.file)
    pieces: list[NDArray[np.float32]] = []
    truth: list[tuple[int, ...]] = []
    clips: list[Clip] = []
    opened: tuple[str, Clip | None] = ("", None)
    for number, segment in enumerate(wanted, start=1):
        if segment.file != opened[0]:
            opened = segment.file, _motion(amass, segment.file)
        if opened[1] is not None:
            clips.append(opened[1].cut(segment.start_s, segment.end_s))
            truth.append(segment.labels)
        if len(clips) == AT_ONCE or (clips and number == len(wanted)):
            pieces.append(encoder.encode_motion(clips).whole)
            clips = []
            if progress is not None:
                progress("segments", number, len(wanted))
    if not pieces:
        raise EvaluationError(
            f"none of {len(wanted)} segments of {annotations.name} has its motion below {amass}; give the folder of AMASS "
            f"whose subfolders are data sets, as in {wanted[0].file if wanted else 'CMU/01/01_01_poses.npz'}"
        )
    scores = np.concatenate(pieces) @ label_vectors(encoder, [Label(name) for name in names], template).T
    relevant = np.zeros(scores.shape, bool)
    for row, labels in enumerate(truth):
        relevant[row, list(labels)] = True
    ranks = protocols.first_ranks(scores, relevant, "averaged")
    taken = np.where(relevant, scores, -np.inf).argmax(axis=1)
    return BabelReport(
        encoder=encoder.spec.name, classes=classes, segments=len(truth), absent=len(wanted) - len(truth),
        metrics=_figures(ranks, taken), largest=float(relevant.mean(axis=0).max()),
    )  # fmt: skip


def _figures(ranks: NDArray[np.float64], taken: NDArray[np.int64]) -> dict[str, Interval]:
    def of_labels(drawn: NDArray[np.float64]) -> float:
        _, owner = np.unique(drawn[:, 1], return_inverse=True)
        return float((np.bincount(owner, drawn[:, 0]) / np.bincount(owner)).mean())

    found = {}
    for k in KS:
        hit = protocols.within(ranks, k)
        found[f"R@{k}"] = protocols.bootstrap(hit)
        found[f"R@{k} norm"] = protocols.bootstrap(np.stack([hit, taken.astype(float)], axis=1), of_labels)
    return found


def _motion(amass: Path, file: str) -> Clip | None:
    """The motion of a file as BABEL calls it: below ``amass`` with or without its first folder; None where it is not."""
    parts = Path(file).parts
    for path in (amass.joinpath(*parts), amass.joinpath(*parts[1:])):
        if path.is_file() and path.resolve().is_relative_to(amass.resolve()):
            try:
                return read(path)[0]
            except (MotionError, IndexError):
                return None
    return None
