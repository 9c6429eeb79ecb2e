"""A snapshot: one version of a library, read-only, never changing under its reader.

- Opening reads one manifest; row ids, vectors, captions and the filter engine are loaded when first asked for.
- Exact search: one FAISS flat index a space over all segments; deleted and filtered rows are left out before, so k rows come
  back whenever k match. How is said in ``db.plan``.
- Ties are broken by clip id: the same library gives the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db import schema
from db.errors import CorruptionError, RequestError
from db.filters import COLUMNS, Filter
from db.manifest import Manifest, SegmentEntry
from db.space import Space
from db.store import SegmentStore

if TYPE_CHECKING:
    import pyarrow as pa

    from db.files import Hold
    from db.plan import FilterEngine, SpaceIndex

Plan = dict[str, Any]
FILTERABLE = tuple(name for name in COLUMNS if name != "caption")


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


@dataclass(frozen=True)
class RowIndex:
    """Where rows are: all ids in manifest order, which are dead, and the first global number of each segment."""

    ids: NDArray[np.object_]
    dead: NDArray[np.bool_]
    starts: tuple[int, ...]

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """The rows that are not dead."""
        return ~self.dead

    @cached_property
    def by_id(self) -> dict[str, int]:
        """Global row of every live id."""
        live = np.flatnonzero(self.live)
        return dict(zip(self.ids[live].tolist(), live.tolist(), strict=True))


class Snapshot:
    """One version: search, rows, captions, vectors, frames."""

    def __init__(self, manifest: Manifest, store: SegmentStore, lease: Hold | None = None) -> None:
        self.manifest = manifest
        self._store = store
        self._lease = lease  # as long as it is held, no vacuum takes the version away
        self._indexes: dict[str, SpaceIndex] = {}

    def __len__(self) -> int:
        return self.manifest.live

    def __repr__(self) -> str:
        return f"Snapshot(version {self.version}, {len(self)} clips)"

    @property
    def version(self) -> int:
        """The number of this version."""
        return self.manifest.version

    @property
    def spaces(self) -> Mapping[str, Space]:
        """The vector spaces by name."""
        return {space.name: space for space in self.manifest.spaces}

    @property
    def encoder(self) -> Mapping[str, Any]:
        """What is known of the encoder that made the vectors."""
        return self.manifest.encoder

    # ---- where things are ------------------------------------------------------------------------------------------

    @cached_property
    def row_index(self) -> RowIndex:
        """Ids and deletions of all rows."""
        segments = self.manifest.segments
        ids = [self._store.clip_ids(s) for s in segments]
        dead = [self._store.dead(s) for s in segments]
        starts = np.cumsum([0, *(s.rows for s in segments)])[:-1]
        empty: list[NDArray[Any]] = [np.zeros(0, object)]
        none: list[NDArray[np.bool_]] = [np.zeros(0, bool)]
        return RowIndex(np.concatenate(ids or empty), np.concatenate(dead or none), tuple(int(s) for s in starts))

    @cached_property
    def _caption_owner(self) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Global row of every caption, and each segment's first caption."""
        pieces = [
            self._store.caption_rows(s) + start
            for s, start in zip(self.manifest.segments, self.row_index.starts, strict=True)
        ]
        starts = np.cumsum([0, *(len(p) for p in pieces)])[:-1]
        owners = np.concatenate([*pieces, np.zeros(0, np.int64)])
        return owners, tuple(int(s) for s in starts)

    def _locate(self, clip_id: str) -> int:
        try:
            return self.row_index.by_id[clip_id]
        except KeyError:
            raise RequestError(
                f"version {self.version} has no clip {clip_id!r}; search lists the ids there are"
            ) from None

    def _segment_of(self, row: int) -> tuple[SegmentEntry, int]:
        number = int(np.searchsorted(self.row_index.starts, row, side="right")) - 1
        return self.manifest.segments[number], row - self.row_index.starts[number]

    def _space(self, name: str) -> Space:
        try:
            return self.spaces[name]
        except KeyError:
            raise RequestError(f"no space {name!r}; this library has {', '.join(sorted(self.spaces))}") from None

    # ---- reading ---------------------------------------------------------------------------------------------------

    def rows(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Metadata rows of clips, in the order of ``ids``."""
        self._check_columns(columns)
        return self._gather([self._locate(i) for i in ids], "rows", columns)

    def _check_columns(self, columns: Sequence[str] | None) -> None:
        known = schema.row_schema().names
        unknown = sorted(set(columns or ()) - set(known))
        if unknown:
            raise RequestError(f"rows have no column {unknown[0]!r}; there are {', '.join(known)}")

    def _gather(self, rows: Sequence[int], kind: str, columns: Sequence[str] | None) -> pa.Table:
        import pyarrow as pa

        places = [self._segment_of(row) for row in rows]
        tables = {}
        for segment, _ in places:
            if segment.id not in tables:
                tables[segment.id] = self._store.table(segment, kind, columns)
        if not tables:
            return self._store.empty(kind, columns)
        order = {name: i for i, name in enumerate(tables)}
        starts = np.cumsum([0, *(len(t) for t in tables.values())])
        take = [int(starts[order[segment.id]]) + row for segment, row in places]
        return pa.concat_tables(tables.values()).take(pa.array(take, pa.int64()))

    def captions(self, ids: Sequence[str]) -> pa.Table:
        """Caption rows of clips, grouped in the order of ``ids``; columns clip_id, text, start_s, end_s, kind, tokens."""
        import pyarrow as pa

        owners, starts = self._caption_owner
        by_segment: dict[int, list[int]] = {}
        picked: list[tuple[int, int]] = []
        for clip_id in ids:
            row = self._locate(clip_id)
            low, high = np.searchsorted(owners, [row, row + 1])
            number = int(np.searchsorted(self.row_index.starts, row, side="right")) - 1
            for caption in range(int(low), int(high)):
                by_segment.setdefault(number, []).append(caption - starts[number])
                picked.append((number, len(by_segment[number]) - 1))
        if not picked:
            return self._store.empty("captions", None)
        pieces, base = [], {}
        total = 0
        for number, rows in by_segment.items():
            base[number] = total
            pieces.append(self._store.table(self.manifest.segments[number], "captions", None).take(pa.array(rows)))
            total += len(rows)
        table = pa.concat_tables(pieces).take(pa.array([base[number] + at for number, at in picked]))
        return table.drop_columns(["row"])

    def caption_texts(self, caption_ids: Sequence[str]) -> list[str]:
        """Texts of captions by their ids ``clip_id#i``, as a search of a captions space returns them."""
        texts = []
        for caption_id in caption_ids:
            clip_id, _, number = caption_id.rpartition("#")
            found = self.captions([clip_id])["text"].to_pylist() if clip_id else []
            if not number.isdecimal() or int(number) >= len(found):
                raise RequestError(f"no caption {caption_id!r}; ids of captions are clip_id#n, as a search gives them")
            texts.append(found[int(number)])
        return texts

    def vectors(self, ids: Sequence[str], space: str) -> NDArray[np.float32]:
        """Vectors [n, D] of clips in a space of rows."""
        wanted = self._space(space)
        if wanted.rows_of != "rows":
            raise RequestError(f"space {space!r} holds captions, not clips; use a motion space")
        out = np.zeros((len(ids), wanted.dim), np.float32)
        rows = np.array([self._locate(clip_id) for clip_id in ids], np.int64)
        numbers = np.searchsorted(self.row_index.starts, rows, side="right") - 1
        for number in np.unique(numbers):
            mine = np.flatnonzero(numbers == number)
            own = rows[mine] - self.row_index.starts[number]
            out[mine] = self._store.vectors(self.manifest.segments[number], wanted, own)[own]
        return out

    def frames(self, clip_id: str) -> bytes:
        """The opaque block of frames of a clip."""
        segment, row = self._segment_of(self._locate(clip_id))
        return self._store.frame(segment, row)

    def scan(self, where: str | Filter | None = None, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All live rows that match, in batches of one segment or less."""
        import pyarrow as pa

        self._check_columns(columns)
        keep = self._matching(where)
        for segment, start in zip(self.manifest.segments, self.row_index.starts, strict=True):
            rows = np.flatnonzero(keep[start : start + segment.rows])
            if len(rows):
                yield from self._store.table(segment, "rows", columns).take(pa.array(rows)).to_batches()

    def ids(self, where: str | Filter | None = None) -> list[str]:
        """Ids of all live rows that match, in storage order."""
        return list(self.row_index.ids[self._matching(where)])

    def count(self, where: str | Filter | None = None) -> int:
        """How many clips match."""
        return len(self) if where is None else int(self._matching(where).sum())

    # ---- searching -------------------------------------------------------------------------------------------------

    @cached_property
    def _filters(self) -> FilterEngine:
        from db.plan import FilterEngine

        segments = [(s, start) for s, start in zip(self.manifest.segments, self.row_index.starts, strict=True)]
        return FilterEngine(
            rows=[self._store.table(s, "rows", FILTERABLE) for s, _ in segments],
            captions=[self._store.table(s, "captions", ["row", "text"]) for s, _ in segments],
            starts=self.row_index.starts,
        )

    def _matching(self, where: str | Filter | None) -> NDArray[np.bool_]:
        """Live rows [N] that pass the filter."""
        live = self.row_index.live
        return live if where is None else live & self._filters.mask(where, len(live))

    def _index(self, space: Space) -> SpaceIndex:
        if space.name not in self._indexes:
            from db.plan import SpaceIndex

            blocks = [self._store.vectors(s, space, None) for s in self.manifest.segments]
            self._indexes[space.name] = SpaceIndex(blocks, space.dim)
        return self._indexes[space.name]

    @cached_property
    def _caption_names(self) -> NDArray[np.object_]:
        """The id ``clip_id#i`` of every caption."""
        owners, _ = self._caption_owner
        numbers = np.arange(len(owners)) - np.searchsorted(owners, owners)  # captions of a clip stand together
        return np.array([f"{self.row_index.ids[o]}#{n}" for o, n in zip(owners, numbers, strict=True)], object)

    def _names(self, space: Space) -> NDArray[np.object_]:
        """The id of every vector of a space."""
        return self.row_index.ids if space.rows_of == "rows" else self._caption_names

    def search(
        self,
        space: str | Mapping[str, float],
        queries: NDArray[np.float32] | Mapping[str, NDArray[np.float32]],
        k: int,
        *,
        where: str | Filter | None = None,
        exact: bool = True,
    ) -> Hits:
        """The ``k`` best rows for each query, best first: exactly min(k, matching rows).

        Args:
            space: a space's name, or several with weights: the score is then the weighted sum of inner products.
            queries: unit vectors [n, D]; one array a space where there are several.
            k: how many hits.
            where: a filter as text or AST, applied before the search.
            exact: this version always searches exactly.

        Raises:
            RequestError: unknown space, wrong width, k below 1.  FilterError: the filter cannot be read.
        """
        from db.plan import Part, best_rows

        weights = {space: 1.0} if isinstance(space, str) else {name: float(weight) for name, weight in space.items()}
        if int(k) != k or k < 1 or not weights or not all(abs(w) < 1e6 for w in weights.values()):
            raise RequestError(
                f"k is {k} and the weights are {weights}; give a whole k of at least 1 and weights below 1e6"
            )
        spaces = {name: self._space(name) for name in weights}
        if len({s.rows_of for s in spaces.values()}) > 1:
            raise RequestError("spaces of clips and of captions cannot be searched together; ask them one by one")
        arrays = self._asked(space, queries, spaces)
        first = next(iter(spaces.values()))
        keep = self._matching(where)
        if first.rows_of == "captions":
            keep = keep[self._caption_owner[0]]
        names = self._names(first)
        parts = [Part(self._index(spaces[name]), arrays[name], weights[name]) for name in spaces]
        rows, scores, method = best_rows(parts, keep, int(k), names)
        plan = {
            "method": method, "exact": True, "spaces": weights, "rows": int(np.count_nonzero(keep)), "of": len(keep),
            "segments": len(self.manifest.segments), "filtered": where is not None,
            "filter": where if isinstance(where, str) else repr(where) if where else None,
        }  # fmt: skip
        return Hits([list(names[r]) for r in rows], scores, plan)

    def _asked(self, space: object, queries: Any, spaces: Mapping[str, Space]) -> dict[str, NDArray[np.float32]]:
        """The queries [n, D] of each space; as many everywhere."""
        given = {space: queries} if isinstance(space, str) else queries
        if not isinstance(given, Mapping) or set(given) != set(spaces):
            raise RequestError(f"give queries as one array a space, for {', '.join(spaces)}")
        arrays = {name: self._queries(given, name, spaces[name]) for name in spaces}
        if len({len(array) for array in arrays.values()}) > 1:
            counts = {name: len(array) for name, array in arrays.items()}
            raise RequestError(f"the spaces are asked for different numbers of queries, {counts}; give equally many")
        return arrays

    def _queries(self, asked: Any, name: str, space: Space) -> NDArray[np.float32]:
        vectors = np.ascontiguousarray(asked[name], np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != space.dim:
            raise RequestError(
                f"queries for space {name!r} have shape {list(vectors.shape)}, expected [n, {space.dim}]"
            )
        if not np.isfinite(vectors).all():
            raise RequestError(f"queries for space {name!r} are not finite; check what they were made from")
        return vectors

    def scores(self, space: str, queries: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float32]:
        """Inner products [n, len(ids)] of queries [n, D] with clips; the very numbers that :meth:`search` gives."""
        from db.plan import row_products

        wanted = self._space(space)
        vectors = self.vectors(ids, space)
        asked = self._queries({space: queries}, space, wanted)
        return np.array([row_products(vectors, query) for query in asked], np.float32).reshape(len(asked), len(ids))

    def check_live(self) -> None:
        """Raise CorruptionError when the counts of the manifest and the bitmaps disagree."""
        if int((~self.row_index.dead).sum()) != len(self):
            raise CorruptionError(
                f"version {self.version} counts {len(self)} clips, its files {int((~self.row_index.dead).sum())}"
            )
