"""What does not fit is refused in one sentence that says what to do, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from db import Library, RequestError
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit

WHOLE = "motion/whole"
NUMBER = "whole number from 1"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    change = library.begin()
    change.upsert(*batch(names(1, 2, 3)))
    change.commit()
    return library


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v[:, :5], r"holds vectors \[N, 8\], not \[3, 5\]"),
        (lambda v: v[:, None], "holds vectors"),
        (lambda v: v[:2], "needs 3 vectors, got 2"),
        (lambda v: v.astype(str), "expected real numbers; give float32"),
        (lambda v: v.astype(complex), "expected real numbers; give float32"),
        (lambda v: v.astype(object), "expected real numbers; give float32"),
        (lambda v: v * np.nan, "has length nan"),
        (lambda v: v * 3, "has length 3, expected 1; normalise it"),
        (lambda v: v * 0, "has length 0"),
        (lambda v: (v * 100).astype(np.int16), "normalise it"),
    ],
)
def test_vectors_that_are_none(library: Library, change: Callable[[Any], Any], said: str) -> None:
    rows, captions, vectors, frames = batch(names(4, 5, 6))
    transaction = library.begin()
    with pytest.raises(RequestError, match=said):
        transaction.upsert(rows, captions, {**vectors, WHOLE: change(vectors[WHOLE])}, frames)
    assert library.latest == 1


@pytest.mark.parametrize("ids", [["a", "a"], ["", "b"], [None, "b"]])
def test_ids_that_are_missing_or_twice(library: Library, ids: list[str | None]) -> None:
    rows, captions, vectors, frames = batch(names(4, 6))
    rows = rows.set_column(rows.schema.get_field_index("clip_id"), "clip_id", pa.array(ids, pa.string()))
    with pytest.raises(RequestError, match="must be there and differ"):
        library.begin().upsert(rows, captions, vectors, frames)


def test_ids_are_data_and_never_paths(library: Library) -> None:
    strange = ["../../etc/passwd-1", "a/b\\c-2", "C:x-3", "a\0b-4", "a\nb-5", "%2e%2e-6", "~root-7", "'; drop-8"]
    before = {path for path in library.path.parent.rglob("*") if path.is_file()}
    change = library.begin()
    change.upsert(*batch(strange))
    change.commit()
    snapshot = Library.open(library.path).snapshot()
    assert snapshot.rows(strange)["clip_id"].to_pylist() == strange
    assert snapshot.search(WHOLE, snapshot.vectors(strange, WHOLE), 1).ids == [[name] for name in strange]
    new = {path for path in library.path.parent.rglob("*") if path.is_file()} - before
    assert all(library.path in path.parents for path in new)


@pytest.mark.parametrize("k", [0, -1, 2.5, 10**12, float("nan"), float("inf"), True, "3", None, [3]])
def test_a_k_that_is_no_count(library: Library, k: Any) -> None:
    with pytest.raises(RequestError, match=NUMBER):
        library.snapshot().search(WHOLE, unit((1, DIM), 1), k)


@pytest.mark.parametrize(
    "asked", [np.full((1, DIM), np.nan), np.ones((1, 3)), np.ones(DIM), "hello", [[None] * DIM], object()]
)
def test_questions_that_are_none(library: Library, asked: Any) -> None:
    with pytest.raises(RequestError, match="queries for space"):
        library.snapshot().search(WHOLE, asked, 3)


def test_few_rows_and_none_are_answered(library: Library) -> None:
    snapshot = library.snapshot()
    assert len(snapshot.search(WHOLE, unit((1, DIM), 1), 50).ids[0]) == 3
    assert snapshot.search(WHOLE, np.zeros((0, DIM), np.float32), 3).ids == []
    rows, captions, vectors, _ = batch(names(4))
    change = library.begin()
    change.upsert(rows.slice(0, 0), captions.slice(0, 0), {name: v[:0] for name, v in vectors.items()}, [])
    assert change.commit().version == 1
