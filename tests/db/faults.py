"""A system that fails, forgets or is overtaken: stands in for ``os`` in ``db.files``, the one module that touches the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.files import Files

WATCHED = (
    "open", "close", "write", "fsync", "link", "rename", "unlink", "rmdir", "makedirs", "stat", "fstat", "listdir",
)  # fmt: skip


@dataclass
class FaultySystem:
    """``os``, but the ``fail_at``-th call fails, before it did anything or ``after`` it did; every call is written down.

    ``skip_sync`` names an fsync (counted from 0) that is reported as done and was not.
    """

    fail_at: int = -1
    after: bool = False
    short_writes: bool = False
    skip_sync: int = -1
    calls: list[tuple[str, str]] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    syncs: int = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return (lambda *given, **named: self._call(name, real, given, named)) if name in WATCHED else real

    def _call(self, name: str, real: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        what = self.paths.get(given[0], "") if isinstance(given[0], int) else " ".join(str(part) for part in given[:2])
        fails = len(self.calls) + 1 == self.fail_at
        self.calls.append((name, what if name != "open" else str(given[0])))
        if fails and not self.after:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(what))
        if name == "fsync":
            self.syncs += 1
            if self.syncs - 1 == self.skip_sync:
                self.calls.pop()
                return None
        if name == "write" and self.short_writes:
            given = (given[0], memoryview(given[1])[:1000])
        done = real(*given, **named)
        if name == "open":
            self.paths[done] = str(given[0])
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(what))
        return done


class Overtaken(Files):
    """Files of a writer that is overtaken: ``other`` commits just before this one's manifest gets its name, once."""

    def __init__(self, root: Path, other: Callable[[], object]) -> None:
        super().__init__(root)
        self.other: Callable[[], object] | None = other

    def put_exclusive(self, name: str, data: bytes) -> bool:
        other, self.other = self.other, None
        if other is not None:
            other()
        return super().put_exclusive(name, data)


def unsynced(calls: list[tuple[str, str]], root: Path) -> list[str]:
    """What a power cut could take away although a manifest names it: pieces not synced before its link, or at the end.

    A file's bytes need an fsync of the file, its name (and a folder's) an fsync of the folder it stands in.
    """
    open_ends: set[str] = set()
    lost: set[str] = set()
    for name, what in calls:
        if name == "write":
            open_ends |= {f"bytes {what}", f"entry {Path(what).parent}"}
        elif name == "makedirs":
            open_ends.add(f"entry {Path(what).parent}")
        elif name == "rename":
            old, new = what.split(" ")
            open_ends = {piece.replace(old, new) for piece in open_ends} | {f"entry {Path(new).parent}"}
        elif name == "fsync":
            open_ends -= {f"bytes {what}", f"entry {what}"}
        elif name == "link":
            lost |= open_ends - {f"entry {root / 'manifests'}"}  # the temporary name need not last
            open_ends.add(f"entry {root / 'manifests'}")
    return sorted(lost | open_ends)
