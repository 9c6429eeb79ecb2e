"""The field's protocols on text-motion pairs: what is in the gallery, what counts as right, how ties break, for each by name.

- ``diagonal``: one (the first) caption a motion, only the own pair counts (TMR; TMR++ breaks ties optimistically).
- ``threshold``: any motion counts whose caption is like the query's: cosine of sentence vectors above 0.90, which is what
  TMR's "0.95" means. Published figures use all-mpnet-base-v2; the row names the sentence encoder that was used.
- ``dissimilar``: TMR's ``nsim_test.txt`` where the folder has it, else 100 unlike captions chosen one after the other.
- ``batches``: 32 at a time, in TMR's one order (seed 0) and over many orders. ``galleries``: random 1,000, 5,000, 10,000.
- ``identity``: any motion counts that has exactly the query's caption; captions with times of their own are items of their
  own, motions end after 224 frames (MotionPatches, ReMoMask). ``captions``: every caption asks, mirrors left out.
- Rows of different names are not comparable: the gap between protocols is larger than that between systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from retriever import protocols
from retriever.pairs import CUT_FRAMES, Items, PairedSplit, Progress, plain
from retriever.protocols import KS, Interval, Relevance, Ties, Values

PROTOCOLS = ("diagonal", "threshold", "dissimilar", "batches", "galleries", "identity", "captions")
MEANING = {
    "diagonal": "first caption of each motion; only its own motion is right",
    "threshold": "first caption; right is every motion whose caption has a cosine above 0.90 with the query's",
    "dissimilar": "first caption of motions with unlike captions; only the own motion is right",
    "batches": "32 pairs at a time; only the own pair is right",
    "galleries": "random pairs; only the own pair is right",
    "identity": "any motion with the query's very caption is right; captions with times are items of their own",
    "captions": "every caption asks; only its own motion is right",
}
CAPTION_COSINE = 0.9  # TMR's threshold 0.95 on (cosine + 1) / 2
GALLERIES = (1_000, 5_000, 10_000)
LARGEST = 20_000  # pairs of which all are compared with all; of more, random galleries are
ORDERS = 100  # permutations of the small batches
DRAWS = 10  # random galleries of a size
DISSIMILAR = 100
EMBED_AT_ONCE = 256

Similar = Callable[[Sequence[str]], NDArray[np.float32]]  # sentences -> unit vectors [N, D]


@dataclass(frozen=True)
class PairRow:
    """One protocol in one direction: R@1, 2, 3, 5, 10 and MedR with intervals, and what they are figures of."""

    protocol: str
    direction: str  # "text to motion" or "motion to text"
    encoder: str
    queries: int
    gallery: int
    mirrored: int  # motions of the gallery that are mirror images
    ties: Ties
    metrics: Mapping[str, Interval]
    ceiling: Mapping[str, float]  # empty where equal captions cost nothing
    interval: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, shares to four places."""
        metrics = {name: {k: round(v, 4) for k, v in vars(value).items()} for name, value in self.metrics.items()}
        return vars(self) | {"metrics": metrics, "ceiling": {k: round(v, 4) for k, v in self.ceiling.items()}}


def pair_rows(
    split: PairedSplit,
    encoder: DualEncoder,
    *,
    chosen: Sequence[str] = PROTOCOLS,
    similar: Similar | None = None,
    similar_name: str = "",
    progress: Progress | None = None,
) -> Iterator[PairRow]:
    """The rows of the protocols ``chosen``, both directions each.

    Args:
        split: the pairs.
        encoder: what is measured.
        chosen: names of :data:`PROTOCOLS`.
        similar: sentences to unit vectors, for ``threshold`` and for choosing dissimilar captions.
        similar_name: how rows call it.
        progress: told (stage, done, total).
    """
    asker = _Asker(split, encoder, similar, similar_name, progress)
    ask: dict[str, Callable[[], Iterator[PairRow]]] = {
        "diagonal": asker.diagonal, "threshold": asker.threshold, "dissimilar": asker.dissimilar, "batches": asker.batches,
        "galleries": asker.galleries, "identity": asker.identity, "captions": asker.captions,
    }  # fmt: skip
    for name in PROTOCOLS:
        if name in chosen and (name == "galleries" or len(split.first) <= LARGEST):
            for row in ask[name]():
                yield replace(row, note="; ".join(filter(None, (MEANING[name], row.note))))


class _Asker:
    def __init__(
        self,
        split: PairedSplit,
        encoder: DualEncoder,
        similar: Similar | None,
        similar_name: str,
        progress: Progress | None,
    ) -> None:
        self.split, self.name = split, encoder.spec.name
        self.similar, self.similar_name = similar, similar_name
        pieces = []
        for start in range(0, len(split.motions), EMBED_AT_ONCE):
            pieces.append(encoder.encode_motion(split.motions[start : start + EMBED_AT_ONCE]).whole)
            if progress is not None:
                progress("embed pairs", min(start + EMBED_AT_ONCE, len(split.motions)), len(split.motions))
        self.motions = np.concatenate(pieces)
        sentences = sorted({*split.first.texts, *split.identity.texts, *split.every.texts})
        self.place = {text: i for i, text in enumerate(sentences)}
        self.texts = np.concatenate(
            [
                encoder.encode_text(sentences[start : start + EMBED_AT_ONCE]).whole
                for start in range(0, len(sentences), EMBED_AT_ONCE)
            ]
        )
        self.alike_motions, self.alike_texts = _alike(self.motions), _alike(self.texts)

    def _scores(self, items: Items) -> NDArray[np.float32]:
        """Cosines [N, N] of the items' sentences with their motions."""
        return self._cosines(items.texts, items.motions)

    def _cosines(self, texts: Sequence[str], motions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines [Q, N]; those of equal vectors are equal to the last bit, which a product of all their rows need not give."""
        rows, owner = np.unique(self.alike_texts[[self.place[text] for text in texts]], return_inverse=True)
        kept, place = np.unique(self.alike_motions[motions], return_inverse=True)
        return np.asarray((self.texts[rows] @ self.motions[kept].T)[np.ix_(owner, place)])

    def _rows(
        self,
        protocol: str,
        scores: NDArray[np.float32],
        relevant: Relevance,
        *,
        mirrored: int,
        asking: NDArray[np.bool_] | None = None,
        ties: Ties = "averaged",
        ceilings: tuple[Mapping[int, float], Mapping[int, float]] | None = None,
        note: str = "",
    ) -> Iterator[PairRow]:
        sides = (("text to motion", scores, relevant), ("motion to text", scores.T, relevant.T))
        for side, (direction, matrix, right) in enumerate(sides):
            ranks = protocols.first_ranks(matrix, right, ties)
            ranks = ranks if asking is None else ranks[asking]
            ceiling = {f"R@{k}": v for k, v in ceilings[side].items()} if ceilings else {}
            yield PairRow(
                protocol, direction, self.name, len(ranks), matrix.shape[1], mirrored, ties, _figures(ranks), ceiling,
                "bootstrap over queries, seed 0", note,
            )  # fmt: skip

    def _with_and_without_mirrors(self, items: Items) -> Iterator[tuple[str, Items]]:
        yield "", items
        if items.mirrored.any() and (~items.mirrored).sum() > 1:
            yield ", no mirrors", items.take(~items.mirrored)

    def diagonal(self) -> Iterator[PairRow]:
        for suffix, items in self._with_and_without_mirrors(self.split.first):
            scores, own = self._scores(items), np.eye(len(items), dtype=bool)
            ceiling = protocols.duplicate_ceiling(items.texts)
            for ties in ("averaged", "optimistic"):
                bound = (ceiling.text_to_motion, ceiling.motion_to_text) if ties == "averaged" else None
                yield from self._rows(
                    f"diagonal{suffix}", scores, own, mirrored=int(items.mirrored.sum()), ties=ties, ceilings=bound,
                    note=f"{ceiling.distinct} different captions, {ceiling.shared:.1%} shared with another motion",
                )  # fmt: skip
        unseen = np.array([plain(text) not in self.split.seen for text in self.split.first.texts])
        if self.split.seen and 1 < unseen.sum() < len(unseen):
            yield from self._rows(
                "diagonal, unseen captions", self._scores(self.split.first), np.eye(len(unseen), dtype=bool),
                mirrored=int(self.split.first.mirrored.sum()), asking=unseen,
                note=f"{1 - unseen.mean():.1%} of the captions stand in the train split and do not ask",
            )  # fmt: skip

    def threshold(self) -> Iterator[PairRow]:
        if self.similar is None:
            return
        for suffix, items in self._with_and_without_mirrors(self.split.first):
            vectors = self.similar(items.texts)
            alike = vectors @ vectors.T > CAPTION_COSINE
            np.fill_diagonal(alike, True)
            yield from self._rows(
                f"threshold 0.95{suffix}", self._scores(items), alike, mirrored=int(items.mirrored.sum()),
                note=f"captions alike by {self.similar_name}, cosine > 0.90: {alike.sum(axis=1).mean():.2f} a query",
            )  # fmt: skip

    def dissimilar(self) -> Iterator[PairRow]:
        items, listed = self.split.first, self.split.listed
        if listed is not None:
            rows = np.array([name in listed for name in items.ids])
            note = "ids of nsim_test.txt"
        elif self.similar is not None and len(items) > DISSIMILAR:
            vectors = self.similar(items.texts)
            rows = np.isin(np.arange(len(items)), protocols.dissimilar(vectors @ vectors.T, DISSIMILAR))
            note = f"no nsim_test.txt: chosen here by {self.similar_name}, not the published list"
        else:
            return
        if rows.sum() > 1:
            subset = items.take(rows)
            ceiling = protocols.duplicate_ceiling(subset.texts)
            yield from self._rows(
                "dissimilar subset", self._scores(subset), np.eye(len(subset), dtype=bool), mirrored=int(subset.mirrored.sum()),
                ceilings=(ceiling.text_to_motion, ceiling.motion_to_text), note=note,
            )  # fmt: skip

    def batches(self) -> Iterator[PairRow]:
        items = self.split.first
        if len(items) < protocols.BATCH:
            return
        scores = self._scores(items)
        one = protocols.small_batches(len(items), 0)
        orders = [protocols.small_batches(len(items), seed) for seed in range(ORDERS)]
        for name, drawn, interval in (
            ("batches of 32, TMR's order", [one], "bootstrap over batches, seed 0"),
            (f"batches of 32, {ORDERS} orders", orders, f"2.5 to 97.5 % of {ORDERS} orders, seeds 0 to {ORDERS - 1}"),
        ):
            for direction, matrix in (("text to motion", scores), ("motion to text", scores.T)):
                figures = _batch_figures([protocols.batch_ranks(matrix, batches) for batches in drawn])
                yield PairRow(
                    name, direction, self.name, one.size, protocols.BATCH, int(items.mirrored.sum()), "averaged", figures, {},
                    interval, f"{len(one)} batches, {len(items) - one.size} pairs dropped",
                )  # fmt: skip

    def galleries(self) -> Iterator[PairRow]:
        items = self.split.first
        for size in GALLERIES:
            if size > len(items):
                continue
            own = np.eye(size, dtype=bool)
            ranks: dict[str, list[Values]] = {"text to motion": [], "motion to text": []}
            for seed in range(DRAWS):
                drawn = np.random.default_rng(seed).choice(len(items), size, replace=False)
                scores = self._scores(items.take(drawn))
                ranks["text to motion"].append(protocols.first_ranks(scores, own, "averaged")[None])
                ranks["motion to text"].append(protocols.first_ranks(scores.T, own, "averaged")[None])
            for direction, found in ranks.items():
                figures = _batch_figures(found)
                yield PairRow(
                    f"random gallery of {size:,}", direction, self.name, size, size, int(items.mirrored.sum()), "averaged",
                    figures, {}, f"2.5 to 97.5 % of {DRAWS} draws, seeds 0 to {DRAWS - 1}", f"drawn from {len(items):,}",
                )  # fmt: skip

    def identity(self) -> Iterator[PairRow]:
        for suffix, items in self._with_and_without_mirrors(self.split.identity):
            same = np.array(items.texts, object)
            yield from self._rows(
                f"caption identity{suffix}", self._scores(items), np.asarray(same[:, None] == same[None, :], bool),
                mirrored=int(items.mirrored.sum()), ties="optimistic", note=f"motions end after {CUT_FRAMES} frames",
            )  # fmt: skip

    def captions(self) -> Iterator[PairRow]:
        items = self.split.every.take(~self.split.every.mirrored)
        if len(items) < 2:
            return
        motions, owner = np.unique(items.motions, return_inverse=True)
        scores = self._cosines(items.texts, motions)
        yield from self._rows(
            "all captions, no mirrors", scores, owner[:, None] == np.arange(len(motions)), mirrored=0,
            note="one query a caption; of a motion's captions the best counts",
        )  # fmt: skip


def _alike(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each row [N] the first one that is equal to it."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row.tobytes(), i) for i, row in enumerate(vectors)], np.int64)


def _figures(ranks: Values) -> dict[str, Interval]:
    found = {f"R@{k}": protocols.bootstrap(protocols.within(ranks, k)) for k in KS}
    return found | {"MedR": protocols.bootstrap(ranks, lambda drawn: float(np.median(drawn)))}


def _batch_figures(draws: Sequence[Values]) -> dict[str, Interval]:
    """Means over batches [batches, size] of each draw; the interval is over draws, or over batches where there is one."""
    values = {f"R@{k}": [protocols.within(ranks, k).mean(axis=1) for ranks in draws] for k in KS}
    values["MedR"] = [np.asarray(np.median(ranks, axis=1), np.float64) for ranks in draws]
    found = {}
    for name, of_batches in values.items():
        if len(of_batches) == 1:
            found[name] = protocols.bootstrap(of_batches[0])
        else:
            means = np.array([batches.mean() for batches in of_batches])
            low, high = np.percentile(means, [2.5, 97.5])
            found[name] = Interval(float(means.mean()), float(low), float(high))
    return found
