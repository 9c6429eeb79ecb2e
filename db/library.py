"""A library: one folder with all its versions. Open it, look at a snapshot, change it by a transaction.

- Opening reads one small JSON file, a snapshot one more, and nothing is written: read-only media are fine.
- A folder is a library from the moment ``library.json`` exists in it; a creation that was cut short can be done again.
- A library keeps the spaces and the encoder it was made with: creating it again with others is refused, not ignored.
- Only relative names are stored: a copied folder is a library.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import manifest as manifests
from db.commit import Transaction
from db.compaction import CompactReport, compact
from db.errors import (
    ConflictError,
    FormatError,
    WriteError,
)
from db.files import Files
from db.history import Diff, LibraryStats, VersionInfo, checkout, diff, stats, versions
from db.ingest import Ingest
from db.manifest import Manifest
from db.marks import NewIndex, change_indexes, configure, restore, set_tag
from db.publish import CommitReport
from db.repair import RepairReport, repair
from db.space import Space
from db.vacuum import GRACE_S, KEEP, KEEP_S, VacuumReport, vacuum
from db.verify import VerifyReport, verify
from db.versions import CARD, FOLDERS, Versions, card

if TYPE_CHECKING:
    from db.indexes import IndexSpec
    from db.tune import TuneReport


class Library(Versions):
    """The versions in a folder, and every way to change them."""

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

    def begin(self, txn_id: str | None = None, note: str = "") -> Transaction:
        """Start a change; ``txn_id`` makes its commit happen once however often it is tried.

        Raises:
            CorruptionError: the newest version is damaged: a commit would bury it.
        """
        return Transaction(self, txn_id=txn_id, note=note)

    def ingest(self, note: str = "") -> Ingest:
        """Commit many small changes in groups; see :class:`db.ingest.Ingest`."""
        return Ingest(self, note)

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
