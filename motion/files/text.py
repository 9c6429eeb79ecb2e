"""Text files from strangers: bounded in size, of a known encoding, never a surprise further down.

- Everything is read as bytes once; numbers are parsed from bytes (no copy as text), only names are decoded.
- A limit on the size is checked before reading. 256 MiB of BVH are two hours at 120 frames per second.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion.errors import FileFormatError

MAX_TEXT_BYTES = 256 * 2**20


def read_bytes(path: Path, kind: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The bytes of a text file of ``kind`` (a word for messages), without byte-order mark, lines ended by line feeds.

    Raises:
        FileFormatError: it cannot be read, is empty, too large, UTF-16/32 or binary.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise FileFormatError(
                f"{path}: {size / 2**20:.0f} MiB of {kind}, more than {limit // 2**20}; cut the recording into takes"
            )
        with path.open("rb") as stream:
            data = stream.read(size + 1)  # not the limit: read() allocates what it is asked for
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); check path and rights") from error
    if len(data) > size:
        raise FileFormatError(f"{path}: grew while it was read; wait until it is written, or copy it")
    if not data.strip():
        raise FileFormatError(f"{path}: empty, expected {kind}; export the take again")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileFormatError(f"{path}: UTF-16 text, expected {kind} in ASCII or UTF-8; save it as UTF-8")
    if b"\0" in data[:65536]:
        raise FileFormatError(f"{path}: binary data or UTF-16, expected {kind} as plain text; check what the file is")
    data = data.removeprefix(b"\xef\xbb\xbf")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def decode_names(data: bytes) -> str:
    """Names as text: UTF-8, else Latin-1 (which never fails)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_numbers(block: bytes, path: Path, what: str) -> NDArray[np.float64]:
    """All numbers of a block, separated by white space; decimal commas are understood.

    Raises:
        FileFormatError: something is no number; the message names the first such word.
    """
    if b"," in block:
        block = block.replace(b",", b" " if b"." in block else b".")
    if not block.strip():
        return np.empty(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # NumPy before 2.3 warns where later ones raise
            return np.fromstring(block, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise FileFormatError(
            f"{path}: {_first_word(block)!r} in the {what} is no number; the file is damaged, export it again"
        ) from error


def _first_word(block: bytes) -> str:
    for word in block.split():
        try:
            float(word)
        except ValueError:
            return word[:40].decode("latin-1")
    return ""
