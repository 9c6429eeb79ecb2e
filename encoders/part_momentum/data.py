"""What training reads: clips as features, captions as frozen sentence vectors, and who must not be whose negative.

- Features are computed once; mirroring, cropping, speed and noise are done on features, per draw (noise where they are used).
- Sentence vectors are kept beside the run folders: embedding ten thousand of them takes longer than a hundred steps.
- A caption is drawn per clip and epoch: a human caption, the class sentence, a wording of the class, any of the last two
  with a style phrase behind it. Captions of a mirrored draw have their sides exchanged.
- Classes are drawn with probability proportional to the square root of their size: rare ones are seen, frequent ones not lost.
- Some wordings of each class are held out: validation looks at them, training never does.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from encoders.errors import EncoderError
from encoders.part_momentum.loss import Labels
from encoders.text import TextTower, sentence_inputs
from encoders.wordings import WordingBank, with_style
from motion import SMPL_22, Clip, to_smpl22
from motion.features import FeatureSpec, joints_to_features, mirror_columns, mirror_features
from motion.geometry import resample, swap_sides, to_reference_bones
from motion.synth import swap_order

STYLE_SENTENCES = 16  # a class and style
KEPT_AT_ONCE = 10_000  # sentences that are embedded before what is known is written

log = logging.getLogger(__name__)


def clip_features(clip: Clip, spec: FeatureSpec) -> NDArray[np.float32]:
    """Features [T, C] of a clip: its joints matched to those of ``spec``, resampled, body size removed; at least one row."""
    joints = clip.joints
    if clip.skeleton.name != spec.skeleton.name:
        if spec.skeleton is not SMPL_22:
            raise EncoderError(
                f"clip {clip.clip_id or clip.source.take!r} has skeleton {clip.skeleton.name!r}, the encoder reads "
                f"{spec.skeleton.name!r}; use an encoder of that skeleton"
            )
        joints, _ = to_smpl22(clip.skeleton.names, clip.skeleton.parents, joints)
    joints = resample(joints, clip.fps, spec.fps)
    if len(joints) < 2:
        joints = np.repeat(joints[:1], 2, axis=0)
    return joints_to_features(to_reference_bones(joints, spec.skeleton), spec)


@dataclass(frozen=True)
class Normaliser:
    """Mean and deviation [C] of the training features, symmetric under mirroring."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised features, same shape."""
        return (features - self.mean) / self.std


def fit_normaliser(features: Sequence[NDArray[np.float32]], spec: FeatureSpec) -> Normaliser:
    """Statistics over all frames and their mirror images, so that mirroring commutes with normalising. One clip at a time."""
    count = sum(map(len, features))
    total = sum((x.sum(0, np.float64) for x in features), np.zeros(spec.dim))
    mean = (total + mirror_features(total, spec)) / 2 / count
    square = sum(
        (((x - mean) ** 2).sum(0) for x in features), np.zeros(spec.dim)
    )  # mirrored: columns exchanged, signs gone
    std = np.sqrt((square + square[mirror_columns(spec).permutation]) / 2 / count)
    return Normaliser(mean.astype(np.float32), np.maximum(std, 0.02).astype(np.float32))


@dataclass
class Sentences:
    """A growing table of distinct sentences; vectors are filled in once all are known."""

    index: dict[str, int] = field(default_factory=dict)
    vectors: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    cues: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    mirrored: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    reordered: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, text: str) -> int:
        """Row of ``text``, new or known."""
        return self.index.setdefault(text, len(self.index))

    def encode(self, tower: TextTower, cache: Path | None) -> None:
        """Add the twins of every sentence, sides or events exchanged, and embed them all."""
        for text in list(self.index):
            self.add(swap_sides(text))
        for text in list(self.index):
            self.add(swap_order(text))
        texts = list(self.index)
        vectors, cues = sentence_inputs(texts, partial(encode_kept, tower, cache))
        self.vectors, self.cues = torch.from_numpy(vectors), torch.from_numpy(cues)
        self.mirrored = np.array([self.index.get(swap_sides(t), row) for row, t in enumerate(texts)])
        self.reordered = np.array([self.index.get(swap_order(t), row) for row, t in enumerate(texts)])


def encode_kept(tower: TextTower, cache: Path | None, texts: Sequence[str]) -> NDArray[np.float32]:
    """``tower.encode(texts)``, with what is known already taken from ``cache`` (Parquet) and what is new added to it."""
    if cache is None:
        return tower.encode(texts)
    known: dict[str, NDArray[np.float32]] = {}
    if cache.is_file():
        with cache.open("rb") as stream:  # one file even if a run beside this one puts another in its place
            table = pq.read_table(stream)
        rows = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        known = dict(zip(table["text"].to_pylist(), rows, strict=True))
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if len(new) > KEPT_AT_ONCE:
        log.info("%d sentences to embed; they are kept in %s", len(new), cache)
    for start in range(0, len(new), KEPT_AT_ONCE):
        some = new[start : start + KEPT_AT_ONCE]
        known |= dict(zip(some, tower.encode(some), strict=True))
        flat = pa.array(np.concatenate(list(known.values())))
        table = pa.table({"text": list(known), "vector": pa.FixedSizeListArray.from_arrays(flat, tower.dim)})
        own = cache.with_suffix(f".{os.getpid()}")  # runs beside each other may write at once: either file is whole
        pq.write_table(table, own)
        own.replace(cache)
    return np.stack([known[text] for text in texts])


@dataclass(frozen=True)
class Item:
    """One clip ready for training."""

    features: NDArray[np.float32]  # [T, C], normalised
    family: int
    group: tuple[int, int]  # class number as it is, and mirrored
    style: int
    human: tuple[int, ...]  # rows in the sentence table
    plain: tuple[int, ...]  # class sentence and wordings
    styled: tuple[int, ...]  # the same with a style phrase


class TrainingSet:
    """All items, the sentence table and the sampler."""

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        spec: FeatureSpec,
        tower: TextTower,
        bank: WordingBank,
        seed: int,
        cache: Path | None = None,
        progress: Callable[[Iterable[Clip]], Iterable[Clip]] = lambda clips: clips,
    ) -> None:
        if not clips:
            raise EncoderError("no clips to train on; check --data and the split name")
        self.spec = spec
        raw = deque(clip_features(clip, spec) for clip in progress(clips))
        self.normaliser = fit_normaliser(raw, spec)
        self.sentences = Sentences()
        self._bank = bank
        self._groups: dict[str, int] = {}
        self._styles: dict[str, int] = {"": 0}
        self._families: dict[str, int] = {}
        self._texts: dict[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._caption_styles: dict[int, int] = {}
        rng = np.random.default_rng(seed)
        self.items: list[Item] = []
        for clip in clips:  # what is read is let go of: a set of 20,000 clips is held once
            self.items.append(self._item(clip, self.normaliser(raw.popleft()), rng))
        self.sentences.encode(tower, cache)
        self._caption_styles |= {int(self.sentences.mirrored[row]): s for row, s in self._caption_styles.items()}
        sizes = Counter(item.group[0] for item in self.items)
        weights = np.array([sizes[item.group[0]] ** -0.5 for item in self.items])
        self.weights = weights / weights.sum()

    def __len__(self) -> int:
        return len(self.items)

    def _item(self, clip: Clip, features: NDArray[np.float32], rng: np.random.Generator) -> Item:
        class_id, class_text = clip.labels.get("class_id", ""), clip.labels.get("class_text", "")
        style = clip.labels.get("style", "")
        human = tuple(self.sentences.add(c.text) for c in clip.captions if c.kind == "human")
        if class_text:
            plain, styled = self._class_sentences(class_id, class_text, style, rng)
        else:
            plain, styled = tuple(self.sentences.add(c.text) for c in clip.captions), ()
        if not (human or plain):
            raise EncoderError(f"clip {clip.clip_id or clip.source.take!r} has no caption; leave it out or caption it")
        return Item(
            features=features.astype(np.float32),
            family=self._families.setdefault(family_of(clip), len(self._families)),
            group=self._group(class_id or clip.source.take, class_text),
            style=self._styles.setdefault(style, len(self._styles)),
            human=human,
            plain=plain,
            styled=styled,
        )

    def _group(self, class_id: str, class_text: str) -> tuple[int, int]:
        own = class_id.replace("_", " ")
        twin = swap_sides(own)
        if twin == own and swap_sides(class_text) != class_text:
            twin = f"{own} mirrored"
        return self._groups.setdefault(own, len(self._groups)), self._groups.setdefault(twin, len(self._groups))

    def _class_sentences(
        self, class_id: str, class_text: str, style: str, rng: np.random.Generator
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        key = (f"{class_id}|{class_text}", style)
        if key not in self._texts:
            sentences = (class_text, *self._bank.classes.get(class_id, ()))
            plain = tuple(self.sentences.add(s) for s in sentences)
            styled: list[int] = []
            if style:
                phrases = (f"{style} style", *self._bank.styles.get(style, ()))
                draws = [(class_text, phrase) for phrase in phrases]
                while len(draws) < STYLE_SENTENCES + len(phrases):
                    draws.append((sentences[rng.integers(len(sentences))], phrases[rng.integers(len(phrases))]))
                styled = [self.sentences.add(with_style(*draw)) for draw in draws]
                number = self._styles.setdefault(style, len(self._styles))
                self._caption_styles |= dict.fromkeys(styled, number)
            self._texts[key] = plain, tuple(styled)
        return self._texts[key]

    def draw(
        self,
        batch: int,
        rng: np.random.Generator,
        *,
        max_frames: int,
        augment: bool = True,
        styled: float = 0.4,
    ) -> Batch:
        """One batch: ``batch`` clips without repetition, one caption each; ``styled`` of those with a style name it."""
        rows = rng.choice(len(self.items), size=min(batch, len(self.items)), replace=False, p=self.weights)
        features, captions, groups = [], [], []
        for row in rows:
            item = self.items[row]
            mirror = augment and rng.random() < 0.5
            x = mirror_features(item.features, self.spec) if mirror else item.features
            features.append(vary(x, rng, self, max_frames) if augment else x[:max_frames])
            pool = self._pool(item, rng, styled)
            caption = pool[rng.integers(len(pool))]
            captions.append(int(self.sentences.mirrored[caption]) if mirror else caption)
            groups.append(item.group[int(mirror)])
        return self._collate([self.items[r] for r in rows], features, captions, groups)

    def _pool(self, item: Item, rng: np.random.Generator, styled: float) -> tuple[int, ...]:
        """The sentences this draw is told by: human ones, styled ones, the class sentence alone, or all its wordings."""
        if item.human and (not item.plain or rng.random() < 0.35):
            return item.human
        if item.styled and rng.random() < styled:
            return item.styled
        return item.plain[:1] if rng.random() < 0.2 else item.plain

    def _collate(
        self,
        items: Sequence[Item],
        features: Sequence[NDArray[np.float32]],
        captions: Sequence[int],
        groups: Sequence[int],
    ) -> Batch:
        x, mask = pad(features)
        said = torch.tensor(captions)
        cues = self.sentences.cues[said]
        labels = Labels(
            family=torch.tensor([i.family for i in items]),
            group=torch.tensor(groups),
            motion_style=torch.tensor([i.style for i in items]),
            caption_style=torch.tensor([self._caption_styles.get(c, 0) for c in captions]),
            sentence=self.sentences.vectors[said],
            sides=cues[:, :2] > 0,
        )
        return Batch(x, mask, labels, cues, *self._hard(captions))

    def _hard(self, captions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Which items have a caption that is wrong by its side or its order alone, and that caption's vector and cues."""
        own = np.asarray(captions)
        twins = np.where(
            self.sentences.reordered[own] != own, self.sentences.reordered[own], self.sentences.mirrored[own]
        )
        rows = np.flatnonzero(twins != own)
        picked = torch.from_numpy(twins[rows])
        return torch.from_numpy(rows), self.sentences.vectors[picked], self.sentences.cues[picked]


@dataclass(frozen=True)
class Batch:
    """``features`` [B, T, C], ``mask`` [B, T], labels with the captions' sentence vectors, ``cues`` [B, L].

    ``hard_rows`` [H] of the items have a wrong caption, ``hard_sentence`` [H, S] and ``hard_cues`` [H, L].
    """

    features: torch.Tensor
    mask: torch.Tensor
    labels: Labels
    cues: torch.Tensor
    hard_rows: torch.Tensor
    hard_sentence: torch.Tensor
    hard_cues: torch.Tensor


def pad(features: Sequence[NDArray[np.float32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack arrays [T_i, C] to [B, T, C] and the mask [B, T] of real frames."""
    longest = max(len(x) for x in features)
    out = np.zeros((len(features), longest, features[0].shape[1]), dtype=np.float32)
    mask = np.zeros((len(features), longest), dtype=bool)
    for row, x in enumerate(features):
        out[row, : len(x)] = x
        mask[row, : len(x)] = True
    return torch.from_numpy(out), torch.from_numpy(mask)


def family_of(clip: Clip) -> str:
    """One name for a take, its spans and its mirror image (HumanML3D calls that M000012)."""
    return re.sub(r"(^|/)M(?=\d+$)", r"\1", f"{clip.source.dataset}/{clip.source.take}")


def vary(x: NDArray[np.float32], rng: np.random.Generator, data: TrainingSet, max_frames: int) -> NDArray[np.float32]:
    """A random crop and speed of normalised features [T, C]."""
    if len(x) > 24 and rng.random() < 0.5:
        length = int(len(x) * rng.uniform(0.75, 1.0))
        start = rng.integers(len(x) - length + 1)
        x = x[start : start + length]
    if rng.random() < 0.5:
        rate = float(rng.uniform(0.8, 1.25))
        time = np.arange(0, len(x) - 1, rate)
        first = time.astype(int)
        share = (time - first)[:, None].astype(np.float32)
        x = x[first] * (1 - share) + x[first + 1] * share
        columns = data.spec.velocity_columns
        mean, std = data.normaliser.mean[columns], data.normaliser.std[columns]
        x[:, columns] = ((x[:, columns] * std + mean) * rate - mean) / std
    if len(x) > max_frames:
        start = rng.integers(len(x) - max_frames + 1)
        x = x[start : start + max_frames]
    return x


def noisy(features: torch.Tensor, spec: FeatureSpec, quirk: float) -> torch.Tensor:
    """Normalised features [B, T, C] with noise, and with joints displaced all along by a deviation of ``quirk``.

    Rigs and bodies differ like that. Drawn by torch, where the features are: half the cost of a batch otherwise.
    """
    features = features + 0.05 * torch.randn_like(features)
    if quirk:
        places = features[..., spec.positions]
        places += quirk * torch.randn_like(places[:, :1])
    return features
