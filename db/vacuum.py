"""Vacuum: old versions go, then the files that no version needs. Nothing that is in use or may yet be needed is touched.

- A version stays when it is among the newest, young, tagged, or held by a reader. Whether a reader holds it is asked of the
  system, which knows it without a clock and forgets it when the reader dies.
- Manifests go first, and that is made durable, before the first file they name goes: a vacuum that is cut short leaves files
  without a version, never a version without its files.
- Files are listed before versions are looked at, so that one written later is not seen. One that no version ever named may
  belong to a writer that is about to commit: it is left while that writer holds it, and for a time of grace (for file systems
  where holding is not known between machines). What versions were made since is looked at again before it goes.
- It needs no free space: that is when it is called for.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass

from db import manifest as manifests
from db.errors import CorruptionError, RequestError
from db.files import Files
from db.locks import Busy
from db.versions import Versions

KEEP = 10
DAY_S = 86_400.0
KEEP_S = 7 * DAY_S
GRACE_S = DAY_S
KINDS = ("segments", "deletes", "indexes")


@dataclass(frozen=True)
class VacuumReport:
    """What went, or would go: ``versions``, and ``files`` of ``bytes`` in all; ``held`` are versions that readers kept."""

    versions: tuple[int, ...]
    held: tuple[int, ...]
    files: int
    bytes: int
    dry_run: bool


def vacuum(
    library: Versions,
    *,
    keep: int = KEEP,
    older_than_s: float = KEEP_S,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
) -> VacuumReport:
    """Delete versions beyond the newest ``keep`` that are older than ``older_than_s``, and files that nothing needs.

    Args:
        library: whose versions they are.
        keep: how many of the newest versions stay whatever their age; at least 1.
        older_than_s: how old a version must be to go, in seconds.
        grace_s: how old a file must be that no version ever named, in seconds.
        dry_run: only say what would go.

    Raises:
        RequestError: a number is out of range.  CorruptionError: what a version that stays needs is not known.
        FormatError: the library has features that a writer must know and this one does not.
        WriteError: a manifest cannot be deleted; it stays, and so do all files.
    """
    if keep < 1 or not older_than_s >= 0 or not grace_s >= 0:
        raise RequestError(f"keep is {keep}, ages are {older_than_s} and {grace_s} s; keep at least 1, ages from 0")
    library.newest_for_writing()
    files, now = library.files, time.time()
    listed = _list(files)
    with ExitStack() as holds:
        doomed, busy = _doomed(library, keep, older_than_s, now, holds)
        staying: dict[int, frozenset[str]] = {}
        needed = _needed(library, doomed, staying)
        once = frozenset[str]().union(*(_names_of(library, version) or () for version in doomed))
        orphans = [
            name
            for name in listed
            if name not in needed
            and (name in once or _old(files, name, now, grace_s))  # else a writer may be about to name it
            and _seize(files, name, holds)
        ]
        needed = _needed(library, doomed, staying)  # what was committed before it was seized
        orphans = [name for name in orphans if name not in needed]
        going = [manifests.file_name(version) for version in doomed]
        pieces = [piece for name in orphans for piece in _pieces(files, name)]
        size = sum(_size(files, name) for name in going + pieces)
        if not dry_run:
            for name in going:
                files.delete(name)
            files.sync_folder("manifests")
            for name in pieces:
                files.remove(name)
            for name in filter(files.is_folder, orphans):
                files.remove_folder(name)
    return VacuumReport(tuple(sorted(doomed)), tuple(busy), len(pieces), size, dry_run)


def _list(files: Files) -> list[str]:
    """Everything that a version may name, and what writers left over."""
    left = [
        f"{folder}/{name}" for folder in ("", "manifests") for name in files.list(folder) if name.startswith(".tmp-")
    ]
    return [f"{kind}/{name}" for kind in KINDS for name in files.list(kind)] + [name.lstrip("/") for name in left]


def _doomed(
    library: Versions, keep: int, older_than_s: float, now: float, holds: ExitStack
) -> tuple[set[int], list[int]]:
    """Versions to go, each seized, and those that would go if no reader held them."""
    files = library.files
    doomed, busy = set(), []
    for version in manifests.list_versions(files)[:-keep]:
        name = manifests.file_name(version)
        if _old(files, name, now, older_than_s):
            if _seize(files, name, holds):
                doomed.add(version)
            elif files.exists(name):
                busy.append(version)
    tags = library.snapshot().manifest.tags.values()  # looked at now: a tag is set while its version is held
    return doomed - set(tags), busy


def _seize(files: Files, name: str, holds: ExitStack) -> bool:
    """Whether nobody else has a file or folder; if so nobody will, until ``holds`` is closed.

    What a commit left of a manifest that has its name by now is nobody's, though readers hold the manifest itself.
    """
    try:
        if name.startswith("manifests/.tmp-") and files.is_second_name(name):
            return True
        hold = files.seize(name)
    except (Busy, FileNotFoundError):
        return False
    if hold is not None:
        holds.callback(hold.release)
    return True


def _needed(library: Versions, doomed: set[int], staying: dict[int, frozenset[str]]) -> frozenset[str]:
    """What the versions that stay name; ``staying`` remembers what was read already."""
    for version in manifests.list_versions(library.files):
        if version not in doomed and version not in staying:
            names = _names_of(library, version)
            if names is None:
                raise CorruptionError(
                    f"{library.files.root / manifests.file_name(version)} is damaged, so what it needs is not known "
                    "and nothing is deleted; run remora library repair"
                )
            staying[version] = names
    return frozenset[str]().union(*staying.values())


def _names_of(library: Versions, version: int) -> frozenset[str] | None:
    """The folders and files that a version names; None when its manifest is damaged."""
    try:
        manifest = library.manifest(version)
    except CorruptionError:
        return None
    except RequestError:  # another vacuum took it
        return frozenset()
    segments = {f"segments/{entry.id}" for entry in manifest.segments}
    bitmaps = {f"deletes/{entry.deletes.name}" for entry in manifest.segments if entry.deletes}
    return frozenset(segments | bitmaps | {f"indexes/{entry.id}" for entry in manifest.indexes})


def _old(files: Files, name: str, now: float, seconds: float) -> bool:
    """Whether a file is there and that old; 0 asks for no age, so that no clock that was set back keeps it."""
    try:
        return files.age_s(name, now) >= seconds or seconds == 0
    except FileNotFoundError:
        return False


def _pieces(files: Files, name: str) -> list[str]:
    """The files of a folder, or the file itself."""
    return [f"{name}/{piece}" for piece in files.list(name)] if files.is_folder(name) else [name]


def _size(files: Files, name: str) -> int:
    try:
        return files.size(name)
    except FileNotFoundError:
        return 0
