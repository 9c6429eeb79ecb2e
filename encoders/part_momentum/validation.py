"""What selects a run: figures on the validation split, and on persons taken from the train split.

- Class sentences, held-out wordings and styled sentences by mean average precision, human captions by the same among the
  clips that have one (equal captions count as right). ``score``, their mean, is the criterion.
- Sides and order of events on synthetic minimal pairs, shown and not selected on: what is true by construction is learned soon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.part_momentum.data import TrainingSet, clip_features, pad
from encoders.part_momentum.encoder import length_batches
from encoders.part_momentum.model import TextMotionModel, Towers
from encoders.text import sentence_inputs
from encoders.wordings import WordingBank, with_style
from motion import Clip
from motion.geometry import swap_sides
from motion.synth import swap_order, synthesise

PAIRS, PAIRS_SEED = 160, 7_001  # synthetic clips that are asked for their side and order; no training seed

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class _Query:
    """Sentences as the text side reads them, and which of the clips ``among`` are right for each [Q, N]."""

    sentence: torch.Tensor
    cues: torch.Tensor
    relevant: NDArray[np.bool_]
    among: NDArray[np.int64]


class Validation:
    """Queries over clips that are embedded anew at every evaluation."""

    def __init__(self, clips: Sequence[Clip], data: TrainingSet, bank: WordingBank, encode: Encode) -> None:
        pairs = synthesise(PAIRS, seed=PAIRS_SEED, sequences=0.5)
        self._features = [data.normaliser(clip_features(clip, data.spec)) for clip in (*clips, *pairs)]
        self._queries = {
            name: _query([text for text, _ in rows], [right for _, right in rows], among, encode)
            for name, (rows, among) in _asked(clips, bank).items()
            if rows
        }
        said = [clip.labels["class_text"] for clip in pairs]
        self._twins = {}
        for name, exchange in (("sides", _swap_sides_of_one), ("order", swap_order)):
            rows = [row for row, text in enumerate(said) if exchange(text) != text]
            both = [said[row] for row in rows] + [exchange(said[row]) for row in rows]
            self._twins[name] = _query(both, [], [len(clips) + row for row in rows], encode)

    @torch.inference_mode()
    def score(self, model: TextMotionModel, device: str) -> dict[str, float]:
        """Figures by kind of query, and ``score``; 0 where there is nothing to validate on."""
        if not self._queries:
            return {"score": 0.0}
        training = model.training
        model.eval()
        motion = torch.zeros(len(self._features), model.config.dim)
        for rows in length_batches([len(x) for x in self._features], 8192):
            x, mask = pad([self._features[i] for i in rows])
            motion[rows] = model.motion(x.to(device), mask.to(device)).whole.float().cpu()

        def cosines(query: _Query) -> torch.Tensor:
            text: Towers = model.text(query.sentence.to(device), query.cues.to(device))
            return text.whole.float().cpu() @ motion[query.among].T

        scores = {name: mean_average_precision(cosines(q).numpy(), q.relevant) for name, q in self._queries.items()}
        scores["score"] = sum(scores.values()) / len(scores)
        for name, query in self._twins.items():
            own, other = (side.diagonal() for side in cosines(query).chunk(2))
            scores[name] = float((own > other).float().mean())
        model.train(training)
        return scores


Asked = tuple[list[tuple[str, list[bool]]], list[int]]


def _asked(clips: Sequence[Clip], bank: WordingBank) -> dict[str, Asked]:
    """By kind of query: sentences with what is right for each, and the clips that are asked about."""
    classes = [clip.labels.get("class_id", "") for clip in clips]
    texts = {clip.labels.get("class_id", ""): clip.labels.get("class_text", "") for clip in clips}
    styled = [(clip.labels.get("class_id", ""), clip.labels.get("style", "")) for clip in clips]
    human = {row: c.text for row, clip in enumerate(clips) for c in clip.captions[::-1] if c.kind == "human"}
    everything = list(range(len(clips)))
    named = [(with_style(texts[name], f"{style} style"), (name, style)) for name, style in sorted(set(styled)) if style]
    return {
        "plain": ([(text, [own == name for own in classes]) for name, text in texts.items() if text], everything),
        "wordings": ([(w, [own == n for own in classes]) for n in texts for w in bank.held_out.get(n, ())], everything),
        "styled": ([(text, [own == pair for own in styled]) for text, pair in named if texts[pair[0]]], everything),
        "captions": ([(text, [own == text for own in human.values()]) for text in human.values()], list(human)),
    }


def _query(texts: Sequence[str], relevant: Sequence[Sequence[bool]], among: Sequence[int], encode: Encode) -> _Query:
    sentence, cues = (torch.from_numpy(x) for x in sentence_inputs(texts, encode))
    return _Query(sentence, cues, np.array(relevant, bool), np.array(among, np.int64))


def _swap_sides_of_one(text: str) -> str:
    """Sides exchanged where the sentence tells one event."""
    return text if swap_order(text) != text else swap_sides(text)


def mean_average_precision(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> float:
    """Mean over queries of average precision, ``scores`` and ``relevant`` [Q, N]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hit = np.take_along_axis(relevant, order, axis=1)
    precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1)).mean())
