"""One vector store at a time, measured in a process of its own: ``python benchmarks/store_systems.py NAME FOLDER
[--build-only]``.

FOLDER holds what ``benchmarks.store`` wrote: ``vectors.npy`` [N, D], ``buckets.npy`` [N] (0..999, drawn at random),
``queries.npy``, ``truth.npz``. A system keeps rows by number and a bucket for each; the filter is ``bucket < b``.
Needs numpy and the one package, so that peers can live in an environment of their own. Prints one JSON object;
figures are added as they come, so that one that is stopped has said what it had.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from benchmarks.store_peers import INSTALL, PEERS, SHARES, K

PATIENCE_S, LEAST = 30, 20  # of questions of one kind, and how many are asked however long they take
CHANGES = 3  # times that a thousand rows are changed and deleted


class Remora:
    """This project: a library of one space; ``dtype`` f4 or f2, tuned or exact."""

    def __init__(self, folder: Path, dtype: str = "f4", tuned: bool = False) -> None:
        self.path, self.dtype, self.tuned = folder / "library", dtype, tuned

    def build(self, vectors: Any, buckets: Any) -> Any:
        from db import Library, Space
        from remora.threads import search_threads

        space = Space("0" * 32, "whole", "motion", vectors.shape[1], dtype=self.dtype)  # type: ignore[arg-type]
        library = Library.create(self.path, spaces=[space], encoder={"name": "bench", "fingerprint": "0" * 32})
        for start in range(0, len(vectors), 125_000):
            numbers = np.arange(start, min(start + 125_000, len(vectors)))
            self._put(library, numbers, np.asarray(vectors[numbers]), np.asarray(buckets[numbers]))
        if self.tuned:
            search_threads(os.cpu_count() or 1)
            begin = time.perf_counter()
            report = library.tune(specs=self._specs(len(vectors), vectors.shape[1]))
            return {
                "index": report.chosen.name,
                "tune_s": time.perf_counter() - begin,
                "measured": report.to_json()["measured"],
            }
        return {}

    def _specs(self, rows: int, dim: int) -> Any:
        from db import default_specs

        return [spec for spec in default_specs(rows, dim) if spec.KIND != "scalar"]

    def _put(self, library: Any, numbers: Any, vectors: Any, buckets: Any) -> None:
        import pyarrow as pa

        from db.schema import caption_schema, row_schema

        empty = pa.array([""] * len(numbers))
        columns: dict[str, Any] = dict.fromkeys(row_schema().names, empty)
        for field in row_schema():
            if not pa.types.is_string(field.type):
                columns[field.name] = pa.nulls(len(numbers), field.type)
        columns |= {"clip_id": pa.array([f"row/{n:09d}" for n in numbers]), "n_frames": pa.array(buckets, pa.int32())}
        captions = caption_schema().empty_table().drop_columns(["row"])
        with library.begin() as change:
            change.upsert(pa.table(columns), captions, {"motion/whole": vectors})
            change.commit()

    def open(self) -> None:
        from db import Library
        from remora.threads import search_threads

        self.library = Library.open(self.path)
        self.snapshot = self.library.snapshot()
        search_threads(1)

    def query(self, query: Any, below: int | None = None) -> Any:
        where = None if below is None else f"n_frames < {below}"
        hits = self.snapshot.search("motion/whole", query[None], K, where=where)
        return [int(name[4:]) for name in hits.ids[0]]

    def batch(self, queries: Any) -> Any:
        return self.snapshot.search("motion/whole", queries, K).ids

    def upsert(self, numbers: Any, vectors: Any) -> None:
        self._put(self.library, numbers, vectors, np.zeros(len(numbers), np.int32))

    def delete(self, numbers: Any) -> None:
        with self.library.begin() as change:
            change.delete(ids=[f"row/{n:09d}" for n in numbers])
            change.commit()

    def back(self) -> None:
        self.library.restore(self.snapshot.version)


SYSTEMS: dict[str, Any] = {
    "remora exact f4": Remora, "remora exact f2": lambda f: Remora(f, "f2"), "remora tuned": lambda f: Remora(f, tuned=True),
    **PEERS,
}  # fmt: skip


# ---- measuring -----------------------------------------------------------------------------------------------------


def say(**figures: Any) -> None:
    """One line of JSON; the last value of a name counts."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def milliseconds(call: Any, queries: Any) -> tuple[list[Any], list[float]]:
    """Answers, and the time of each; the first three are asked before, uncounted. Who is slow is asked fewer."""
    for query in queries[:3]:
        call(query)
    found: list[Any] = []
    spent: list[float] = []
    for query in queries:
        if sum(spent) > 1e3 * PATIENCE_S and len(spent) >= LEAST:
            break
        begin = time.perf_counter()
        found.append(call(query))
        spent.append(1e3 * (time.perf_counter() - begin))
    return found, spent


def recall(found: Any, truth: Any) -> float:
    """Mean share of the true ids that were found, of the questions that were asked."""
    return float(
        np.mean([len({int(i) for i in f} & {int(i) for i in t}) / len(t) for f, t in zip(found, truth, strict=False)])
    )


def measure(name: str, folder: Path, build_only: bool) -> None:
    """All figures of one system; what was built by an earlier run is used, and thrown away when it has been changed."""
    vectors, buckets = (np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in ("vectors", "buckets"))
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npz")
    own = folder / name.replace(" ", "-")
    system, built = SYSTEMS[name](own), own / "built.json"
    system.dim, system.told = vectors.shape[1], lambda count: say(rows_built=count)
    if not built.exists():
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        begin = time.perf_counter()
        more = system.build(vectors, buckets) or {}
        size = sum(path.stat().st_size for path in own.rglob("*") if path.is_file())
        built.write_text(json.dumps({"build_s": time.perf_counter() - begin, "disk_mb": size / 1e6, **more}))
    say(**json.loads(built.read_text()))
    if build_only:
        return
    begin = time.perf_counter()
    system.open()
    say(open_s=time.perf_counter() - begin)
    system.query(queries[0])
    say(first_answer_s=time.perf_counter() - begin)
    found, spent = milliseconds(system.query, queries)
    p10, p50, p99 = map(float, np.percentile(spent, [10, 50, 99]))
    say(asked=len(spent), recall=recall(found, truth["all"]), p10_ms=p10, p50_ms=p50, p99_ms=p99)
    for share, below in SHARES.items():
        try:
            few = queries[: len(truth[share])]
            found, spent = milliseconds(lambda query, below=below: system.query(query, below), few)
            say(**{f"recall {share}": recall(found, truth[share]), f"p50_ms {share}": float(np.median(spent)),
                   f"p10_ms {share}": float(np.percentile(spent, 10))})  # fmt: skip
        except NotImplementedError:
            say(**{f"recall {share}": None})
    if hasattr(system, "batch"):
        many = np.concatenate([queries] * (256 // len(queries) + 1))[:256]
        begin = time.perf_counter()
        system.batch(many)
        say(batch_qps=256 / (time.perf_counter() - begin))
    if hasattr(system, "upsert"):
        _change(system, vectors)
        if hasattr(system, "back"):
            system.back()
        else:
            shutil.rmtree(own, ignore_errors=True)
    say(peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _change(system: Any, vectors: Any) -> None:
    """Seconds in which a thousand rows are given other vectors, and are deleted: the middle of some times."""
    times: dict[str, list[float]] = {"upsert_1000_s": [], "delete_1000_s": []}
    step = max(CHANGES, len(vectors) // 1000)
    for first in range(CHANGES):
        changed = np.arange(first, len(vectors), step)[:1000]
        begin = time.perf_counter()
        system.upsert(changed, np.asarray(vectors[changed[::-1]]))
        times["upsert_1000_s"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        system.delete(changed)
        times["delete_1000_s"].append(time.perf_counter() - begin)
    say(**{name: float(np.median(spent)) for name, spent in times.items()})


if __name__ == "__main__":
    try:
        measure(sys.argv[1], Path(sys.argv[2]), "--build-only" in sys.argv)
    except ModuleNotFoundError as error:
        say(missing=f"pip install {INSTALL.get(sys.argv[1], error.name)}")
    except Exception as error:  # a peer's own: said in its row
        say(failed=f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}")
    sys.stdout.flush()
    # Milvus Lite still writes its index when its client is closed; other peers leave threads behind that never end.
    last = threading.Timer(60, os._exit, [0])
    last.daemon = True
    last.start()
