"""The map of a library as a page shows it: a point a clip, and the columns it may be coloured by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from db import Snapshot
from remora.web.answers import Codes, MapAnswer
from remora.web.projection import METHOD, project

COLOURS = ("source", "class_id", "style", "split", "subject", "licence")


def draw_map(snapshot: Snapshot) -> MapAnswer:
    """The map of all clips of a version; seconds for ten thousand."""
    ids = snapshot.ids()
    points = project(snapshot.vectors(ids, "motion/whole")) if ids else np.zeros((0, 2), np.float32)
    columns = {}
    if ids:
        rows = snapshot.rows(ids, COLOURS)
        columns = {name: codes for name in COLOURS if len((codes := coded(rows[name])).values) > 1}
    x, y = (tuple(round(value, 4) for value in points[:, axis].tolist()) for axis in (0, 1))
    return MapAnswer(snapshot.version, METHOD, tuple(ids), x, y, columns)


def coded(column: Any) -> Codes:
    """A column as values, most frequent first, and a code for each row."""
    plain = pc.fill_null(column, "")
    counts = {row["values"]: row["counts"] for row in pc.value_counts(plain).to_pylist() if row["values"]}
    values = sorted(counts, key=lambda value: (-counts[value], value))
    if not values:
        return Codes((), ())
    codes = pc.fill_null(pc.index_in(plain, value_set=pa.array(values, pa.string())), -1)
    return Codes(tuple(values), tuple(codes.to_pylist()))
