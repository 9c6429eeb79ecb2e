"""Filters to bitmaps: a term of the AST at a time, over the columns it names, by Arrow's kernels.

- Only the columns that a filter names are read; what was read and the last bitmaps are kept, both belong to one
  version.
- A comparison with nothing is false, and ``not`` of it true: there is no third value.
- Nothing is interpreted here: no SQL, no code. What a caller gave is compared as a value.
- A condition on ``caption`` holds where it holds for any caption of the clip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import FilterError
from db.filters import (
    COLUMNS,
    MAX_DEPTH,
    And,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Not,
    Or,
    Says,
    check_term,
    column,
    parse_filter,
)
from db.texts import Captions

if TYPE_CHECKING:
    import pyarrow as pa

MASKS_KEPT = 32
_KERNELS = {"=": "equal", "<>": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}
_FOLDS = {"lower": "utf8_lower", "upper": "utf8_upper"}

Mask = NDArray[np.bool_]


class Matcher:
    """The rows of one version, asked by filters."""

    def __init__(self, rows: int, read: Callable[[str], pa.ChunkedArray], captions: Callable[[], Captions]) -> None:
        self._rows = rows
        self._read = read
        self._captions = captions
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._masks: OrderedDict[str | Filter, Mask] = OrderedDict()

    def mask(self, where: str | Filter) -> Mask:
        """Rows [N] that pass; not to be changed.

        Raises:
            FilterError: the filter cannot be read, names a column that is not there, or compares it with what it is
                not.
        """
        if not isinstance(where, str):
            check_term(where)  # also: only what has been checked can be a key
        known = self._masks.get(where)
        if known is None:
            known = self._masks[where] = self._mask(parse_filter(where) if isinstance(where, str) else where, 0)
            while len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        return known

    def _mask(self, term: Filter, depth: int) -> Mask:
        if depth > MAX_DEPTH:
            raise FilterError(f"the filter is nested more than {MAX_DEPTH} deep; simplify it")
        if isinstance(term, Not):
            return ~self._mask(term.term, depth + 1)
        if isinstance(term, And | Or):
            out = np.full(self._rows, isinstance(term, And))
            for inner in term.terms:
                own = self._mask(inner, depth + 1)
                out = out & own if isinstance(term, And) else out | own
            return out
        if isinstance(term, Says):
            return self._captions().saying(term.words)
        name = column(term.column)
        if name != "caption":
            return _truth(_simple(term, self._column(name), COLUMNS[name]))
        captions = self._captions()
        if isinstance(term, IsNull):
            return ~captions.rows_with(np.ones(len(captions), bool))
        return captions.rows_with(_truth(_simple(term, captions.texts, "text")))

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]


def _simple(term: Compare | In | Like | IsNull, values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """A condition on one column; null where a value is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(term, IsNull):
        missing = pc.is_null(values, nan_is_null=True)
        return pc.or_kleene(missing, pc.equal(values, "")) if kind == "text" else missing
    if term.fold:
        values = pc.call_function(_FOLDS[term.fold], [values])
    if kind == "number":
        values = pc.cast(values, pa.float64())
    if isinstance(term, Like):
        pattern = term.pattern.replace("\\", "\\\\")  # Arrow's escape, which filters have not
        return pc.match_like(values, pattern, ignore_case=term.ignore_case)
    if isinstance(term, In):
        wanted = pa.array([float(v) if kind == "number" else v for v in term.values], values.type)
        return pc.is_in(values, value_set=wanted, skip_nulls=True)
    value = pa.scalar(float(term.value) if kind == "number" else term.value, values.type)
    return pc.call_function(_KERNELS[term.operator], [values, value])


def _truth(values: Any) -> Mask:
    import pyarrow.compute as pc

    found: Mask = np.asarray(
        pc.fill_null(values, False).to_numpy(zero_copy_only=False) if hasattr(values, "type") else values
    )
    return found.astype(bool, copy=False)
