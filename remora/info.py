"""What a library holds, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from db import Snapshot


@dataclass(frozen=True)
class LibraryInfo:
    """What a library holds: counts by source and split, hours, spaces, encoder, size of its newest version."""

    path: str
    uuid: str
    version: int
    clips: int
    captions: int
    hours: float
    sources: Mapping[str, int]
    splits: Mapping[str, int]
    spaces: tuple[str, ...]
    encoder: Mapping[str, Any]


def library_info(path: Path, uuid: str, snapshot: Snapshot) -> LibraryInfo:
    """The numbers of one version of the library in folder ``path``."""
    sources: dict[str, int] = {}
    splits: dict[str, int] = {}
    seconds, captions = 0.0, 0
    for batch in snapshot.scan(columns=["clip_id", "source", "split", "duration_s"]):
        captions += len(snapshot.captions(batch.column("clip_id").to_pylist()))
        for row in batch.to_pylist():
            sources[row["source"]] = sources.get(row["source"], 0) + 1
            splits[row["split"] or ""] = splits.get(row["split"] or "", 0) + 1
            seconds += row["duration_s"]
    return LibraryInfo(
        path=str(path), uuid=uuid, version=snapshot.version, clips=len(snapshot),
        captions=captions, hours=round(seconds / 3600, 3), sources=dict(sorted(sources.items())),
        splits=dict(sorted(splits.items())), spaces=tuple(snapshot.spaces), encoder=dict(snapshot.encoder),
    )  # fmt: skip
