"""Small libraries whose every byte follows from ids and values, so that a reader can tell a wrong row from a right one.

A change writes pairs: ``x-a`` and ``x-b`` with one value. Whoever sees two values has seen half a commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from db import Library, Snapshot, Space
from db.schema import fit, row_schema

DIM = 16
MAKER = "7" * 32
SPACES = [
    Space(MAKER, "whole", "motion", DIM),
    Space(MAKER, "left_arm", "motion", DIM, dtype="f2"),
    Space(MAKER, "whole", "text", DIM, rows_of="captions"),
]


def create(path: Path) -> Library:
    return Library.create(path, spaces=SPACES, encoder={"name": "torture", "fingerprint": MAKER})


def vector(text: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    found = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return found / np.linalg.norm(found)


def content(values: Mapping[str, int]) -> tuple[pa.Table, pa.Table, dict[str, np.ndarray], list[bytes]]:
    """What an upsert takes: a clip an id, whose vectors, caption and frames follow from id and value."""
    ids, said = list(values), [f"{name} is {value}" for name, value in values.items()]
    columns: dict[str, Any] = {
        "clip_id": ids, "notes": [str(value) for value in values.values()], "duration_s": [1.0] * len(ids),
        "source": ["torture"] * len(ids), "sha256": [hashlib.sha256(text.encode()).hexdigest() for text in said],
    }  # fmt: skip
    blank = {field.name: pa.nulls(len(ids), field.type) for field in row_schema()}
    rows = fit(pa.table({**blank, **columns}), row_schema(), "rows")
    captions = pa.table({
        "clip_id": ids, "text": said, "start_s": [0.0] * len(ids), "end_s": [1.0] * len(ids), "kind": ["human"] * len(ids),
        "tokens": pa.array([[]] * len(ids), pa.list_(pa.string())),
    })  # fmt: skip
    vectors = {space.name: np.stack([vector(f"{space.name}/{text}") for text in said]) for space in SPACES}
    return rows, captions, vectors, [text.encode() for text in said]


def values_of(snapshot: Snapshot) -> dict[str, int]:
    """The value of every clip, by its row alone."""
    found = {}
    for batch in snapshot.scan(columns=["clip_id", "notes"]):
        found.update(zip(batch["clip_id"].to_pylist(), map(int, batch["notes"].to_pylist()), strict=True))
    return found


def violations(snapshot: Snapshot) -> list[str]:
    """What a snapshot shows that no sequence of whole commits can have made."""
    values, wrong = values_of(snapshot), []
    if len(values) != len(snapshot):
        wrong.append(f"version {snapshot.version}: {len(snapshot)} clips counted, {len(values)} there")
    ids = list(values)
    for name in ids:
        partner = name[:-1] + ("b" if name.endswith("-a") else "a")
        if name.endswith(("-a", "-b")) and values.get(partner) != values[name]:
            wrong.append(f"version {snapshot.version}: {name} is {values[name]}, {partner} {values.get(partner)}")
        if snapshot.frames(name) != f"{name} is {values[name]}".encode():
            wrong.append(f"version {snapshot.version}: the frames of {name} are {snapshot.frames(name)!r}")
    for space in SPACES[:2]:
        there = snapshot.vectors(ids, space.name)
        meant = np.array([vector(f"{space.name}/{name} is {values[name]}") for name in ids]).reshape(-1, DIM)
        if len(ids) and float(np.abs(there - meant).max()) > 1e-3:
            wrong.append(f"version {snapshot.version}: a vector of {space.name} is another's")
    texts = snapshot.captions(ids)["text"].to_pylist() if ids else []
    if texts != [f"{name} is {values[name]}" for name in ids]:
        wrong.append(f"version {snapshot.version}: captions are others'")
    return wrong


def put(library: Library, values: Mapping[str, int], *, delete: Sequence[str] = (), txn_id: str | None = None) -> int:
    change = library.begin(txn_id=txn_id)
    if values:
        change.upsert(*content(values))
    if delete:
        change.delete(ids=list(delete))
    return change.commit().version


def pair(name: str, value: int) -> dict[str, int]:
    return {f"{name}-a": value, f"{name}-b": value}
