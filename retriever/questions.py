"""The questions of an evaluation: what is asked of which clips, what is right, and the figures drawn from the answers.

- Class rows ask with the sentence of every class that has a clip in the gallery; a clip is right when it is of that class.
- Caption rows ask with every human caption's first sentence among the clips that have one; equal captions count as right.
- New wording: sentences in ``retriever/data/paraphrases.csv``, written for this purpose and in no training text.
- "Styles never trained" are styles of a source that its train split lacks; "persons never seen" are subjects that no train
  clip of the same folder has. Both need the train split's labels, nothing else of it.
- Left or right, order of events: minimal pairs (``minimal_pairs``), on the folder's clips and on held-out synthetic ones.
- "Classes never trained" are those the caller says both encoders were trained without.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motion import Clip
from motion.geometry import swap_sides
from retriever import protocols
from retriever.minimal_pairs import MinimalPairs, limb_of, minimal_pairs
from retriever.protocols import Interval, Values

KINECT = "kinect"


class Scoring(Protocol):
    """A model that has seen a gallery."""

    def scores(self, sentences: tuple[str, ...]) -> NDArray[np.float32]:
        """Scores [Q, N] of sentences with all clips of the gallery."""
        ...


@dataclass(frozen=True)
class Row:
    """One figure: its name, how many queries and gallery items, value with interval, chance, and the baseline's beside it."""

    name: str
    metric: str
    queries: int
    gallery: int
    value: Interval
    chance: float
    baseline: Interval | None = None
    difference: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, four places."""

        def plain(interval: Interval | None) -> dict[str, float] | None:
            return {k: round(v, 4) for k, v in vars(interval).items()} if interval is not None else None

        return {
            "name": self.name,
            "metric": self.metric,
            "queries": self.queries,
            "gallery": self.gallery,
            **(plain(self.value) or {}),
            "chance": None if np.isnan(self.chance) else round(self.chance, 4),
            "baseline": plain(self.baseline),
            "difference": plain(self.difference),
        }


class Gallery:
    """The clips of a split with their labels as arrays, and what the train split is known to hold."""

    def __init__(self, clips: Sequence[Clip], train_styles: set[tuple[str, str]], train_subjects: set[str]) -> None:
        self.clips = list(clips)
        self.classes = _column(clips, lambda c: c.labels.get("class_id", ""))
        self.styles = _column(clips, lambda c: c.labels.get("style", ""))
        self.sources = _column(clips, lambda c: c.source.dataset)
        self.capture = _column(clips, lambda c: c.labels.get("capture", "") or c.source.dataset)
        self.texts = {c.labels["class_id"]: c.labels["class_text"] for c in clips if c.labels.get("class_text")}
        pairs = [(c.source.dataset, c.labels.get("style", "")) for c in clips]
        self.new_style = np.array([bool(style) and (source, style) not in train_styles for source, style in pairs])
        self.new_person = np.array([bool(c.source.subject) and c.source.subject not in train_subjects for c in clips])
        self.human = [next((cap.text for cap in c.captions if cap.kind == "human"), "") for c in clips]

    @classmethod
    def of(cls, clips: Sequence[Clip], train: Sequence[Clip]) -> Gallery:
        """``clips``, and what is known of ``train``."""
        styles = {(c.source.dataset, c.labels.get("style", "")) for c in train}
        return cls(clips, styles, {c.source.subject for c in train})

    @cached_property
    def optical(self) -> NDArray[np.bool_]:
        """Clips not captured by a depth camera."""
        return np.array([KINECT not in name for name in self.capture], bool)


def _column(clips: Sequence[Clip], of: Callable[[Clip], str]) -> NDArray[np.object_]:
    return np.array([of(clip) for clip in clips], object)


@dataclass(frozen=True)
class Metric:
    """A figure: values of the units [U, ...] asked about from scores and relevance [Q, N], their aggregate, and its chance."""

    values: Callable[[NDArray[np.float32], NDArray[np.bool_]], Values]
    aggregate: Callable[[Values], float] = lambda values: float(values.mean())
    chance: Callable[[NDArray[np.bool_]], float] = lambda relevant: float("nan")


@dataclass(frozen=True)
class Question:
    """Sentences asked of some of the gallery, with what is right for each [Q, N], and the figures drawn from the answers."""

    name: str
    sentences: tuple[str, ...]
    relevant: NDArray[np.bool_]
    among: NDArray[np.bool_]
    metrics: Mapping[str, Metric]
    candidates: bool = False  # ask all sentences, also those nothing is right for: the labels of a classification

    def rows(self, models: Sequence[Scoring]) -> Iterator[Row]:
        """One row a metric."""
        relevant = self.relevant[:, self.among]
        asked = relevant.any(axis=1) | self.candidates
        if not asked.any():
            return
        relevant = relevant[asked]
        scores = [model.scores(self.sentences)[np.ix_(asked, self.among)] for model in models]
        for name, metric in self.metrics.items():
            values = [metric.values(s, relevant) for s in scores]
            own, *others = [protocols.bootstrap(v, metric.aggregate) for v in values]
            difference = _difference(values, metric) if others else None
            yield Row(
                self.name, name, len(values[0]), relevant.shape[1], own, metric.chance(relevant),
                others[0] if others else None, difference,
            )  # fmt: skip


def _difference(values: Sequence[Values], metric: Metric) -> Interval:
    """Own minus baseline, from the same draws of units."""
    both = np.stack(values, axis=1)
    return protocols.bootstrap(both, lambda drawn: metric.aggregate(drawn[:, 0]) - metric.aggregate(drawn[:, 1]))


# ---- figures -------------------------------------------------------------------------------------------------------


def _recall(k: int) -> Metric:
    return Metric(
        values=lambda scores, relevant: protocols.recall_at(protocols.first_ranks(scores, relevant), k),
        chance=lambda relevant: protocols.chance_recall(relevant, k),
    )


def _top(k: int) -> Metric:
    """Share of clips whose class is among the k best of all classes: the units are clips, the columns of the matrix."""
    return Metric(
        values=lambda scores, relevant: protocols.recall_at(protocols.first_ranks(scores.T, relevant.T), k),
        chance=lambda relevant: min(k / len(relevant), 1.0),
    )


MEAN_AP = Metric(values=protocols.average_precision, chance=protocols.chance_average_precision)
MEDIAN_RANK = Metric(values=protocols.first_ranks, aggregate=lambda ranks: float(np.median(ranks)))
CLASS_METRICS = {"mAP": MEAN_AP, "R@1": _recall(1), "R@10": _recall(10)}
EVENT_METRICS = {"mAP": MEAN_AP, "R@1": _recall(1)}
TOP_METRICS = {"top-1": _top(1), "top-5": _top(5)}
CAPTION_METRICS = {"R@1": _recall(1), "R@5": _recall(5), "R@10": _recall(10), "MedR": MEDIAN_RANK}


def questions(gallery: Gallery, untrained: Sequence[str] = ()) -> Iterator[Question]:
    """Every question of the evaluation that the gallery has clips for."""
    everything = np.ones(len(gallery.clips), bool)
    names = sorted(gallery.texts)
    plain = tuple(gallery.texts[name] for name in names)
    of_class = np.array([gallery.classes == name for name in names])
    yield Question("class_id, all", plain, of_class, everything, CLASS_METRICS)
    if not gallery.optical.all():
        yield Question("class_id, optical", plain, of_class, gallery.optical, CLASS_METRICS)
    yield Question("zero-shot, all", plain, of_class, everything, TOP_METRICS, candidates=True)
    if len(set(gallery.sources)) > 1:
        for source in sorted(set(gallery.sources)):
            among = gallery.sources == source
            yield Question(f"zero-shot, {source}", plain, of_class, among, TOP_METRICS, candidates=True)
    yield from _wording_questions(gallery, names, everything)
    yield from _style_questions(gallery, everything)
    if gallery.new_person.any():
        yield Question("persons never seen", plain, of_class, gallery.new_person, {"mAP": MEAN_AP})
    new_class = np.isin(names, list(untrained))
    if new_class.any():
        yield Question("classes never trained", plain, of_class & new_class[:, None], everything, {"mAP": MEAN_AP})
    said = [gallery.texts.get(name, "") for name in gallery.classes]
    for limb in sorted({limb_of(text) for text in said if swap_sides(text) != text}):
        ours = [text if limb_of(text) == limb else "" for text in said]
        yield from pair_questions(f"left or right, {limb}", minimal_pairs(ours, swap_sides))
    yield from _caption_questions(gallery)


def paraphrases() -> list[tuple[str, str]]:
    """Class and sentence of the paraphrase test set."""
    text = resources.files("retriever").joinpath("data/paraphrases.csv").read_text(encoding="utf-8")
    return [(row["class_id"], row["paraphrase"]) for row in csv.DictReader(text.splitlines())]


def _wording_questions(gallery: Gallery, names: Sequence[str], everything: NDArray[np.bool_]) -> Iterator[Question]:
    wordings: dict[str, list[str]] = {}
    for name, sentence in paraphrases():
        wordings.setdefault(name, []).append(sentence)
    asked = [name for name in names if name in wordings]
    if not asked:
        return
    new = [(name, sentence) for name in asked for sentence in wordings[name]]
    sentences = tuple(sentence for _, sentence in new)
    relevant = np.array([gallery.classes == name for name, _ in new])
    yield Question("new wording", sentences, relevant, everything, {"mAP": MEAN_AP})
    plain = tuple(gallery.texts[name] for name in asked)
    first = np.array([gallery.classes == name for name in asked])
    owner = np.array([asked.index(name) for name, _ in new])

    def per_class(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> Values:
        values = protocols.average_precision(scores, right)
        told = values[len(asked) :]
        return np.stack([values[: len(asked)], np.bincount(owner, told) / np.bincount(owner)], axis=1)

    kept = Metric(values=per_class, aggregate=lambda pairs: float(pairs[:, 1].mean() / pairs[:, 0].mean()))
    both = np.concatenate([first, relevant])
    yield Question("new wording", plain + sentences, both, everything, {"share kept": kept})


def _style_questions(gallery: Gallery, everything: NDArray[np.bool_]) -> Iterator[Question]:
    pairs = sorted({(c, s) for c, s in zip(gallery.classes, gallery.styles, strict=True) if c in gallery.texts})
    if not any(style for _, style in pairs):
        return
    sentences = tuple(styled_sentence(gallery.texts[name], style) for name, style in pairs)
    relevant = np.array([(gallery.classes == name) & (gallery.styles == style) for name, style in pairs])
    yield Question("class_id x style", sentences, relevant, everything, {"mAP": MEAN_AP})
    if gallery.new_style.any():
        only = relevant & gallery.new_style
        yield Question("styles never trained", sentences, only, everything, {"mAP": MEAN_AP})


def pair_questions(name: str, pairs: MinimalPairs | None) -> Iterator[Question]:
    """Whether each clip lies nearer to its own sentence than to the other of its pair."""
    if pairs is not None:
        metric = Metric(values=lambda scores, _: pairs.correct(scores), chance=lambda _: 0.5)
        everything = np.ones(pairs.own.shape[1], bool)
        yield Question(name, pairs.sentences, pairs.own, everything, {"right": metric}, candidates=True)


def styled_sentence(sentence: str, style: str) -> str:
    """The class sentence with its style named behind it."""
    return f"{sentence.rstrip('. ')}, {style} style" if style else sentence


def _caption_questions(gallery: Gallery) -> Iterator[Question]:
    among = np.array([bool(text) for text in gallery.human])
    if among.sum() < 2:
        return
    sentences = tuple(text for text in gallery.human if text)
    relevant = np.array([[bool(other) and other == text for other in gallery.human] for text in sentences])
    yield Question("human captions", sentences, relevant, among, CAPTION_METRICS)
