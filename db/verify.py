"""Verification: every file of the newest version is read and held against its manifest, and rows against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from db import manifest as manifests
from db import segment
from db.errors import LibraryError
from db.files import Files
from db.ids import id_sum
from db.manifest import FileEntry, Manifest, SegmentEntry
from db.snapshot import Snapshot
from db.store import SegmentStore


@dataclass(frozen=True)
class VerifyReport:
    """``problems`` is empty when all is well; each names a file or clip and what is wrong with it."""

    version: int
    problems: tuple[str, ...]
    checked_files: int
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(files: Files, store: SegmentStore, library: str) -> VerifyReport:
    """Hashes of all files, checksums of vector pages, unit norms, unique ids, and the totals of the manifest."""
    manifest, damaged = manifests.read_newest(files, library)
    problems = [f"{name}: its hash does not fit" for name in damaged]
    for number in manifests.list_versions(files):
        if number < manifest.version:
            try:
                manifests.read(files, number, library)
            except LibraryError as error:
                problems.append(str(error))
    count, size = 0, 0
    for name, entry in _all_files(manifest):
        problems += _check_file(files, name, entry)
        count, size = count + 1, size + entry.bytes
    problems += _bad_pages(manifest, store) if problems else []
    if not problems:
        problems += _check_rows(manifest, store)
    return VerifyReport(manifest.version, tuple(problems), count, size)


def _all_files(manifest: Manifest) -> list[tuple[str, FileEntry]]:
    found = []
    for entry in manifest.segments:
        found += [(f"segments/{entry.id}/{file.name}", file) for file in entry.files]
        if entry.deletes is not None:
            found.append((f"deletes/{entry.deletes.name}", entry.deletes))
    return found


def _check_file(files: Files, name: str, entry: FileEntry) -> list[str]:
    try:
        data = files.map(name) if entry.bytes else b""
    except (FileNotFoundError, LibraryError, ValueError) as error:
        return [
            f"{name}: cannot be read ({error})" if not isinstance(error, FileNotFoundError) else f"{name}: is missing"
        ]
    if len(data) != entry.bytes:
        return [f"{name}: has {len(data)} bytes, expected {entry.bytes}"]
    if segment.digest(data) != entry.blake2b:
        return [f"{name}: its content does not fit its hash"]
    return []


def _bad_pages(manifest: Manifest, store: SegmentStore) -> list[str]:
    """Which rows of damaged vector blocks are concerned."""
    found = []
    for entry in manifest.segments:
        for space in manifest.spaces:
            name = segment.vector_file(space)
            rows = entry.rows if space.rows_of == "rows" else entry.captions
            try:
                pages = segment.check_pages(store.map(entry, name), space, rows)
            except (LibraryError, ValueError):
                continue  # named already: it is missing or of a wrong size
            for page in pages:
                first = page * segment.CHECK_ROWS
                found.append(
                    f"segments/{entry.id}/{name}: vectors {first} to {min(first + segment.CHECK_ROWS, rows) - 1} are damaged"
                )
    return found


def _check_rows(manifest: Manifest, store: SegmentStore) -> list[str]:
    problems = []
    try:
        snapshot = Snapshot(manifest, store)
        snapshot.check_live()
        index = snapshot.row_index
        twice = [name for name, times in Counter(index.ids[~index.dead].tolist()).items() if times > 1]
        problems += [f"clip {name!r} is there more than once" for name in twice[:5]]
        if id_sum(index.ids[~index.dead].tolist()) % 2**128 != manifest.checksum:
            problems.append("the live clips are not those the manifest was made for")
        for space in manifest.spaces:
            for entry in manifest.segments:
                vectors = np.asarray(store.vectors(entry, space, None), np.float32)
                norms = np.linalg.norm(vectors, axis=1)
                bad = np.flatnonzero(~segment.proper(norms, space))
                if len(bad):
                    problems.append(
                        f"segments/{entry.id}: vector {bad[0]} of {space.name} has length {norms[bad[0]]:.3g}"
                    )
        for entry in manifest.segments:
            problems += _check_captions_and_frames(entry, store)
    except LibraryError as error:
        problems.append(str(error))
    return problems


def _check_captions_and_frames(entry: SegmentEntry, store: SegmentStore) -> list[str]:
    """Captions stand in the order of their clips and name them; there is a block of frames for every row."""
    problems = []
    said = store.table(entry, "captions", ["row", "clip_id"])
    owners = np.asarray(said["row"].to_numpy(), np.int64)
    if len(owners) and (owners[0] < 0 or owners[-1] >= entry.rows or (np.diff(owners) < 0).any()):
        problems.append(f"segments/{entry.id}/captions.parquet: its rows do not follow those of the clips")
    elif (store.clip_ids(entry)[owners] != np.array(said["clip_id"].to_pylist(), object)).any():
        problems.append(f"segments/{entry.id}/captions.parquet: a caption names another clip than its row does")
    frames = segment.count_frames(store.map(entry, "frames.arrow"), store.path(entry, "frames.arrow"))
    if frames != entry.rows:
        problems.append(f"segments/{entry.id}/frames.arrow: has {frames} blocks, expected {entry.rows}")
    return problems
