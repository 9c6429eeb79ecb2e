"""What a source hands out: references to takes, cheap to list, read one by one.

- Listing never opens a motion: a reference knows its name and a stamp that changes when the take does.
- Reading may fail, listing not: a damaged file is a reference whose ``read`` raises, so that it can be reported and
  skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from motion.clip import Clip


@dataclass(frozen=True)
class TakeRef:
    """One take of a source.

    ``take`` is a name that is stable inside the source, ``stamp`` a mark that changes when the take's content may have,
    ``kind`` the format, ``split`` its split where the source knows one. ``names`` are exact names under which a caption
    file may call it, ``loose_names`` shorter ones; ``caption_mark`` is a mark of what such a file said, empty without one.
    """

    take: str
    stamp: str
    path: Path
    kind: str = "file"
    split: str = ""
    caption_mark: str = ""
    names: tuple[str, ...] = field(default=(), repr=False)
    loose_names: tuple[str, ...] = field(default=(), repr=False)
    reader: Callable[[], list[Clip]] = field(default=list, repr=False, compare=False)

    def read(self) -> list[Clip]:
        """The clips of this take.

        Raises:
            MotionError: the take is damaged, of an unknown rig, or gone.
        """
        return self.reader()


@dataclass(frozen=True)
class TakeSource:
    """A folder or file of motions: its ``kind``, its ``dataset`` name, its takes in stable order."""

    path: Path
    kind: str
    dataset: str
    takes: Sequence[TakeRef]

    def __iter__(self) -> Iterator[TakeRef]:
        return iter(self.takes)

    def __len__(self) -> int:
        return len(self.takes)

    def __repr__(self) -> str:
        return f"TakeSource({str(self.path)!r}, {self.kind}, {len(self)} takes)"


def file_stamp(*paths: Path, extra: str = "") -> str:
    """A mark of files' sizes and times of change (nanoseconds), and of ``extra``."""
    digest = hashlib.blake2b(extra.encode(), digest_size=16)
    for path in paths:
        try:
            stat = path.stat()
            digest.update(f"{stat.st_size}.{stat.st_mtime_ns}|".encode())
        except OSError:
            digest.update(b"absent|")
    return digest.hexdigest()
