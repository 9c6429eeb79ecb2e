"""How well an encoder retrieves on a folder of clips: one row a question, with N, a 95 % interval and chance.

- Labelled clips are asked by class (:mod:`retriever.questions`), captioned ones by the field's protocols of pairs
  (:mod:`retriever.pair_protocols`).
- Where a baseline is given, both are asked the same and the difference is bootstrapped in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder, TextTowerError
from encoders.text import events_of, load_text_tower
from motion import Clip
from motion.synth import swap_order
from retriever.errors import EvaluationError
from retriever.events import WEIGHT, embed_stretches, event_scores, joined_both_ways
from retriever.minimal_pairs import minimal_pairs, swap_sides_of_one, synthetic_clips
from retriever.pair_protocols import LARGEST, PROTOCOLS, PairRow, pair_rows
from retriever.pairs import PairedSplit, plain, read_split
from retriever.protocols import KS
from retriever.questions import EVENT_METRICS, Gallery, Question, Row, pair_questions, questions

EMBED_AT_ONCE = 256
KINECT = "kinect"
CLASSES = "classes"
ALL_PROTOCOLS = (CLASSES, *PROTOCOLS)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """All rows of one evaluation, and what was evaluated on what."""

    data: str
    split: str
    encoder: str
    baseline: str | None
    clips: int
    classes: int
    rows: tuple[Row, ...]
    pairs: tuple[PairRow, ...] = ()
    notes: tuple[str, ...] = ()  # what was left out, and why

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def to_json(self) -> dict[str, Any]:
        """What ``remora evaluate retrieval --json`` prints."""
        return {
            "data": self.data, "split": self.split, "encoder": self.encoder, "baseline": self.baseline, "clips": self.clips,
            "classes": self.classes, "interval": "95 % bootstrap over queries", "rows": [r.to_json() for r in self.rows],
            "pairs": [r.to_json() for r in self.pairs], "notes": list(self.notes),
        }  # fmt: skip


def evaluate_retrieval(
    data: Path,
    *,
    encoder: DualEncoder,
    split: str = "test",
    baseline: DualEncoder | None = None,
    sources: Sequence[str] | None = None,
    chosen: Sequence[str] = ALL_PROTOCOLS,
    untrained: Sequence[str] = (),
    caption_encoder: str = "minilm",
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate ``encoder`` (and ``baseline`` beside it) on one split of a folder of labelled or captioned clips.

    Args:
        data: a folder of any kind that can be indexed.
        encoder: what is measured.
        split: whose clips ask and are asked about.
        baseline: an encoder to compare with.
        sources: only clips of these.
        chosen: names of :data:`ALL_PROTOCOLS`. With all of them, those that the data does not support are left out and noted;
            with some, they are errors.
        untrained: classes that training left out; they are asked about in a row of their own.
        caption_encoder: text tower that says which captions are alike.
        progress: told (stage, done, total).

    Raises:
        EvaluationError: no clip of that split, or none with what a chosen protocol needs.
        MotionError: the folder cannot be read.
    """
    unknown = sorted(set(chosen) - set(ALL_PROTOCOLS))
    if unknown or not chosen:
        raise EvaluationError(f"no protocol {', '.join(unknown) or '(none)'}; there are {', '.join(ALL_PROTOCOLS)}")
    found = read_split(data, split, sources, progress=progress)
    clips = found.clips
    models = [encoder] if baseline is None else [encoder, baseline]
    labels = ("encoder", "baseline")
    absent = sorted(set(untrained) - {clip.labels.get("class_id", "") for clip in clips})
    if absent:
        raise EvaluationError(
            f"no clip of split {split!r} is of the untrained class {absent[0]!r}; name class_ids it has"
        )
    train = _read_train(data, split, progress)
    rows: list[Row] = []
    pairs: list[PairRow] = []
    notes: list[str] = []
    unread = [f"{len(found.faults)} takes could not be read, the first: {found.faults[0]}"] if found.faults else []
    gallery = Gallery.of(clips, train)
    if len(clips) <= max(KS):
        unread.append(f"{len(clips)} clips: R@k is 1 by construction where k is {len(clips)} or more; add clips")
    if CLASSES in chosen and not gallery.texts:
        notes.append(f"classes: no clip of split {split!r} has a class_text; this needs labelled clips")
    elif CLASSES in chosen and len(set(gallery.classes)) < 2:
        (only,) = gallery.texts
        notes.append(
            f"classes: all clips of split {split!r} are of class {only!r}; add clips of another, to be told from it"
        )
    elif CLASSES in chosen:
        embedded = [_Embedded(m, gallery, progress, label) for m, label in zip(models, labels, strict=False)]
        rows = [row for question in questions(gallery, untrained) for row in question.rows(embedded)]
        rows += _synthetic_rows(models)
        rows += _event_rows(models, clips)
    wanted = [name for name in PROTOCOLS if name in chosen]
    if wanted:
        try:
            told = PairedSplit(clips, folder=data, seen=frozenset(plain(c.text) for t in train for c in t.captions))
        except EvaluationError as error:
            notes.append(f"pairs: {error}")
        else:
            pairs = _ask_pairs(told, models, wanted, caption_encoder, notes, progress)
    if (not rows and not pairs) or (notes and set(chosen) != set(ALL_PROTOCOLS)):
        raise EvaluationError("; ".join(notes) or f"split {split!r} is too small for {', '.join(wanted)}")
    return Evaluation(
        data=data.name, split=split, encoder=encoder.spec.name, baseline=baseline.spec.name if baseline else None,
        clips=len(clips), classes=len(gallery.texts), rows=tuple(rows), pairs=tuple(pairs), notes=(*unread, *notes),
    )  # fmt: skip


def _read_train(data: Path, split: str, progress: Progress | None) -> list[Clip]:
    """The train split, for its labels, persons and captions; nothing where the data has none."""
    if split == "train":
        return []
    try:
        return read_split(data, "train", None, progress=progress, keep=_without_frames).clips
    except EvaluationError:
        return []


def _ask_pairs(
    told: PairedSplit,
    models: Sequence[DualEncoder],
    wanted: Sequence[str],
    caption_encoder: str,
    notes: list[str],
    progress: Progress | None,
) -> list[PairRow]:
    similar = _caption_encoder(caption_encoder, wanted, notes)
    if len(told.first) > LARGEST:
        notes.append(f"{len(told.first):,} pairs: beyond {LARGEST:,} only random galleries are asked")
    return [
        row
        for model in models
        for row in pair_rows(
            told, model, chosen=wanted, similar=similar, similar_name=caption_encoder, progress=progress
        )
    ]


def _without_frames(clip: Clip) -> Clip:
    return replace(clip, joints=clip.joints[:1].copy())


def _caption_encoder(name: str, wanted: Sequence[str], notes: list[str]) -> Callable[[Sequence[str]], Any] | None:
    if not {"threshold", "dissimilar"} & set(wanted):
        return None
    try:
        return load_text_tower(name).encode
    except TextTowerError as error:
        notes.append(f"threshold: {error}")
        return None


class _Embedded:
    """A model's vectors of the gallery, and of sentences as they are asked."""

    def __init__(self, model: DualEncoder, gallery: Gallery, progress: Progress | None, label: str) -> None:
        self._model = model
        self._texts: dict[tuple[str, ...], NDArray[np.float32]] = {}
        pieces = []
        for start in range(0, len(gallery.clips), EMBED_AT_ONCE):
            pieces.append(model.encode_motion(gallery.clips[start : start + EMBED_AT_ONCE]).whole)
            if progress is not None:
                progress(f"embed ({label})", min(start + EMBED_AT_ONCE, len(gallery.clips)), len(gallery.clips))
        self.motions = np.concatenate(pieces)

    def scores(self, sentences: tuple[str, ...]) -> NDArray[np.float32]:
        """Cosines [Q, N] of sentences with all clips."""
        if sentences not in self._texts:
            self._texts[sentences] = self._model.encode_text(sentences).whole
        return self._texts[sentences] @ self.motions.T


def _synthetic_rows(models: Sequence[DualEncoder]) -> list[Row]:
    """Sides and order of held-out synthetic clips: what happens in them is known, whatever the folder holds."""
    gallery = Gallery(synthetic_clips(), set(), set())
    embedded = [_Embedded(model, gallery, None, "") for model in models]
    said = [clip.labels["class_text"] for clip in gallery.clips]
    asked = {"left or right, synthetic": swap_sides_of_one, "order of two events, synthetic": swap_order}
    pairs = {name: minimal_pairs(said, exchange) for name, exchange in asked.items()}
    return [row for name, found in pairs.items() for q in pair_questions(name, found) for row in q.rows(embedded)]


class _ByEvents:
    """A model's scores of sentences of two events, each event by its stretch of a clip as well (:mod:`retriever.events`)."""

    def __init__(self, model: DualEncoder, whole: _Embedded, clips: Sequence[Clip]) -> None:
        self._model, self._whole = model, whole
        self._stretches = embed_stretches(model, clips, 2)

    def scores(self, sentences: tuple[str, ...]) -> NDArray[np.float32]:
        """What ``remora search --score events`` orders by, [Q, N]."""
        told = [event for sentence in sentences for event in events_of(sentence)]
        vectors = self._model.encode_text(told).whole.reshape(len(sentences), 2, -1)
        fits = np.stack([event_scores(events, self._stretches) for events in vectors])
        return np.asarray((self._whole.scores(sentences) + WEIGHT * fits) / (1 + WEIGHT), np.float32)


def _event_rows(models: Sequence[DualEncoder], clips: Sequence[Clip]) -> list[Row]:
    """Sentences of two events: the order of synthetic ones by their stretches, and real clips joined both ways round."""
    synthetic = [
        clip for clip in synthetic_clips() if swap_order(clip.labels["class_text"]) != clip.labels["class_text"]
    ]
    joined = joined_both_ways(clips)
    rows: list[Row] = []
    for made in (synthetic, joined):
        if not made:
            continue
        gallery = Gallery(made, set(), set())
        whole = [_Embedded(model, gallery, None, "") for model in models]
        events = [_ByEvents(model, seen, made) for model, seen in zip(models, whole, strict=True)]
        said = [clip.labels["class_text"] for clip in made]
        if made is synthetic:
            asked = pair_questions("order of two events, synthetic, by events", minimal_pairs(said, swap_order))
            rows += [row for question in asked for row in question.rows(events)]
            continue
        asked_of = tuple(dict.fromkeys(said))
        relevant = np.array([[text == other for other in said] for text in asked_of])
        for name, scoring in (("two events, joined clips", whole), ("two events, joined clips, by events", events)):
            question = Question(name, asked_of, relevant, np.ones(len(said), bool), EVENT_METRICS)
            rows += question.rows(scoring)
    return rows
