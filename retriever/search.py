"""Questions to hits: one vector search, then everything a person wants to see about each hit.

- The search itself is the store's; scores are cosines in -1..1, weighed sums of them where several parts are asked.
- Every hit tells how well each body part fits, so that a person sees why it was found.
- ``describe`` turns the question round: the captions in the library that fit a motion best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from db import And, Filter, In, Not, Snapshot, parse_filter
from encoders import DualEncoder
from retriever.errors import QueryError
from retriever.query import Query, QueryVectors, embed
from retriever.scores import Parts, Score, Whole

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Hit:
    """One answer: a clip, where in its take it lies, its score (cosine) and the scores of its parts."""

    rank: int
    clip_id: str
    start_s: float
    end_s: float
    score: float
    captions: tuple[str, ...]
    source: str
    version: int
    take: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mirrored: bool = False  # found by the mirror image of what was asked

    def to_json(self) -> dict[str, Any]:
        """Plain values, scores to six places."""
        return {
            "rank": self.rank, "clip_id": self.clip_id, "start_s": self.start_s, "end_s": self.end_s,
            "score": round(self.score, 6), "captions": list(self.captions), "source": self.source, "version": self.version,
            "take": self.take, "labels": dict(self.labels),
            "parts": {name: round(score, 6) for name, score in self.parts.items()},
            "mirrored": self.mirrored,
        }  # fmt: skip


@dataclass(frozen=True)
class Hits:
    """The answers to a question, best first, with the version they come from and how they were found."""

    query: str
    hits: tuple[Hit, ...]
    library_version: int
    plan: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, rank: int) -> Hit:
        return self.hits[rank]

    def __repr__(self) -> str:
        best = f", best {self.hits[0].clip_id!r} {self.hits[0].score:.3f}" if self.hits else ""
        return f"Hits({self.query!r}, {len(self)}{best})"

    def to_json(self) -> dict[str, Any]:
        """What ``remora search --json`` prints."""
        return {
            "query": self.query, "library_version": self.library_version, "plan": dict(self.plan),
            "hits": [hit.to_json() for hit in self.hits],
        }  # fmt: skip

    def to_arrow(self) -> pa.Table:
        """One row a hit; part scores as columns ``part_<name>``."""
        import pyarrow as pa

        rows = []
        for hit in self.hits:
            row = hit.to_json()
            parts = row.pop("parts")
            labels = row.pop("labels")
            rows.append(row | {f"part_{name}": score for name, score in parts.items()} | labels)
        return pa.Table.from_pylist(rows)


def search(
    snapshot: Snapshot,
    encoder: DualEncoder,
    query: Query,
    *,
    k: int = 10,
    where: str | Filter | None = None,
    score: Score | None = None,
) -> Hits:
    """The ``k`` clips that fit ``query`` best among those that pass ``where``; exactly k where so many match.

    ``score`` is a way of scoring of :mod:`retriever.scores`; by default the query's parts and weights, or the whole body.

    Raises:
        QueryError: the query is empty, names unknown parts, or cannot be scored so.
        LibraryError: the filter or the library is at fault.
    """
    weights = query.part_weights
    way = score or (Parts(weights) if weights else Whole())
    way.check(encoder.spec.parts, query.text)
    if query.like or query.unlike:
        where = _without(where, (*query.like, *query.unlike))
    sides = [replace(query, mirror="")] if query.mirror != "only" else []
    sides += [query.mirrored()] if query.mirror else []
    best: dict[str, tuple[float, bool, QueryVectors]] = {}
    plan: Mapping[str, Any] = {}
    for number, side in enumerate(sides):
        vectors = embed(side, encoder, snapshot)
        found = way.find(snapshot, vectors, k, where)
        plan = plan or found.plan
        mirrored = query.mirror == "only" or number > 0
        for clip_id, value in zip(found.ids, found.scores, strict=True):
            if clip_id not in best or value > best[clip_id][0]:
                best[clip_id] = (value, mirrored, vectors)
    ids = sorted(best, key=lambda name: (-best[name][0], name))[:k] if len(sides) > 1 else list(best)
    parts: dict[str, dict[str, float]] = {}
    for vectors in {id(own): own for _, _, own in best.values()}.values():
        mine = [name for name in ids if best[name][2] is vectors]
        parts.update(zip(mine, _part_scores(snapshot, encoder, vectors, mine), strict=True))
    hits = _hits(snapshot, ids, [best[name][0] for name in ids], [parts[name] for name in ids])
    if query.mirror:
        hits = tuple(replace(hit, mirrored=best[hit.clip_id][1]) for hit in hits)
    return Hits(query.describe(), hits, snapshot.version, plan)


def search_batch(
    snapshot: Snapshot, encoder: DualEncoder, texts: Sequence[str], *, k: int = 10, where: str | Filter | None = None
) -> list[Hits]:
    """The ``k`` best clips for each of many sentences, by the whole body: embedded together, searched together.

    Raises:
        QueryError: a sentence is empty.  LibraryError: the filter or the library is at fault.
    """
    queries = [Query(text=text) for text in texts]
    if not queries:
        return []
    made = encoder.encode_text(list(texts))
    found = snapshot.search("motion/whole", made.whole, k, where=where)
    answers = []
    for row, query in enumerate(queries):
        vectors = QueryVectors(made.whole[row], dict(zip(encoder.spec.parts, made.parts[row], strict=True)), texts[row])
        ids, scores = found.ids[row], found.scores[row].tolist()
        hits = _hits(snapshot, ids, scores, _part_scores(snapshot, encoder, vectors, ids))
        answers.append(Hits(query.describe(), hits, snapshot.version, found.plan))
    return answers


def _without(where: str | Filter | None, ids: Sequence[str]) -> Filter:
    """``where``, and not these clips."""
    others = Not(In("clip_id", tuple(ids)))
    if where is None:
        return others
    return And((parse_filter(where) if isinstance(where, str) else where, others))


def _part_scores(
    snapshot: Snapshot, encoder: DualEncoder, vectors: QueryVectors, ids: Sequence[str]
) -> list[dict[str, float]]:
    columns = {
        name: snapshot.scores(f"motion/{name}", vectors.of(name), ids)[0].tolist() if ids else []
        for name in encoder.spec.parts
    }
    return [{name: scores[row] for name, scores in columns.items()} for row in range(len(ids))]


_COLUMNS = ("clip_id", "start_s", "end_s", "source", "take", "class_id", "class_text", "style", "split", "subject")


def _hits(
    snapshot: Snapshot, ids: Sequence[str], scores: Sequence[float], parts: Sequence[Mapping[str, float]]
) -> tuple[Hit, ...]:
    rows = snapshot.rows(ids, _COLUMNS).to_pylist()
    captions: dict[str, list[str]] = {}
    for caption in snapshot.captions(ids).to_pylist():
        captions.setdefault(caption["clip_id"], []).append(caption["text"])
    return tuple(
        Hit(
            rank=rank, clip_id=row["clip_id"], start_s=row["start_s"], end_s=row["end_s"], score=float(score),
            captions=tuple(captions.get(row["clip_id"], ())), source=row["source"], version=snapshot.version,
            take=row["take"], parts=own, labels={name: row[name] for name in _COLUMNS[5:] if row[name]},
        )
        for rank, (row, score, own) in enumerate(zip(rows, scores, parts, strict=True), start=1)
    )  # fmt: skip


@dataclass(frozen=True)
class CaptionHit:
    """A caption that fits a motion: its text, score (cosine) and the clip it was written for."""

    rank: int
    text: str
    score: float
    clip_id: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, the score to six places."""
        return {"rank": self.rank, "text": self.text, "score": round(self.score, 6), "clip_id": self.clip_id}


@dataclass(frozen=True)
class CaptionHits:
    """Different captions that fit a motion, best first."""

    query: str
    hits: tuple[CaptionHit, ...]
    library_version: int

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[CaptionHit]:
        return iter(self.hits)

    def __getitem__(self, rank: int) -> CaptionHit:
        return self.hits[rank]

    def to_json(self) -> dict[str, Any]:
        """What ``remora search --to text --json`` prints."""
        return {
            "query": self.query, "library_version": self.library_version, "captions": [hit.to_json() for hit in self.hits]
        }  # fmt: skip


def describe(snapshot: Snapshot, encoder: DualEncoder, query: Query, *, k: int = 10) -> CaptionHits:
    """The ``k`` different captions of the library that fit a motion best; a sentence told of many clips counts once."""
    if query.text is not None:
        raise QueryError("captions are found for a motion or a clip, not for a sentence")
    vectors = embed(query, encoder, snapshot)
    ask = 4 * k
    while True:
        found = snapshot.search("text/whole", vectors.whole[None], ask)
        texts = snapshot.caption_texts(found.ids[0])
        best: dict[str, tuple[float, str]] = {}
        for text, score, caption_id in zip(texts, found.scores[0].tolist(), found.ids[0], strict=True):
            best.setdefault(text, (score, caption_id.rpartition("#")[0]))
        if len(best) >= k or len(texts) < ask:
            break
        ask *= 4
    hits = (CaptionHit(rank, text, score, clip) for rank, (text, (score, clip)) in enumerate(best.items(), start=1))
    return CaptionHits(query.describe(), tuple(hits)[:k], snapshot.version)
