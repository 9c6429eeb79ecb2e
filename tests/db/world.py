"""Small libraries for the tests of the store: seeded rows, captions and vectors, and a plain model to hold answers against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from db import Space
from db.schema import STATISTICS, row_schema

DIM = 8
SPACES = [
    Space("f" * 32, "whole", "motion", DIM),
    Space("f" * 32, "left_arm", "motion", DIM),
    Space("f" * 32, "whole", "text", DIM, rows_of="captions"),
]
ENCODER = {"name": "test", "fingerprint": "f" * 32}


def unit(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def rows(ids: Sequence[str], *, version: int = 0) -> pa.Table:
    """Metadata whose columns follow from the id, so that a filter can be checked by hand."""
    numbers = [int(name.split("-")[1]) for name in ids]
    values: dict[str, list[Any]] = {
        "clip_id": list(ids),
        "source": ["kit" if n % 2 else "cmu" for n in numbers],
        "duration_s": [n / 2 for n in numbers],
        "n_frames": [10 * n for n in numbers],
        "fps": [20.0] * len(ids),
        "mirrored": [n % 3 == 0 for n in numbers],
        "class_id": [f"class{n % 5}" for n in numbers],
        "speed_m_s": [n / 4 if n % 4 else None for n in numbers],
        "sha256": [f"{n}v{version}" for n in numbers],
    }
    schema = row_schema()
    empty: dict[str, Any] = {"start_s": 0.0, "end_s": 1.0, **dict.fromkeys(STATISTICS)}
    return pa.Table.from_pydict(
        {name: values.get(name, [empty.get(name, "")] * len(ids)) for name in schema.names}, schema=schema
    )


def captions(ids: Sequence[str]) -> pa.Table:
    """Two captions a clip, one for every third."""
    table = []
    for name in ids:
        n = int(name.split("-")[1])
        for i in range(1 if n % 3 == 0 else 2):
            table.append(
                {
                    "clip_id": name,
                    "text": f"a person does thing {n} way {i}",
                    "start_s": 0.0,
                    "end_s": 0.0,
                    "kind": "human",
                    "tokens": [],
                }
            )
    fields = [("clip_id", pa.string()), ("text", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    return pa.Table.from_pylist(
        table, schema=pa.schema([*fields, ("kind", pa.string()), ("tokens", pa.list_(pa.string()))])
    )


def batch(
    ids: Sequence[str], *, version: int = 0, seed: int = 0
) -> tuple[pa.Table, pa.Table, dict[str, NDArray[np.float32]], list[bytes]]:
    """Everything an upsert takes; vectors follow from id, version and seed."""
    said = captions(ids)

    def vectors(names: Sequence[str], salt: int) -> NDArray[np.float32]:
        return np.stack([unit((DIM,), abs(hash_of(f"{name}/{version}/{salt}/{seed}"))) for name in names])

    found = {
        "motion/whole": vectors(ids, 1),
        "motion/left_arm": vectors(ids, 2),
        "text/whole": vectors([f"{c}{i}" for i, c in enumerate(said["text"].to_pylist())], 3),
    }
    return rows(ids, version=version), said, found, [f"{name}/{version}".encode() for name in ids]


def hash_of(text: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def names(*numbers: int) -> list[str]:
    return [f"clip-{n}" for n in numbers]
