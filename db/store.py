"""Segments on disk and in memory: written once, read lazily, shared by all snapshots of a library.

- A segment never changes, so what was read of it can be kept; deletions are files of their own.
- Every file's size is checked when it is opened, vector blocks by header and tail; a page of vectors is held
  against its checksum, a table against its hash, when it is first read: a damaged one is an error and never an answer.
  Frames, which may be large, are not; ``verify`` reads every byte.
- Readers in several threads share a store: what is kept of a segment is only added to, or changed under a lock.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db import schema, segment
from db.errors import CorruptionError
from db.files import Files
from db.manifest import FileEntry, SegmentEntry
from db.space import Space

if TYPE_CHECKING:
    import mmap

    import pyarrow as pa

TABLES_KEPT = 256


class SegmentStore:
    """Reads and writes the segments of one library."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._maps: dict[str, mmap.mmap] = {}
        self._tables: OrderedDict[tuple[str, str, tuple[str, ...] | None], pa.Table] = OrderedDict()
        self._ids: dict[str, NDArray[np.object_]] = {}
        self._sound: dict[str, NDArray[np.bool_]] = {}  # pages of vector blocks whose checksum was found right
        self._hashed: set[str] = set()  # tables whose hash was found right
        self._lock = threading.Lock()

    # ---- writing ---------------------------------------------------------------------------------------------------

    def write(
        self,
        *,
        rows: pa.Table,
        captions: pa.Table,
        vectors: Mapping[str, NDArray[np.floating[Any]]],
        frames: Sequence[bytes],
        spaces: Sequence[Space],
        version: int,
    ) -> SegmentEntry:
        """Write a segment, synced, under a name nobody has; it belongs to no version yet."""
        name = secrets.token_hex(16)
        packed = {
            "rows.parquet": segment.pack_parquet(rows, name),
            "captions.parquet": segment.pack_parquet(captions, name),
            "frames.arrow": segment.pack_frames(list(frames)),
        }
        for space in spaces:
            packed[segment.vector_file(space)] = segment.pack_vectors(vectors[space.name], space, name)
        partial = f"segments/.tmp-{name}"
        self._durable_folder("segments")
        self._files.make_folder(partial)
        try:
            for file, data in packed.items():
                self._files.write(f"{partial}/{file}", data)
            self._files.sync_folder(partial)
            self._files.rename_folder(partial, f"segments/{name}")
            self._files.sync_folder("segments")
        except BaseException:
            self._files.remove_folder(partial)
            self._files.remove_folder(f"segments/{name}")
            raise
        entries = tuple(FileEntry(file, len(data), segment.digest(data)) for file, data in packed.items())
        return SegmentEntry(name, len(rows), len(rows), len(captions), version, entries)

    def write_deletes(self, entry: SegmentEntry, dead: NDArray[np.bool_]) -> FileEntry:
        """Write the bitmap of a segment's dead rows under a new name."""
        data = segment.pack_deletes(dead)
        name = f"{entry.id}-{secrets.token_hex(8)}.del"
        self._durable_folder("deletes")
        self._files.write(f"deletes/{name}", data)
        return FileEntry(name, len(data), segment.digest(data))

    def _durable_folder(self, name: str) -> None:
        """Make a folder of the library whose own entry outlives a power cut."""
        if not self._files.exists(name):
            self._files.make_folder(name)
            self._files.sync_folder("")

    def discard(self, entry: SegmentEntry) -> None:
        """Remove a segment that no version will have."""
        self._files.remove_folder(f"segments/{entry.id}")

    def discard_deletes(self, bitmaps: Sequence[FileEntry]) -> None:
        """Remove bitmaps that no version will have."""
        for entry in bitmaps:
            self._files.remove(f"deletes/{entry.name}")

    # ---- reading ---------------------------------------------------------------------------------------------------

    def path(self, entry: SegmentEntry, file: str) -> str:
        """The name of a segment's file inside the library."""
        return f"segments/{entry.id}/{file}"

    def map(self, entry: SegmentEntry, file: str) -> mmap.mmap:
        """A segment's file as memory, its size checked."""
        name = self.path(entry, file)
        if name not in self._maps:
            self._checked_size(name, entry.file(file))
            self._maps[name] = self._files.map(name)
        return self._maps[name]

    def _checked_size(self, name: str, entry: FileEntry) -> None:
        full = self._files.root / name
        try:
            size = self._files.size(name)
        except FileNotFoundError:
            raise CorruptionError(f"{full} is missing; restore it from a copy, or open an older version") from None
        if size != entry.bytes:
            raise CorruptionError(f"{full} has {size} bytes, expected {entry.bytes}; restore it from a copy")

    def table(self, entry: SegmentEntry, kind: str, columns: Sequence[str] | None) -> pa.Table:
        """The "rows" or "captions" of a segment; the last ones read are kept."""
        key = (entry.id, kind, tuple(columns) if columns is not None else None)
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        name = self.path(entry, f"{kind}.parquet")
        listed, full = entry.file(f"{kind}.parquet"), str(self._files.root / name)
        self._checked_size(name, listed)
        data = self._files.read(name)
        if name not in self._hashed and segment.digest(data) != listed.blake2b:
            raise CorruptionError(f"{full} is damaged: its content does not fit its hash; restore it from a copy")
        self._hashed.add(name)
        rows = entry.rows if kind == "rows" else entry.captions
        table = segment.unpack_parquet(data, rows, full, list(columns) if columns is not None else None)
        with self._lock:
            self._tables[key] = table
            while len(self._tables) > TABLES_KEPT:
                self._tables.popitem(last=False)
        return table

    def empty(self, kind: str, columns: Sequence[str] | None) -> pa.Table:
        """A table of no rows."""
        table = (schema.row_schema() if kind == "rows" else schema.caption_schema()).empty_table()
        return table if columns is None else table.select(list(columns))

    def clip_ids(self, entry: SegmentEntry) -> NDArray[np.object_]:
        """Ids of a segment's rows."""
        if entry.id not in self._ids:
            column = self.table(entry, "rows", ["clip_id"])["clip_id"]
            with self._lock:
                self._tables.pop((entry.id, "rows", ("clip_id",)), None)
            self._ids[entry.id] = np.array(column.to_pylist(), object)
        return self._ids[entry.id]

    def caption_rows(self, entry: SegmentEntry) -> NDArray[np.int64]:
        """For each caption of a segment the row it belongs to, ascending."""
        return np.asarray(self.table(entry, "captions", ["row"])["row"].to_numpy(), np.int64)

    def dead(self, entry: SegmentEntry) -> NDArray[np.bool_]:
        """Dead rows of a segment."""
        if entry.deletes is None:
            return np.zeros(entry.rows, bool)
        name = f"deletes/{entry.deletes.name}"
        self._checked_size(name, entry.deletes)
        return segment.unpack_deletes(self._files.read(name), entry.rows, str(self._files.root / name))

    def vectors(self, entry: SegmentEntry, space: Space, rows: NDArray[np.int64] | None) -> NDArray[np.floating[Any]]:
        """A view [N, D] of a segment's vectors; the checksums of the pages with ``rows``, or of all pages, are right."""
        file = segment.vector_file(space)
        count = entry.rows if space.rows_of == "rows" else entry.captions
        name = self.path(entry, file)
        data = self.map(entry, file)
        view = segment.unpack_vectors(data, space, entry.id, count, str(self._files.root / name))
        sound = self._sound.setdefault(name, np.zeros(-(-count // segment.CHECK_ROWS), bool))
        pages = np.arange(len(sound)) if rows is None else np.unique(rows // segment.CHECK_ROWS)
        new = pages[~sound[pages]]
        bad = segment.check_pages(data, space, count, new)
        if bad:
            first = bad[0] * segment.CHECK_ROWS
            last = min(first + segment.CHECK_ROWS, count) - 1
            raise CorruptionError(
                f"{self._files.root / name}: vectors {first} to {last} are damaged; restore it from a copy of the library"
            )
        sound[new] = True
        return view

    def frame(self, entry: SegmentEntry, row: int) -> bytes:
        """The opaque block of a row."""
        name = str(self._files.root / self.path(entry, "frames.arrow"))
        return segment.unpack_frame(self.map(entry, "frames.arrow"), row, name)
