"""Corrections of the score that need no training: is one of them better than the cosine of whole bodies?

    python -m benchmarks.scoring --data FOLDER --wordings FOLDER [--fit-on val] [--split test] [--encoder NAME|DIR]

- ``hubs``: minus a share of how near a clip is to all class sentences (query bank normalisation, Bogolin et al. 2022).
- ``known``: the sentence moved towards the mean of the nearest wordings that training knows.
- ``halves``: the clip's vector moved towards those of its two halves.
- ``ridge``: plus the cosine of the frozen sentence vector with one that a linear head reads off views and parts; the head
  is fitted in closed form on the train split.
- Strengths are chosen on ``--fit-on`` (0 is among them) over the mean of class sentences, held-out wordings, styled sentences
  and captions; the figures of ``--split`` stand beside those of the cosine, with the interval of the difference.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import load_encoder
from encoders.part_momentum.encoder import PartMomentumEncoder
from encoders.part_momentum.validation import _asked, mean_average_precision
from encoders.wordings import WordingBank, read_wordings
from motion import Clip
from retriever import questions
from retriever.pairs import read_split

Array = NDArray[np.float32]
STRENGTHS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
HEAT, NEAREST, KNOWN_HEAT, RIDGE = 0.1, 29, 0.1, 0.3


def unit(x: Array) -> Array:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9), np.float32)


class Embedded:
    """A split's clips, their whole vectors, those of their halves, and all outputs in a row."""

    def __init__(self, encoder: PartMomentumEncoder, clips: Sequence[Clip]) -> None:
        self.clips = list(clips)
        self.whole, parts = encoder.encode_motion(clips).whole, encoder.encode_motion(clips).parts
        first = encoder.encode_motion([c.cut(0.0, c.duration_s / 2) for c in clips]).whole
        last = encoder.encode_motion([c.cut(c.duration_s / 2, c.duration_s) for c in clips]).whole
        self.halves = (first + last) / 2
        self.outputs = np.concatenate([self.whole, parts.reshape(len(parts), -1), first, last], axis=1)


class Corrections:
    """Scores [Q, N] of sentences by a way and a strength; 0 is the cosine of whole bodies."""

    def __init__(self, encoder: PartMomentumEncoder, train: Embedded, bank: WordingBank) -> None:
        self.encoder, self.tower = encoder, encoder._text_tower()
        texts = {c.labels["class_id"]: c.labels["class_text"] for c in train.clips if c.labels.get("class_text")}
        told = {name: [text, *bank.classes.get(name, ())] for name, text in texts.items()}
        self.classes = encoder.encode_text(sorted(set(texts.values()))).whole
        self.known = encoder.encode_text(sorted({text for several in told.values() for text in several})).whole
        wanted = []
        for clip in train.clips:
            human = [c.text for c in clip.captions if c.kind == "human"][:1]
            wanted.append(self.tower.encode(human or told[clip.labels["class_id"]]).mean(axis=0))
        sizes = Counter(clip.labels.get("class_id", "") for clip in train.clips)
        weight = np.array([sizes[clip.labels.get("class_id", "")] ** -0.5 for clip in train.clips])[:, None]
        y = np.stack(wanted)
        self.centre, self.middle = train.outputs.mean(axis=0), (y * weight).sum(axis=0) / weight.sum()
        x = train.outputs - self.centre
        gram = (x * weight).T @ x + RIDGE * weight.mean() * np.eye(x.shape[1])
        self.head = np.linalg.solve(gram, (x * weight).T @ (y - self.middle))

    def scores(self, way: str, strength: float, texts: Sequence[str], found: Embedded) -> Array:
        said = self.encoder.encode_text(texts).whole
        if way == "known":
            near = said @ self.known.T
            least = -np.partition(-near, NEAREST - 1, axis=1)[:, NEAREST - 1 : NEAREST]
            share = np.where(near >= least, np.exp((near - near.max(axis=1, keepdims=True)) / KNOWN_HEAT), 0)
            said = unit(said + strength * (share / share.sum(axis=1, keepdims=True)) @ self.known)
        motions = unit(found.whole + strength * found.halves) if way == "halves" else found.whole
        cosines = said @ motions.T
        if way == "hubs":
            near = np.exp((self.classes @ found.whole.T) / HEAT)
            cosines = cosines - strength * HEAT * np.log(near.mean(axis=0))
        if way == "ridge":
            read = unit(np.asarray((found.outputs - self.centre) @ self.head, np.float32))
            cosines = cosines + strength * (self.tower.encode(list(texts)) - self.middle) @ read.T
        return np.asarray(cosines, np.float32)


class Asked:
    """One way with its strength, as the questions of an evaluation ask it."""

    def __init__(self, scores: Callable[[Sequence[str]], Array]) -> None:
        self._scores = scores

    def scores(self, sentences: tuple[str, ...]) -> Array:
        return self._scores(list(sentences))


def fitted(made: Corrections, way: str, found: Embedded, bank: WordingBank) -> dict[float, float]:
    """The criterion of selection at each strength."""
    asked = {name: rows for name, rows in _asked(found.clips, bank).items() if rows[0]}
    return {
        strength: float(
            np.mean(
                [
                    mean_average_precision(
                        made.scores(way, strength, [text for text, _ in rows], found)[:, among],
                        np.array([right for _, right in rows], bool),
                    )
                    for rows, among in asked.values()
                ]
            )
        )
        for strength in STRENGTHS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wordings", type=Path, required=True)
    parser.add_argument("--fit-on", default="val")
    parser.add_argument("--split", default="test")
    parser.add_argument("--encoder")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder(chosen.encoder, device="cpu")
    assert isinstance(encoder, PartMomentumEncoder)
    bank = read_wordings(chosen.wordings)
    train, val, test = (
        Embedded(encoder, read_split(chosen.data, split, None).clips)
        for split in ("train", chosen.fit_on, chosen.split)
    )
    made = Corrections(encoder, train, bank)
    plain = Asked(lambda texts: made.scores("", 0.0, texts, test))
    gallery = questions.Gallery.of(test.clips, train.clips)
    report: dict[str, Any] = {"encoder": encoder.spec.name}
    for way in ("hubs", "known", "halves", "ridge"):
        values = fitted(made, way, val, bank)
        best = max(values, key=lambda strength: values[strength])
        own = Asked(lambda texts, way=way, best=best: made.scores(way, best, texts, test))  # type: ignore[misc]
        rows = [row.to_json() for question in questions.questions(gallery) for row in question.rows([own, plain])]
        kept = {f"{r['name']}, {r['metric']}": {k: r[k] for k in ("value", "difference")} for r in rows}
        report[way] = {chosen.fit_on: values, "chosen": best, chosen.split: kept}
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
