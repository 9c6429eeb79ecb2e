"""Segments on disk and in memory: written once, read lazily, shared by all snapshots of a library.

- A segment never changes, so what was read of it can be kept; deletions are files of their own.
- Every file's size is checked when it is opened, vector blocks by header and tail; a page of vectors is held
  against its checksum, a block of frames likewise, a table against its hash, when it is first read: a damaged one is an error
  and never an answer. ``verify`` reads every byte.
- Readers in several threads share a store: what is kept of a segment is only added to, or changed under a lock.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from db import ids, schema, segment
from db import manifest as manifests
from db.errors import CorruptionError, FormatError, LibraryError, SnapshotExpired, WriteError
from db.files import Files, Sink
from db.frames import FRAMES_FILE, OLD_FRAMES_FILE, Frames, pack_frames
from db.locks import Hold
from db.manifest import FileEntry, IndexEntry, Manifest, SegmentEntry
from db.space import Space

if TYPE_CHECKING:
    import mmap

    import pyarrow as pa

log = logging.getLogger(__name__)

_Data = TypeVar("_Data")
TABLES_KEPT = 256


HOLD_TRIES = 5
REMEDY = "restore it from a copy of the library, or see what remora library repair can do"


@dataclass(frozen=True)
class Content:
    """What a segment is made of, in pieces of any length and in row order; ``ids`` of its rows, ``captions`` counts
    them.

    ``vectors`` are arrays [n, D] a space, ``frames`` one block a row.
    """

    ids: Sequence[str]
    captions: int
    rows: Iterable[pa.Table]
    said: Iterable[pa.Table]
    vectors: Mapping[str, Iterable[NDArray[np.floating[Any]]]]
    frames: Iterable[bytes]


def _write_given(pieces: Iterable[bytes | memoryview], _: str, out: Sink) -> None:
    for piece in pieces:
        out.write(piece)


def _write_vectors(vectors: Iterable[NDArray[np.floating[Any]]], rows: int, space: Space, name: str, out: Sink) -> None:
    _write_given(segment.vector_pieces(vectors, rows, space, name), name, out)


class SegmentStore:
    """Reads and writes the segments of one library."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._maps: dict[str, mmap.mmap] = {}
        self._tables: OrderedDict[tuple[str, str, tuple[str, ...] | None], pa.Table] = OrderedDict()
        self._ids: dict[str, NDArray[np.object_]] = {}
        self._sound: dict[str, NDArray[np.bool_]] = {}  # pages of vector blocks whose checksum was found right
        self._whole: dict[
            tuple[str, str], NDArray[np.floating[Any]]
        ] = {}  # vectors of which all pages were found right
        self._hashed: set[str] = set()  # tables whose hash was found right
        self._sized: set[str] = set()  # files whose size was found right
        self._frame_tables: dict[str, Frames] = {}
        self._id_indexes: dict[str, ids.IdIndex] = {}
        self._bad_indexes: set[str] = set()  # files of indexes that were named as missing or damaged
        self._lock = threading.Lock()

    # ---- writing ---------------------------------------------------------------------------------------------------

    def write(self, content: Content, spaces: Sequence[Space], version: int) -> tuple[SegmentEntry, Hold | None]:
        """Write a segment, synced, under a name nobody has; it belongs to no version yet, and lives while it is
        held.
        """
        rows, captions = len(content.ids), content.captions
        writers: dict[str, Callable[[str, Sink], None]] = {
            "rows.parquet": lambda name, out: segment.write_parquet(content.rows, schema.row_schema(), rows, name, out),
            "captions.parquet": lambda name, out: segment.write_parquet(
                content.said, schema.caption_schema(), captions, name, out
            ),
            FRAMES_FILE: partial(_write_given, pack_frames(content.frames)),
            ids.FILE: partial(_write_given, [ids.IdIndex.of(content.ids).pack()]),
        }
        for space in spaces:
            count = rows if space.rows_of == "rows" else captions
            writers[segment.vector_file(space)] = partial(_write_vectors, content.vectors[space.name], count, space)
        name, entries, hold = self._write_folder("segments", writers)
        return SegmentEntry(name, rows, rows, captions, version, entries), hold

    def write_index(self, files: Mapping[str, bytes | memoryview]) -> tuple[str, tuple[FileEntry, ...], Hold | None]:
        """Write the files of a derived index; id, entries, and what keeps it while it belongs to no version."""
        return self._write_folder("indexes", {name: partial(_write_given, [data]) for name, data in files.items()})

    def _write_folder(
        self, kind: str, writers: Mapping[str, Callable[[str, Sink], None]]
    ) -> tuple[str, tuple[FileEntry, ...], Hold | None]:
        """A folder of ``kind`` with a file a writer: written and synced under a temporary name, then renamed."""
        self._durable_folder(kind)
        name, hold = self._new_folder(kind)
        entries = []
        try:
            for file, write in writers.items():
                with self._files.create(f"{kind}/.tmp-{name}/{file}") as sink:
                    write(name, sink)
                entries.append(FileEntry(file, sink.bytes, sink.blake2b))
            self._files.sync_folder(f"{kind}/.tmp-{name}")
            self._files.rename(f"{kind}/.tmp-{name}", f"{kind}/{name}")
            self._files.sync_folder(kind)
        except BaseException:
            self._files.remove_folder(f"{kind}/.tmp-{name}")
            self._files.remove_folder(f"{kind}/{name}")
            raise
        return name, tuple(entries), hold

    def _new_folder(self, kind: str) -> tuple[str, Hold | None]:
        for _ in range(HOLD_TRIES):
            name = secrets.token_hex(16)
            self._files.make_folder(f"{kind}/.tmp-{name}")
            try:
                return name, self._files.hold(f"{kind}/.tmp-{name}")
            except FileNotFoundError:
                continue  # a vacuum that waits for nobody
            except BaseException:
                self._files.remove_folder(f"{kind}/.tmp-{name}")
                raise
        raise WriteError(
            f"{self._files.root}: new folders in {kind} are deleted at once; stop the vacuum and try again"
        )

    def write_deletes(self, entry: SegmentEntry, dead: NDArray[np.bool_]) -> tuple[FileEntry, Hold | None]:
        """Write the bitmap of a segment's dead rows under a new name; it lives while it is held."""
        data = segment.pack_deletes(dead)
        self._durable_folder("deletes")
        for _ in range(HOLD_TRIES):
            name = f"{entry.id}-{secrets.token_hex(8)}.del"
            self._files.write(f"deletes/{name}", data)
            try:
                return FileEntry(name, len(data), segment.digest(data)), self._files.hold(f"deletes/{name}")
            except FileNotFoundError:
                continue
            except BaseException:
                self._files.remove(f"deletes/{name}")
                raise
        raise WriteError(f"{self._files.root}: new files in deletes are deleted at once; stop the vacuum and try again")

    def sync_deletes(self) -> None:
        """Make the names of new bitmaps durable."""
        self._files.sync_folder("deletes")

    def _durable_folder(self, name: str) -> None:
        """Make a folder of the library whose own entry outlives a power cut."""
        if not self._files.exists(name):
            self._files.make_folder(name)
            self._files.sync_folder("")

    def discard(self, kind: str, name: str) -> None:
        """Remove a segment or an index that no version will have."""
        self._files.remove_folder(f"{kind}/{name}")

    def discard_deletes(self, bitmaps: Iterable[FileEntry]) -> None:
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
            self._maps[name] = self._checked(name, entry.file(file), self._files.map)
        return self._maps[name]

    def check_sizes(self, manifest: Manifest) -> None:
        """Raise CorruptionError when a file of a version is missing or of a wrong size; each is looked at once."""
        for name, entry in manifest.truth().items():
            if name not in self._sized:
                self._checked(name, entry, str)
                self._sized.add(name)

    def _checked(self, name: str, entry: FileEntry, get: Callable[[str], _Data]) -> _Data:
        """The content of a file whose size is right."""
        full = self._files.root / name
        try:
            size = self._files.size(name)
            if size == entry.bytes:
                return get(name)
        except FileNotFoundError:
            raise self._missing(name) from None
        raise CorruptionError(f"{full} has {size} bytes, expected {entry.bytes}; restore it from a copy of the library")

    def _missing(self, name: str) -> LibraryError:
        """What to say of a file that is not there: lost, or no longer kept."""
        full = self._files.root / name
        for version in reversed(manifests.list_versions(self._files)):
            with suppress(LibraryError, FileNotFoundError):
                if name in manifests.parse(self._files.read(manifests.file_name(version)), str(version)).truth():
                    return CorruptionError(f"{full} is missing; restore it from a copy of the library")
        return SnapshotExpired(
            f"{full} is gone: a vacuum has dropped the versions that needed it; open the newest version"
        )

    def table(self, entry: SegmentEntry, kind: str, columns: Sequence[str] | None) -> pa.Table:
        """The "rows" or "captions" of a segment; the last ones read are kept."""
        key = (entry.id, kind, tuple(columns) if columns is not None else None)
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        table = self.read_table(entry, kind, columns)
        with self._lock:
            self._tables[key] = table
            while len(self._tables) > TABLES_KEPT:
                self._tables.popitem(last=False)
        return table

    def read_table(self, entry: SegmentEntry, kind: str, columns: Sequence[str] | None) -> pa.Table:
        """The "rows" or "captions" of a segment, not kept."""
        name = self.path(entry, f"{kind}.parquet")
        listed, full = entry.file(f"{kind}.parquet"), str(self._files.root / name)
        data = self._checked(name, listed, self._files.read)
        if name not in self._hashed and segment.digest(data) != listed.blake2b:
            raise CorruptionError(f"{full} is damaged: its content does not fit its hash; {REMEDY}")
        self._hashed.add(name)
        rows = entry.rows if kind == "rows" else entry.captions
        layout = schema.row_schema() if kind == "rows" else schema.caption_schema()
        return segment.unpack_parquet(data, rows, full, layout, layout.names if columns is None else columns)

    def empty(self, kind: str, columns: Sequence[str] | None) -> pa.Table:
        """A table of no rows."""
        table = (schema.row_schema() if kind == "rows" else schema.caption_schema()).empty_table()
        return table if columns is None else table.select(list(columns))

    def clip_id_column(self, entry: SegmentEntry) -> pa.Array:
        """Ids of a segment's rows, in Arrow."""
        return self.table(entry, "rows", ["clip_id"])["clip_id"].combine_chunks()

    def clip_ids(self, entry: SegmentEntry) -> NDArray[np.object_]:
        """Ids of a segment's rows."""
        if entry.id not in self._ids:
            column = self.table(entry, "rows", ["clip_id"])["clip_id"]
            with self._lock:
                self._tables.pop((entry.id, "rows", ("clip_id",)), None)
            self._ids[entry.id] = np.array(column.to_pylist(), object)
        return self._ids[entry.id]

    def find_ids(self, entry: SegmentEntry, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row [M] of each id of ``hashes`` [M, 2] (see :func:`db.ids.id_hashes`) in a segment, dead or not; -1
        for none.
        """
        if entry.id not in self._id_indexes:
            self._id_indexes[entry.id] = self._id_index(entry) or ids.IdIndex.of(self.clip_ids(entry).tolist())
        return self._id_indexes[entry.id].find(hashes)

    def _id_index(self, entry: SegmentEntry) -> ids.IdIndex | None:
        """The index of a segment's ids as it was stored; None where it was not, or is missing or damaged, which is said."""
        if all(file.name != ids.FILE for file in entry.files):
            return None
        try:
            name = str(self._files.root / self.path(entry, ids.FILE))
            return ids.IdIndex.unpack(self.map(entry, ids.FILE), entry.rows, name)
        except LibraryError as error:
            log.warning("%s; ids are looked up in the rows until remora library repair makes it anew", str(error))
            return None

    def index_file(self, entry: IndexEntry, file: str) -> mmap.mmap | None:
        """A file of a derived index as memory, held against its hash once; None when it is missing or damaged, said
        once.
        """
        name = entry.path(file)
        if name not in self._maps and name not in self._bad_indexes:
            listed = next((known for known in entry.files if known.name == file), None)
            try:
                if listed is None:
                    raise CorruptionError(f"index {entry.name} has no file {file}")
                data = self._checked(name, listed, self._files.map)
                if segment.digest(data) != listed.blake2b:
                    raise CorruptionError(f"{self._files.root / name} is damaged: its content does not fit its hash")
                self._maps[name] = data
            except LibraryError as error:
                self._bad_indexes.add(name)
                log.warning(
                    "%s; it is derived from the vectors, which are searched instead until it is rebuilt", str(error)
                )
        return self._maps.get(name)

    def caption_rows(self, entry: SegmentEntry) -> NDArray[np.int64]:
        """For each caption of a segment the row it belongs to, ascending."""
        return np.asarray(self.table(entry, "captions", ["row"])["row"].to_numpy(), np.int64)

    def dead(self, entry: SegmentEntry) -> NDArray[np.bool_]:
        """Dead rows of a segment."""
        if entry.deletes is None:
            return np.zeros(entry.rows, bool)
        name = f"deletes/{entry.deletes.name}"
        data = self._checked(name, entry.deletes, self._files.read)
        return segment.unpack_deletes(data, entry.rows, str(self._files.root / name))

    def vectors(self, entry: SegmentEntry, space: Space, rows: NDArray[np.int64] | None) -> NDArray[np.floating[Any]]:
        """A view [N, D] of a segment's vectors; the checksums of the pages with ``rows``, or of all pages, are
        right.
        """
        key = (entry.id, space.name)
        whole = self._whole.get(key)
        if whole is not None:
            return whole
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
            raise CorruptionError(f"{self._files.root / name}: vectors {first} to {last} are damaged; {REMEDY}")
        sound[new] = True
        if sound.all():
            self._whole[key] = view
        return view

    def frames(self, entry: SegmentEntry, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """The opaque blocks of rows, one by one."""
        table = self._frames(entry)
        return (table.block(row) for row in rows.tolist())

    def frame(self, entry: SegmentEntry, row: int) -> bytes:
        """The opaque block of a row."""
        return self._frames(entry).block(row)

    def _frames(self, entry: SegmentEntry) -> Frames:
        """The table of a segment's frames."""
        if entry.id not in self._frame_tables:
            names = {file.name for file in entry.files}
            if FRAMES_FILE not in names and OLD_FRAMES_FILE in names:
                raise FormatError(
                    f"{self._files.root} has its frames in {OLD_FRAMES_FILE}, which is not read any more; index it again: "
                    "remora index SOURCE --library NEW-FOLDER"
                )
            name = str(self._files.root / self.path(entry, FRAMES_FILE))
            self._frame_tables[entry.id] = Frames(self.map(entry, FRAMES_FILE), entry.rows, name)
        return self._frame_tables[entry.id]
