"""Versions beside one another: what changed, how large things are, and an old version as a library of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db import manifest as manifests
from db.errors import CorruptionError, FormatError
from db.files import Files
from db.manifest import SegmentEntry
from db.snapshot import Snapshot
from db.store import SegmentStore
from db.vacuum import vacuum
from db.versions import Versions, card

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class VersionInfo:
    """One version: when and what, and the tags that name it."""

    version: int
    parent: int
    time: str
    kind: str
    added: int
    deleted: int
    rows: int
    note: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diff:
    """Ids of clips, sorted: in the second version only, in both but not alike, in the first only."""

    old: int
    new: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class LibraryStats:
    """How large a library is, in bytes: the newest version's files, of them what belongs to dead rows; all files there are.

    ``derived_bytes`` are indexes of the newest version. ``vacuum_bytes`` is what a vacuum would free now; ``history_bytes``
    what it would free with the newest version, tags and readers alone spared; ``dead_bytes`` goes by a compaction and a vacuum.
    """

    version: int
    versions: int
    segments: int
    clips: int
    dead_rows: int
    bytes: int
    dead_bytes: int
    derived_bytes: int
    disk_bytes: int
    vacuum_bytes: int
    history_bytes: int


def versions(library: Versions) -> list[VersionInfo]:
    """All versions that can be read, oldest first."""
    tags: dict[int, tuple[str, ...]] = {}
    found = []
    for number in manifests.list_versions(library.files):
        try:
            entry = library.manifest(number)
        except CorruptionError:
            continue
        op, tags = entry.op, {}
        for name, version in sorted(entry.tags.items()):  # those of the newest remain
            tags[version] = (*tags.get(version, ()), name)
        found.append(
            VersionInfo(
                number, entry.parent, entry.time, str(op["kind"]), int(op.get("added_rows", 0)),
                int(op.get("deleted_rows", 0)), entry.live, str(op.get("note", "")),
            )
        )  # fmt: skip
    return [replace(info, tags=tags.get(info.version, ())) for info in found]


def diff(old: Snapshot, new: Snapshot, store: SegmentStore) -> Diff:
    """What is different between two versions; only segments that are not the same in both are read.

    A clip is alike when its content hash and all its columns are; without a hash, when captions, vectors and frames are too.
    """
    shared = {(s.id, s.deletes) for s in old.manifest.segments} & {(s.id, s.deletes) for s in new.manifest.segments}
    before, after = (
        [s for s in snapshot.manifest.segments if (s.id, s.deletes) not in shared] for snapshot in (old, new)
    )
    was, now = _places(store, before), _places(store, after)
    moved = sorted(name for name in was.keys() & now.keys() if was[name] != now[name])
    changed: list[str] = []
    for start in range(0, len(moved), 65_536):
        some = moved[start : start + 65_536]
        alike, hashed = _equal_rows(store, some, (before, was), (after, now))
        changed += [name for name, same in zip(some, alike, strict=True) if not same]
        changed += [
            name
            for name, same, known in zip(some, alike, hashed, strict=True)
            if same and not known and not _equal_content(old, new, name)
        ]
    added, removed = sorted(now.keys() - was.keys()), sorted(was.keys() - now.keys())
    return Diff(old.version, new.version, tuple(added), tuple(sorted(changed)), tuple(removed))


Places = Mapping[str, tuple[str, int]]


def _places(store: SegmentStore, segments: Sequence[SegmentEntry]) -> Places:
    """Segment and row of every live clip."""
    found = {}
    for entry in segments:
        live = np.flatnonzero(~store.dead(entry))
        ids = store.clip_ids(entry)[live]
        found.update({name: (entry.id, row) for name, row in zip(ids.tolist(), live.tolist(), strict=True)})
    return found


Side = tuple[Sequence[SegmentEntry], Places]


def _equal_rows(
    store: SegmentStore, ids: Sequence[str], old: Side, new: Side
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``ids`` have equal columns [N], and which have a content hash [N]."""
    one, other = _table(store, ids, *old), _table(store, ids, *new)
    alike = np.ones(len(ids), bool)
    for column in one.column_names:
        a, b = one[column].to_pylist(), other[column].to_pylist()
        alike &= np.array([x == y for x, y in zip(a, b, strict=True)], bool)
    return alike, np.array([bool(text) for text in one["sha256"].to_pylist()], bool)


def _table(store: SegmentStore, ids: Sequence[str], segments: Sequence[SegmentEntry], places: Places) -> pa.Table:
    """The rows of ``ids``, in their order."""
    import pyarrow as pa

    entries = {entry.id: entry for entry in segments}
    by_segment: dict[str, list[int]] = {}
    for number, name in enumerate(ids):
        by_segment.setdefault(places[name][0], []).append(number)
    pieces = [
        store.read_table(entries[segment], "rows", None).take([places[ids[n]][1] for n in numbers])
        for segment, numbers in by_segment.items()
    ]
    order = np.argsort(np.concatenate([np.array(numbers) for numbers in by_segment.values()]))
    return pa.concat_tables(pieces).take(pa.array(order))


def _equal_content(old: Snapshot, new: Snapshot, name: str) -> bool:
    def content(snapshot: Snapshot) -> list[Any]:
        spaces = [space for space in snapshot.spaces.values() if space.rows_of == "rows"]
        vectors = [snapshot.vectors([name], space.name).tobytes() for space in spaces]
        return [snapshot.captions([name]).to_pylist(), snapshot.frames(name), *vectors]

    return content(old) == content(new)


def stats(library: Versions) -> LibraryStats:
    """How large the library is and what could be freed."""
    newest = library.snapshot().manifest
    dead = [sum(file.bytes for file in s.files) * (s.rows - s.live) // max(1, s.rows) for s in newest.segments]
    return LibraryStats(
        version=newest.version, versions=len(manifests.list_versions(library.files)), segments=len(newest.segments),
        clips=newest.live, dead_rows=sum(s.rows - s.live for s in newest.segments), bytes=newest.size, dead_bytes=sum(dead),
        derived_bytes=sum(file.bytes for index in newest.indexes for file in index.files), disk_bytes=library.files.total(),
        vacuum_bytes=vacuum(library, dry_run=True).bytes,
        history_bytes=vacuum(library, keep=1, older_than_s=0, dry_run=True).bytes,
    )  # fmt: skip


def checkout(library: Versions, version: int, to: Path | str) -> Path:
    """Make a folder a library of its own that holds one version, under the number it has here; its files are linked or copied.

    Raises:
        RequestError: there is no such version.  FormatError: the folder is not empty.  WriteError: it cannot be written.
    """
    snapshot = library.snapshot(version)
    files = Files(Path(to))
    if files.exists("") and (not files.is_folder("") or files.list("")):
        raise FormatError(f"{files.root} is there already; give a new folder")
    source, folders = snapshot.manifest, {"manifests"}
    uuid = secrets.token_hex(16)
    for name in {**source.truth(), **source.derived()}:
        folder = name.rpartition("/")[0]
        if folder not in folders:
            files.make_folder(folder)
            folders.add(folder)
        with suppress(*([FileNotFoundError] if name in source.derived() else [])):  # can be made anew
            files.adopt(name, library.files)
    op = {
        "kind": "create",
        "txn_id": None,
        "note": f"checkout of version {version}",
        "added_rows": 0,
        "deleted_rows": 0,
    }
    tags = {name: number for name, number in library.tags.items() if number == version}
    alone = replace(
        source, library=uuid, parent=-1, time=manifests.now(), op=op, tags=tags, recent_txns=(), replaced_in=0
    )
    files.make_folder("manifests")
    files.put_exclusive(manifests.file_name(version), alone.to_bytes())
    for folder in sorted({*folders, *(folder.partition("/")[0] for folder in folders)}):
        files.sync_folder(folder)
    files.put_exclusive("library.json", card(uuid))
    files.sync_folder("")
    return files.root
