"""How well a clip fits a question: the ways of scoring, each a small object that knows how to find the best clips by
it.

- ``Whole``: the cosine of the whole bodies; the default.
- ``Parts``: the weighted mean of the cosines of body parts. A clip that lacks a part is judged by those it has.
- ``MaxSim``: late interaction (Khattab and Zaharia, "ColBERT", 2020) with body parts for words: the mean over the
  question's parts of the best cosine with any part of the clip. What the right arm does in the question may be done
  by the left one in the clip.
- ``Tokens``: the same with the words of the question and the parts of the clip at every moment; the frames of the best clips
  are embedded anew, nothing is stored for it. Measured in ``notebooks/LOG.md``: with weights that were not trained for it, it
  costs much and gives nothing, so nothing uses it unless it is asked for.
- ``Events``: a sentence of several events by the stretches of a clip (:mod:`retriever.events`); frames are embedded anew too.
- ``Hybrid``: captions by words (BM25) and motion by vector, merged by rank (Cormack et al., "Reciprocal rank fusion",
  2009): the sum of 1 / (60 + rank). For names and rare words, which vectors blur.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from db import Filter, Snapshot
from encoders import DualEncoder, TokenEncoder
from encoders.text import events_of
from motion import Clip
from retriever.errors import QueryError
from retriever.events import MOST_EVENTS, embed_stretches, event_scores
from retriever.events import WEIGHT as EVENTS_WEIGHT
from retriever.query import WHOLE, QueryVectors, check_weights

RANK_OFFSET = 60
DEEP = 10  # times as many clips as wanted are ranked before two rankings are merged
LEAST_DEPTH = 100
RERANK = 1000
EVENTS_RERANK = 100  # a second or so of embedding stretches
TOKEN_WEIGHT = 0.2  # of late interaction, beside the cosine of the whole bodies
AT_ONCE = 256  # clips


@dataclass(frozen=True)
class Found:
    """Ids, best first, their scores, and how they were found."""

    ids: list[str]
    scores: list[float]
    plan: Mapping[str, Any]


class Score(Protocol):
    """A way of scoring clips."""

    def find(self, snapshot: Snapshot, asked: QueryVectors, k: int, where: str | Filter | None) -> Found:
        """The ``k`` best clips of those that pass ``where``."""
        ...

    def check(self, parts: tuple[str, ...], text: str | None) -> None:
        """QueryError when an encoder of these parts, or a question without text, cannot be scored so."""
        ...


@dataclass(frozen=True)
class Parts:
    """The mean of cosines by body part (or "whole"), weighted."""

    weights: Mapping[str, float] = field(default_factory=lambda: {WHOLE: 1.0})

    def check(self, parts: tuple[str, ...], text: str | None) -> None:
        """Known parts, weights of 0 or more and not all 0."""
        check_weights(self.weights, parts)

    def find(self, snapshot: Snapshot, asked: QueryVectors, k: int, where: str | Filter | None) -> Found:
        """By the store's weighted search."""
        total = sum(self.weights.values())
        spaces = {f"motion/{name}": weight / total for name, weight in self.weights.items() if weight > 0}
        queries = {space: asked.of(space.partition("/")[2]) for space in spaces}
        hits = snapshot.search(spaces, queries, k, where=where)
        return Found(hits.ids[0], hits.scores[0].tolist(), hits.plan)


@dataclass(frozen=True)
class Whole(Parts):
    """The cosine of the whole bodies."""

    weights: Mapping[str, float] = field(default_factory=lambda: {WHOLE: 1.0}, init=False)


@dataclass(frozen=True)
class MaxSim:
    """Late interaction over body parts among the ``rerank`` clips whose whole bodies fit best."""

    rerank: int = RERANK

    def check(self, parts: tuple[str, ...], text: str | None) -> None:
        """An encoder with parts, something to re-rank."""
        if not parts:
            raise QueryError("this encoder has no body parts, which maxsim compares; ask by the whole body")
        _check_rerank(self.rerank)

    def find(self, snapshot: Snapshot, asked: QueryVectors, k: int, where: str | Filter | None) -> Found:
        """The whole bodies first, then the parts of the best."""
        first = snapshot.search("motion/whole", asked.of(WHOLE), max(self.rerank, k), where=where)
        ids = first.ids[0]
        scores = max_sim(asked.stacked, _part_vectors(snapshot, ids, tuple(asked.parts)))
        order = sorted(range(len(ids)), key=lambda at: (-scores[at], ids[at]))[:k]
        plan = {**first.plan, "score": "maxsim", "reranked": len(ids)}
        return Found([ids[at] for at in order], [float(scores[at]) for at in order], plan)


def _check_rerank(count: int) -> None:
    if count < 1:
        raise QueryError(f"{count} clips are to be re-ranked; give at least 1")


class Reader(Protocol):
    """Who knows the encoder and the frames of a library: an engine."""

    @property
    def encoder(self) -> DualEncoder:
        """The encoder of the library."""
        ...

    def clip(self, clip_id: str) -> Clip:
        """A clip with its frames."""
        ...


@dataclass(frozen=True)
class Tokens:
    """Late interaction of words with body parts at every moment, among the ``rerank`` clips whose whole bodies fit best."""

    reader: Reader
    rerank: int = RERANK
    weight: float = TOKEN_WEIGHT

    def check(self, parts: tuple[str, ...], text: str | None) -> None:
        """A question in words, an encoder with parts, something to re-rank."""
        if text is None:
            raise QueryError("the score 'tokens' compares words with moments; ask with a sentence")
        if not parts:
            raise QueryError("this encoder has no body parts, which 'tokens' compares; ask by the whole body")
        _check_rerank(self.rerank)

    def find(self, snapshot: Snapshot, asked: QueryVectors, k: int, where: str | Filter | None) -> Found:
        """The whole bodies first, then words and moments of the best."""
        encoder = self.reader.encoder
        if not isinstance(encoder, TokenEncoder):
            raise QueryError(f"encoder {encoder.spec.name!r} tells no words and moments; ask by another score")
        first = snapshot.search("motion/whole", asked.of(WHOLE), max(self.rerank, k), where=where)
        ids = first.ids[0]
        (words,) = encoder.encode_words([asked.text])
        late: list[float] = []
        for start in range(0, len(ids), AT_ONCE):
            clips = [self.reader.clip(name) for name in ids[start : start + AT_ONCE]]
            late += [late_interaction(words, moments) for moments in encoder.encode_motion_tokens(clips)]
        scores = first.scores[0] + self.weight * np.array(late, np.float32)
        order = sorted(range(len(ids)), key=lambda at: (-scores[at], ids[at]))[:k]
        plan = {**first.plan, "score": "tokens", "reranked": len(ids)}
        return Found([ids[at] for at in order], [float(scores[at]) for at in order], plan)


@dataclass(frozen=True)
class Events:
    """Every event of a sentence by its stretch of the clip, among the ``rerank`` clips whose whole bodies fit best."""

    reader: Reader
    rerank: int = EVENTS_RERANK

    def check(self, parts: tuple[str, ...], text: str | None) -> None:
        """A sentence of two to eight events."""
        count = 0 if text is None else len(events_of(text))
        if not 2 <= count <= MOST_EVENTS:
            raise QueryError(
                f"the score 'events' needs a sentence of 2 to {MOST_EVENTS} events, not {count}; "
                'put "then" between them: "a person walks, then sits down"'
            )
        _check_rerank(self.rerank)

    def find(self, snapshot: Snapshot, asked: QueryVectors, k: int, where: str | Filter | None) -> Found:
        """The whole bodies first, then the events of the best."""
        encoder = self.reader.encoder
        first = snapshot.search("motion/whole", asked.of(WHOLE), max(self.rerank, k), where=where)
        ids = first.ids[0]
        told = events_of(asked.text)
        events = encoder.encode_text(told).whole
        fits: list[float] = []
        for start in range(0, len(ids), AT_ONCE):
            clips = [self.reader.clip(name) for name in ids[start : start + AT_ONCE]]
            fits += event_scores(events, embed_stretches(encoder, clips, len(told))).tolist()
        scores = (first.scores[0] + EVENTS_WEIGHT * np.array(fits, np.float32)) / (1 + EVENTS_WEIGHT)
        order = sorted(range(len(ids)), key=lambda at: (-scores[at], ids[at]))[:k]
        plan = {**first.plan, "score": "events", "reranked": len(ids)}
        return Found([ids[at] for at in order], [float(scores[at]) for at in order], plan)


def late_interaction(words: NDArray[np.float32], moments: NDArray[np.float32]) -> float:
    """Mean over words [n, D] of the best cosine with any part at any moment [N, P, D]; 0 where there is nothing to compare."""
    if not words.size or not moments.size:
        return 0.0
    return float((words @ moments.reshape(-1, words.shape[1]).T).max(axis=1).mean())


def _part_vectors(snapshot: Snapshot, ids: list[str], parts: tuple[str, ...]) -> NDArray[np.float32]:
    """Vectors [N, P, D] of the parts of clips."""
    return np.stack([snapshot.vectors(ids, f"motion/{part}") for part in parts], axis=1)


def max_sim(asked: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the parts of a question [Q, D] of the best cosine with any part of each clip [N, P, D]; [N].

    A part that is missing (a vector of zeros) takes part on neither side.
    """
    asked = asked[np.abs(asked).sum(-1) > 0]
    cosines = np.einsum("qd,npd->nqp", asked.astype(np.float64), found.astype(np.float64))
    there = np.abs(found).sum(-1) > 0
    best = np.where(there[:, None], cosines, -1.0).max(-1)
    found_scores: NDArray[np.float32] = best.mean(-1).astype(np.float32)
    return found_scores


@dataclass(frozen=True)
class Hybrid:
    """Words in captions and vectors of motion, merged by rank; ``words`` weighs the words against the vectors (1)."""

    words: float = 1.0

    def check(self, parts: tuple[str, ...], text: str | None) -> None:
        """A question in words."""
        if text is None:
            raise QueryError("hybrid looks for words in captions too; ask with a sentence")
        if not (np.isfinite(self.words) and self.words >= 0):
            raise QueryError(f"the weight of the words is {self.words}; give 0 or more")

    def find(self, snapshot: Snapshot, asked: QueryVectors, k: int, where: str | Filter | None) -> Found:
        """Both rankings, some ten times as deep as wanted."""
        depth = max(DEEP * k, LEAST_DEPTH)
        vectors = snapshot.search("motion/whole", asked.of(WHOLE), depth, where=where)
        words = snapshot.match_text(asked.text, depth, where=where)
        fused: dict[str, float] = {}
        for ids, weight in ((vectors.ids[0], 1.0), (words.ids[0], self.words)):
            for rank, name in enumerate(ids, start=1):
                fused[name] = fused.get(name, 0.0) + weight / (RANK_OFFSET + rank)
        best = sorted(fused, key=lambda name: (-fused[name], name))[:k]
        plan = {**vectors.plan, "score": "hybrid", "said": len(words.ids[0])}
        return Found(best, [fused[name] for name in best], plan)


SCORES = ("whole", "events", "maxsim", "tokens", "hybrid")
RERANKING = ("events", "maxsim", "tokens")


def score_named(name: str, weights: Mapping[str, float], *, rerank: int | None = None, reader: Reader) -> Score:
    """A way of scoring by its name; weights of parts go with "whole" only, ``rerank`` with late interaction.

    Raises:
        QueryError: there is no such way, or weights or a number with one that takes none.
    """
    if name not in SCORES:
        raise QueryError(f"no score {name!r}; there are {', '.join(SCORES)}")
    if rerank is not None and name not in RERANKING:
        raise QueryError(f"the score {name!r} re-ranks nothing; {', '.join(RERANKING)} do")
    if name == "whole":
        return Parts(dict(weights)) if weights else Whole()
    if weights:
        raise QueryError(f"the score {name!r} takes no body parts or weights; leave them out, or the score")
    if name == "events":
        return Events(reader) if rerank is None else Events(reader, rerank)
    depth = RERANK if rerank is None else rerank
    if name == "maxsim":
        return MaxSim(depth)
    return Tokens(reader, depth) if name == "tokens" else Hybrid()
