"""Transactions: what is to change is gathered, written beside the library, and becomes a version by one exclusive link.

- A segment is written once and used again when another writer was first, as long as it is for the very same rows; deletions
  and the manifest are made anew on what that writer left.
- Deletions are of what was there before: a clip both deleted and given in one transaction is replaced.
- Add, upsert and delete merge with other writers' versions: ids are looked up again in the version that won.
- A transaction id given by the caller makes a commit idempotent: the same id again returns the version it made.
- The order on disk: files, their folder, its name, the manifest's bytes, its name, its folder. Nothing is reported before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from db import schema
from db.errors import CommitUncertain, ConflictError, LibraryError, RequestError, WriteError
from db.filters import Filter
from db.manifest import KNOWN_TRANSACTIONS, FileEntry, Manifest, SegmentEntry, file_name, id_sum, now
from db.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from db.library import Library

DEADLINE_S = 30.0


@dataclass(frozen=True)
class CommitReport:
    """What a commit did; ``version`` is the old one when there was nothing to do."""

    version: int
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0
    bytes: int = 0


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


class Transaction:
    """A change of a library: ``add``, ``upsert``, ``delete``, then ``commit``. Left without a commit, nothing happened."""

    def __init__(self, library: Library, *, txn_id: str | None, note: str) -> None:
        self._library = library
        self._txn_id = txn_id
        self._note = note
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
            rows: one row a clip, columns of ``db.schema.row_schema``; ``sha256`` stands for all the clip is, captions and
                frames too (empty: always replaced).
            captions: one row a caption with the clip's ``clip_id``.
            vectors: for each space of rows an array [N, D] in the order of ``rows``, of captions in the order of ``captions``.
            frames: one opaque block a clip.
        """
        self._gather(rows, captions, vectors, frames, replace_old=True)

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
            checked[space.name] = given if space.rows_of == "rows" else given[order]
        surplus = sorted(set(vectors) - set(checked))
        if surplus:
            raise RequestError(f"no space {surplus[0]!r}; this library has {', '.join(sorted(checked))}")
        of_captions = frozenset(s.name for s in self._library.spaces.values() if s.rows_of == "captions")
        self._batch = _Batch(rows, said, checked, blocks, replace_old, ids, of_captions)

    # ---- committing ------------------------------------------------------------------------------------------------

    def commit(self) -> CommitReport:
        """Make the change a new version; the report says what it did.

        Raises:
            ConflictError: an id to add exists, or other writers were faster until the deadline.
            WriteError: the disk refused; the library is as it was.  CommitUncertain: it failed at the very last step.
        """
        if self._done:
            raise RequestError("this transaction is over; begin another")
        self._done = True
        started, attempt = time.monotonic(), 0
        draft = _Draft()
        try:
            while True:
                done = self._attempt(draft)
                if done is not None:
                    return done
                attempt += 1
                if time.monotonic() - started > DEADLINE_S:
                    raise ConflictError(
                        f"other writers were faster {attempt} times in {DEADLINE_S:.0f} s; try again when they are done"
                    )
                time.sleep(random.uniform(0, min(0.5, 0.005 * 2 ** min(attempt, 10))))
        except CommitUncertain:
            raise  # a manifest may name the files
        except LibraryError:
            self._drop_segment(draft)
            raise

    def _attempt(self, draft: _Draft) -> CommitReport | None:
        """One try on the newest version; None when another writer was faster."""
        base = self._library.newest_for_writing()
        known = dict(base.manifest.recent_txns).get(self._txn_id or "")
        change = _Change() if known is not None else self._plan(base)
        if change.nothing:
            self._drop_segment(draft)
            return CommitReport(base.version if known is None else known, unchanged=change.unchanged)
        if draft.segment is not None and (change.batch is None or draft.ids != change.batch.ids):
            self._drop_segment(draft)
        if change.batch is not None and draft.segment is None:
            draft.segment, draft.ids = self._write(change.batch, base.version + 1), change.batch.ids
        return self._link(base, change, draft)

    def _write(self, batch: _Batch, version: int) -> SegmentEntry:
        return self._library.store.write(
            rows=batch.rows, captions=batch.captions, vectors=batch.vectors, frames=batch.frames,
            spaces=tuple(self._library.spaces.values()), version=version,
        )  # fmt: skip

    def _drop_segment(self, draft: _Draft) -> None:
        if draft.segment is not None:
            self._library.store.discard(draft.segment)
            draft.segment = None

    def _plan(self, base: Snapshot) -> _Change:
        """What the transaction means on top of ``base``."""
        present = base.row_index.by_id
        gone = {name for name in self._deletes if name in present}
        for where in self._where:
            gone.update(base.ids(where))
        batch = self._batch
        if batch is not None:
            old = [name for name in batch.ids if name in present]
            staying = [] if batch.replace else [name for name in old if name not in gone]
            if staying:
                raise ConflictError(
                    f"clip {staying[0]!r} is there already ({len(staying)} of {len(batch.ids)}); use upsert to replace it"
                )
            same_row, same_content = self._compare(base, batch, old)
            unchanged = len(same_content)
            replaced = {name for name in old if name not in same_row}
            gone -= set(batch.ids)
            added = len(batch.ids) - len(old)
            batch = batch.select(np.array([name not in same_row for name in batch.ids], bool))
            dead = frozenset(gone | replaced)
            return _Change(
                batch if batch.ids else None, dead, added, len(replaced - same_content), unchanged, deleted=len(gone)
            )
        return _Change(dead=frozenset(gone), deleted=len(gone))

    def _compare(self, base: Snapshot, batch: _Batch, old: list[str]) -> tuple[set[str], set[str]]:
        """Ids of the batch whose stored row is equal, and ids whose stored content hash is equal."""
        if not old:
            return set(), set()
        stored = {row["clip_id"]: row for row in base.rows(old).to_pylist()}
        mine = {row["clip_id"]: row for row in batch.rows.to_pylist() if row["clip_id"] in stored}
        hashed = {name for name in old if mine[name]["sha256"] and mine[name]["sha256"] == stored[name]["sha256"]}
        return {name for name in hashed if mine[name] == stored[name]}, hashed

    def _link(self, base: Snapshot, change: _Change, draft: _Draft) -> CommitReport | None:
        """Write the next manifest; None when another writer has taken its number."""
        manifest, files = base.manifest, self._library.files
        version = base.version + 1
        bitmaps = _Bitmaps()
        try:
            segments = self._with_deletes(base, change.dead, bitmaps)
            if draft.segment is not None:
                draft.segment = replace(draft.segment, created_in=version)
                segments.append(draft.segment)
            new = self._manifest(manifest, version, change, segments)
            won = files.put_exclusive(file_name(version), new.to_bytes())
        except CommitUncertain:
            raise
        except LibraryError:
            self._library.store.discard_deletes(bitmaps)
            raise
        if not won:
            self._library.store.discard_deletes(bitmaps)
            return None
        try:
            files.sync_folder("manifests")
        except WriteError as error:
            raise CommitUncertain(
                f"version {version} of {files.root} was written but the disk did not confirm it ({error}); "
                f"look for it with `remora library history` before trying again"
            ) from error
        size = sum(entry.bytes for entry in draft.segment.files) if draft.segment is not None else 0
        return CommitReport(version, change.added, change.replaced, change.unchanged, change.deleted, size)

    def _manifest(self, base: Manifest, version: int, change: _Change, segments: Sequence[SegmentEntry]) -> Manifest:
        """The manifest of the version after ``base``."""
        ids = change.batch.ids if change.batch else []
        checksum = base.checksum - id_sum(change.dead) + id_sum(ids)
        txns = base.recent_txns
        if self._txn_id is not None:
            txns = (*txns, (self._txn_id, version))[-KNOWN_TRANSACTIONS:]
        op = {
            "kind": "upsert" if ids and change.dead else "add" if ids else "delete",
            "txn_id": self._txn_id, "note": self._note, "added_rows": len(ids), "deleted_rows": len(change.dead),
        }  # fmt: skip
        return replace(
            base, version=version, parent=base.version, time=now(), writer=self._library.writer, op=op,
            segments=tuple(segments), recent_txns=txns, checksum=checksum % 2**128,
        )  # fmt: skip

    def _with_deletes(self, base: Snapshot, dead_ids: frozenset[str], bitmaps: _Bitmaps) -> list[SegmentEntry]:
        """The segments of ``base`` with ``dead_ids`` marked dead; a segment with no live row is dropped."""
        rows = np.array(sorted(base.row_index.by_id[name] for name in dead_ids), np.int64)
        segments = []
        for entry, start in zip(base.manifest.segments, base.row_index.starts, strict=True):
            mine = rows[(rows >= start) & (rows < start + entry.rows)] - start
            if len(mine) == 0:
                segments.append(entry)
                continue
            dead = self._library.store.dead(entry).copy()
            dead[mine] = True
            if not dead.all():
                bitmaps.append(self._library.store.write_deletes(entry, dead))
                segments.append(replace(entry, live=int((~dead).sum()), deletes=bitmaps[-1]))
        if bitmaps:
            self._library.files.sync_folder("deletes")
        return segments


@dataclass
class _Draft:
    """The segment that is written but belongs to no version yet, and the ids in it."""

    segment: SegmentEntry | None = None
    ids: list[str] = field(default_factory=list)


_Bitmaps = list[FileEntry]


@dataclass(frozen=True)
class _Change:
    """A transaction worked out on one base: rows to write, ids that die, and the counts to report."""

    batch: _Batch | None = None
    dead: frozenset[str] = frozenset()
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0

    @property
    def nothing(self) -> bool:
        """Whether no new version is needed."""
        return self.batch is None and not self.dead
