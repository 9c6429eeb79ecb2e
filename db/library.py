"""A library: one folder with all its versions. Open it, look at a snapshot, change it by a transaction.

- Opening reads one small JSON file, a snapshot one more, and nothing is written: read-only media are fine.
- A folder is a library from the moment ``library.json`` exists in it; a creation that was cut short can be done again.
- A library keeps the spaces and the encoder it was made with: creating it again with others is refused, not ignored.
- Only relative names are stored: a copied folder is a library.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import manifest as manifests
from db.commit import Transaction
from db.compaction import CompactReport, compact
from db.errors import (
    ConflictError,
    CorruptionError,
    FormatError,
    LibraryError,
    LibraryNotFound,
    RequestError,
    WriteError,
)
from db.files import Files, Hold
from db.history import Diff, LibraryStats, VersionInfo, checkout, diff, stats, versions
from db.ingest import Ingest
from db.manifest import FORMAT, Manifest
from db.marks import NewIndex, change_indexes, configure, restore, set_tag
from db.publish import CommitReport
from db.repair import RepairReport, repair
from db.snapshot import Snapshot
from db.space import Space
from db.store import SegmentStore
from db.vacuum import GRACE_S, KEEP, KEEP_S, VacuumReport, vacuum
from db.verify import VerifyReport, verify

if TYPE_CHECKING:
    from db.indexes import IndexSpec
    from db.tune import TuneReport

CARD = "library.json"
FOLDERS = ("manifests", "segments", "deletes")


def card(uuid: str) -> bytes:
    """What ``library.json`` says."""
    said = {"format": FORMAT, "uuid": uuid, "created": manifests.now(), "commit_method": "link"}
    return (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()


class Library:
    """The versions in a folder."""

    def __init__(self, files: Files, uuid: str) -> None:
        self.files = files
        self.uuid = uuid
        self.store = SegmentStore(files)
        self.auto_compact = True  # after a commit, when it is due
        self.writer = f"remora {socket.gethostname()} {os.getpid()}"
        self._snapshots: dict[int, Snapshot] = {}

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
    def create(
        cls, path: Path | str, *, spaces: Sequence[Space], encoder: Mapping[str, Any], files: Files | None = None
    ) -> Library:
        """Make an empty library (version 0) in a folder that is new or empty; the same library made before is opened.

        Raises:
            FormatError: the folder holds something else.  ConflictError: a library of other spaces or of another
                encoder.
            WriteError: it cannot be written.
        """
        files = files or Files(Path(path))
        if files.exists("") and not files.is_folder(""):
            raise WriteError(f"{files.root} is a file, not a folder; give another path for the library")
        if files.exists(CARD):
            return cls.open(path, files=files)._made_with(spaces, encoder)
        foreign = [name for name in files.list("") if name not in FOLDERS and not name.startswith(".tmp-")]
        if foreign:
            raise FormatError(f"{files.root} is not empty ({foreign[0]}) and not a library; give a new folder")
        files.make_folder("")
        for folder in FOLDERS:
            files.make_folder(folder)
        files.sync_folder("")
        first = Manifest(
            library=secrets.token_hex(16), version=0, parent=-1, time=manifests.now(),
            writer=f"remora {socket.gethostname()} {os.getpid()}",
            op={"kind": "create", "txn_id": None, "note": "", "added_rows": 0, "deleted_rows": 0},
            spaces=tuple(spaces), encoder=dict(encoder),
        )  # fmt: skip
        uuid = first.library
        if not files.put_exclusive(
            manifests.file_name(0), first.to_bytes()
        ):  # another writer's, or of a creation cut short
            uuid = manifests.parse(files.read(manifests.file_name(0)), manifests.file_name(0)).library
        files.sync_folder("manifests")
        made = cls(files, uuid)._made_with(spaces, encoder)
        files.put_exclusive(CARD, card(uuid))
        files.sync_folder("")
        return made

    def _made_with(self, spaces: Sequence[Space], encoder: Mapping[str, Any]) -> Library:
        """This library, which must have been made with these spaces and this encoder."""
        known = self.snapshot()
        same = set(known.spaces.values()) == set(spaces)
        if not same or known.encoder.get("fingerprint") != encoder.get("fingerprint"):
            raise ConflictError(
                f"{self.path} is a library of encoder {known.encoder.get('name')!r} with spaces "
                f"{', '.join(sorted(known.spaces))}, not what is to be created; give a new folder"
            )
        return self

    @classmethod
    def open(cls, path: Path | str, *, files: Files | None = None) -> Library:
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
            if found.version in self._snapshots:
                return self._snapshots[found.version], damaged
            with suppress(RequestError):  # gone since: many versions and a vacuum came in between
                return self._kept(*self._leased(found.version)), damaged

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

    def begin(self, txn_id: str | None = None, note: str = "") -> Transaction:
        """Start a change; ``txn_id`` makes its commit happen once however often it is tried.

        Raises:
            CorruptionError: the newest version is damaged: a commit would bury it.
        """
        return Transaction(self, txn_id=txn_id, note=note, since=self.newest_for_writing().version)

    def ingest(self, note: str = "") -> Ingest:
        """Commit many small changes in groups; see :class:`db.ingest.Ingest`."""
        return Ingest(self, note)

    @property
    def tags(self) -> Mapping[str, int]:
        """Names of versions."""
        return self.snapshot().manifest.tags

    def tag(self, name: str, version: int | str | None = None) -> CommitReport:
        """Give a version (the newest, where none is given) a name that keeps it from a vacuum; as
        :func:`db.marks.set_tag`.
        """
        return set_tag(self, name, self.latest if version is None else self.resolve(version))

    def untag(self, name: str) -> CommitReport:
        """Take a version's name away; as :func:`db.marks.set_tag`."""
        return set_tag(self, name, None)

    def configure(self, settings: Mapping[str, Any]) -> CommitReport:
        """Change settings that the library remembers; as :func:`db.marks.configure`."""
        return configure(self, settings)

    def tune(self, **options: Any) -> TuneReport:
        """Measure ways of searching and make the best the library's; options and errors as in :func:`db.tune.tune`."""
        from db.tune import tune

        return tune(self, **options)

    def use_index(self, space: str, spec: IndexSpec | None) -> int:
        """Search a space by an index of this kind from now on, or exactly; as :func:`db.tune.use_index`."""
        from db.tune import use_index

        return use_index(self, space, spec)

    def rebuild_indexes(self) -> list[str]:
        """Build again what is missing, damaged or outgrown; as :func:`db.tune.rebuild_indexes`."""
        from db.tune import rebuild_indexes

        return rebuild_indexes(self)

    def change_indexes(self, put: Sequence[NewIndex] = (), drop: Sequence[str] = ()) -> CommitReport:
        """Put and drop derived indexes; as :func:`db.marks.change_indexes`."""
        return change_indexes(self, put, drop)

    def restore(self, version: int | str) -> CommitReport:
        """Go back to the rows of an old version, as a new one; as :func:`db.marks.restore`."""
        return restore(self, self.resolve(version))

    def compact(self, *, thorough: bool = False) -> CompactReport:
        """Merge small segments and leave dead rows behind; as :func:`db.compaction.compact`."""
        return compact(self, thorough=thorough)

    def vacuum(
        self, *, keep: int = KEEP, older_than_s: float = KEEP_S, grace_s: float = GRACE_S, dry_run: bool = False
    ) -> VacuumReport:
        """Delete old versions and files that nothing needs; as :func:`db.vacuum.vacuum`."""
        return vacuum(self, keep=keep, older_than_s=older_than_s, grace_s=grace_s, dry_run=dry_run)

    def versions(self) -> list[VersionInfo]:
        """All versions that can be read, oldest first."""
        return versions(self)

    def diff(self, old: int | str, new: int | str | None = None) -> Diff:
        """What is different in version ``new`` (the newest, where none is given); as :func:`db.history.diff`."""
        return diff(self.snapshot(old), self.snapshot(new), self.store)

    def stats(self) -> LibraryStats:
        """How large the library is and what could be freed."""
        return stats(self)

    def checkout(self, version: int | str, to: Path | str) -> Path:
        """Make a folder a library that holds one version; as :func:`db.history.checkout`."""
        return checkout(self, self.resolve(version), to)

    def verify(self, *, all_versions: bool = False) -> VerifyReport:
        """Read every byte of the newest version, or of all, and say what does not fit."""
        return verify(self.files, self.store, self.uuid, all_versions=all_versions)

    def repair(self, *, rollback: bool = False) -> RepairReport:
        """Drop damaged indexes; with ``rollback`` go back to the newest good version; as :func:`db.repair.repair`."""
        return repair(self, rollback=rollback)
