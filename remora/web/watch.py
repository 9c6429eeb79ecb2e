"""A folder that is watched: what appears or changes in it is in the library within seconds.

- The folder is looked at, not listened to: that works on network disks, and costs one ``stat`` a file.
- A change is taken up once two looks agree: a file that is still being written waits for its end. What cannot be read is said,
  and read again when it changes.
"""

from __future__ import annotations

from pathlib import Path

from remora.web.errors import as_studio_error, without_paths
from remora.web.studio import Studio

LOOK_S = 1.0
BATCH = 16  # clips embedded at once, so that questions need not wait long for the encoder

Signature = frozenset[tuple[str, int, int]]


def signature(source: Path) -> Signature:
    """Names, sizes and times of all files below a folder, or of one file."""
    found = set()
    for path in [source] if source.is_file() else source.rglob("*"):
        try:
            stat = path.stat()
        except OSError:  # gone since it was listed
            continue
        if path.is_file():
            found.add((str(path), stat.st_size, stat.st_mtime_ns))
    return frozenset(found)


def watch(studio: Studio, source: Path) -> None:
    """Keep the library up to date with ``source`` until the studio stops; runs in a thread of its own."""
    done: Signature = frozenset()
    before: Signature | None = None
    while not studio.stopping.wait(LOOK_S):
        now = signature(source)
        if now != done and now == before and studio.can_index():
            studio.tell("watch", {"state": "indexing", "added": 0, "note": ""})
            studio.tell("watch", take_up(studio, source))
            done = now
        before = now


def take_up(studio: Studio, source: Path) -> dict[str, object]:
    """Index what is new in ``source``; what came of it, as it is told."""
    try:
        report = studio.index(source, batch_clips=BATCH)
    except Exception as error:
        known = as_studio_error(error)
        return {"state": "failed", "added": 0, "note": without_paths(str(known or error))}
    note = (
        f"{len(report.rejected)} not read; first: {without_paths(str(report.rejected[0]))}" if report.rejected else ""
    )
    return {"state": "idle", "added": report.added + report.replaced, "note": note}
