"""What an index kind is: a small frozen dataclass that says how it is built, what it holds in memory, and how hard it
searches.

- An index only names candidates. Who is among the best k, with which score, is decided from the vectors themselves:
  an index may miss a clip, it cannot give it a wrong score or an order of its own.
- Every number of a spec belongs to building, except those named in ``EFFORTS``: these may change from search to search.
- A kind is one file that registers itself; :func:`spec_from_json` finds it again by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from db.errors import RequestError
from db.vectors import SpaceVectors

SEED = 20260101
TRAIN_ROWS_A_LIST = 40

KINDS: dict[str, type[IndexSpec]] = {}


@dataclass(frozen=True)
class IndexSpec(ABC):
    """Settings of one kind of index; see the module."""

    KIND: ClassVar[str]
    EFFORTS: ClassVar[Mapping[str, tuple[int, ...]]] = {}  # what a search may vary, and values worth trying

    def __init_subclass__(cls) -> None:
        KINDS[cls.KIND] = cls

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 2**20:
                raise RequestError(f"{self.KIND}: {entry.name} is {value!r}, expected a whole number from 1 to {2**20}")

    @abstractmethod
    def memory(self, rows: int, dim: int) -> int:
        """Bytes it holds for ``rows`` vectors of ``dim`` numbers."""

    @abstractmethod
    def fits(self, rows: int, dim: int) -> bool:
        """Whether it can be built for so many vectors and is worth it."""

    @abstractmethod
    def build(self, vectors: SpaceVectors) -> Any:
        """A FAISS index of all ``vectors``, the same for the same vectors and spec on one machine."""

    @abstractmethod
    def candidates(self, index: Any, query: NDArray[np.float32], k: int, widen: int) -> Candidates:
        """Rows that may be among the ``k`` best for a query [D]; ``widen`` times as many as usual."""

    def error(self, dim: int) -> float | None:  # of the scores candidates come from
        """How far its own scores may lie from the true ones, where that is bounded: then its answers can be known
        exact.
        """
        return None

    @property
    def built(self) -> dict[str, int]:
        """What building depends on."""
        return {name: value for name, value in asdict(self).items() if name not in self.EFFORTS}

    def with_effort(self, values: Mapping[str, int]) -> Self:
        """The same index searched otherwise; values it does not know are ignored."""
        return replace(self, **{name: int(value) for name, value in values.items() if name in self.EFFORTS})

    def sweep(self) -> Iterator[Self]:
        """The same index with every combination of efforts worth trying."""
        for values in product(*self.EFFORTS.values()):
            yield replace(self, **dict(zip(self.EFFORTS, values, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Plain values; :func:`spec_from_json` reads them."""
        return {"kind": self.KIND, **asdict(self)}

    def __str__(self) -> str:
        return f"{self.KIND}({', '.join(f'{name}={value}' for name, value in asdict(self).items())})"


@dataclass(frozen=True)
class Candidates:
    """Rows of an index [m] and the score, by its own reckoning, of the worst of them: no other row has a better one."""

    rows: NDArray[np.int64]
    edge: float


def named(index: Any, scores: NDArray[np.float32], rows: NDArray[np.int64]) -> Candidates:
    """What FAISS answered to one query, [1, m] each."""
    there = rows[0] >= 0
    count = int(np.count_nonzero(there))  # FAISS puts what it did not find at the end
    everything = count in (0, index.ntotal)
    return Candidates(rows[0][:count], -np.inf if everything else float(scores[0][count - 1]))


def spec_from_json(entry: Mapping[str, Any]) -> IndexSpec:
    """The spec of a manifest entry; RequestError when its kind or a setting is not known here."""
    kind = entry.get("kind")
    if kind not in KINDS:
        raise RequestError(f"no index kind {kind!r}; there are {', '.join(sorted(KINDS))}")
    try:
        return KINDS[kind](**{name: value for name, value in entry.items() if name != "kind"})
    except TypeError as error:
        raise RequestError(f"index kind {kind!r}: {error}; see its documentation for its settings") from error


def index_kinds() -> list[str]:
    """The names of all kinds."""
    return sorted(KINDS)


def sample(vectors: SpaceVectors, count: int) -> NDArray[np.float32]:
    """At most ``count`` of the vectors, evenly drawn, always the same ones."""
    rows = np.arange(len(vectors))
    if len(rows) > count:
        rows = np.sort(np.random.default_rng(SEED).choice(len(rows), count, replace=False))
    return np.ascontiguousarray(vectors.take(rows), np.float32)


def add_all(index: Any, vectors: SpaceVectors) -> Any:
    """``index`` with all ``vectors`` in their order."""
    for _, piece in vectors.chunks():
        index.add(np.ascontiguousarray(piece))
    return index
