"""Tuning: which index, searched how hard, reaches a recall on this library, and what it costs; measured, not assumed.

- Questions are vectors of the library itself (seeded), each moved by its own length, as far from its answers as a question
  that is no clip: those moved a quarter as far were found by a graph in 99.9 %, questions held out in 98 %.
- Truth is exact search. Measured are recall among the first 1 and 10, and milliseconds at the middle and the 99th
  percentile, one question at a time on one thread, alone and under filters that keep 10 % and 1 % of the clips.
- Of the settings that reach the wanted recall the fastest is taken; where a time is wanted, the best recall within
  it. Exact search takes part: if nothing beats it, the library stays without an index.
- The choice is written into the manifest, and with it all that was measured; a later commit keeps it, and rows that
  came since are searched exactly until the index is built again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db.errors import RequestError
from db.indexes import Hnsw, IndexSpec, IvfPq, Pq, Scalar, spec_from_json
from db.loading import INDEX_FILE, SEARCH_SETTINGS
from db.marks import NewIndex, change_indexes, configure
from db.plan import IndexSet, LoadedIndex, Part, best_rows
from db.space import Space
from db.vectors import SpaceVectors
from db.versions import Versions

if TYPE_CHECKING:
    from db.snapshot import Snapshot

QUESTIONS = 200
NOISE = 1.0  # length of what is added to a vector to make a question of it
SEED = 0
REBUILD_SHARE = 0.1  # of the rows: when more are not covered, the index is built again
LIST_COUNTS = (64, 256, 1024, 4096)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Measured:
    """One way of searching: its spec (None: exact), recall among 1 and 10, milliseconds, and those under filters.

    ``recall_low``: what the recall among ten is at least, for all that the number of questions leaves uncertain (two
    standard errors below the mean).
    """

    spec: IndexSpec | None
    recall_1: float
    recall_10: float
    p50_ms: float
    p99_ms: float
    filtered: tuple[tuple[float, float, float], ...]  # (share kept, recall among 10, p50 ms)
    build_s: float = 0.0
    bytes: int = 0
    recall_low: float = 1.0

    @property
    def name(self) -> str:
        """The way in a word."""
        return "exact" if self.spec is None else str(self.spec)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        entry = {key: value for key, value in asdict(self).items() if key != "spec"}
        entry["filtered"] = [{"kept": kept, "recall_10": recall, "p50_ms": p50} for kept, recall, p50 in self.filtered]
        return {"way": self.name, "spec": self.spec.to_json() if self.spec else None, **entry}


@dataclass(frozen=True)
class TuneReport:
    """What was measured on a space, what was chosen, and the version it was written to (None: nothing written)."""

    space: str
    rows: int
    dim: int
    wanted: str
    measured: tuple[Measured, ...]
    chosen: Measured
    version: int | None

    @property
    def pareto(self) -> tuple[Measured, ...]:
        """Ways that no other beats in both recall and time, fastest first."""
        best: list[Measured] = []
        for way in sorted(self.measured, key=lambda m: (m.p50_ms, -m.recall_10)):
            if not best or way.recall_10 > best[-1].recall_10:
                best.append(way)
        return tuple(best)

    def to_json(self) -> dict[str, Any]:
        """What ``remora library tune --json`` prints."""
        return {
            "space": self.space, "rows": self.rows, "dim": self.dim, "wanted": self.wanted, "version": self.version,
            "chosen": self.chosen.to_json(), "pareto": [m.name for m in self.pareto],
            "measured": [m.to_json() for m in self.measured],
        }  # fmt: skip


def default_specs(rows: int, dim: int) -> list[IndexSpec]:
    """The kinds worth building for so many rows: half precision, short codes, lists of a size that fits, a graph."""
    lists = max((n for n in LIST_COUNTS if 8 * n * n <= 16 * rows), default=LIST_COUNTS[0])
    every = [Scalar(16), Pq(), IvfPq(lists=lists), Hnsw()]
    return [spec for spec in every if spec.fits(rows, dim)]


def tune(
    library: Versions,
    *,
    space: str = "motion/whole",
    recall: float = 0.99,
    within_ms: float | None = None,
    specs: Sequence[IndexSpec] | None = None,
    questions: int = QUESTIONS,
    write: bool = True,
    progress: Progress | None = None,
) -> TuneReport:
    """Measure ways of searching a space and make the best of them the library's.

    Args:
        library: what is tuned.
        space: the space, as :attr:`db.Space.name`.
        recall: the recall among the first ten that is wanted.
        within_ms: take the best recall within so many milliseconds (p50) instead.
        specs: the indexes to try; by default those that fit the number of rows.
        questions: how many are asked.
        write: put the choice into the library.
        progress: called with (what is done, how much of it, of how much).

    Raises:
        RequestError: no such space, too few clips, a recall outside 0..1.  WriteError: it cannot be written.
    """
    snapshot = library.snapshot()
    wanted = snapshot.searcher.space(space)
    if wanted.rows_of != "rows":
        raise RequestError(f"space {space!r} holds captions; tune a space of clips, such as motion/whole")
    if not 0 < recall <= 1 or questions < 1 or (within_ms is not None and not within_ms > 0):
        raise RequestError(
            f"recall is {recall}, within {within_ms} ms, {questions} questions; see --help for what they mean"
        )
    if len(snapshot) < 2:
        raise RequestError(f"{library.path} holds {len(snapshot)} clips; there is nothing to tune")
    bench = _Bench(snapshot, wanted, questions)
    vectors = snapshot.searcher.vectors(wanted)
    candidates = default_specs(len(vectors), wanted.dim) if specs is None else list(specs)
    steps, measured, built = len(candidates) + 1, [bench.measure(None, None)], {}
    for number, spec in enumerate(candidates, start=1):
        if progress is not None:
            progress(f"build {spec.KIND}", number - 1, steps)
        begin = time.perf_counter()
        index, data = build(spec, vectors)
        seconds = time.perf_counter() - begin
        built[spec.KIND, *spec.built.items()] = data
        for effort in spec.sweep():
            own = bench.measure(effort, replace(index, spec=effort))
            measured.append(replace(own, build_s=seconds, bytes=len(data)))
    if progress is not None:
        progress("done", steps, steps)
    chosen = _choose(measured, recall, within_ms)
    version = None
    if write:
        made = None if chosen.spec is None else built[chosen.spec.KIND, *chosen.spec.built.items()]
        version = _write(library, snapshot, space, chosen.spec, made, chosen.to_json())
    target = f"p50 <= {within_ms} ms" if within_ms is not None else f"recall@10 >= {recall}"
    return TuneReport(space, len(snapshot), wanted.dim, target, tuple(measured), chosen, version)


def build(spec: IndexSpec, vectors: SpaceVectors) -> tuple[LoadedIndex, bytes]:
    """An index of all vectors, in memory and as the bytes of its file."""
    import faiss

    made = spec.build(vectors)
    return LoadedIndex(spec, made, np.arange(len(vectors))), faiss.serialize_index(made).tobytes()


def _choose(measured: Sequence[Measured], recall: float, within_ms: float | None) -> Measured:
    """The fastest way that surely has the recall, or the best recall within the time; exact search where no way does."""
    exact = measured[0]
    if within_ms is not None:
        quick = [way for way in measured if way.p50_ms <= within_ms]
        return max(quick, key=lambda way: (way.recall_10, -way.p50_ms), default=exact)
    good = [way for way in measured if way.recall_low >= recall]
    return min(good, key=lambda way: way.p50_ms, default=exact)


def index_name(space: str) -> str:
    """What the index of a space is called in a manifest."""
    return f"{space}/tuned"


def use_index(library: Versions, space: str, spec: IndexSpec | None) -> int:
    """Search a space by ``spec`` from now on, unmeasured, or exactly (None); the version that says so.

    Raises:
        RequestError: no such space.  WriteError: the library cannot be written.
    """
    snapshot = library.snapshot()
    vectors = snapshot.searcher.vectors(snapshot.searcher.space(space))
    return _write(library, snapshot, space, spec, build(spec, vectors)[1] if spec is not None else None, {})


def _write(
    library: Versions,
    snapshot: Snapshot,
    space: str,
    spec: IndexSpec | None,
    data: bytes | None,
    measured: Mapping[str, Any],
) -> int:
    """The version with the choice in it."""
    others = dict(snapshot.manifest.config.get(SEARCH_SETTINGS) or {})
    if spec is None or data is None:
        others.pop(space, None)
        change_indexes(library, (), [entry.name for entry in snapshot.manifest.indexes if entry.space == space])
        return configure(library, {SEARCH_SETTINGS: others or None}).version
    efforts = {key: value for key, value in asdict(spec).items() if key in spec.EFFORTS}
    others[space] = {"spec": spec.to_json(), "efforts": efforts, "measured": dict(measured)}
    change_indexes(library, [_entry(snapshot, space, spec, data)], ())
    return configure(library, {SEARCH_SETTINGS: others}).version


def _entry(snapshot: Snapshot, space: str, spec: IndexSpec, data: bytes) -> NewIndex:
    import faiss

    segments = snapshot.manifest.segments
    return NewIndex(
        name=index_name(space), space=space, kind=spec.KIND, params=asdict(spec), covers=[s.id for s in segments],
        rows=sum(s.rows for s in segments), info={"faiss": faiss.__version__}, files={INDEX_FILE: data},
    )  # fmt: skip


def rebuild_indexes(library: Versions) -> list[str]:
    """Build again, as they were tuned, the indexes that are missing, damaged or cover too little; the spaces it was
    done for.

    Raises:
        WriteError: the library cannot be written.
    """
    snapshot = library.snapshot()
    settings = snapshot.manifest.config.get(SEARCH_SETTINGS) or {}
    done = []
    for name, entry in settings.items():
        space = snapshot.searcher.space(name)
        spec = spec_from_json(entry["spec"])
        vectors = snapshot.searcher.vectors(space)
        covered = snapshot.searcher.covered(space)
        if len(vectors) - covered > REBUILD_SHARE * len(vectors) and spec.fits(len(vectors), space.dim):
            _, data = build(spec, vectors)
            change_indexes(library, [_entry(snapshot, name, spec, data)], ())
            done.append(name)
    return done


class _Bench:
    """Questions with their true answers, alone and under filters."""

    def __init__(self, snapshot: Snapshot, space: Space, questions: int) -> None:
        self._snapshot, self._space = snapshot, space
        random = np.random.default_rng(SEED)
        live = np.flatnonzero(snapshot.row_index.live)
        drawn = random.choice(live, min(questions, len(live)), replace=False)
        vectors = snapshot.searcher.vectors(space).take(drawn).astype(np.float32)
        noise = random.standard_normal(vectors.shape).astype(np.float32) * NOISE / space.dim**0.5
        self._asked = (vectors + noise) / np.linalg.norm(vectors + noise, axis=1, keepdims=True)
        self._vectors, self._names = snapshot.searcher.vectors(space), snapshot.searcher.names(space)
        self._keeps = {1.0: snapshot.row_index.live}
        for share in (0.1, 0.01):
            kept = random.choice(live, max(1, int(share * len(live))), replace=False)
            self._keeps[share] = np.isin(np.arange(len(self._vectors)), kept)
        self._truth = {share: self._ask(share, None)[0] for share in self._keeps}

    def _ask(self, share: float, index: LoadedIndex | None) -> tuple[list[list[str]], NDArray[np.float64]]:
        """Ids of the ten best of every question among ``share`` of the clips, and milliseconds."""
        few = self._asked if share == 1 else self._asked[: max(10, len(self._asked) // 4)]
        indexes = None if index is None else IndexSet([index], len(self._vectors))
        found, spent = [], []
        for query in [few[:1], *few[:, None]]:  # the first one twice: it is not counted
            begin = time.perf_counter()
            part = Part(self._vectors, query, 1.0, indexes)
            answer = best_rows([part], self._keeps[share], 10, self._names, exact=index is None or None)
            found.append(self._names(answer.rows[0]))
            spent.append(1e3 * (time.perf_counter() - begin))
        return found[1:], np.array(spent[1:])

    def measure(self, spec: IndexSpec | None, index: LoadedIndex | None) -> Measured:
        """Recall and time of one way."""
        found, spent = self._ask(1.0, index)
        filtered = []
        for share in list(self._keeps)[1:]:
            some, took = self._ask(share, index)
            filtered.append((share, float(_recalls(some, self._truth[share], 10).mean()), float(np.median(took))))
        truth = self._truth[1.0]
        ten = _recalls(found, truth, 10)
        return Measured(
            spec, float(_recalls(found, truth, 1).mean()), float(ten.mean()), float(np.median(spent)),
            float(np.percentile(spent, 99)), tuple(filtered),
            recall_low=float(ten.mean() - 2 * ten.std() / len(ten) ** 0.5),
        )  # fmt: skip


def _recalls(found: Sequence[Sequence[str]], truth: Sequence[Sequence[str]], k: int) -> NDArray[np.float64]:
    """The share of the true first ``k`` that are among those found, of every question [Q]."""
    return np.array([len(set(f[:k]) & set(t[:k])) / max(len(t[:k]), 1) for f, t in zip(found, truth, strict=True)])
