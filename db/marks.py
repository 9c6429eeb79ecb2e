"""Changes of what a library says of its rows, not of the rows: tags, settings, derived indexes; and going back in time.

- Tags and settings merge with whatever came in between, unless another writer changed the same one.
- An index is kept while all segments it covers are there; rows that came since are not in it, deleted ones are masked
  by who reads it. Of two indexes of one name the later wins.
- Going back makes a new version with the rows of the old one: nothing is lost, and nothing may have come in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from db.errors import ConflictError, RequestError
from db.manifest import IndexEntry, Manifest
from db.publish import CommitReport, Terms, publish
from db.snapshot import Snapshot
from db.store import SegmentStore
from db.versions import Versions

if TYPE_CHECKING:
    from db.locks import Hold

_TAG = re.compile(r"[A-Za-z_][\w.\-]{0,99}")


@dataclass(frozen=True)
class NewIndex:
    """An index to be put into a library; what the fields mean is said at :class:`db.manifest.IndexEntry`."""

    name: str
    space: str
    kind: str
    covers: Sequence[str]
    rows: int
    files: Mapping[str, bytes | memoryview]
    params: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edit:
    """A change of the manifest alone, as a :class:`db.publish.Change`."""

    make: Callable[[Snapshot], Manifest | None]

    def rebase(self, base: Snapshot) -> Manifest | None:
        """``base`` edited."""
        return self.make(base)

    def lost(self) -> None:
        """There are no files."""

    discard = release = lost


def set_tag(library: Versions, name: str, version: int | None) -> CommitReport:
    """Give a version a name, or take the name away (None).

    Raises:
        RequestError: it is no good name, or there is no such version.
        ConflictError: the name belongs to another version, or another writer changed it meanwhile.
    """
    if not _TAG.fullmatch(name):
        raise RequestError(f"{name!r} cannot be a tag; use letters, digits, '_', '-' and '.', beginning with a letter")
    kept = (
        library.snapshot(version) if version is not None else None
    )  # held: no vacuum takes it away before it is tagged
    before = library.snapshot().manifest.tags.get(name)
    if version is None and before is None:
        raise RequestError(f"{library.path} has no tag {name!r}; there are {', '.join(sorted(library.tags)) or 'none'}")

    def make(base: Snapshot) -> Manifest | None:
        now = base.manifest.tags.get(name)
        if now != before or (version is not None and now not in (None, version)):
            raise ConflictError(f"the tag {name!r} belongs to version {now}; take it away first, or use another name")
        if kept is not None and now == kept.version:
            return None
        tags = {known: number for known, number in base.manifest.tags.items() if known != name}
        if kept is not None:
            tags[name] = kept.version
        return replace(base.manifest, op={"kind": "tag"}, tags=tags)

    note = f"{name} is version {version}" if version is not None else f"{name} taken away"
    return CommitReport(publish(library, Edit(make), Terms(note=note)).version)


def configure(library: Versions, settings: Mapping[str, Any]) -> CommitReport:
    """Set what the library remembers of how it is to be used, by key; None takes a key away.

    Raises:
        ConflictError: another writer changed one of the keys meanwhile.  RequestError: a value is no plain JSON.
    """
    before = library.snapshot().manifest.config

    def make(base: Snapshot) -> Manifest | None:
        config = base.manifest.config
        changed = [key for key in settings if config.get(key) != before.get(key)]
        if changed:
            raise ConflictError(
                f"another writer has changed the setting {changed[0]!r} meanwhile; look at it, then try again"
            )
        new = {key: value for key, value in {**config, **settings}.items() if value is not None}
        return None if new == config else replace(base.manifest, op={"kind": "config"}, config=new)

    return CommitReport(publish(library, Edit(make), Terms(note=", ".join(sorted(settings)))).version)


def change_indexes(library: Versions, put: Sequence[NewIndex], drop: Sequence[str]) -> CommitReport:
    """Put derived indexes into a new version and take others away; none whose segments are gone meanwhile is put.

    Raises:
        RequestError: two indexes of one name, or an unknown space.  WriteError: the disk refused.
    """
    names = [index.name for index in put]
    if len(set(names)) != len(names):
        raise RequestError(f"two indexes are called {max(names, key=names.count)!r}; give each a name")
    unknown = {index.space for index in put} - set(library.spaces)
    if unknown:
        raise RequestError(f"no space {min(unknown)!r}; this library has {', '.join(sorted(library.spaces))}")
    change = _IndexChange(library.store, tuple(put), frozenset(drop))
    return CommitReport(publish(library, change, Terms(note=f"{len(put)} put, {len(drop)} dropped")).version)


@dataclass
class _IndexChange:
    """Indexes that come and go, as a :class:`db.publish.Change`."""

    store: SegmentStore
    put: tuple[NewIndex, ...]
    drop: frozenset[str]
    written: dict[str, IndexEntry] = field(default_factory=dict)
    holds: list[Hold | None] = field(default_factory=list)

    def rebase(self, base: Snapshot) -> Manifest | None:
        """``base`` with the indexes that fit it."""
        there = {segment.id for segment in base.manifest.segments}
        fitting = [index for index in self.put if there.issuperset(index.covers)]
        for index in fitting:
            if index.name not in self.written:
                self._write(index)
        for name in set(self.written) - {index.name for index in fitting}:
            self.store.discard("indexes", self.written.pop(name).id)
        replaced = self.drop | set(self.written)
        kept = [index for index in base.manifest.indexes if index.name not in replaced]
        if not fitting and len(kept) == len(base.manifest.indexes):
            return None
        return replace(base.manifest, op={"kind": "index"}, indexes=(*kept, *self.written.values()))

    def _write(self, index: NewIndex) -> None:
        number, files, hold = self.store.write_index(index.files)
        self.holds.append(hold)
        self.written[index.name] = IndexEntry(
            id=number, name=index.name, space=index.space, kind=index.kind, covers=tuple(index.covers), rows=index.rows,
            files=files, params=dict(index.params), info=dict(index.info),
        )  # fmt: skip

    def lost(self) -> None:
        """Indexes fit the next version as well."""

    def discard(self) -> None:
        """Nothing of it stays."""
        for entry in self.written.values():
            self.store.discard("indexes", entry.id)

    def release(self) -> None:
        """The files belong to a version, or are gone."""
        for hold in self.holds:
            if hold is not None:
                hold.release()


def restore(library: Versions, version: int) -> CommitReport:
    """Make a new version with the rows of an old one; tags and settings stay as they are.

    Raises:
        RequestError: there is no such version.  CorruptionError: it is damaged.
        ConflictError: another writer made a version meanwhile; nothing is merged here.
    """
    newest = library.newest_for_writing()
    old = library.snapshot(version)  # held: no vacuum takes it away meanwhile

    def make(base: Snapshot) -> Manifest | None:
        if (base.manifest.segments, base.manifest.checksum) == (old.manifest.segments, old.manifest.checksum):
            return None
        return replace(
            base.manifest, op={"kind": "restore"}, segments=old.manifest.segments, indexes=old.manifest.indexes,
            checksum=old.manifest.checksum, replaced_in=base.version + 1,
        )  # fmt: skip

    terms = Terms(note=f"rows of version {old.version}", expect=newest.version, since=newest.version)
    return CommitReport(publish(library, Edit(make), terms).version)
