"""A manifest is a version: which segments it has, which of their rows are deleted, what the vectors are.

- One JSON file a version, keys sorted, sealed by a hash of itself; unknown keys starting with ``x_`` are carried along.
- Feature bits say what a reader or writer must understand: an unknown bit is refused, not guessed.
- A version exists when its manifest does; the newest one whose seal holds is the library.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from db import ids
from db.errors import CorruptionError, FormatError, LibraryError, RequestError
from db.files import Files
from db.space import Space

FORMAT = 1
READER_FEATURES = 1 | 2 | 4 | 32  # deletes, parts, captions table, inline motions
WRITER_FEATURES = 0
_NAME = re.compile(r"^(\d{20})\.json$")
_FILE_NAME = re.compile(r"[0-9a-z][0-9a-z.\-]*")
KNOWN_TRANSACTIONS = 64


@dataclass(frozen=True)
class FileEntry:
    """A file of a segment: its name in the segment's folder, size and blake2b-256."""

    name: str
    bytes: int
    blake2b: str


@dataclass(frozen=True)
class SegmentEntry:
    """One immutable batch of rows; ``deletes`` is the bitmap file of its dead rows, ``live`` counts the others."""

    id: str
    rows: int
    live: int
    captions: int
    created_in: int
    files: tuple[FileEntry, ...]
    deletes: FileEntry | None = None

    def file(self, name: str) -> FileEntry:
        """The entry of the file called ``name``."""
        for entry in self.files:
            if entry.name == name:
                return entry
        raise CorruptionError(f"segment {self.id} has no file {name}; verify the library")


@dataclass(frozen=True)
class IndexEntry:
    """A derived file set over the rows of some segments: it speeds a search up and may be deleted at any time.

    ``name`` is unique in a version and chosen by who builds it; ``covers`` are segment ids in the order of the
    index's rows. ``params`` and ``info`` are plain JSON, for the search alone to read.
    """

    id: str
    name: str
    space: str
    kind: str
    covers: tuple[str, ...]
    rows: int
    files: tuple[FileEntry, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    def path(self, file: str) -> str:
        """The name inside the library of one of its files."""
        return f"indexes/{self.id}/{file}"


@dataclass(frozen=True)
class Manifest:
    """Everything a version is. ``replaced_in`` is the last version that took all rows from an older one."""

    library: str
    version: int
    parent: int
    time: str
    writer: str
    op: Mapping[str, Any]
    spaces: tuple[Space, ...]
    encoder: Mapping[str, Any]
    segments: tuple[SegmentEntry, ...] = ()
    indexes: tuple[IndexEntry, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    replaced_in: int = 0
    tags: Mapping[str, int] = field(default_factory=dict)
    recent_txns: tuple[tuple[str, int], ...] = ()
    checksum: int = 0  # sum modulo 2**128 of the hashes of live ids
    extra: Mapping[str, Any] = field(default_factory=dict)
    writer_features: int = WRITER_FEATURES

    @property
    def live(self) -> int:
        """Rows that are not deleted."""
        return sum(segment.live for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes of all files of this version's segments."""
        files = [entry for s in self.segments for entry in (*s.files, *((s.deletes,) if s.deletes else ()))]
        return sum(entry.bytes for entry in files)

    def truth(self) -> dict[str, FileEntry]:
        """The files that are the version, by their names inside the library."""
        found = {name: entry for name, entry in self._of_segments() if entry.name != ids.FILE}
        return found | {f"deletes/{s.deletes.name}": s.deletes for s in self.segments if s.deletes}

    def derived(self) -> dict[str, FileEntry]:
        """The files that can be made anew from the others, by their names inside the library."""
        found = {name: entry for name, entry in self._of_segments() if entry.name == ids.FILE}
        return found | {index.path(entry.name): entry for index in self.indexes for entry in index.files}

    def _of_segments(self) -> Iterator[tuple[str, FileEntry]]:
        for segment in self.segments:
            yield from ((f"segments/{segment.id}/{entry.name}", entry) for entry in segment.files)

    def of_segments(self, segments: Sequence[SegmentEntry]) -> Manifest:
        """This with other segments; an index over one that is gone is dropped."""
        there = {segment.id for segment in segments}
        kept = tuple(index for index in self.indexes if there.issuperset(index.covers))
        return replace(self, segments=tuple(segments), indexes=kept)

    def to_bytes(self) -> bytes:
        """The file: canonical JSON with the seal as its last key."""
        body = {
            "format": FORMAT, "library": self.library, "version": self.version, "parent": self.parent, "time": self.time,
            "writer": self.writer, "op": dict(self.op), "reader_features": READER_FEATURES,
            "writer_features": self.writer_features, "spaces": [space.to_json() for space in self.spaces],
            "encoder": dict(self.encoder), "segments": [_segment_to_json(s) for s in self.segments],
            "indexes": [_index_to_json(i) for i in self.indexes], "config": dict(self.config),
            "replaced_in": self.replaced_in, "tags": dict(self.tags), "recent_txns": [list(pair) for pair in self.recent_txns],
            "totals": {
                "rows": sum(s.rows for s in self.segments), "live": self.live, "bytes": self.size,
                "checksum": f"{self.checksum:032x}",
            },
            **self.extra,
        }  # fmt: skip
        try:
            text = json.dumps(body, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
            seal = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        except (TypeError, ValueError) as error:  # surrogates are a ValueError, too
            raise RequestError(
                f"the encoder's description, a note, tag, setting or transaction id is no JSON ({error}); use plain values"
            ) from error
        return f'{text[:-2]},\n "self": "{seal}"\n}}\n'.encode()


def _segment_to_json(segment: SegmentEntry) -> dict[str, Any]:
    files = [vars(entry) for entry in segment.files]
    deletes = vars(segment.deletes) if segment.deletes else None
    return {
        "id": segment.id, "rows": segment.rows, "live": segment.live, "captions": segment.captions,
        "created_in": segment.created_in, "files": files, "deletes": deletes,
    }  # fmt: skip


def _index_to_json(index: IndexEntry) -> dict[str, Any]:
    return {**vars(index), "covers": list(index.covers), "files": [vars(entry) for entry in index.files]}


def parse(data: bytes, name: str) -> Manifest:
    """The manifest in ``data``; FormatError for what this version cannot read, CorruptionError when the seal is
    broken.
    """
    try:
        body = json.loads(data)
        seal = body.pop("self")
        text = json.dumps(body, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
        found = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CorruptionError(f"{name} is damaged ({error}); an older version may still be good") from error
    if found != seal:
        raise CorruptionError(f"{name} is damaged (its hash does not fit); an older version may still be good")
    check_format(body.get("format"), name)
    try:
        unknown = int(body.get("reader_features", 0)) & ~READER_FEATURES
        manifest = None if unknown else _from_json(body)
    except (KeyError, TypeError, ValueError, AttributeError, LibraryError) as error:
        raise CorruptionError(f"{name} is incomplete ({error}); verify the library") from error
    if manifest is None:
        raise FormatError(f"{name} needs reader features {unknown:#x} that this version lacks; upgrade Remora")
    return manifest


def check_format(found: Any, name: str) -> None:
    """Refuse a format that is newer than this code, or none at all."""
    if not isinstance(found, int) or found < 1:
        raise FormatError(f"{name} is not of a Remora library (format {found!r}); give the folder of a library")
    if found > FORMAT:
        raise FormatError(f"{name} has format {found}, this version reads up to {FORMAT}; upgrade Remora")


def _from_json(body: dict[str, Any]) -> Manifest:
    segments = tuple(
        SegmentEntry(
            id=s["id"], rows=s["rows"], live=s["live"], captions=s["captions"], created_in=s["created_in"],
            files=tuple(FileEntry(**entry) for entry in s["files"]),
            deletes=FileEntry(**s["deletes"]) if s["deletes"] else None,
        )
        for s in body["segments"]
    )  # fmt: skip
    for segment in segments:
        _check_segment(segment)
    indexes = tuple(
        IndexEntry(
            id=i["id"], name=i["name"], space=i["space"], kind=i["kind"], covers=tuple(i["covers"]), rows=i["rows"],
            files=tuple(FileEntry(**entry) for entry in i["files"]), params=i["params"], info=i["info"],
        )
        for i in body["indexes"]
    )  # fmt: skip
    for index in indexes:
        _check_names(index.id, index.files, (index.rows,))
    found = Manifest(
        library=body["library"], version=body["version"], parent=body["parent"], time=body["time"], writer=body["writer"],
        op=body["op"], spaces=tuple(Space.from_json(s) for s in body["spaces"]), encoder=body["encoder"],
        segments=segments, indexes=indexes, config=body.get("config", {}), replaced_in=int(body.get("replaced_in", 0)),
        tags=body["tags"], recent_txns=tuple((t, v) for t, v in body["recent_txns"]),
        checksum=int(body["totals"]["checksum"], 16), extra={k: v for k, v in body.items() if k.startswith("x_")},
        writer_features=int(body.get("writer_features", 0)),
    )  # fmt: skip
    totals = {"rows": sum(s.rows for s in segments), "live": found.live, "bytes": found.size}
    wrong = [name for name, value in totals.items() if body["totals"][name] != value]
    if wrong:
        raise ValueError(f"its total of {wrong[0]} is not that of its segments")
    return found


def _check_segment(segment: SegmentEntry) -> None:
    """ValueError when a number or name of the entry cannot be true; what it says of the disk is checked where it is
    read.
    """
    files = (*segment.files, *((segment.deletes,) if segment.deletes else ()))
    _check_names(segment.id, files, (segment.rows, segment.live, segment.captions, segment.created_in))
    if segment.live > segment.rows:
        raise ValueError(f"numbers of segment {segment.id}")


def _check_names(folder: str, files: Sequence[FileEntry], numbers: Sequence[int]) -> None:
    if not re.fullmatch(r"[0-9a-f]{32}", folder):
        raise ValueError(f"id {folder!r}")
    if not all(isinstance(n, int) and 0 <= n < 2**48 for n in (*numbers, *(entry.bytes for entry in files))):
        raise ValueError(f"numbers of {folder}")
    if not all(_FILE_NAME.fullmatch(entry.name) for entry in files):
        raise ValueError(f"file names of {folder}")


def file_name(version: int) -> str:
    """The name of a version's manifest."""
    return f"manifests/{version:020d}.json"


def list_versions(files: Files) -> list[int]:
    """Numbers of all versions that have a manifest, oldest first."""
    return [int(match[1]) for name in files.list("manifests") if (match := _NAME.match(name))]


def read(files: Files, version: int, library: str) -> Manifest:
    """The manifest of ``version``, which must belong to ``library``."""
    try:
        data = files.read(file_name(version))
    except FileNotFoundError:
        raise no_version(files, version) from None
    manifest = parse(data, str(files.root / file_name(version)))
    if manifest.library != library or manifest.version != version:
        raise CorruptionError(
            f"{files.root / file_name(version)} belongs to another library or version; remove it and restore the right file"
        )
    return manifest


def no_version(files: Files, version: int) -> RequestError:
    """What to say of a version that is not there."""
    known = list_versions(files)
    span = f"{known[0]} to {known[-1]}" if known else "none"
    return RequestError(f"{files.root} has no version {version}; there are {span}")


def read_newest(files: Files, library: str) -> tuple[Manifest, list[str]]:
    """The newest manifest whose seal holds, and the names of newer ones that are damaged."""
    damaged: list[str] = []
    why = "manifests/ is empty"
    for version in reversed(list_versions(files)):
        try:
            return read(files, version, library), damaged
        except RequestError:
            continue  # taken away since the list was made
        except CorruptionError as error:
            damaged.append(file_name(version))
            why = str(error)
    raise CorruptionError(f"{files.root} has no undamaged version ({why}); restore it from a copy")


def now() -> str:
    """RFC 3339 in UTC; never used for ordering."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
