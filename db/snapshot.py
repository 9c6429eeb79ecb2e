"""A snapshot: one version of a library, read-only, never changing under its reader.

- Opening reads one manifest; row ids, vectors, captions and columns are loaded when first asked for.
- Searching is carried out by ``db.searcher`` and ``db.plan``: deleted and filtered rows are left out before, so k
  rows come back whenever k match, and every answer says how it was found.
- Ties are broken by clip id: the same library gives the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db import schema
from db.errors import CorruptionError, RequestError
from db.filters import Filter
from db.manifest import Manifest, SegmentEntry
from db.rowindex import RowIndex
from db.searcher import Hits, Queries, Searcher, check_queries, same_ids
from db.space import Space
from db.store import SegmentStore

if TYPE_CHECKING:
    import pyarrow as pa

    from db.locks import Hold
    from db.neighbours import Pair


def _row_index(manifest: Manifest, store: SegmentStore) -> RowIndex:
    segments = manifest.segments
    dead = [store.dead(s) for s in segments]
    starts = np.cumsum([0, *(s.rows for s in segments)])[:-1]
    none: list[NDArray[np.bool_]] = [np.zeros(0, bool)]
    chunks = [store.clip_id_column(s) for s in segments]
    return RowIndex(chunks, np.concatenate(dead or none), tuple(int(s) for s in starts))


class Snapshot:
    """One version: search, rows, captions, vectors, frames."""

    def __init__(self, manifest: Manifest, store: SegmentStore, lease: Hold | None = None) -> None:
        self.manifest = manifest
        self._store = store
        self._lease = lease  # as long as it is held, no vacuum takes the version away
        self._rows = cache(lambda: _row_index(manifest, store))  # without self: no cycle keeps a lease
        self.searcher = Searcher(manifest, store, self._rows)

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

    @property
    def row_index(self) -> RowIndex:
        """Ids and deletions of all rows."""
        return self._rows()

    def _locate(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows [n] of clips."""
        wanted = same_ids(ids)
        rows = self.row_index.find(wanted)
        if (rows < 0).any():
            missing = wanted[int(np.flatnonzero(rows < 0)[0])]
            raise RequestError(f"version {self.version} has no clip {missing!r}; search lists the ids there are")
        return rows

    def _segment_of(self, row: int) -> tuple[SegmentEntry, int]:
        number = int(np.searchsorted(self.row_index.starts, row, side="right")) - 1
        return self.manifest.segments[number], row - self.row_index.starts[number]

    # ---- reading ---------------------------------------------------------------------------------------------------

    def rows(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Metadata rows of clips, in the order of ``ids``."""
        self._check_columns(columns)
        return self._gather(self._locate(ids).tolist(), "rows", columns)

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
        """Caption rows of clips, grouped in the order of ``ids``; columns clip_id, text, start_s, end_s, kind,
        tokens.
        """
        import pyarrow as pa

        owners, starts = self.searcher.caption_owner
        by_segment: dict[int, list[int]] = {}
        picked: list[tuple[int, int]] = []
        for row in self._locate(ids).tolist():
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
        wanted = self.searcher.space(space)
        if wanted.rows_of != "rows":
            raise RequestError(f"space {space!r} holds captions, not clips; use a motion space")
        out = np.zeros((len(ids), wanted.dim), np.float32)
        rows = self._locate(ids)
        numbers = np.searchsorted(self.row_index.starts, rows, side="right") - 1
        for number in np.unique(numbers):
            mine = np.flatnonzero(numbers == number)
            own = rows[mine] - self.row_index.starts[number]
            out[mine] = self._store.vectors(self.manifest.segments[number], wanted, own)[own]
        return out

    def frames(self, clip_id: str) -> bytes:
        """The opaque block of frames of a clip."""
        segment, row = self._segment_of(int(self._locate([clip_id])[0]))
        return self._store.frame(segment, row)

    def scan(self, where: str | Filter | None = None, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All live rows that match, in batches of one segment or less."""
        import pyarrow as pa

        self._check_columns(columns)
        keep = self.searcher.matching(where)
        for segment, start in zip(self.manifest.segments, self.row_index.starts, strict=True):
            rows = np.flatnonzero(keep[start : start + segment.rows])
            if len(rows):
                yield from self._store.table(segment, "rows", columns).take(pa.array(rows)).to_batches()

    def ids(self, where: str | Filter | None = None) -> list[str]:
        """Ids of all live rows that match, in storage order."""
        return self.row_index.names(np.flatnonzero(self.searcher.matching(where)))

    def count(self, where: str | Filter | None = None) -> int:
        """How many clips match."""
        return len(self) if where is None else int(self.searcher.matching(where).sum())

    # ---- searching -------------------------------------------------------------------------------------------------

    def search(
        self,
        space: str | Mapping[str, float],
        queries: Queries,
        k: int,
        *,
        where: str | Filter | None = None,
        exact: bool | None = None,
    ) -> Hits:
        """The ``k`` best rows for each query, best first: exactly min(k, matching rows).

        Args:
            space: a space's name, or several with weights: the score is then the weighted sum of inner products.
            queries: unit vectors [n, D]; one array a space where there are several.
            k: how many hits.
            where: a filter as text or AST, applied before the search.
            exact: True never uses an index, False uses one wherever there is one, None leaves it to the planner:
                exact, unless
                the library was tuned and nothing, or a filter that keeps most clips, stands against its index.
                ``plan["exact"]`` says whether the answer is certainly the true one.

        Raises:
            RequestError: unknown space, wrong width, k below 1.  FilterError: the filter cannot be read.
        """
        return self.searcher.search(space, queries, k, where, exact)

    def within(
        self, space: str, queries: NDArray[np.float32], floor: float, *, where: str | Filter | None = None
    ) -> list[list[tuple[str, float]]]:
        """For each query [n, D] all ids and scores with an inner product of ``floor`` or more, best first.

        Raises:
            RequestError: unknown space, wrong width, a floor that is no number.  FilterError: the filter cannot be
                read.
        """
        return self.searcher.within(space, queries, floor, where)

    def match_text(self, text: str, k: int, *, where: str | Filter | None = None) -> Hits:
        """The ``k`` clips whose captions fit the words of ``text`` best, by BM25; fewer where fewer say any of them.

        Raises:
            RequestError: ``text`` has no word, k below 1.  FilterError: the filter cannot be read.
        """
        return self.searcher.match_text(text, k, where)

    def neighbours(self, space: str, k: int, *, where: str | Filter | None = None) -> Iterator[tuple[list[str], Hits]]:
        """The ``k`` nearest other clips of every clip, in batches: the clips' ids, and their neighbours in the same
        order.

        Raises:
            RequestError: unknown space, one of captions, k below 1.  FilterError: the filter cannot be read.
        """
        return self.searcher.neighbours(space, k, where)

    def pairs(
        self, space: str, floor: float, *, where: str | Filter | None = None, against: str | Filter | None = None
    ) -> list[Pair]:
        """Pairs of clips whose vectors have an inner product of ``floor`` or more, best first.

        Among the clips that pass ``where``, or, with ``against``, one that passes ``where`` with one that passes
        ``against``: ``pairs("motion/whole", 0.98, where="split = 'train'", against="split = 'test'")`` is a leak
        between splits.

        Raises:
            RequestError: unknown space, one of captions, a floor outside 0..1.  FilterError: a filter cannot be read.
        """
        return self.searcher.pairs(space, floor, where, against)

    def scores(self, space: str, queries: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float32]:
        """Inner products [n, len(ids)] of queries [n, D] with clips; the very numbers that :meth:`search` gives."""
        from db.plan import row_products

        vectors = self.vectors(ids, space)
        asked = check_queries(queries, space, self.searcher.space(space))
        return np.array([row_products(vectors, query) for query in asked], np.float32).reshape(len(asked), len(ids))

    def check_live(self) -> None:
        """Raise CorruptionError when the counts of the manifest and the bitmaps disagree."""
        if int((~self.row_index.dead).sum()) != len(self):
            raise CorruptionError(
                f"version {self.version} counts {len(self)} clips, its files {int((~self.row_index.dead).sum())}"
            )
