"""Verification: every file is read and held against its manifest, and rows against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from db import ids, segment
from db import manifest as manifests
from db.errors import CorruptionError, LibraryError
from db.files import Files
from db.manifest import FileEntry, IndexEntry, Manifest, SegmentEntry
from db.snapshot import Snapshot
from db.store import SegmentStore


@dataclass(frozen=True)
class VerifyReport:
    """``problems`` is empty when all is well; each names a file or clip and what is wrong with it.

    ``derived`` tells of damaged indexes: searches do without them, and ``repair`` drops them.
    """

    version: int
    problems: tuple[str, ...]
    checked_files: int
    bytes: int
    derived: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found; a damaged index is no loss."""
        return not self.problems


def verify(files: Files, store: SegmentStore, library: str, *, all_versions: bool = False) -> VerifyReport:
    """Hashes of all files, checksums of vector pages, unit norms, unique ids, and the totals of the manifest.

    Args:
        files: of the library.
        store: of the library.
        library: its uuid.
        all_versions: every version; by default the newest.
    """
    newest, _ = manifests.read_newest(files, library)
    problems = [f"{name}: {what}" for name, what in damaged_manifests(files, library).items()]
    derived = [f"index {index.name} is damaged or missing" for index in damaged_indexes(files, newest)]
    checked: dict[str, FileEntry] = {**newest.derived()}
    done: set[str] = set()
    for number in reversed(manifests.list_versions(files)) if all_versions else [newest.version]:
        try:
            manifest = manifests.read(files, number, library)
        except LibraryError:
            continue  # named already
        found = check_version(files, store, manifest, done)
        problems += found if number == newest.version else [f"version {number}: {problem}" for problem in found]
        new = [entry for entry in manifest.segments if store.path(entry, ids.FILE) not in done]
        derived += [f"{store.path(entry, ids.FILE)} is damaged or missing" for entry in without_ids(files, store, new)]
        checked |= manifest.truth()
        done |= {*manifest.truth(), *(store.path(entry, ids.FILE) for entry in new)}
    return VerifyReport(
        newest.version, tuple(problems), len(checked), sum(entry.bytes for entry in checked.values()), tuple(derived)
    )


def damaged_manifests(files: Files, library: str) -> dict[str, str]:
    """Names of manifests that cannot be read, and why."""
    found = {}
    for number in manifests.list_versions(files):
        try:
            manifests.read(files, number, library)
        except CorruptionError as error:
            found[manifests.file_name(number)] = str(error)
    return found


def damaged_indexes(files: Files, manifest: Manifest) -> list[IndexEntry]:
    """Derived indexes of a version with a file that is missing or does not fit its hash."""
    return [i for i in manifest.indexes if any(_check_file(files, i.path(file.name), file) for file in i.files)]


def without_ids(files: Files, store: SegmentStore, segments: Iterable[SegmentEntry]) -> list[SegmentEntry]:
    """Those of ``segments`` whose index of ids is missing or does not fit its hash."""
    listed = [(entry, file) for entry in segments for file in entry.files if file.name == ids.FILE]
    return [entry for entry, file in listed if _check_file(files, store.path(entry, ids.FILE), file)]


def check_version(files: Files, store: SegmentStore, manifest: Manifest, known: set[str] | None = None) -> list[str]:
    """What is wrong with the files and rows of a version; ``known`` files were read before and are not again."""
    problems = []
    for name, entry in manifest.truth().items():
        if known is None or name not in known:
            problems += _check_file(files, name, entry)
    return problems + (_bad_pages(manifest, store) if problems else _check_rows(manifest, store))


def _check_file(files: Files, name: str, entry: FileEntry) -> list[str]:
    try:
        size = files.size(name)
        data = files.map(name) if size else b""
    except FileNotFoundError:
        return [f"{name}: is missing"]
    except (LibraryError, ValueError) as error:
        return [f"{name}: cannot be read ({error})"]
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
        if ids.id_sum(index.ids[~index.dead].tolist()) % 2**128 != manifest.checksum:
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
            problems += _check_ids(entry, store)
    except LibraryError as error:
        problems.append(str(error))
    return problems


def _check_captions_and_frames(entry: SegmentEntry, store: SegmentStore) -> list[str]:
    """Captions stand in the order of their clips and name them; there is a sound block of frames for every row."""
    problems = []
    said = store.table(entry, "captions", ["row", "clip_id"])
    owners = np.asarray(said["row"].to_numpy(), np.int64)
    if len(owners) and (owners[0] < 0 or owners[-1] >= entry.rows or (np.diff(owners) < 0).any()):
        problems.append(f"segments/{entry.id}/captions.parquet: its rows do not follow those of the clips")
    elif (store.clip_ids(entry)[owners] != np.array(said["clip_id"].to_pylist(), object)).any():
        problems.append(f"segments/{entry.id}/captions.parquet: a caption names another clip than its row does")
    for _ in store.frames(entry, np.arange(entry.rows)):
        pass  # each is held against its checksum
    return problems


def _check_ids(entry: SegmentEntry, store: SegmentStore) -> list[str]:
    """Every row is found under its id."""
    rows = store.find_ids(entry, ids.id_hashes(store.clip_ids(entry).tolist()))
    wrong = (rows != np.arange(entry.rows)).any()
    return [f"segments/{entry.id}/{ids.FILE}: does not lead to the rows"] if wrong else []
