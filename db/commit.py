"""Transactions: clips to add, replace and delete are gathered and become one version, merged with what others
committed.

- A segment is written once and used again when another writer was first, as long as it is for the very same rows;
  deletions and the manifest are made anew on what that writer left.
- Deletions are of what was there before: a clip both deleted and given in one transaction is replaced.
- Add, upsert and delete merge with other writers' versions: ids are looked up again in the version that won, through
  the sorted hashes of each segment, so that a small change of a large library reads little of it.
- A transaction id given by the caller makes a commit idempotent: the same id again returns the version it made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from db import schema
from db.compaction import compact_after_commit
from db.errors import ConflictError, RequestError
from db.filters import Filter
from db.ids import id_hashes, id_sum
from db.manifest import FileEntry, Manifest, SegmentEntry
from db.publish import CommitReport, Terms, publish
from db.segment import check_units
from db.snapshot import Snapshot
from db.store import Content, SegmentStore
from db.versions import Versions

if TYPE_CHECKING:
    import pyarrow as pa

    from db.locks import Hold


@dataclass
class _Batch:
    """Rows with everything that belongs to them, in row order."""

    rows: pa.Table
    captions: pa.Table
    vectors: Mapping[str, NDArray[np.floating[Any]]]
    frames: list[bytes]
    replace: bool
    ids: list[str]
    caption_spaces: frozenset[str]

    def select(self, keep: NDArray[np.bool_]) -> _Batch:
        """The rows where ``keep`` [N] is true, with their captions and vectors."""
        import pyarrow as pa

        if keep.all():
            return self
        owners = np.asarray(self.captions["row"].to_numpy(), np.int64)
        said = keep[owners] if len(owners) else np.zeros(0, bool)
        numbers = np.cumsum(keep) - 1
        captions = self.captions.filter(pa.array(said))
        captions = captions.set_column(0, "row", pa.array(numbers[owners[said]], pa.int64()))
        vectors = {name: v[said if name in self.caption_spaces else keep] for name, v in self.vectors.items()}
        frames = [block for block, kept in zip(self.frames, keep, strict=True) if kept]
        ids = [name for name, kept in zip(self.ids, keep, strict=True) if kept]
        return replace(
            self, rows=self.rows.filter(pa.array(keep)), captions=captions, vectors=vectors, frames=frames, ids=ids
        )

    def content(self) -> Content:
        """What a segment is written from."""
        vectors = {name: [array] for name, array in self.vectors.items()}
        return Content(self.ids, len(self.captions), [self.rows], [self.captions], vectors, self.frames)


def _merged(batches: Sequence[_Batch]) -> _Batch:
    """One batch of several; of two clips of one id the last is kept."""
    import pyarrow as pa

    last = {name: number for number, batch in enumerate(batches) for name in batch.ids}
    kept = [b.select(np.array([last[name] == n for name in b.ids], bool)) for n, b in enumerate(batches)]
    starts = np.cumsum([0, *(len(batch.ids) for batch in kept)])
    said = [
        batch.captions.set_column(0, "row", pa.array(np.asarray(batch.captions["row"].to_numpy()) + start, pa.int64()))
        for batch, start in zip(kept, starts, strict=False)
    ]
    return replace(
        batches[-1], rows=pa.concat_tables([batch.rows for batch in kept]), captions=pa.concat_tables(said),
        vectors={name: np.concatenate([batch.vectors[name] for batch in kept]) for name in batches[-1].vectors},
        frames=[block for batch in kept for block in batch.frames], ids=[name for batch in kept for name in batch.ids],
    )  # fmt: skip


class Transaction:
    """A change of a library: ``add``, ``upsert``, ``delete``, then ``commit``. Left without a commit, nothing
    happened.
    """

    def __init__(self, library: Versions, *, txn_id: str | None = None, note: str = "") -> None:
        self._library = library
        self._txn_id = txn_id
        self._note = note
        self._since = library.newest_for_writing().version
        self._batch: _Batch | None = None
        self._deletes: set[str] = set()
        self._where: list[str | Filter] = []
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done = True

    def add(
        self,
        rows: pa.Table,
        captions: pa.Table,
        vectors: Mapping[str, NDArray[np.floating[Any]]],
        frames: Sequence[bytes] | None = None,
    ) -> None:
        """Add new clips; an id that exists is a ConflictError at commit. Arguments as for :meth:`upsert`."""
        self._gather(rows, captions, vectors, frames, replace_old=False)

    def upsert(
        self,
        rows: pa.Table,
        captions: pa.Table,
        vectors: Mapping[str, NDArray[np.floating[Any]]],
        frames: Sequence[bytes] | None = None,
    ) -> None:
        """Add clips, or replace those of the same id; equal rows (by ``sha256`` and all columns) are left alone.

        Args:
            rows: one row a clip, columns of ``db.schema.row_schema``; ``sha256`` stands for all the clip is, captions
                and
                frames too (empty: always replaced).
            captions: one row a caption with the clip's ``clip_id``.
            vectors: for each space of rows an array [N, D] in the order of ``rows``, of captions in the order of
                ``captions``.
            frames: one opaque block a clip.
        """
        self._gather(rows, captions, vectors, frames, replace_old=True)

    def __len__(self) -> int:
        """How many clips are to be added or replaced."""
        return len(self._batch.ids) if self._batch is not None else 0

    def absorb(self, later: Sequence[Transaction]) -> None:
        """Take in the clips that later transactions would upsert; of two of one id the last is kept."""
        batches = [change._batch for change in (self, *later) if change._batch is not None]
        if later and batches:
            self._batch = _merged(batches)

    def delete(self, ids: Sequence[str] | None = None, *, where: str | Filter | None = None) -> None:
        """Delete clips by id (unknown ones are ignored) or by filter (looked up when the commit is made)."""
        if (ids is None) == (where is None):
            raise RequestError("delete needs either ids or where")
        if ids is not None:
            self._deletes.update(ids)
        if where is not None:
            self._where.append(where)

    def _gather(
        self,
        rows: pa.Table,
        captions: pa.Table,
        vectors: Mapping[str, NDArray[np.floating[Any]]],
        frames: Sequence[bytes] | None,
        *,
        replace_old: bool,
    ) -> None:
        import pyarrow as pa

        if self._batch is not None:
            raise RequestError("a transaction takes one batch of clips; commit it and begin another")
        rows = schema.fit(rows, schema.row_schema(), "rows")
        ids = rows["clip_id"].to_pylist()
        if len(set(ids)) != len(ids) or None in ids or "" in ids:
            raise RequestError("clip ids of a batch must be there and differ; number the clips of a take")
        place = {name: row for row, name in enumerate(ids)}
        if "clip_id" not in captions.column_names:
            raise RequestError("the table of captions lacks clip_id; say which clip a caption belongs to")
        owners = [place.get(name, -1) for name in captions["clip_id"].to_pylist()]
        if -1 in owners:
            raise RequestError(
                f"a caption belongs to {captions['clip_id'][owners.index(-1)]}, which is not in this batch"
            )
        order = np.argsort(np.array(owners, np.int64), kind="stable")
        numbered = captions.append_column("row", pa.array(owners, pa.int64()))
        said = schema.fit(numbered, schema.caption_schema(), "captions").take(pa.array(order))
        blocks = [b""] * len(ids) if frames is None else list(frames)
        if len(blocks) != len(ids):
            raise RequestError(f"{len(blocks)} blocks of frames for {len(ids)} clips; give one a clip")
        checked: dict[str, NDArray[np.floating[Any]]] = {}
        for space in self._library.spaces.values():
            expected = len(ids) if space.rows_of == "rows" else len(order)
            given = vectors.get(space.name)
            if given is None or len(given) != expected:
                raise RequestError(
                    f"space {space.name!r} needs {expected} vectors, got {0 if given is None else len(given)}"
                )
            check_units(given, space)
            checked[space.name] = given if space.rows_of == "rows" else given[order]
        surplus = sorted(set(vectors) - set(checked))
        if surplus:
            raise RequestError(f"no space {surplus[0]!r}; this library has {', '.join(sorted(checked))}")
        of_captions = frozenset(s.name for s in self._library.spaces.values() if s.rows_of == "captions")
        self._batch = _Batch(rows, said, checked, blocks, replace_old, ids, of_captions)

    def commit(self, *, expect: int | None = None) -> CommitReport:
        """Make the change a new version; the report says what it did.

        Args:
            expect: only if this is still the newest version; by default the change is merged with what came since.

        Raises:
            ConflictError: an id to add exists; a restore came in between; the version is not the one expected; or other
                writers were faster until the deadline.
            WriteError: the disk refused; the library is as it was.  CommitUncertain: it failed at the very last step.
        """
        if self._done:
            raise RequestError("this transaction is over; begin another")
        self._done = True
        change = _ClipChange(self._library.store, self._batch, frozenset(self._deletes), tuple(self._where))
        terms = Terms(txn_id=self._txn_id, note=self._note, expect=expect, since=self._since)
        done = publish(self._library, change, terms)
        if not done.made:
            return CommitReport(done.version, unchanged=change.report.unchanged)
        if self._library.auto_compact:
            compact_after_commit(self._library)
        return replace(change.report, version=done.version)


@dataclass
class _ClipChange:
    """Clips that come and go, as a :class:`db.publish.Change`; ``report`` is of the version it was last worked out
    on.
    """

    store: SegmentStore
    batch: _Batch | None
    deletes: frozenset[str]
    where: tuple[str | Filter, ...]
    report: CommitReport = field(default_factory=lambda: CommitReport(0))
    segment: SegmentEntry | None = None
    written: list[str] = field(default_factory=list)  # ids in the segment
    bitmaps: list[FileEntry] = field(default_factory=list)
    holds: list[Hold | None] = field(default_factory=list)  # keep what belongs to no version yet from a vacuum

    def rebase(self, base: Snapshot) -> Manifest | None:
        """``base`` with the clips added, replaced and deleted."""
        places = Places(self.store, base.manifest)
        gone = set(self.deletes).union(*(base.ids(where) for where in self.where))
        batch, dead = self._merged(base, places, gone)
        if batch is None and not dead:
            return None
        if self.segment is not None and (batch is None or self.written != batch.ids):
            self._drop_segment()
        if batch is not None and self.segment is None:
            spaces = base.manifest.spaces
            self.segment, hold = self.store.write(batch.content(), spaces, base.version + 1)
            self.holds.append(hold)
            self.written = batch.ids
            self.report = replace(self.report, bytes=sum(entry.bytes for entry in self.segment.files))
        segments = places.without(dead, self._bitmap)
        if self.bitmaps:
            self.store.sync_deletes()
        if self.segment is not None:
            segments.append(replace(self.segment, created_in=base.version + 1))
        ids = batch.ids if batch is not None else []
        checksum = base.manifest.checksum - id_sum(dead) + id_sum(ids)
        kind = "upsert" if ids and dead else "add" if ids else "delete"
        op = {"kind": kind, "added_rows": len(ids), "deleted_rows": len(dead)}
        return replace(base.manifest.of_segments(segments), op=op, checksum=checksum % 2**128)

    def _merged(self, base: Snapshot, places: Places, gone: set[str]) -> tuple[_Batch | None, list[str]]:
        """The rows to write and the ids that die."""
        batch = self.batch
        if batch is None:
            there = places.of(sorted(gone))
            dead = [name for name in sorted(gone) if name in there]
            self.report = CommitReport(0, deleted=len(dead))
            return None, dead
        old = places.of(batch.ids)
        staying = [] if batch.replace else [name for name in batch.ids if name in old and name not in gone]
        if staying:
            raise ConflictError(
                f"clip {staying[0]!r} is there already ({len(staying)} of {len(batch.ids)}); use upsert to replace it"
            )
        same_row, same_content = self._equal(batch, old, base.manifest.segments)
        others = sorted(gone - set(batch.ids))
        deleted = [name for name in others if name in places.of(others)]
        replaced = [name for name in old if name not in same_row]
        self.report = CommitReport(
            0, added=len(batch.ids) - len(old), replaced=len(replaced) - len(same_content - same_row),
            unchanged=len(same_content), deleted=len(deleted), bytes=self.report.bytes,
        )  # fmt: skip
        rest = batch.select(np.array([name not in same_row for name in batch.ids], bool))
        return (rest if rest.ids else None), [*deleted, *replaced]

    def _equal(
        self, batch: _Batch, old: Mapping[str, Place], segments: Sequence[SegmentEntry]
    ) -> tuple[set[str], set[str]]:
        """Ids of the batch whose stored row is equal, and ids whose stored content hash is equal."""
        hashes = dict(zip(batch.ids, batch.rows["sha256"].to_pylist(), strict=True))
        content: set[str] = set()
        by_segment: dict[int, list[str]] = {}
        for name, (number, _) in old.items():
            if hashes[name]:
                by_segment.setdefault(number, []).append(name)
        for number, names in by_segment.items():
            stored = self.store.table(segments[number], "rows", ["sha256"])["sha256"].take([old[n][1] for n in names])
            content.update(name for name, found in zip(names, stored.to_pylist(), strict=True) if found == hashes[name])
        if not content:
            return set(), set()
        mine = {row["clip_id"]: row for row in batch.rows.to_pylist() if row["clip_id"] in content}
        same: set[str] = set()
        for number, names in by_segment.items():
            kept = [old[name][1] for name in names if name in content]
            stored = self.store.table(segments[number], "rows", None).take(kept).to_pylist() if kept else []
            same.update(row["clip_id"] for row in stored if row == mine[row["clip_id"]])
        return same, content

    def _bitmap(self, entry: SegmentEntry, dead: NDArray[np.bool_]) -> FileEntry:
        file, hold = self.store.write_deletes(entry, dead)
        self.bitmaps.append(file)
        self.holds.append(hold)
        return file

    def _drop_segment(self) -> None:
        if self.segment is not None:
            self.store.discard("segments", self.segment.id)
            self.segment = None

    def lost(self) -> None:
        """Bitmaps fit one version only."""
        self.store.discard_deletes(self.bitmaps)
        self.bitmaps = []

    def discard(self) -> None:
        """Nothing of it stays."""
        self.lost()
        self._drop_segment()

    def release(self) -> None:
        """The files belong to a version, or are gone."""
        for hold in self.holds:
            if hold is not None:
                hold.release()
        self.holds = []


Place = tuple[int, int]  # number of a segment in its manifest, row in it


class Places:
    """Where the live clips of a version are, found by their ids' hashes."""

    def __init__(self, store: SegmentStore, manifest: Manifest) -> None:
        self._store, self._segments = store, manifest.segments
        self._dead: dict[int, NDArray[np.bool_]] = {}

    def dead(self, number: int) -> NDArray[np.bool_]:
        """Dead rows of a segment."""
        if number not in self._dead:
            self._dead[number] = self._store.dead(self._segments[number])
        return self._dead[number]

    def of(self, ids: Sequence[str]) -> dict[str, Place]:
        """The places of those ids that are there, in the order asked."""
        hashes = id_hashes(ids)
        numbers, rows = np.full(len(ids), -1), np.zeros(len(ids), np.int64)
        for number, entry in enumerate(self._segments):
            found = self._store.find_ids(entry, hashes)
            hits = np.flatnonzero(found >= 0)
            if entry.deletes is not None and len(hits):
                hits = hits[~self.dead(number)[found[hits]]]
            numbers[hits], rows[hits] = number, found[hits]
        places = zip(ids, numbers.tolist(), rows.tolist(), strict=True)
        return {name: (number, row) for name, number, row in places if number >= 0}

    def without(
        self, ids: Sequence[str], write: Callable[[SegmentEntry, NDArray[np.bool_]], FileEntry]
    ) -> list[SegmentEntry]:
        """The segments with ``ids`` marked dead by new bitmaps; a segment with no live row is left out."""
        rows: dict[int, list[int]] = {}
        for number, row in self.of(ids).values():
            rows.setdefault(number, []).append(row)
        segments = []
        for number, entry in enumerate(self._segments):
            if number not in rows:
                segments.append(entry)
                continue
            dead = self.dead(number).copy()
            dead[rows[number]] = True
            if not dead.all():
                segments.append(replace(entry, live=int((~dead).sum()), deletes=write(entry, dead)))
        return segments
