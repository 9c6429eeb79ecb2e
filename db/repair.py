"""What to do about damage: find the newest good version, go back to it, move what is damaged out of the way.

- Nothing is deleted: damaged manifests and files are moved to ``quarantine/`` under the names they had.
- The rows of the newest good version become a new version, numbered after the damaged ones, before these are moved: whoever
  remembers a number never meets another version under it, and a repair that is cut short leaves a library that works.
- A derived index that is damaged is dropped from the newest version; the search does without until it is built anew. That of a
  segment's ids follows from its rows and is written anew at once.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from db import ids
from db import manifest as manifests
from db.errors import ConflictError, CorruptionError
from db.files import Files
from db.manifest import Manifest
from db.marks import change_indexes
from db.verify import check_version, damaged_indexes, damaged_manifests, without_ids
from db.versions import Versions


@dataclass(frozen=True)
class RepairReport:
    """What is damaged and what was done: ``good`` is the newest version that is sound, ``version`` the one there is now.

    ``lost`` are versions after ``good`` that cannot be read, ``moved`` what lies in quarantine, ``indexes`` names of derived
    indexes that were dropped, ``renewed`` files that were written anew.
    """

    problems: tuple[str, ...]
    good: int
    lost: tuple[int, ...]
    version: int
    moved: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()

    @property
    def needs_rollback(self) -> bool:
        """Whether the newest version is still a damaged one."""
        return bool(self.lost) and self.version < self.lost[-1]


def newest_good(library: Versions) -> tuple[Manifest, list[str]]:
    """The newest version of which every byte is right, and what is wrong with those after it.

    Raises:
        CorruptionError: there is none.
    """
    problems: list[str] = []
    for version in reversed(manifests.list_versions(library.files)):
        try:
            manifest = library.manifest(version)
        except CorruptionError as error:
            problems.append(str(error))
            continue
        found = check_version(library.files, library.store, manifest)
        if not found:
            return manifest, problems
        problems += [f"version {version}: {problem}" for problem in found]
    raise CorruptionError(f"{library.path} has no version that is whole ({problems[0]}); restore it from a copy")


def repair(library: Versions, *, rollback: bool = False) -> RepairReport:
    """Drop damaged indexes and say what else is damaged; with ``rollback`` go back to the newest good version.

    Raises:
        CorruptionError: no version is whole.  WriteError: the disk refused.
    """
    good, problems = newest_good(library)
    versions = manifests.list_versions(library.files)
    lost = tuple(version for version in versions if version > good.version)
    if lost and not rollback:
        return RepairReport(tuple(problems), good.version, lost, good.version)
    moved: list[str] = []
    version = good.version
    if lost:
        version = _go_back(library, good, versions[-1] + 1)
        moved += _quarantine(library, [manifests.file_name(number) for number in lost])
    moved += _quarantine(library, list(damaged_manifests(library.files, library.uuid)))
    if moved:
        moved += _quarantine(library, _broken_segments(library, problems))
    bad = damaged_indexes(library.files, library.snapshot().manifest)
    if bad:
        version = change_indexes(library, (), [index.name for index in bad]).version
        moved += _quarantine(library, [f"indexes/{index.id}" for index in bad])
    dropped = tuple(index.name for index in bad)
    renewed, aside = _renew_ids(library)
    return RepairReport(tuple(problems), good.version, lost, version, (*moved, *aside), dropped, tuple(renewed))


def _renew_ids(library: Versions) -> tuple[list[str], list[str]]:
    """Write indexes of ids from the rows, the same bytes as at first; their names, and those of what was moved aside."""
    versions = [library.manifest(number) for number in manifests.list_versions(library.files)]
    segments = {entry.id: entry for manifest in versions for entry in manifest.segments}
    renewed, moved = [], []
    for entry in without_ids(library.files, library.store, segments.values()):
        with suppress(CorruptionError):  # the rows of an old version, which its own line names
            data = ids.IdIndex.of(library.store.clip_ids(entry).tolist()).pack()
            name = library.store.path(entry, ids.FILE)
            moved += _quarantine(library, [name])
            library.files.put_exclusive(name, data)
            library.files.sync_folder(f"segments/{entry.id}")
            renewed.append(name)
    return renewed, moved


def _go_back(library: Versions, good: Manifest, version: int) -> int:
    """Make a version of the rows of ``good`` that comes after the damaged ones."""
    op = {
        "kind": "repair",
        "txn_id": None,
        "note": f"rows of version {good.version}",
        "added_rows": 0,
        "deleted_rows": 0,
    }
    new = replace(
        good,
        version=version,
        parent=good.version,
        time=manifests.now(),
        writer=library.writer,
        op=op,
        replaced_in=version,
    )
    if not library.files.put_exclusive(manifests.file_name(version), new.to_bytes()):
        raise ConflictError(f"another writer made version {version} meanwhile; look at it, then repair again")
    library.files.sync_folder("manifests")
    return version


def _quarantine(library: Versions, names: list[str]) -> list[str]:
    """Move files and folders aside; their names there."""
    files, moved = library.files, []
    for name in names:
        folder, _, last = name.rpartition("/")
        target, number = f"quarantine/{folder}/{last}", 1
        files.make_folder(f"quarantine/{folder}")
        while files.exists(target):
            target, number = f"quarantine/{folder}/{last}.{number}", number + 1
        if files.exists(name):
            files.rename(name, target)
            moved.append(target)
            files.sync_folder(folder)
            files.sync_folder(f"quarantine/{folder}")
    return moved


def _broken_segments(library: Versions, problems: list[str]) -> list[str]:
    """Segments and bitmaps that are damaged and that no version needs any more: kept from a vacuum, perhaps to be mended."""
    needed: set[str] = set()
    for version in manifests.list_versions(library.files):
        needed |= set(library.manifest(version).truth())
    return [name for name in _named(library.files) if not _in(name, needed) and any(name in text for text in problems)]


def _named(files: Files) -> list[str]:
    return [f"{kind}/{name}" for kind in ("segments", "deletes") for name in files.list(kind)]


def _in(name: str, needed: set[str]) -> bool:
    return any(other == name or other.startswith(f"{name}/") for other in needed)
