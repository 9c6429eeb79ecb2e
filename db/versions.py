"""The versions in a folder: which there are, the newest that is sound, and one by its number or tag.

- Opening reads one small JSON file, a snapshot one more, and nothing is written: read-only media are fine.
- A damaged newest manifest is named in a warning, with the version that is shown in its place; nothing is written after it.
- Whatever changes a library builds on this; :class:`db.Library` is this with all changes as its methods.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from db import manifest as manifests
from db.errors import CorruptionError, FormatError, LibraryError, LibraryNotFound, RequestError
from db.files import Files
from db.locks import Hold
from db.manifest import FORMAT, Manifest
from db.snapshot import Snapshot
from db.space import Space
from db.store import SegmentStore

log = logging.getLogger(__name__)

CARD = "library.json"
FOLDERS = ("manifests", "segments", "deletes")


def card(uuid: str) -> bytes:
    """What ``library.json`` says."""
    said = {"format": FORMAT, "uuid": uuid, "created": manifests.now(), "commit_method": "link"}
    return (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()


class Versions:
    """The versions in a folder."""

    def __init__(self, files: Files, uuid: str) -> None:
        self.files = files
        self.uuid = uuid
        self.store = SegmentStore(files)
        self.auto_compact = True  # after a commit, when it is due
        self.writer = f"remora {socket.gethostname()} {os.getpid()}"
        self._snapshots: dict[int, Snapshot] = {}
        self._told: set[str] = set()  # damaged manifests that were named

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.files.root

    @staticmethod
    def exists(path: Path | str) -> bool:
        """Whether there is a library in the folder."""
        return Files(Path(path)).exists(CARD)

    @classmethod
    def open(cls, path: Path | str, *, files: Files | None = None) -> Self:
        """The library in a folder.

        Raises:
            LibraryNotFound: there is nothing.  FormatError: something else, or newer.  CorruptionError: damaged.
        """
        files = files or Files(Path(path))
        if not files.exists(""):
            raise LibraryNotFound(
                f"there is no library at {files.root}; make one with: remora index SOURCE --library {files.root}"
            )
        if not files.is_folder(""):
            raise FormatError(f"{files.root} is a file, not the folder of a library; give another path")
        for folder in (*FOLDERS, "indexes"):
            if files.exists(folder) and not files.is_folder(folder):
                raise CorruptionError(
                    f"{files.root / folder} is a link or a file; a library holds plain folders only, copy its target here"
                )
        try:
            data = files.read(CARD)
        except FileNotFoundError:
            if max(manifests.list_versions(files), default=0) > 0:
                raise CorruptionError(
                    f"{files.root / CARD} is missing; restore it from a copy of the library"
                ) from None
            raise LibraryNotFound(
                f"{files.root} is a folder without {CARD}, not a library; "
                "make one with: remora index SOURCE --library NEW-FOLDER"
            ) from None
        try:
            said = json.loads(data)
            manifests.check_format(said.get("format"), str(files.root / CARD))  # first: a newer one may look otherwise
            return cls(files, str(said["uuid"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptionError(f"{files.root / CARD} is damaged ({error}); restore it from a copy") from error

    @property
    def tags(self) -> Mapping[str, int]:
        """Names of versions."""
        return self.snapshot().manifest.tags

    @property
    def latest(self) -> int:
        """The number of the newest version."""
        return self.snapshot().version

    @property
    def spaces(self) -> Mapping[str, Space]:
        """The vector spaces by name; a library keeps those it was made with."""
        return self.snapshot().spaces

    def manifest(self, version: int) -> Manifest:
        """The manifest of a version."""
        return manifests.read(self.files, version, self.uuid)

    def resolve(self, version: int | str) -> int:
        """The number of a version that is given by number or by tag.

        Raises:
            RequestError: there is no such tag.
        """
        text = str(version)
        if text.isdecimal():
            return int(text)
        tags = self.snapshot().manifest.tags
        if text not in tags:
            known = ", ".join(sorted(tags)) or "none"
            raise RequestError(f"{self.path} has no tag {text!r}; there are {known}, and numbers of versions")
        return tags[text]

    def snapshot(self, version: int | str | None = None) -> Snapshot:
        """The newest version, or the one asked for by number or tag; while it is in use, no vacuum takes it away.

        Raises:
            RequestError: there is no such version.  CorruptionError: it is damaged.
        """
        if version is not None:
            number = self.resolve(version)
            return self._snapshots.get(number) or self._kept(*self._leased(number))
        newest = manifests.list_versions(self.files)[-1:]
        if newest and newest[0] in self._snapshots:
            return self._snapshots[newest[0]]
        return self._newest()[0]

    def _newest(self) -> tuple[Snapshot, list[str]]:
        """The newest version that is sound, and the names of newer manifests that are damaged."""
        while True:
            found, damaged = manifests.read_newest(self.files, self.uuid)
            self._tell(damaged, found.version)
            if found.version in self._snapshots:
                return self._snapshots[found.version], damaged
            with suppress(RequestError):  # gone since: many versions and a vacuum came in between
                return self._kept(*self._leased(found.version)), damaged

    def _tell(self, damaged: list[str], shown: int) -> None:
        """Name manifests that are damaged, once, and what is shown in their place."""
        new = [name for name in damaged if name not in self._told]
        self._told.update(new)
        if new:
            log.warning(
                "%s is damaged; version %d is shown in its place; restore the file from a copy, or go back for good with "
                "remora library repair --rollback",
                ", ".join(str(self.path / name) for name in new), shown,
            )  # fmt: skip

    def _leased(self, version: int) -> tuple[Manifest, Hold | None]:
        """A version's manifest, and the lease on it."""
        try:
            lease = self.files.hold(manifests.file_name(version))
        except FileNotFoundError:
            raise manifests.no_version(self.files, version) from None
        return self.manifest(version), lease

    def _kept(self, manifest: Manifest, lease: Hold | None) -> Snapshot:
        """The snapshot of ``manifest``, whose files are all there; the last one used is kept."""
        try:
            self.store.check_sizes(manifest)
        except CorruptionError as error:
            raise CorruptionError(f"{error}{self._way_out(manifest.version)}") from error
        known = Snapshot(manifest, self.store, lease)
        self._snapshots = {manifest.version: known}
        return known

    def _way_out(self, damaged: int) -> str:
        """Which older version has all its files."""
        for version in reversed(manifests.list_versions(self.files)):
            if version < damaged:
                with suppress(LibraryError):
                    self.store.check_sizes(self.manifest(version))
                    return (
                        f"; version {version} has all its files: read it with --at {version}, or go back to it with "
                        "remora library repair --rollback"
                    )
        return ""

    def newest_for_writing(self) -> Snapshot:
        """The newest version, to be built on.

        Raises:
            CorruptionError: the newest manifest is damaged: a commit would bury it.  FormatError: it has features
                that a writer
                must know and this one does not.
        """
        base, damaged = self._newest()
        if damaged:
            raise CorruptionError(
                f"{self.path / damaged[0]} is damaged, so nothing is written after it; restore it from a copy, or go back to "
                f"version {base.version} with remora library repair --rollback"
            )
        unknown = base.manifest.writer_features & ~manifests.WRITER_FEATURES
        if unknown:
            raise FormatError(
                f"{self.path} needs writer features {unknown:#x} that this version lacks: it can be read, not changed; "
                "upgrade Remora"
            )
        return base
