"""What the transformers are trained on, made once before the first step: tokens, sentences and neighbours.

- Tokens of every clip and of its mirror image, from two phases (a token may start at frame 0 or in the middle of one).
- Captions: what people said, the class sentence, its wordings, any of them with a style phrase. A mirrored clip is told by
  the mirrored sentence.
- Neighbours: for every distinct sentence the best clips of the train split by the retrieval encoder, searched once. A clip
  never gets itself, its mirror image, another span of its take, or a clip that somebody described in the same words.
  Class sentences are no such words: thousands of clips share one, and at generation the library has them too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from encoders import DualEncoder
from encoders.text import TextTower
from encoders.wordings import WordingBank, read_wordings, with_style
from generator.conditions import Exemplar, Sentence, encode_sentences
from generator.exemplars import Retrieval, length_score
from generator.frames import mirror_frames
from generator.tokenizer import Tokenizer
from generator.train.data import balanced, read_frames
from motion import Clip
from motion.geometry import swap_sides

NEIGHBOURS = 48  # kept a sentence, so that enough remain when a clip's own are taken out
STYLED = 12  # sentences with a style phrase, a class and style
SHIFT = 2  # frames of the second phase


@dataclass(frozen=True)
class Item:
    """One clip: its tokens [R, N, levels] as it is and mirrored, in both phases, and the rows of its sentences."""

    tokens: tuple[tuple[NDArray[np.int16], ...], ...]  # [mirrored][phase]
    human: tuple[int, ...]
    plain: tuple[int, ...]
    styled: tuple[int, ...]
    family: str  # take with its spans and mirror image
    said: frozenset[str]  # human captions, lower case


@dataclass(frozen=True)
class Draw:
    """One training sample."""

    tokens: NDArray[np.int16]  # [R, N, levels]
    sentence: Sentence
    exemplars: list[Exemplar]


class Corpus:
    """Items, sentences and neighbours of one split; ``own`` is the fingerprint of the tokenizer."""

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        tokenizer: Tokenizer,
        own: str,
        tower: TextTower,
        encoder: DualEncoder,
        wordings: str = "",
        gallery: Corpus | None = None,
        cache: Path | None = None,
        longest: int = 49,
    ) -> None:
        bank = read_wordings(Path(wordings) if wordings else None)
        pairs = read_frames(clips, tokenizer.frames, shortest=2 * tokenizer.config.patch)
        self.clips = [clip for clip, _ in pairs]
        self.texts: dict[str, int] = {}
        captions = [self._captions(clip, bank) for clip in self.clips]
        for text in list(self.texts):
            self.texts.setdefault(swap_sides(text), len(self.texts))
        names = list(self.texts)
        self.mirrored = np.array([self.texts.get(swap_sides(t), i) for i, t in enumerate(names)])
        key = digest(names, self.clips, tower.fingerprint, encoder.spec.fingerprint)
        self.sentences, spoken, self.motion = kept(
            cache / f"corpus-{key}.safetensors" if cache else None, names, self.clips, tower, encoder
        )
        self.longest = longest
        key = digest((), self.clips, own)
        versions = kept_tokens(cache / f"tokens-{key}.safetensors" if cache else None, [x for _, x in pairs], tokenizer)
        self.items = [
            Item(
                ((versions[0][i], versions[1][i]), (versions[2][i], versions[3][i])),
                *caption,
                family_of(clip),
                said_of(clip),
            )
            for i, (clip, caption) in enumerate(zip(self.clips, captions, strict=True))
        ]
        self.odds = balanced(self.clips)
        self._tokenizer = tokenizer
        self._latents: dict[int, NDArray[np.float16]] = {}
        self.gallery = gallery or self
        self.spoken = spoken
        self.neighbours, self.scores = nearest(spoken, self.gallery.motion, NEIGHBOURS)

    def __len__(self) -> int:
        return len(self.items)

    def _captions(self, clip: Clip, bank: WordingBank) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        def row(text: str) -> int:
            return self.texts.setdefault(text, len(self.texts))

        name, sentence, style = (clip.labels.get(key, "") for key in ("class_id", "class_text", "style"))
        human = tuple(row(c.text) for c in clip.captions if c.kind == "human")
        if not sentence:
            return human, tuple(row(c.text) for c in clip.captions if c.kind != "human"), ()
        sentences = (sentence, *bank.classes.get(name, ()))
        styled: tuple[int, ...] = ()
        if style:
            phrases = (f"{style} style", *bank.styles.get(style, ()))
            mix = np.random.default_rng([len(name), len(style), *map(ord, name + style)])
            draws = {(sentence, p) for p in phrases}
            draws |= {
                (sentences[mix.integers(len(sentences))], phrases[mix.integers(len(phrases))]) for _ in range(STYLED)
            }
            styled = tuple(row(with_style(*draw)) for draw in sorted(draws))
        return human, tuple(row(s) for s in sentences), styled

    def draw(self, index: int, rng: np.random.Generator, *, exemplars: int, bad: float = 0.0) -> Draw:
        """One sample of item ``index`` with up to ``exemplars`` neighbours of its sentence, see :meth:`exemplars_of`."""
        item = self.items[index]
        mirror = int(rng.random() < 0.5)
        tokens = item.tokens[mirror][rng.integers(2)]
        if tokens.shape[1] > self.longest or (tokens.shape[1] > 12 and rng.random() < 0.2):
            length = min(self.longest, int(tokens.shape[1] * rng.uniform(0.6, 1.0)))
            start = rng.integers(tokens.shape[1] - length + 1)
            tokens = tokens[:, start : start + length]
        row = self._pick(item, rng)
        row = int(self.mirrored[row]) if mirror else row
        found = self.exemplars_of(row, tokens.shape[1], exemplars, rng=rng, without=item, bad=bad)
        return Draw(tokens, self.sentences[row], found)

    def _pick(self, item: Item, rng: np.random.Generator) -> int:
        if item.human and (not item.plain or rng.random() < 0.4):
            pool = item.human
        elif item.styled and rng.random() < 0.4:
            pool = item.styled
        else:
            pool = item.plain[:1] if rng.random() < 0.2 else item.plain
        return pool[rng.integers(len(pool))]

    def exemplars_of(
        self,
        row: int,
        tokens: int,
        count: int,
        *,
        rng: np.random.Generator | None = None,
        without: Item | None = None,
        bad: float = 0.0,
    ) -> list[Exemplar]:
        """The best ``count`` neighbours of a sentence for a motion of ``tokens`` steps; with ``rng`` among the best eight.

        ``without``: whose take, mirror image and words are left out. ``bad``: the share of them that are any clip instead,
        with the cosine it really has, so that a poor fit is learned to be trusted less.
        """
        if count == 0:
            return []
        pool = self.gallery.items

        def allowed(i: int) -> bool:
            return without is None or not (pool[i].family == without.family or pool[i].said & without.said)

        found = [
            (float(score) * length_score(pool[i].tokens[0][0].shape[1], tokens), int(i), float(score))
            for i, score in zip(self.neighbours[row], self.scores[row], strict=True)
            if allowed(i)
        ]
        found.sort(reverse=True)
        if rng is not None:
            best = found[:8]
            found = [best[i] for i in sorted(rng.choice(len(best), min(count, len(best)), replace=False))]
            for place in np.flatnonzero(rng.random(len(found)) < bad):
                other = int(rng.integers(len(pool)))
                if allowed(other):
                    found[place] = (0.0, other, float(self.spoken[row] @ self.gallery.motion[other]))
        return [self.gallery.as_exemplar(i, score, rng=rng) for _, i, score in found[:count]]

    def make_ready(self) -> None:
        """Code vectors of all exemplars at once, before processes part."""
        for index in range(len(self.gallery)):
            self.gallery.as_exemplar(index, 0.0)

    def as_exemplar(self, index: int, score: float, *, rng: np.random.Generator | None = None) -> Exemplar:
        """An item as exemplar; in training (``rng``) parts of it are now and then left out."""
        item = self.items[index]
        if index not in self._latents:
            self._latents[index] = self._tokenizer.exemplar_latents(item.tokens[0][0][:, : self.longest])
        latents = self._latents[index]
        rows = np.ones(len(latents), bool)
        if rng is not None and len(rows) > 1 and rng.random() < 0.2:
            rows[rng.choice(len(rows), rng.integers(1, len(rows)), replace=False)] = False
        caption = (item.human or item.plain)[0]
        return Exemplar(item.tokens[0][0][:, : self.longest, 0], latents, self.sentences[caption].pooled, score, rows)


def calibrated(held: Corpus) -> Retrieval:
    """When a hit is what was asked for, from captions of held-out clips in the train gallery.

    ``enough`` parts best (mean of both error rates) the cosine of the best hit where the class is there from that of the best
    hit of any other class, which is what one gets where it is not.
    """
    names = np.array([clip.labels.get("class_id", "") for clip in held.gallery.clips])
    there, absent = [], []
    for item, clip in zip(held.items, held.clips, strict=True):
        own = clip.labels.get("class_id", "")
        if not own:
            continue
        for row in (item.human or item.plain)[:1]:
            right = names[held.neighbours[row]] == own
            if right[0]:
                there.append(float(held.scores[row][0]))
            if not right.all():
                absent.append(float(held.scores[row][~right][0]))
    if not there or not absent:
        return Retrieval()
    edges = np.unique([*there, *absent])
    good = np.array([(np.array(there) >= e).mean() + (np.array(absent) < e).mean() for e in edges])
    return Retrieval(enough=float(edges[good.argmax()]))


def digest(texts: Sequence[str], clips: Sequence[Clip], *fingerprints: str) -> str:
    """16 hex digits over everything :func:`kept` depends on."""
    state = hashlib.blake2b(digest_size=8)
    for part in (*texts, *fingerprints, *(clip.content_hash() for clip in clips)):
        state.update(part.encode() + b"\0")
    return state.hexdigest()


def kept(
    path: Path | None, texts: Sequence[str], clips: Sequence[Clip], tower: TextTower, encoder: DualEncoder
) -> tuple[list[Sentence], NDArray[np.float32], NDArray[np.float32]]:
    """Sentences, their vectors in the retrieval space [Q, D] and those of the clips [N, D]; from ``path`` if it is there."""
    if path is None or not path.is_file():
        sentences = encode_sentences(tower, texts)
        spoken, moved = encoder.encode_text(texts).whole, encoder.encode_motion(clips).whole
        if path is not None:
            lengths = np.array([len(s.words) for s in sentences])
            states = np.concatenate([s.words for s in sentences]).astype(np.float16)
            pooled = np.stack([s.pooled for s in sentences])
            _keep({"pooled": pooled, "words": states, "lengths": lengths, "spoken": spoken, "moved": moved}, path)
        return sentences, spoken, moved
    found = load_file(path)
    ends = np.cumsum(found["lengths"])
    words = np.asarray(found["words"], np.float32)
    sentences = [
        Sentence(p, words[end - n : end]) for p, n, end in zip(found["pooled"], found["lengths"], ends, strict=True)
    ]
    return sentences, found["spoken"], found["moved"]


def kept_tokens(
    path: Path | None, frames: Sequence[NDArray[np.float32]], tokenizer: Tokenizer
) -> list[list[NDArray[np.int16]]]:
    """Tokens [R, N, levels] of every clip: as it is in both phases, mirrored in both phases; from ``path`` if it is there."""
    if path is not None and path.is_file():
        found = load_file(path)
        ends = np.cumsum(found["lengths"])
        every = [found["tokens"][:, end - n : end] for n, end in zip(found["lengths"], ends, strict=True)]
        return [every[i : i + len(frames)] for i in range(0, len(every), len(frames))]
    versions = []
    for source in (frames, [mirror_frames(x, tokenizer.frames) for x in frames]):
        versions += [tokenizer.encode_frames([_from(x, start) for x in source]) for start in (0, SHIFT)]
    if path is not None:
        every = [x for version in versions for x in version]
        _keep({"tokens": np.concatenate(every, 1), "lengths": np.array([x.shape[1] for x in every])}, path)
    return versions


def nearest(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows [Q, count] of ``gallery`` [N, D] that fit ``queries`` [Q, D] best, and their cosines, best first."""
    count = min(count, len(gallery))
    scores = queries @ gallery.T
    rows = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(scores, rows, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(rows, order, 1), np.take_along_axis(found, order, 1)


def family_of(clip: Clip) -> str:
    """One name for a take, its spans and its mirror image (HumanML3D calls that M000012)."""
    return re.sub(r"(^|/)M(?=\d+$)", r"\1", f"{clip.source.dataset}/{clip.source.take}")


def said_of(clip: Clip) -> frozenset[str]:
    """What people said of a clip, lower case."""
    return frozenset(c.text.lower().strip(" .") for c in clip.captions if c.kind == "human")


def _keep(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    save_file({name: np.ascontiguousarray(x) for name, x in arrays.items()}, partial)  # it writes memory, not order
    partial.replace(path)


def _from(x: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    return x[start:] if len(x) >= start + 4 else x
