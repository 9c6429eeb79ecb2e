"""A segment: one immutable batch of rows with their captions, vectors and frames, as bytes.

- Everything is written piece by piece through ``db.files``, which alone touches the disk; memory does not grow with a
  segment.
- A vector block is a page of header, then rows at a fixed stride, then a checksum per 4,096 rows, then a tail that
  repeats the
  magic: a cut file is seen without hashing it. All header numbers are checked before anything is mapped.
- The format is described byte by byte in docs/format.md.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import CorruptionError, RequestError
from db.space import Space

if TYPE_CHECKING:
    import mmap

    import pyarrow as pa

MAGIC = b"RMRAVEC1"
DELETES_MAGIC = b"RMRADEL1"
HEADER_BYTES = 4096
CHECK_ROWS = 4096
GROUP_ROWS = 65_536
UNIT_TOLERANCE = 1e-3
_HEADER = struct.Struct("<8sIIQIIII16s16sQQ")  # 88 bytes, a CRC-32 of them follows
_TAIL = struct.Struct("<8sQ")
_DELETES = struct.Struct("<8sQQII")  # magic, rows, count, CRC-32 of the bits, zero
_DTYPES: dict[str, tuple[int, np.dtype[np.generic]]] = {"f4": (1, np.dtype("<f4")), "f2": (2, np.dtype("<f2"))}


def digest(data: bytes | memoryview | mmap.mmap) -> str:
    """blake2b-256, hex."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def vector_file(space: Space) -> str:
    """The name of a space's block in a segment's folder."""
    return f"v-{space.key}.vec"


def block_size(rows: int, space: Space) -> int:
    """Bytes of a block of ``rows`` vectors."""
    return HEADER_BYTES + rows * space.stride + 8 * -(-rows // CHECK_ROWS) + _TAIL.size


def check_units(vectors: NDArray[np.floating], space: Space) -> None:
    """Raise RequestError unless ``vectors`` [N, D] are unit vectors of the space's width, or zero for a missing
    part.
    """
    if vectors.ndim != 2 or vectors.shape[1] != space.dim:
        raise RequestError(
            f"space {space.name!r} holds vectors [N, {space.dim}], not {list(vectors.shape)}; use its encoder"
        )
    if vectors.dtype.kind not in "fiu":
        raise RequestError(f"vectors for space {space.name!r} are {vectors.dtype}, expected real numbers; give float32")
    for start in range(0, len(vectors), CHECK_ROWS):
        norms = np.linalg.norm(vectors[start : start + CHECK_ROWS].astype(np.float32), axis=1)
        wrong = np.flatnonzero(~proper(norms, space))
        if len(wrong):
            raise RequestError(
                f"vector {start + wrong[0]} for space {space.name!r} has length {norms[wrong[0]]:.3g}, expected 1; normalise it"
            )


def proper(norms: NDArray[np.floating], space: Space) -> NDArray[np.bool_]:
    """Which lengths [N] of vectors are right: 1, or 0 where a clip lacks the part."""
    unit: NDArray[np.bool_] = np.abs(norms - 1) < UNIT_TOLERANCE
    return unit if space.part == "whole" else unit | (norms == 0)


def vector_pieces(
    vectors: Iterable[NDArray[np.floating]], rows: int, space: Space, segment: str
) -> Iterator[bytes | memoryview]:
    """A block file of ``rows`` vectors, which come in arrays [n, D] of any length; equal numbers give equal bytes."""
    code, dtype = _DTYPES[space.dtype]
    end = HEADER_BYTES + rows * space.stride
    header = _HEADER.pack(
        MAGIC, 1, HEADER_BYTES, rows, space.dim, space.stride, code, 1, _space_hash(space), bytes.fromhex(segment),
        HEADER_BYTES, end,
    )  # fmt: skip
    header += struct.pack("<I", zlib.crc32(header))
    yield header.ljust(HEADER_BYTES, b"\0")
    page, checks, filled, check = CHECK_ROWS * space.stride, b"", 0, 0
    for array in vectors:
        for start in range(0, len(array), CHECK_ROWS):
            some = array[start : start + CHECK_ROWS]
            padded = np.zeros((len(some), space.stride // dtype.itemsize), dtype)
            padded[:, : space.dim] = some
            body = padded.data.cast("B")
            cut = min(page - filled, len(body))
            check, filled = zlib.crc32(body[:cut], check), filled + cut
            if filled == page:
                checks += struct.pack("<Q", check)
                check, filled = zlib.crc32(body[cut:]), len(body) - cut
            yield body
    yield checks + (struct.pack("<Q", check) if filled else b"") + _TAIL.pack(MAGIC, rows)


def unpack_vectors(data: mmap.mmap | bytes, space: Space, segment: str, rows: int, name: str) -> NDArray[np.floating]:
    """A read-only view [N, D] of a block, without copying; CorruptionError when any of its numbers do not fit."""
    if len(data) != block_size(rows, space):
        raise CorruptionError(f"{name} has {len(data)} bytes, expected {block_size(rows, space)}; verify the library")
    fields = _HEADER.unpack_from(data)
    (check,) = struct.unpack_from("<I", data, _HEADER.size)
    code, dtype = _DTYPES[space.dtype]
    expected = (
        MAGIC, 1, HEADER_BYTES, rows, space.dim, space.stride, code, 1, _space_hash(space), bytes.fromhex(segment),
        HEADER_BYTES, HEADER_BYTES + rows * space.stride,
    )  # fmt: skip
    if fields != expected or check != zlib.crc32(data[: _HEADER.size]):
        raise CorruptionError(f"{name} has a header that does not fit its manifest; verify the library")
    if _TAIL.unpack_from(data, len(data) - _TAIL.size) != (MAGIC, rows):
        raise CorruptionError(f"{name} has no proper end; it was cut or overwritten; verify the library")
    per_row = space.stride // dtype.itemsize
    view = np.frombuffer(data, dtype, rows * per_row, HEADER_BYTES).reshape(rows, per_row)
    return view[:, : space.dim]


def check_pages(data: mmap.mmap | bytes, space: Space, rows: int, pages: NDArray[np.int64] | None = None) -> list[int]:
    """Those of ``pages`` (all, where not given; 4,096 rows each) of a block whose checksum does not fit."""
    step, end = CHECK_ROWS * space.stride, HEADER_BYTES + rows * space.stride
    bad = []
    with memoryview(data) as view:
        for page in range(-(-rows // CHECK_ROWS)) if pages is None else pages.tolist():
            start = HEADER_BYTES + page * step
            (check,) = struct.unpack_from("<Q", view, end + 8 * page)
            with view[start : min(start + step, end)] as own:
                if zlib.crc32(own) != check:
                    bad.append(page)
    return bad


def _space_hash(space: Space) -> bytes:
    return hashlib.blake2b(
        f"{space.fingerprint}/{space.name}/{space.dim}/{space.dtype}".encode(), digest_size=16
    ).digest()


def pack_deletes(dead: NDArray[np.bool_]) -> bytes:
    """A bitmap file of the dead rows [N]; bit order as FAISS reads it."""
    bits = np.packbits(dead, bitorder="little").tobytes()
    return _DELETES.pack(DELETES_MAGIC, len(dead), int(dead.sum()), zlib.crc32(bits), 0) + bits


def unpack_deletes(data: bytes, rows: int, name: str) -> NDArray[np.bool_]:
    """The dead rows [N] of a bitmap file."""
    try:
        magic, count_rows, count, check, _ = _DELETES.unpack_from(data)
    except struct.error as error:
        raise CorruptionError(f"{name} is cut; verify the library") from error
    bits = data[_DELETES.size :]
    if magic != DELETES_MAGIC or count_rows != rows or len(bits) != -(-rows // 8) or zlib.crc32(bits) != check:
        raise CorruptionError(
            f"{name} is damaged; serving deleted clips would be worse than stopping; verify the library"
        )
    dead = np.unpackbits(np.frombuffer(bits, np.uint8), count=rows, bitorder="little").astype(bool)
    if int(dead.sum()) != count:
        raise CorruptionError(f"{name} is damaged (count); verify the library")
    return dead


# ---- tables --------------------------------------------------------------------------------------------------------


def write_parquet(tables: Iterable[pa.Table], schema: pa.Schema, rows: int, segment: str, out: Any) -> None:
    """Write ``tables`` into ``out`` as one Parquet file, zstd, that says which segment it belongs to."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = {"remora.format": "1", "remora.segment": segment, "remora.rows": str(rows)}
    waiting = schema.empty_table()
    with pq.ParquetWriter(pa.PythonFile(out, "w"), schema.with_metadata(said), compression="zstd") as writer:
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS))
                waiting = waiting.slice(GROUP_ROWS)
        if len(waiting) or not rows:
            writer.write_table(waiting)


def unpack_parquet(data: bytes, rows: int, name: str, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """``columns`` of a Parquet file, which must have ``rows`` rows; a column of ``schema`` that it lacks is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stored = pq.ParquetFile(pa.BufferReader(data))
        there = [column for column in columns if column in stored.schema_arrow.names]
        table = stored.read(columns=there, use_threads=False)
        for column in set(columns) - set(there):
            table = table.append_column(column, pa.nulls(len(table), schema.field(column).type))
        table = table.select(columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptionError(f"{name} is damaged ({_first_line(error)}); verify the library") from error
    if len(table) != rows:
        raise CorruptionError(f"{name} has {len(table)} rows, expected {rows}; verify the library")
    return table


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
