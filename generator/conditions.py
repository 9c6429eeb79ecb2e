"""What a motion is made from: sentences and exemplars as padded arrays, and which of them each sample may see.

- A sentence is its pooled vector with lexical features, and the states of its word pieces.
- An exemplar is its first-level tokens, the code vectors of its tokens (first level, and all summed), its length by its mask,
  how well it fits, the pooled vector of its caption, and the body parts taken from it ("the legs of this, the arms of that").
- Text and exemplars are dropped independently, in training and for guidance; what is dropped is masked out of attention, so
  a branch that must not see something cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.text import LEXICAL_DIM, TextTower, lexical_features

LONGEST_SENTENCE = 48  # word pieces read one by one; the pooled vector has seen all of them


@dataclass(frozen=True)
class Sentence:
    """One sentence, encoded: ``pooled`` [P], ``words`` [n, W]."""

    pooled: NDArray[np.float32]
    words: NDArray[np.float32]


@dataclass(frozen=True)
class Exemplar:
    """One retrieved motion as the transformer reads it.

    ``ids`` [R, N] first-level tokens, ``latents`` [R, N, D] first-level and summed codes, ``caption`` [P] pooled, ``score``
    cosine of its retrieval, ``rows`` [R] true where used.
    """

    ids: NDArray[np.int16]
    latents: NDArray[np.float16]
    caption: NDArray[np.float32]
    score: float
    rows: NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions:
    """A batch: pooled [B, P], words [B, n, W], word_mask [B, n]; exemplars: ids [B, K, R, N], latents [B, K, R, N, D],
    exemplar_mask [B, K, N], rows [B, K, R], captions [B, K, P], scores [B, K]; with_text [B] and with_exemplars [B]: who may
    see what.
    """

    pooled: Tensor
    words: Tensor
    word_mask: Tensor
    ids: Tensor
    latents: Tensor
    exemplar_mask: Tensor
    rows: Tensor
    captions: Tensor
    scores: Tensor
    with_text: Tensor
    with_exemplars: Tensor

    def __len__(self) -> int:
        return len(self.pooled)

    def to(self, device: str | torch.device) -> Conditions:
        """The same on ``device``."""
        return Conditions(**{name: value.to(device) for name, value in vars(self).items()})

    def seeing(self, *, text: bool, exemplars: bool) -> Conditions:
        """The same with text or exemplars hidden from all samples."""
        return replace(
            self,
            with_text=self.with_text & text,
            with_exemplars=self.with_exemplars & exemplars,
        )


def pooled_dim(tower: TextTower) -> int:
    """P of a text tower."""
    return tower.dim + LEXICAL_DIM


def encode_sentences(tower: TextTower, texts: Sequence[str]) -> list[Sentence]:
    """Every sentence encoded; equal sentences share their arrays."""
    distinct = list(dict.fromkeys(texts))
    vectors, words = tower.encode_words(distinct)
    pooled = np.concatenate([vectors * np.sqrt(tower.dim), lexical_features(distinct)], -1).astype(np.float32)
    known = {t: Sentence(p, w[:LONGEST_SENTENCE]) for t, p, w in zip(distinct, pooled, words, strict=True)}
    return [known[t] for t in texts]


def stack(
    sentences: Sequence[Sentence], exemplars: Sequence[Sequence[Exemplar]], *, shape: tuple[int, int]
) -> Conditions:
    """Sentences [B] and their exemplars (0 to K each) as one batch; ``shape`` is (R, D) of the tokenizer."""
    batch = len(sentences)
    n = max(len(s.words) for s in sentences)
    words = np.zeros((batch, n, sentences[0].words.shape[1]), np.float32)
    word_mask = np.zeros((batch, n), bool)
    k = max(1, max(len(e) for e in exemplars))
    length = max([1, *(x.latents.shape[1] for e in exemplars for x in e)])
    ids = np.zeros((batch, k, shape[0], length), np.int64)
    latents = np.zeros((batch, k, shape[0], length, shape[1]), np.float16)  # half: they are most of a batch
    mask = np.zeros((batch, k, length), bool)
    rows = np.zeros((batch, k, shape[0]), bool)
    captions = np.zeros((batch, k, len(sentences[0].pooled)), np.float32)
    scores = np.zeros((batch, k), np.float32)
    for b, (sentence, found) in enumerate(zip(sentences, exemplars, strict=True)):
        words[b, : len(sentence.words)] = sentence.words
        word_mask[b, : len(sentence.words)] = True
        for i, x in enumerate(found):
            ids[b, i, :, : x.ids.shape[1]] = x.ids
            latents[b, i, :, : x.latents.shape[1]] = x.latents
            mask[b, i, : x.latents.shape[1]] = True
            rows[b, i], captions[b, i], scores[b, i] = x.rows, x.caption, x.score
    return Conditions(
        pooled=torch.from_numpy(np.stack([s.pooled for s in sentences])),
        words=torch.from_numpy(words),
        word_mask=torch.from_numpy(word_mask),
        ids=torch.from_numpy(ids),
        latents=torch.from_numpy(latents),
        exemplar_mask=torch.from_numpy(mask),
        rows=torch.from_numpy(rows),
        captions=torch.from_numpy(captions),
        scores=torch.from_numpy(scores),
        with_text=torch.ones(batch, dtype=torch.bool),
        with_exemplars=torch.tensor([len(e) > 0 for e in exemplars]),
    )
