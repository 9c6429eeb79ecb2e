"""Compaction: many small segments become one, and rows that are dead are left behind.

- After a commit the smallest segments are merged when there are more than :data:`SMALL_SEGMENTS` of them, each into one at most
  twice as large as what it was merged with: a row is copied some log₂ times in its life. A segment of which a quarter is dead
  is rewritten. No segment grows beyond :data:`MOST_ROWS` rows or :data:`MOST_BYTES`.
- Bytes are copied, never computed anew: a vector is the same number before and after. What is copied is held against its hash
  first, or a damaged byte would get a new, fitting one.
- Everything streams in pages: memory holds the ids and one page, however large the segments are.
- It changes no answer, so it never stands in a writer's way: clips deleted meanwhile are deleted in the merged segment too, and
  when an input is gone the work was in vain.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import LibraryError
from db.manifest import FileEntry, Manifest, SegmentEntry
from db.publish import Terms, publish
from db.segment import CHECK_ROWS
from db.snapshot import Snapshot
from db.space import Space
from db.store import Content, SegmentStore
from db.versions import Versions

if TYPE_CHECKING:
    import pyarrow as pa

    from db.locks import Hold

log = logging.getLogger(__name__)

SMALL_ROWS = 20_000
SMALL_SEGMENTS = 16
DEAD_SHARE = 0.25
DEAD_ROWS = 1000  # fewer are not worth the while
MOST_ROWS = 250_000
MOST_BYTES = 4 << 30
Group = tuple[SegmentEntry, ...]


@dataclass(frozen=True)
class CompactReport:
    """What a compaction did; ``version`` is the old one when there was nothing to do."""

    version: int
    merged: int = 0
    into: int = 0
    rows: int = 0
    dropped_rows: int = 0
    bytes: int = 0


def compact(library: Versions, *, thorough: bool = False) -> CompactReport:
    """Merge what should be merged; with ``thorough`` all small segments and every one that has a dead row.

    Raises:
        CorruptionError: a file to be copied is damaged.  WriteError: the disk refused; the library is as it was.
    """
    change = _Compaction(library.store, thorough)
    done = publish(library, change, Terms(since=library.newest_for_writing().version))
    if not done.made:
        return CompactReport(done.version)
    inputs = [entry for merged in change.merged for entry in merged.inputs]
    outputs = [merged.output for merged in change.merged if merged.output is not None]
    return CompactReport(
        done.version, len(inputs), len(outputs), sum(entry.rows for entry in outputs),
        sum(entry.rows for entry in inputs) - sum(entry.rows for entry in outputs),
        sum(file.bytes for entry in outputs for file in entry.files),
    )  # fmt: skip


def compact_after_commit(library: Versions) -> None:
    """Compact if it is due; the commit before it stands whatever happens, and what happens is said aloud."""
    try:
        if groups(library.snapshot().manifest.segments):
            compact(library)
    except LibraryError as error:
        log.warning("the commit is done, but the segments could not be merged: %s", str(error))


def groups(segments: Sequence[SegmentEntry], *, thorough: bool = False) -> list[Group]:
    """Which segments should become one, several each."""
    small = sorted((s for s in segments if s.live < SMALL_ROWS), key=lambda s: s.live)
    chosen = {s.id for s in segments if s.rows - s.live > (0 if thorough else max(DEAD_ROWS, DEAD_SHARE * s.rows))}
    if thorough and len(small) > 1:
        chosen |= {s.id for s in small}
    elif len(small) > SMALL_SEGMENTS:
        chosen |= {s.id for s in _smallest(small)}
    found: list[list[SegmentEntry]] = []
    rows, size = MOST_ROWS, MOST_BYTES
    for entry in (s for s in segments if s.id in chosen):  # in their order, so that rows keep theirs
        rows, size = rows + entry.live, size + _live_bytes(entry)
        if rows > MOST_ROWS or size > MOST_BYTES:
            found.append([])
            rows, size = entry.live, _live_bytes(entry)
        found[-1].append(entry)
    return [tuple(group) for group in found if len(group) > 1 or group[0].live < group[0].rows]


def _smallest(small: Sequence[SegmentEntry]) -> list[SegmentEntry]:
    """From the smallest on, as long as the next is no more than twice as large as those before together."""
    found, rows = list(small[:2]), small[0].live + small[1].live
    for entry in small[2:]:
        if entry.live > 2 * rows:
            break
        found.append(entry)
        rows += entry.live
    return found


def _bytes(entry: SegmentEntry) -> int:
    return sum(file.bytes for file in entry.files)


def _live_bytes(entry: SegmentEntry) -> int:
    return _bytes(entry) * entry.live // max(1, entry.rows)


@dataclass
class _Merged:
    """Segments and the one they became; ``kept`` are the rows of each that were live when they were copied."""

    inputs: Group
    kept: list[NDArray[np.int64]]
    output: SegmentEntry | None  # None where no row was live
    hold: Hold | None = None


@dataclass
class _Compaction:
    """Segments that become others, as a :class:`db.publish.Change`."""

    store: SegmentStore
    thorough: bool
    merged: list[_Merged] = field(default_factory=list)
    bitmaps: list[tuple[FileEntry, Hold | None]] = field(default_factory=list)
    base: Snapshot | None = None  # what is copied from: held, so that a vacuum leaves it

    def rebase(self, base: Snapshot) -> Manifest | None:
        """``base`` with the merged segments in place of their inputs."""
        if self.base is None:
            self.base = base
            for group in groups(base.manifest.segments, thorough=self.thorough):
                self.merged.append(_merge(self.store, group, base))
        there = {entry.id: entry for entry in base.manifest.segments}
        for work in [m for m in self.merged if not there.keys() >= {entry.id for entry in m.inputs}]:
            self.merged.remove(work)  # another writer compacted, emptied or restored over one of them
            self._drop(work)
        if not self.merged:
            return None
        segments: list[SegmentEntry] = []
        replaced = {m.inputs[0].id: m for m in self.merged}
        gone = {entry.id for m in self.merged for entry in m.inputs}
        for entry in base.manifest.segments:
            if entry.id in replaced:
                segments += self._placed(replaced[entry.id], there, base.version + 1)
            elif entry.id not in gone:
                segments.append(entry)
        if self.bitmaps:
            self.store.sync_deletes()
        return replace(base.manifest.of_segments(segments), op={"kind": "compact"})

    def _placed(self, work: _Merged, there: dict[str, SegmentEntry], version: int) -> list[SegmentEntry]:
        """The output, with what was deleted since it was written; nothing when no row is left."""
        if work.output is None:
            return []
        dead = np.concatenate(
            [self.store.dead(there[entry.id])[rows] for entry, rows in zip(work.inputs, work.kept, strict=True)]
        )
        if dead.all():
            return []
        output = replace(work.output, created_in=version)
        if dead.any():
            self.bitmaps.append(self.store.write_deletes(output, dead))
            output = replace(output, live=int((~dead).sum()), deletes=self.bitmaps[-1][0])
        return [output]

    def _drop(self, work: _Merged) -> None:
        if work.output is not None:
            self.store.discard("segments", work.output.id)

    def lost(self) -> None:
        """Bitmaps fit one version only."""
        self.store.discard_deletes([file for file, _ in self.bitmaps])
        self.bitmaps = []

    def discard(self) -> None:
        """Nothing of it stays."""
        self.lost()
        for work in self.merged:
            self._drop(work)
        self.merged = []

    def release(self) -> None:
        """The files belong to a version, or are gone."""
        for hold in [work.hold for work in self.merged] + [hold for _, hold in self.bitmaps]:
            if hold is not None:
                hold.release()
        self.base = None


def _merge(store: SegmentStore, group: Group, base: Snapshot) -> _Merged:
    """Write the live rows of ``group`` as one segment."""
    kept = [np.flatnonzero(~store.dead(entry)) for entry in group]
    if not sum(map(len, kept)):
        return _Merged(group, kept, None)
    said: list[NDArray[np.int64]] = []
    ids: list[str] = []
    for entry, rows in zip(group, kept, strict=True):
        owners = np.asarray(store.read_table(entry, "captions", ["row"])["row"].to_numpy(), np.int64)
        said.append(np.flatnonzero(np.isin(owners, rows)))
        ids += store.read_table(entry, "rows", ["clip_id"])["clip_id"].take(rows).to_pylist()
    content = Content(
        ids=ids, captions=sum(map(len, said)),
        rows=(store.read_table(entry, "rows", None).take(rows) for entry, rows in zip(group, kept, strict=True)),
        said=_captions(store, group, kept, said),
        vectors={
            space.name: _vectors(store, group, space, kept if space.rows_of == "rows" else said)
            for space in base.manifest.spaces
        },
        frames=(block for entry, rows in zip(group, kept, strict=True) for block in store.frames(entry, rows)),
    )  # fmt: skip
    output, hold = store.write(content, base.manifest.spaces, base.version + 1)
    return _Merged(group, kept, output, hold)


def _captions(
    store: SegmentStore, group: Group, kept: list[NDArray[np.int64]], said: list[NDArray[np.int64]]
) -> Iterator[pa.Table]:
    """The captions of live rows, their ``row`` numbered anew."""
    import pyarrow as pa

    first = 0
    for entry, rows, mine in zip(group, kept, said, strict=True):
        table = store.read_table(entry, "captions", None).take(mine)
        owners = first + np.searchsorted(rows, np.asarray(table["row"].to_numpy(), np.int64))
        yield table.set_column(table.column_names.index("row"), "row", pa.array(owners, pa.int64()))
        first += len(rows)


def _vectors(
    store: SegmentStore, group: Group, space: Space, wanted: list[NDArray[np.int64]]
) -> Iterator[NDArray[np.floating[Any]]]:
    """The vectors of the wanted rows (or captions), a page at a time."""
    for entry, rows in zip(group, wanted, strict=True):
        for start in range(0, len(rows), CHECK_ROWS):
            page = rows[start : start + CHECK_ROWS]
            yield store.vectors(entry, space, page)[page]
