"""Which row is which clip: ids, deletions and segments of one version, without an object a row.

- Rows are numbered through the segments in manifest order, dead ones too; the number is good inside one version only.
- Ids stay in Arrow until a person wants to see them: a million Python texts cost a second, the few of an answer
  nothing.
- Ids that were found are remembered: what a search answered is looked up again at once, for captions, parts, frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

REMEMBERED = 100_000
ONE_BY_ONE = 256


class RowIndex:
    """Ids [N] of all rows, which of them are dead [N], and the first number of each segment."""

    def __init__(self, ids: Sequence[pa.Array], dead: NDArray[np.bool_], starts: tuple[int, ...]) -> None:
        import pyarrow as pa

        self._column = pa.chunked_array(ids, pa.string())
        self.dead = dead
        self.starts = starts
        self._known: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.dead)

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """The rows that are not dead."""
        return ~self.dead

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """All ids as Python texts; slow for millions, see :meth:`names` and :meth:`find`."""
        return np.array(self._column.to_pylist(), object)

    @cached_property
    def by_id(self) -> dict[str, int]:
        """Row of every live id; slow for millions, see :meth:`find`."""
        live = np.flatnonzero(self.live)
        return dict(zip(self.ids[live].tolist(), live.tolist(), strict=True))

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Ids of ``rows`` [n], remembered."""
        import pyarrow as pa

        found: list[str]
        if len(rows) <= ONE_BY_ONE:  # for a few, setting up a take over many segments is the larger part
            found = [self._column[row].as_py() for row in rows.tolist()]
        else:
            found = self._column.take(pa.array(rows, pa.int64())).to_pylist()
        self._remember(found, rows)
        return found

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows [n] of live clips by their ids; -1 where there is none."""
        if not all(name in self._known for name in ids):
            import pyarrow as pa
            import pyarrow.compute as pc

            wanted = pa.array(dict.fromkeys(ids), pa.string())
            place = pc.index_in(self._column, value_set=wanted)
            rows = np.flatnonzero(place.is_valid().to_numpy() & self.live)
            known = dict(zip(self.names(rows), rows.tolist(), strict=True))
            return np.array([known.get(name, -1) for name in ids], np.int64)
        return np.array([self._known[name] for name in ids], np.int64)

    def _remember(self, names: Sequence[str], rows: NDArray[np.int64]) -> None:
        if len(self._known) > REMEMBERED:
            self._known = {}
        self._known.update(zip(names, rows.tolist(), strict=True))
