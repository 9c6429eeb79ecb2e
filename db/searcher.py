"""Everything that is asked of one version: filters, vector searches, captions by words, near doubles.

- What a search needs (vectors of a space, an index, a column, the table of words) is opened by the first question
  that does.
- A searcher belongs to the process that made it: in a forked child FAISS's threads are missing and a search would
  hang for ever. It is refused there, in one line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import RequestError
from db.filters import Filter
from db.manifest import Manifest
from db.rowindex import RowIndex
from db.space import Space
from db.store import SegmentStore

if TYPE_CHECKING:
    from db.matching import Matcher
    from db.neighbours import Pair
    from db.plan import Answer, IndexSet, LoadedIndex, Names, Part
    from db.scanners import Scanner, ScannerFactory
    from db.texts import Captions
    from db.vectors import SpaceVectors

log = logging.getLogger(__name__)

Plan = dict[str, Any]
Queries = NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
LARGEST_K = 1_000_000
WHOLE = "whole"  # the part that every clip has


@dataclass(frozen=True)
class Hits:
    """Answers to n queries: ``ids[i]`` best first, ``scores`` [n, k] beside them; ``plan`` says how they were found."""

    ids: list[list[str]]
    scores: NDArray[np.float32]
    plan: Plan

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Hits({len(self.ids)} queries, k={self.scores.shape[1]}, {self.plan.get('method')})"


class Searcher:
    """The questions to one version."""

    def __init__(self, manifest: Manifest, store: SegmentStore, rows: Callable[[], RowIndex]) -> None:
        self.manifest = manifest
        self._store = store
        self._row_index = rows
        self._vectors: dict[str, SpaceVectors] = {}
        self._indexes: dict[str, IndexSet] = {}
        self._missing: dict[str, NDArray[np.bool_] | None] = {}
        self._scanners: dict[str, Scanner | None] = {}
        self._scanner_factory: ScannerFactory | None = None
        self._process = os.getpid()

    @property
    def rows(self) -> RowIndex:
        """Ids and deletions."""
        return self._row_index()

    def space(self, name: str) -> Space:
        """A space by its name; RequestError with the names there are."""
        for space in self.manifest.spaces:
            if space.name == name:
                return space
        there = ", ".join(sorted(space.name for space in self.manifest.spaces))
        raise RequestError(f"no space {name!r}; this library has {there}")

    # ---- which rows ------------------------------------------------------------------------------------------------

    def matching(self, where: str | Filter | None) -> NDArray[np.bool_]:
        """Live rows [N] that pass the filter."""
        live = self.rows.live
        return live if where is None else live & self._matcher.mask(where)

    @cached_property
    def _matcher(self) -> Matcher:
        import pyarrow as pa

        from db.matching import Matcher

        def read(name: str) -> pa.ChunkedArray:
            kind = self._store.empty("rows", [name]).schema.field(name).type
            pieces = [self._store.table(s, "rows", [name])[name] for s in self.manifest.segments]
            return pa.chunked_array([chunk.cast(kind) for piece in pieces for chunk in piece.chunks], kind)

        return Matcher(len(self.rows), read, lambda: self.captions)

    @cached_property
    def captions(self) -> Captions:
        """All captions with their clips."""
        import pyarrow as pa

        from db.texts import Captions

        tables = [self._store.table(s, "captions", ["text"])["text"] for s in self.manifest.segments]
        texts = pa.chunked_array([chunk for table in tables for chunk in table.chunks], pa.string())
        return Captions(texts, self.caption_owner[0], self.rows.live)

    @cached_property
    def caption_owner(self) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Row of every caption's clip, and each segment's first caption."""
        pieces = [
            self._store.caption_rows(s) + start
            for s, start in zip(self.manifest.segments, self.rows.starts, strict=True)
        ]
        starts = np.cumsum([0, *(len(p) for p in pieces)])[:-1]
        return np.concatenate([*pieces, np.zeros(0, np.int64)]), tuple(int(s) for s in starts)

    def _caption_names(self, captions: NDArray[np.int64]) -> list[str]:
        """The ids ``clip_id#i`` of captions."""
        owners = self.caption_owner[0]
        mine = owners[captions]
        numbers = captions - np.searchsorted(owners, mine)  # captions of a clip stand together
        return [f"{name}#{n}" for name, n in zip(self.rows.names(mine), numbers.tolist(), strict=True)]

    def names(self, space: Space) -> Names:
        """What gives ids to rows of a space."""
        return self.rows.names if space.rows_of == "rows" else self._caption_names

    # ---- vectors ---------------------------------------------------------------------------------------------------

    def vectors(self, space: Space) -> SpaceVectors:
        """All vectors of a space, their checksums held."""
        if space.name not in self._vectors:
            from db.vectors import SpaceVectors

            blocks = [self._store.vectors(s, space, None) for s in self.manifest.segments]
            self._vectors[space.name] = SpaceVectors(blocks, space.dim)
        return self._vectors[space.name]

    def part(self, space: Space, queries: NDArray[np.float32], weight: float, *, indexed: bool) -> Part:
        """A space of a search, with its indexes where they may be used."""
        from db.plan import Part

        loaded = self._loaded(space) if indexed else None
        return Part(self.vectors(space), queries, weight, loaded, self._present(space), self._scanner(space))

    def use_scanner(self, factory: ScannerFactory | None) -> None:
        """Let the first pass over a space be done by what ``factory`` makes of its vectors; None: by the CPU."""
        self._scanner_factory, self._scanners = factory, {}

    def _scanner(self, space: Space) -> Scanner | None:
        """The scanner of a space; one that cannot be made is said once, and the CPU does its work."""
        if self._scanner_factory is None or space.rows_of != "rows":
            return None
        if space.name not in self._scanners:
            try:
                self._scanners[space.name] = self._scanner_factory(self.vectors(space))
            except (RuntimeError, MemoryError) as error:
                log.warning("%s is searched by the CPU: %s", space.name, str(error).splitlines()[0])
                self._scanners[space.name] = None
        return self._scanners[space.name]

    def _present(self, space: Space) -> NDArray[np.bool_] | None:
        """Which rows have a vector that is not zero; None where all have. Only body parts may be missing."""
        if space.part == WHOLE:
            return None
        if space.name not in self._missing:
            vectors = self.vectors(space)
            doubtful = np.concatenate(
                [np.flatnonzero(b[:, 0] == 0) + s for s, b in vectors.placed()] or [np.zeros(0, int)]
            )
            missing = doubtful[~vectors.take(doubtful).any(axis=1)]
            present = np.ones(len(vectors), bool)
            present[missing] = False
            self._missing[space.name] = present if len(missing) else None
        return self._missing[space.name]

    def _loaded(self, space: Space) -> IndexSet:
        """The indexes of a space that fit; another is passed over, and that is said once: its rows are read exactly."""
        if space.name not in self._indexes:
            from db.loading import load_index
            from db.plan import IndexSet

            found: list[LoadedIndex] = []
            covered: set[str] = set()
            for entry in self.manifest.indexes:
                if entry.space == space.name and not covered & set(entry.covers):
                    loaded = load_index(entry, self._store, self.manifest, space, self._starts(space))
                    if loaded is not None:
                        found.append(loaded)
                        covered |= set(entry.covers)
            self._indexes[space.name] = IndexSet(found, len(self.vectors(space)))
        return self._indexes[space.name]

    def _starts(self, space: Space) -> tuple[int, ...]:
        """The first row of each segment in a space."""
        return self.rows.starts if space.rows_of == "rows" else self.caption_owner[1]

    def covered(self, space: Space) -> int:
        """Rows of a space that its indexes hold."""
        return self._loaded(space).covered

    # ---- questions -------------------------------------------------------------------------------------------------

    def search(
        self, space: str | Mapping[str, float], queries: Queries, k: int, where: str | Filter | None, exact: bool | None
    ) -> Hits:
        """See :meth:`db.Snapshot.search`."""
        from db.plan import best_rows

        self._check_process()
        weights = {space: 1.0} if isinstance(space, str) else {name: float(weight) for name, weight in space.items()}
        check_k(k)
        if not weights or not all(abs(w) < 1e6 for w in weights.values()):
            raise RequestError(f"the weights are {weights}; give at least one space, and weights below 1e6")
        spaces = {name: self.space(name) for name in weights}
        if len({s.rows_of for s in spaces.values()}) > 1:
            raise RequestError("spaces of clips and of captions cannot be searched together; ask them one by one")
        arrays = _asked(space, queries, spaces)
        first = next(iter(spaces.values()))
        keep = self.matching(where)
        if first.rows_of == "captions":
            keep = keep[self.caption_owner[0]]
        indexed = exact is not True and len(spaces) == 1
        parts = [self.part(spaces[name], arrays[name], weights[name], indexed=indexed) for name in spaces]
        names = self.names(first)
        answer = best_rows(parts, keep, int(k), names, exact=exact)
        plan = self._plan(answer, weights, keep, where)
        return Hits([names(rows) for rows in answer.rows], answer.scores, plan)

    def _plan(
        self, answer: Answer, spaces: Mapping[str, float], keep: NDArray[np.bool_], where: str | Filter | None
    ) -> Plan:
        return {
            "method": answer.method, "exact": answer.exact, "spaces": dict(spaces), "rows": int(np.count_nonzero(keep)),
            "of": len(keep), "segments": len(self.manifest.segments), "filtered": where is not None,
            "filter": where if isinstance(where, str) else repr(where) if where else None, **answer.details,
        }  # fmt: skip

    def within(
        self, space: str, queries: NDArray[np.float32], floor: float, where: str | Filter | None
    ) -> list[list[tuple[str, float]]]:
        """See :meth:`db.Snapshot.within`."""
        from db.plan import by_score_and_name, exact_scores

        self._check_process()
        wanted = self.space(space)
        if not np.isfinite(floor):
            raise RequestError(f"the lowest score is {floor}, expected a number such as 0.8")
        part = self.part(wanted, check_queries(queries, space, wanted), 1.0, indexed=False)
        keep = self.matching(where)
        if wanted.rows_of == "captions":
            keep = keep[self.caption_owner[0]]
        names, found = self.names(wanted), []
        for query in range(len(part.queries)):
            first = part.vectors.products(part.queries[query], None)
            near = np.flatnonzero((first >= floor - 1e-4 * (1 + abs(floor))) & keep)
            scores = exact_scores([part], query, near)
            near, scores = near[scores >= floor], scores[scores >= floor]
            rows, ranked = by_score_and_name(near, scores, len(near), names)
            found.append(list(zip(names(rows), ranked.tolist(), strict=True)))
        return found

    def match_text(self, text: str, k: int, where: str | Filter | None) -> Hits:
        """See :meth:`db.Snapshot.match_text`."""
        from db.plan import Answer, by_score_and_name

        check_k(k)
        if not any(letter.isalnum() for letter in text):
            raise RequestError(f"{text[:40]!r} has no word to look for in captions; give words such as 'left hand'")
        keep, scores = self.matching(where), self.captions.scores(text)
        rows = np.flatnonzero(keep & (scores > 0))
        if len(rows) > k:
            edge = np.partition(scores[rows], len(rows) - int(k))[len(rows) - int(k)]
            rows = rows[scores[rows] >= edge]
        ranked, own = by_score_and_name(rows, scores[rows], int(k), self.rows.names)
        plan = self._plan(Answer([ranked], own[None], "bm25"), {"captions": 1.0}, keep, where)
        return Hits([self.rows.names(ranked)], own[None], plan)

    def neighbours(self, space: str, k: int, where: str | Filter | None) -> Iterator[tuple[list[str], Hits]]:
        """See :meth:`db.Snapshot.neighbours`."""
        from db.plan import Part, best_rows

        self._check_process()
        wanted = self.space(space)
        check_k(k)
        if wanted.rows_of != "rows":
            raise RequestError(f"space {space!r} holds captions, not clips; use a motion space")
        keep, vectors = self.matching(where), self.vectors(wanted)
        rows, weights = np.flatnonzero(keep), {space: 1.0}
        for start in range(0, len(rows), GRAPH_ROWS):
            own = rows[start : start + GRAPH_ROWS]
            part = Part(vectors, vectors.take(own).astype(np.float32), 1.0)
            answer = best_rows([part], keep, int(k) + 1, self.rows.names, exact=True)
            ids, scores = [], np.zeros((len(own), min(int(k), max(len(rows) - 1, 0))), np.float32)
            for at, row in enumerate(own.tolist()):
                others = answer.rows[at] != row
                others[np.flatnonzero(others)[scores.shape[1] :]] = False
                ids.append(self.rows.names(answer.rows[at][others]))
                scores[at] = answer.scores[at][others]
            yield self.rows.names(own), Hits(ids, scores, self._plan(answer, weights, keep, where))

    def pairs(self, space: str, floor: float, where: str | Filter | None, against: str | Filter | None) -> list[Pair]:
        """See :meth:`db.Snapshot.pairs`."""
        from db.neighbours import Pair, close_pairs

        self._check_process()
        wanted = self.space(space)
        if wanted.rows_of != "rows":
            raise RequestError(f"space {space!r} holds captions, not clips; use a motion space")
        if not 0 < floor <= 1:
            raise RequestError(f"the lowest score is {floor}; give one between 0 and 1, such as 0.98")
        ones = np.flatnonzero(self.matching(where))
        others = None if against is None else np.flatnonzero(self.matching(against))
        found = list(close_pairs(self.vectors(wanted), ones, others, floor))
        names = self.rows.names(np.array([row for one, other, _ in found for row in (one, other)], np.int64))
        pairs = [Pair(names[2 * at], names[2 * at + 1], score) for at, (_, _, score) in enumerate(found)]
        return sorted(pairs, key=lambda pair: (-pair.score, pair.one, pair.other))

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RequestError(
                f"this library was opened by process {self._process} and process {os.getpid()} was forked from it, in which "
                "a search would hang; open the library in the child, and start children by spawn"
            )


GRAPH_ROWS = 1024


def check_k(k: Any) -> None:
    """RequestError unless ``k`` is a whole number from 1 on."""
    if (
        isinstance(k, bool)
        or not isinstance(k, int | float | np.number)
        or not (1 <= k <= LARGEST_K and float(k).is_integer())
    ):
        raise RequestError(f"k is {k}; give a whole number from 1 to {LARGEST_K}")


def check_queries(asked: Any, name: str, space: Space) -> NDArray[np.float32]:
    """Queries [n, D] as float32; RequestError when they are of another shape or not finite."""
    try:
        vectors = np.ascontiguousarray(asked, np.float32)
    except (TypeError, ValueError) as error:
        raise RequestError(f"queries for space {name!r} are not numbers ({error}); give an array") from error
    if vectors.ndim != 2 or vectors.shape[1] != space.dim:
        raise RequestError(f"queries for space {name!r} have shape {list(vectors.shape)}, expected [n, {space.dim}]")
    if not np.isfinite(vectors).all():
        raise RequestError(f"queries for space {name!r} are not finite; check what they were made from")
    return vectors


def _asked(space: object, queries: Any, spaces: Mapping[str, Space]) -> dict[str, NDArray[np.float32]]:
    """The queries [n, D] of each space; as many everywhere."""
    given = {space: queries} if isinstance(space, str) else queries
    if not isinstance(given, Mapping) or set(given) != set(spaces):
        raise RequestError(f"give queries as one array a space, for {', '.join(spaces)}")
    arrays = {name: check_queries(given[name], name, spaces[name]) for name in spaces}
    if len({len(array) for array in arrays.values()}) > 1:
        counts = {name: len(array) for name, array in arrays.items()}
        raise RequestError(f"the spaces are asked for different numbers of queries, {counts}; give equally many")
    return arrays


def same_ids(ids: Sequence[str]) -> list[str]:
    """``ids`` as a list; RequestError when one is no text."""
    for name in ids:
        if not isinstance(name, str):
            raise RequestError(f"{name!r} is not the id of a clip; give texts, as a search returns them")
    return list(ids)
