"""Frames: one opaque block a clip, in a file whose blocks are found and checked one by one.

- No library parses these bytes: one that met a damaged Arrow file was seen to end the process.
- The table stands at the end, so that blocks are written as they come; a block is read without the others and held against its
  checksum. ``docs/format.md`` has the layout.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from db.errors import CorruptionError

if TYPE_CHECKING:
    import mmap

FRAMES_FILE = "frames.bin"
OLD_FRAMES_FILE = "frames.arrow"  # of libraries made before this layout
MAGIC = b"RMRAFRM1"
_ENTRY = np.dtype([("end", "<u8"), ("check", "<u4"), ("zero", "<u4")])
_TAIL = struct.Struct("<QQII8s")  # rows, where the table begins, its CRC-32, zero, magic


def pack_frames(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The file of ``blocks``, piece by piece."""
    yield MAGIC
    end, table = len(MAGIC), []
    for block in blocks:
        yield block
        end += len(block)
        table.append((end, zlib.crc32(block), 0))
    entries = np.array(table, _ENTRY).tobytes()
    yield entries
    yield _TAIL.pack(len(table), end, zlib.crc32(entries), 0, MAGIC)


class Frames:
    """The blocks in a file of ``rows``; CorruptionError when its table or a block that is read does not fit its checksum."""

    def __init__(self, data: mmap.mmap | bytes, rows: int, name: str) -> None:
        self._data, self._name = data, name
        at = len(data) - _TAIL.size - rows * _ENTRY.itemsize
        if at < len(MAGIC):
            raise CorruptionError(f"{name} is cut; verify the library")
        count, begin, check, _, magic = _TAIL.unpack_from(data, len(data) - _TAIL.size)
        if (count, begin, magic) != (rows, at, MAGIC) or zlib.crc32(data[at : len(data) - _TAIL.size]) != check:
            raise CorruptionError(f"{name} is damaged (its table); verify the library")
        table = np.frombuffer(data, _ENTRY, rows, at)
        self._ends: NDArray[np.int64] = np.concatenate([[len(MAGIC)], table["end"].astype(np.int64)])
        self._checks = table["check"]
        if (np.diff(self._ends) < 0).any() or self._ends[-1] != at:
            raise CorruptionError(f"{name} is damaged (its table); verify the library")

    def block(self, row: int) -> bytes:
        """The block of a row."""
        found: bytes = self._data[self._ends[row] : self._ends[row + 1]]
        if zlib.crc32(found) != self._checks[row]:
            raise CorruptionError(f"{self._name}: the frames of row {row} are damaged; verify the library")
        return found
