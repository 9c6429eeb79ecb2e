"""Which takes are to be read, and under which names they live in a library.

- A take's key is ``<name of the source>/<take>``; the clips cut from it are ``<key>#<start>-<end>``, in seconds.
  Keys say nothing of where a folder lies, so a moved folder is recognised and not indexed again.
- Two folders of one name would mix their takes: that is refused, and ``name`` gives one of them another.
- All sources are opened, which lists and reads nothing, before anything else happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from db import Snapshot
from indexer.errors import SourceNameClash
from motion import TakeRef, TakeSource, open_source


@dataclass(frozen=True)
class NamedSource:
    """An opened source, the name its takes get, and the folder that name stands for."""

    name: str
    folder: Path
    source: TakeSource
    whole_folder: bool  # False for a single file: its neighbours are not missing, they were not asked for

    def __len__(self) -> int:
        return len(self.source)

    def takes(self) -> Iterator[tuple[str, TakeRef]]:
        """(key, take) of every take, in order."""
        prefix = f"{self.name}/"
        for ref in self.source:
            yield ref.take if ref.take.startswith(prefix) else prefix + ref.take, ref


def open_sources(
    paths: Sequence[Path],
    *,
    captions: Path | None = None,
    split: str | None = None,
    joint_map: Path | None = None,
    name: str | None = None,
) -> list[NamedSource]:
    """Open every source.

    Raises:
        MotionError: a source is not there or holds no motion, or the caption file names a clip that is not there.
        SourceNameClash: two folders have one name.
    """
    opened: dict[Path, NamedSource] = {}
    folders: dict[str, Path] = {}
    for path in paths:
        resolved = path.resolve()
        source = open_source(path, captions=captions, split=split, joint_map=joint_map)
        folder = resolved if path.is_dir() else resolved.parent
        named = NamedSource(name or source.dataset or "takes", folder, source, path.is_dir())
        if folders.setdefault(named.name, folder) != folder:
            raise SourceNameClash(
                f"{path}: the name {named.name!r} stands for {folders[named.name]} already; "
                "index them one after the other and give this one a --name"
            )
        opened[resolved] = named  # a source given twice is read once
    return list(opened.values())


@dataclass
class KnownTake:
    """What a library has of one take."""

    stamp: str
    split: str
    ids: list[str] = field(default_factory=list)


def known_takes(snapshot: Snapshot | None, sources: Sequence[NamedSource]) -> dict[str, KnownTake]:
    """The takes of ``sources`` that a library holds, by key; some 200 bytes a clip.

    Raises:
        SourceNameClash: the library has takes of another folder, which still exists, under the name of a source.
    """
    known: dict[str, KnownTake] = {}
    if snapshot is None:
        return known
    by_name: Mapping[str, NamedSource] = {source.name: source for source in sources}
    checked: set[str] = set()
    for batch in snapshot.scan(columns=["clip_id", "take_stamp", "split", "notes"]):
        columns = batch.to_pydict()
        for clip_id, stamp, split, notes in zip(
            columns["clip_id"], columns["take_stamp"], columns["split"], columns["notes"], strict=True
        ):
            key = take_key(clip_id)
            source = by_name.get(key.partition("/")[0])
            if source is None:
                continue
            if source.name not in checked:
                checked.add(source.name)
                _check_same_folder(source, notes)
            known.setdefault(key, KnownTake(stamp, split or "")).ids.append(clip_id)
    return known


def take_key(clip_id: str) -> str:
    """The key of the take that a clip was cut from."""
    return clip_id.rpartition("#")[0]


def _check_same_folder(source: NamedSource, notes: str | None) -> None:
    import json

    recorded = json.loads(notes or "{}").get("folder", "")
    other = Path(recorded)
    if recorded and other != source.folder and other.is_dir() and not other.samefile(source.folder):
        raise SourceNameClash(
            f"{source.folder}: the library holds takes of {other} under the name {source.name!r}; "
            "give this source another --name"
        )


def missing_takes(
    known: Mapping[str, KnownTake], sources: Sequence[NamedSource], split: str | None
) -> dict[str, KnownTake]:
    """Takes the library has and the sources no longer, by key; of one split only when just that was asked for."""
    present = {key for source in sources for key, _ in source.takes()}
    whole = {source.name for source in sources if source.whole_folder}
    return {
        key: take
        for key, take in known.items()
        if key not in present and key.partition("/")[0] in whole and (split is None or take.split == split)
    }
