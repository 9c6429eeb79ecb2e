"""npy and npz from strangers: nothing is unpickled, nothing is allocated that the file does not hold.

- The header is read first: its type must be a plain number, and its shape must agree with the bytes that are there.
- A zip member must not unpack to more than :data:`MAX_ARRAY_BYTES`, nor to a hundred times its size once it is large.
- Both formats end in the same function, so that there is one place to be careful in.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from motion.errors import FileFormatError
from motion.files.conventions import MAX_RATE, MIN_RATE

MAX_ARRAY_BYTES = 1 << 30
BOMB_FLOOR = 64 << 20  # bytes: smaller arrays may be as compressible as they like
BOMB_RATIO = 100
MAX_MEMBERS = 4096
RATE_KEYS = ("fps", "framerate", "frame_rate", "mocap_framerate", "mocap_frame_rate")


@dataclass(frozen=True)
class ArrayInfo:
    """What an array's header says, and the checksum the archive stores for it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    checksum: int = 0


def read_npy_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file.

    Raises:
        FileFormatError: it holds pickled objects, is cut off, damaged or too large.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream, path.stat().st_size, str(path))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); check path and rights") from error


class Npz:
    """An open .npz archive: ``keys``, the header of a member, a member's array."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        entries = archive.infolist()
        if len(entries) > MAX_MEMBERS:
            raise FileFormatError(f"{path}: {len(entries)} members, more than {MAX_MEMBERS}; this is no motion")
        self._members = {entry.filename.removesuffix(".npy"): entry for entry in entries}

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self._members)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def member(self, key: str) -> ArrayInfo:
        """Shape, type and checksum of an array, without reading it."""
        entry = self._entry(key)
        with self._archive.open(entry) as stream:
            shape, _, dtype = _header(stream, entry.file_size, f"{self._path}[{key}]")
        return ArrayInfo(shape, dtype, entry.CRC)

    def read(self, key: str) -> NDArray[Any]:
        """One array."""
        entry = self._entry(key)
        where = f"{self._path}[{key}]"
        if entry.file_size > BOMB_FLOOR and entry.file_size > BOMB_RATIO * max(entry.compress_size, 1):
            raise FileFormatError(
                f"{where}: {entry.compress_size} bytes unpack to {entry.file_size}; refused as a zip bomb, repack it"
            )
        with self._archive.open(entry) as stream:
            return _read(stream, entry.file_size, where)

    def text(self, key: str) -> str:
        """A 0-d array of characters or bytes as text (AMASS writes its gender as bytes)."""
        value = self.read(key)
        item = value.reshape(-1)[0] if value.size else ""
        text = item.decode("latin-1") if isinstance(item, bytes) else str(item)
        return text.removeprefix("b'").removesuffix("'")

    def _entry(self, key: str) -> zipfile.ZipInfo:
        entry = self._members.get(key)
        if entry is None:
            raise FileFormatError(f"{self._path}: has no array {key!r}, only {', '.join(self.keys[:12]) or 'none'}")
        if entry.flag_bits & 1:
            raise FileFormatError(f"{self._path}[{key}]: encrypted; save it without a password")
        return entry


def rate_of(archive: Npz, path: Path) -> float | None:
    """Frames per second stored under any of the usual keys, None when there is none.

    Raises:
        FileFormatError: it is stored, but no usable rate.
    """
    for key in RATE_KEYS:
        if key in archive:
            value = archive.read(key)
            rate = float(value.reshape(-1)[0]) if value.size and value.dtype.kind in "fiu" else math.nan
            if not MIN_RATE <= rate <= MAX_RATE:
                raise FileFormatError(f"{path}: {key} is {value.reshape(-1)[:1]}, no frame rate; correct it")
            return rate
    return None


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """Open a .npz archive for reading.

    Raises:
        FileFormatError: it is no zip file, or damaged anywhere it is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield Npz(archive, path)
    except FileFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FileFormatError(f"{path}: no readable npz archive ({error}); save or copy it again") from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); check path and rights") from error


def _header(stream: IO[bytes], size: int, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type; checked against the ``size`` of the file in bytes."""
    try:
        version = npy_format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = npy_format.read_array_header_2_0(stream)
    except (
        ValueError, TypeError, SyntaxError, MemoryError, RecursionError, EOFError, OverflowError, tokenize.TokenError
    ) as error:  # fmt: skip
        message = str(error).split("\n", 1)[0][:120]
        raise FileFormatError(f"{where}: no readable npy array ({message}); save it again with numpy.save") from error
    if dtype.hasobject:
        raise FileFormatError(
            f"{where}: holds pickled Python objects, which are never loaded; save plain number arrays"
        )
    if dtype.kind not in "fiubSU":
        raise FileFormatError(f"{where}: holds values of type {dtype}; save plain numbers (float32)")
    wanted = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or wanted > size:
        raise FileFormatError(
            f"{where}: declares shape {list(shape)} of {dtype}, "
            f"{wanted} bytes, but holds {size}; it is cut off, copy it again"
        )
    if wanted > MAX_ARRAY_BYTES:
        raise FileFormatError(f"{where}: {wanted / 2**30:.1f} GiB, more than 1; cut the recording into takes")
    return tuple(int(length) for length in shape), bool(fortran), dtype


def _read(stream: IO[bytes], size: int, where: str) -> NDArray[Any]:
    shape, fortran, dtype = _header(stream, size, where)
    wanted = math.prod(shape) * dtype.itemsize
    data = stream.read(wanted)
    if len(data) < wanted:
        raise FileFormatError(f"{where}: ends after {len(data)} of {wanted} bytes; it is cut off, copy it again")
    if dtype.itemsize == 0 or not wanted:
        return np.zeros(shape, dtype=dtype)
    array: NDArray[Any] = np.frombuffer(data, dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def npy_shape(path: Path) -> tuple[int, ...]:
    """The shape a .npy declares, without reading the array.

    Raises:
        FileFormatError: it is no npy file, is cut off, or holds objects.
    """
    try:
        with path.open("rb") as stream:
            return _header(stream, path.stat().st_size, str(path))[0]
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); check path and rights") from error
