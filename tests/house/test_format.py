"""A library is read with nothing but docs/format.md, and what that finds is what the store says."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from db import Library
from indexer import index
from tests.fakes import FakeEncoder, write_takes


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Three versions, two segments, one deleted row."""
    folder = tmp_path_factory.mktemp("format")
    takes = write_takes(folder / "takes", {"a person waves.npy": 2.0, "somebody kicks.npy": 1.5, "a jump.npy": 1.5})
    index([takes], folder / "library", encoder=FakeEncoder())
    write_takes(takes, {"one more step.npy": 1.5}, seed=9)
    index([takes], folder / "library", encoder=FakeEncoder())
    library = Library.open(folder / "library")
    with library.begin() as change:
        change.delete(library.snapshot().ids()[:1])
        change.commit()
    return library


def manifest(root: Path) -> dict[str, Any]:
    """The newest manifest, its seal checked."""
    data = max((root / "manifests").glob("*.json")).read_bytes()
    body, end = data[: -len(',\n "self": ""\n}\n') - 64] + b"\n}", json.loads(data)["self"]
    assert hashlib.blake2b(body, digest_size=32).hexdigest() == end
    assert body == json.dumps(json.loads(body), sort_keys=True, indent=1, ensure_ascii=False).encode()
    return dict(json.loads(data))


def block(data: bytes, space: dict[str, Any], segment: str, rows: int) -> np.ndarray:
    """The vectors of a block file."""
    size, code, number = {"f4": (4, 1, "<f4"), "f2": (2, 2, "<f2")}[space["dtype"]]
    stride = -(-space["dim"] * size // 64) * 64
    end = 4096 + rows * stride
    text = f"{space['fingerprint']}/{space['role']}/{space['part']}/{space['dim']}/{space['dtype']}".encode()
    assert data[:8] == data[-16:-8] == b"RMRAVEC1"
    assert struct.unpack("<IIQIIII", data[8:40]) == (1, 4096, rows, space["dim"], stride, code, 1)
    assert data[40:56] == hashlib.blake2b(text, digest_size=16).digest()
    assert data[56:72] == bytes.fromhex(segment)
    assert struct.unpack("<QQI", data[72:92]) == (4096, end, zlib.crc32(data[:88]))
    assert not any(data[92:4096])
    pages = [zlib.crc32(data[at : min(at + 4096 * stride, end)]) for at in range(4096, end, 4096 * stride)]
    assert data[end:-16] == struct.pack(f"<{len(pages)}Q", *pages)
    assert struct.unpack("<Q", data[-8:]) == (rows,)
    return np.frombuffer(data[4096:end], number).reshape(rows, -1)[:, : space["dim"]]


def blocks(data: bytes) -> list[bytes]:
    """The blocks of a file of frames."""
    rows, at, check, zero, magic = struct.unpack("<QQII8s", data[-32:])
    assert (data[:8], magic, zero, len(data)) == (b"RMRAFRM1", b"RMRAFRM1", 0, at + 16 * rows + 32)
    assert zlib.crc32(data[at:-32]) == check
    table = [struct.unpack_from("<QII", data, at + 16 * row) for row in range(rows)]
    found = [data[begin:end] for begin, (end, _, _) in zip([8, *(end for end, _, _ in table)], table, strict=False)]
    assert [zlib.crc32(block) for block in found] == [check for _, check, _ in table]
    return found


def places(data: bytes) -> dict[bytes, int]:
    """Row of every hash of an id."""
    rows, check = struct.unpack("<QI", data[8:20])
    assert (data[:8], check, data[20:32]) == (b"RMRAIDS1", zlib.crc32(data[32:]), bytes(12))
    first, second = (
        struct.unpack(f"<{rows}Q", data[32 : 32 + 8 * rows]),
        struct.unpack_from(f"<{rows}Q", data, 32 + 8 * rows),
    )
    pairs = list(zip(first, second, strict=True))
    assert pairs == sorted(pairs)
    numbers = struct.unpack(f"<{rows}I", data[32 + 16 * rows :])
    return {struct.pack(">QQ", *pair): number for pair, number in zip(pairs, numbers, strict=True)}


def dead(root: Path, entry: dict[str, Any]) -> np.ndarray:
    """Dead rows of a segment."""
    if entry["deletes"] is None:
        return np.zeros(entry["rows"], bool)
    data = (root / "deletes" / entry["deletes"]["name"]).read_bytes()
    rows, count, check, _ = struct.unpack("<QQII", data[8:32])
    found = np.array([data[32 + row // 8] >> row % 8 & 1 for row in range(rows)], bool)
    assert (data[:8], rows, found.sum(), check) == (b"RMRADEL1", entry["rows"], count, zlib.crc32(data[32:]))
    return found


def test_the_page_is_enough_to_read_a_library(library: Library) -> None:
    root, snapshot = library.path, library.snapshot()
    card, body = json.loads((root / "library.json").read_bytes()), manifest(root)
    assert (card["format"], card["uuid"], card["commit_method"]) == (1, body["library"], "link")
    assert (body["format"], body["version"], body["parent"], body["reader_features"]) == (1, 3, 2, 39)
    live: list[str] = []
    for entry in body["segments"]:
        folder = root / "segments" / entry["id"]
        for file in entry["files"]:
            data = (folder / file["name"]).read_bytes()
            assert (len(data), hashlib.blake2b(data, digest_size=32).hexdigest()) == (file["bytes"], file["blake2b"])
        rows, said = pq.read_table(folder / "rows.parquet"), pq.read_table(folder / "captions.parquet")
        assert rows.schema.metadata[b"remora.segment"].decode() == entry["id"]
        ids, gone = rows["clip_id"].to_pylist(), dead(root, entry)
        assert places((folder / "ids.bin").read_bytes()) == {
            hashlib.blake2b(name.encode(), digest_size=16).digest(): row for row, name in enumerate(ids)
        }
        assert (len(ids), len(said), int((~gone).sum())) == (entry["rows"], entry["captions"], entry["live"])
        assert [ids[row] for row in said["row"].to_pylist()] == said["clip_id"].to_pylist()
        frames = blocks((folder / "frames.bin").read_bytes())
        for space in body["spaces"]:
            listed = [space[key] for key in ("fingerprint", "part", "role", "metric", "dim", "dtype", "rows_of")]
            assert space["key"] == hashlib.blake2b(json.dumps(listed).encode(), digest_size=4).hexdigest()
            count = entry["rows"] if space["rows_of"] == "rows" else entry["captions"]
            vectors = block((folder / f"v-{space['key']}.vec").read_bytes(), space, entry["id"], count)
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.01)
            if space["rows_of"] == "rows":
                kept = [name for name, lost in zip(ids, gone, strict=True) if not lost]
                name = f"{space['role']}/{space['part']}"
                np.testing.assert_array_equal(vectors[~gone], snapshot.vectors(kept, name))
        for name, lost, frame in zip(ids, gone, frames, strict=True):
            assert lost or frame == snapshot.frames(name)
        live += [name for name, lost in zip(ids, gone, strict=True) if not lost]
    assert live == snapshot.ids()
    sums = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "big") for name in live]
    assert body["totals"]["checksum"] == f"{sum(sums) % 2**128:032x}"
