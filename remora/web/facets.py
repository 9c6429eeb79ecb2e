"""The columns of a library with counts: what a page offers as filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from db import Filter, Snapshot
from remora.web.answers import Bin, Column, FacetsAnswer, Value

TEXTS = ("source", "split", "subject", "class_id", "class_text", "style", "skeleton", "licence", "origin")
NUMBERS = ("duration_s", "fps", "n_frames")
MOST_VALUES = 100
BINS = 20


def facets(snapshot: Snapshot, where: str | Filter | None) -> FacetsAnswer:
    """Values and counts of the clips that pass ``where``; FilterError when it cannot be read."""
    names = [*TEXTS, *NUMBERS, "mirrored"]
    batches = list(snapshot.scan(where, names))
    if not batches:
        return FacetsAnswer(snapshot.version, 0, ())
    table = pa.Table.from_batches(batches)
    columns = [_texts(name, table[name]) for name in TEXTS]
    columns += [_numbers(name, table[name]) for name in NUMBERS]
    return FacetsAnswer(snapshot.version, len(table), (*columns, _truth("mirrored", table["mirrored"])))


def _counted(column: Any) -> list[tuple[Any, int]]:
    """Values and counts, most frequent first, equal ones by value."""
    pairs = [(row["values"], row["counts"]) for row in pc.value_counts(column).to_pylist()]
    return sorted(((v, n) for v, n in pairs if v not in (None, "")), key=lambda pair: (-pair[1], pair[0]))


def _texts(name: str, column: Any) -> Column:
    from remora.web.errors import without_paths

    pairs = _counted(column)
    values = tuple(Value(value, count) for value, count in pairs[:MOST_VALUES] if without_paths(value) == value)
    return Column(name, "text", len(pairs), len(column) - sum(count for _, count in pairs), values)


def _truth(name: str, column: Any) -> Column:
    pairs = _counted(column)
    values = tuple(Value(bool(value), count) for value, count in pairs)
    return Column(name, "truth", len(pairs), len(column) - sum(count for _, count in pairs), values)


def _numbers(name: str, column: Any) -> Column:
    numbers = np.asarray(column.drop_null().to_numpy(), np.float64)
    numbers = numbers[np.isfinite(numbers)]
    empty = len(column) - len(numbers)
    if not len(numbers):
        return Column(name, "number", 0, empty)
    low, high = float(numbers.min()), float(numbers.max())
    counts, edges = np.histogram(numbers, BINS if high > low else 1, (low, high if high > low else low + 1))
    edges[-1] = high
    bins = tuple(
        Bin(float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    )  # fmt: skip
    return Column(name, "number", len(np.unique(numbers)), empty, (), low, high, bins)
