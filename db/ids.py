"""Which row has an id: a small sorted file a segment, so that a commit looks ids up without reading or holding all of
them.

- An id is known by the 128 bits of its BLAKE2b hash, as in the manifest's checksum; two ids of one hash are not
  expected before some 10¹⁹ clips.
- The file is made from the ids in ``rows.parquet``; a segment without one is looked through instead.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from db.errors import CorruptionError

if TYPE_CHECKING:
    import mmap

FILE = "ids.bin"
MAGIC = b"RMRAIDS1"
_HEADER = struct.Struct("<8sQIIQ")  # magic, rows, CRC-32 of the rest, zeros
_ROW_BYTES = 8 + 8 + 4


def id_hashes(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Hashes [N, 2] of ids, the first eight bytes and the last eight as numbers."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=16).digest() for name in ids)
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


def id_sum(ids: Iterable[str]) -> int:
    """Sum of the ids' 128-bit hashes: free of order, cheap to update, checked by ``verify``."""
    return sum(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "big") for name in ids)


@dataclass(frozen=True)
class IdIndex:
    """Hashes in ascending order, ``high`` and ``low`` [N], and the ``rows`` [N] they belong to."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    rows: NDArray[np.uint32]

    @classmethod
    def of(cls, ids: Sequence[str]) -> IdIndex:
        """The index of a segment's ids."""
        hashes = id_hashes(ids)
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        return cls(hashes[order, 0], hashes[order, 1], order.astype(np.uint32))

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row [M] of each of ``hashes`` [M, 2], -1 where there is none."""
        found = np.full(len(hashes), -1, np.int64)
        at, end = (np.searchsorted(self.high, hashes[:, 0], side=side) for side in ("left", "right"))
        for step in range(int((end - at).max(initial=0))):
            mine = np.flatnonzero(at + step < end)
            same = mine[self.low[at[mine] + step] == hashes[mine, 1]]
            found[same] = self.rows[at[same] + step]
        return found

    def pack(self) -> bytes:
        """The bytes of the file."""
        columns = (self.high.astype("<u8"), self.low.astype("<u8"), self.rows.astype("<u4"))
        body = b"".join(column.tobytes() for column in columns)
        return _HEADER.pack(MAGIC, len(self.rows), zlib.crc32(body), 0, 0) + body

    @classmethod
    def unpack(cls, data: mmap.mmap | bytes, rows: int, name: str) -> IdIndex:
        """The index in a file of a segment of ``rows`` rows, without copying; CorruptionError when it does not fit."""
        if len(data) != _HEADER.size + rows * _ROW_BYTES:
            raise CorruptionError(f"{name} has {len(data)} bytes for {rows} rows; verify the library")
        magic, count, check, _, _ = _HEADER.unpack_from(data)
        with memoryview(data) as view, view[_HEADER.size :] as body:
            fits = zlib.crc32(body) == check
        if magic != MAGIC or count != rows or not fits:
            raise CorruptionError(f"{name} is damaged; verify the library")
        low, last = _HEADER.size + 8 * rows, _HEADER.size + 16 * rows
        found = cls(
            np.frombuffer(data, "<u8", rows, _HEADER.size), np.frombuffer(data, "<u8", rows, low),
            np.frombuffer(data, "<u4", rows, last),
        )  # fmt: skip
        if rows and int(found.rows.max()) >= rows:
            raise CorruptionError(f"{name} names rows that are not there; verify the library")
        return found
