"""The store against its peers and against the memory: ``python -m benchmarks.store`` or ``make bench-store``.

- Data: unit vectors in 2,000 Zipf-weighted Gaussian clusters of a 96-dimensional power-law latent space, in 512
  dimensions with noise; seeded. Questions are held out from the same distribution. A bucket of 0..999 a row, at
  random, is what filters ask about.
- Each system runs in a process of its own, one question at a time; truth comes from a matrix product here.
- The floor is the time in which one thread reads all bytes of the vectors once (the fastest of several readings): no
  exact search of that dtype can be faster without reading less.
- Peers are looked for in this environment, or in that of ``--peers-python``; one that is not installed says how to.
  One that is not built within ``--limit`` seconds, or has not answered everything within as many again, is stopped, and
  its row says what it had by then.
- ``--json`` keeps rows from earlier runs and replaces those measured now, so that systems can be measured one by one;
  ``--table FILE`` writes them into a document between its marks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.store_peers import INSTALL, SHARES, K
from benchmarks.store_systems import PATIENCE_S, SYSTEMS

DIM = 512
SEED = 20240607
CLUSTERS, LATENT = 2000, 96
CHUNK = 50_000
QUESTIONS, FILTERED = 100, 30
LARGE = 1_000_000  # rows at which an index must pay
HERE = Path(__file__).parent
BEGIN, END = "<!-- bench-store begin -->", "<!-- bench-store end -->"


def _chunk(number: int, count: int) -> NDArray[np.float32]:
    """Vectors [count, DIM] that depend on seed and number alone."""
    world = np.random.default_rng(SEED)
    basis = np.linalg.qr(world.standard_normal((DIM, LATENT)))[0].T
    scale = np.arange(1, LATENT + 1) ** -0.5
    centres = world.standard_normal((CLUSTERS, LATENT)) * scale
    weights = 1 / np.arange(1, CLUSTERS + 1) ** 0.7
    random = np.random.default_rng([SEED, number])
    own = centres[random.choice(CLUSTERS, count, p=weights / weights.sum())]
    latent = own + 0.6 * scale * random.standard_normal((count, LATENT))
    vectors = latent @ basis + 0.02 * random.standard_normal((count, DIM))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def write_data(folder: Path, rows: int) -> None:
    """Vectors, buckets, questions and the true answers, alone and under every filter."""
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows, DIM))
    for number, start in enumerate(range(0, rows, CHUNK)):
        vectors[start : start + CHUNK] = _chunk(number, min(CHUNK, rows - start))
    buckets = np.random.default_rng(SEED + 1).integers(0, 1000, rows)
    queries = _chunk(10**6, QUESTIONS)
    np.save(folder / "buckets.npy", buckets)
    np.save(folder / "queries.npy", queries)
    scores = np.empty((QUESTIONS, rows), np.float32)
    for start in range(0, rows, CHUNK):
        scores[:, start : start + CHUNK] = queries @ vectors[start : start + CHUNK].T
    truth = {"all": _best(scores)}
    for share, below in SHARES.items():
        kept = np.flatnonzero(buckets < below)
        truth[share] = kept[_best(scores[:FILTERED, kept])]
    np.savez(folder / "truth.npz", **truth)  # type: ignore[arg-type]


def _best(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    part = np.argpartition(scores, max(scores.shape[1] - K, 0), axis=1)[:, -K:]
    return np.asarray(np.take_along_axis(part, np.argsort(-np.take_along_axis(scores, part, axis=1), axis=1), axis=1))


def floor_ms(folder: Path) -> dict[str, float]:
    """Milliseconds in which one thread reads all float32 vectors once, and half of the bytes for float16."""
    vectors = np.load(folder / "vectors.npy").reshape(-1)
    words, figures = vectors.view(np.int64), {}
    for name, part in (("f4", words), ("f2", words[: len(words) // 2])):
        readings = []
        for read in (part.sum, part.max, part.any):
            for _ in range(4):
                begin = time.perf_counter()
                read()
                readings.append(1e3 * (time.perf_counter() - begin))
        figures[name] = min(readings)
    return figures


def run(name: str, folder: Path, python: str, limit: float, *, build_only: bool) -> dict[str, Any]:
    """The figures of one system, as many as it gave: ``limit`` seconds to build, unless it is built, and as many to answer."""
    own, begin = folder / name.replace(" ", "-"), time.perf_counter()
    unfinished, figures = own / "unfinished.json", {}
    if unfinished.exists():
        return dict(json.loads(unfinished.read_text()))
    if not (own / "built.json").exists():
        figures, end = _process(name, folder, python, limit, ["--build-only"])
        if end:
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            figures["stopped"] = f"not built ({end}), {figures.get('rows_built', 0):,} rows by then"
            unfinished.write_text(json.dumps(figures))
    if not build_only and not {"stopped", "missing", "failed"} & set(figures):
        answers, end = _process(name, folder, python, limit, [])
        figures |= answers | ({"stopped": f"not measured to the end ({end})"} if end else {})
    return {**figures, "seconds": round(time.perf_counter() - begin, 1)}


def _process(name: str, folder: Path, python: str, limit: float, options: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What a system's own process said, and what ended it: nothing, the ``limit`` of seconds, or a signal."""
    program = str(HERE / "store_systems.py")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "HF_HUB_OFFLINE": "1"}
    end = ""
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(
            [python, program, name, str(folder), *options], stdout=out, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            try:
                end = f"signal {-code}" if (code := process.wait(limit)) < 0 else ""
            except subprocess.TimeoutExpired:
                process.kill()
                end = f"{limit:g} s"
        out.seek(0)
        figures: dict[str, Any] = {}
        for line in out:
            if line.startswith("{"):
                figures |= json.loads(line)
    return figures, end


def setting() -> dict[str, Any]:
    """Machine, versions, commit, load."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":", 1)[1].strip() for line in described.splitlines() if line.startswith("model name")), ""
    )
    return {
        "date": time.strftime("%Y-%m-%d"), "machine": f"{platform.machine()} {model}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip(), "python": platform.python_version(), "numpy": np.__version__, "seed": SEED,
    }  # fmt: skip


def versions(python: str) -> str:
    """The versions of the peers' packages that an interpreter has."""
    program = (
        "import importlib.metadata as m, sys\n"
        "for n in sys.argv[1:]:\n    try: print(n, m.version(n))\n    except m.PackageNotFoundError: pass"
    )
    packages = sorted({name for text in INSTALL.values() for name in text.split()} | {"pyarrow"})
    said = subprocess.run([python, "-c", program, *packages], capture_output=True, text=True, check=False)
    return ", ".join(said.stdout.split("\n")[:-1])


COLUMNS = (
    ("recall@10", "recall", "{:.3f}"), ("p50 ms", "p50_ms", "{:.2f}"), ("p10 ms", "p10_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.1f}"), ("p10 / floor", "x_floor", "{:.2f}"),
    *((f"{share} kept: recall, p50 (p10) ms", share, "") for share in SHARES),
    ("256 at once, 1/s", "batch_qps", "{:.0f}"), ("build s", "build_s", "{:.1f}"), ("open s", "open_s", "{:.3f}"),
    ("first answer s", "first_answer_s", "{:.2f}"), ("upsert 1000 s", "upsert_1000_s", "{:.2f}"),
    ("delete 1000 s", "delete_1000_s", "{:.2f}"), ("disk MB", "disk_mb", "{:.0f}"), ("peak MB", "peak_mb", "{:.0f}"),
)  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows as Markdown, a table a size."""
    out = []
    for size in sorted({row["rows"] for row in rows}):
        own = [row for row in rows if row["rows"] == size]
        measured = [row["floor_ms"] for row in own if row.get("floor_ms")]
        floors = {name: min(floor[name] for floor in measured) for name in (measured[0] if measured else ())}
        floor_text = ", ".join(f"{name} {value:.1f} ms" for name, value in floors.items())
        out += [f"### {size:,} x {DIM}", "", f"Floor (one thread reads all vectors once): {floor_text}.", ""]
        out += ["| system | " + " | ".join(head for head, _, _ in COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
        for name in SYSTEMS:
            for row in own:
                if row["system"] == name:
                    out.append(f"| {name} | " + " | ".join(_cell(row, key, form) for _, key, form in COLUMNS) + " |")
        out += ["", *verdicts({row["system"]: row for row in own}, size)]
        notes = [f"- {row['system']}: {_note(row)}" for row in own if _note(row)]
        out += ["", *notes, ""] if notes else [""]
    return "\n".join(out)


def verdicts(rows: Mapping[str, Mapping[str, Any]], size: int) -> list[str]:
    """What was aimed at and what was found, a line each; and whether each peer is slower at no more recall."""
    f4, f2, tuned = (rows.get(f"remora {kind}", {}) for kind in ("exact f4", "exact f2", "tuned"))
    own = {name: row for name, row in rows.items() if name.startswith("remora") and "p50_ms" in row}
    found: list[tuple[str, float | None, str, float]] = [
        ("exact float32, fastest tenth over the floor", f4.get("x_floor"), "<=", 1.3),
        ("exact float16, fastest tenth over its floor", f2.get("x_floor"), "<=", 1.3),
        ("exact float16 over float32, p50", _ratio(f2, f4), "<=", 0.65),
        ("tuned, recall@10", tuned.get("recall"), ">=", 0.99),
        ("exact over tuned, p50", _ratio(f4, tuned) if size >= LARGE else None, ">=", 20),
        ("least recall under a filter", min((_least(row) for row in own.values()), default=None), ">=", 1.0),
        ("open, s", max((row["open_s"] for row in own.values()), default=None), "<=", 1.0),
        ("upsert of 1,000, s", max((row.get("upsert_1000_s", 0) for row in own.values()), default=None), "<=", 0.5),
    ]
    lines = ["| aim | found | |", "| --- | --- | --- |"]
    for what, value, sign, aim in found:
        if value is not None:
            met = value <= aim if sign == "<=" else value >= aim
            lines.append(f"| {what} {sign} {aim:g} | {value:.3g} | {'met' if met else 'missed'} |")
    for name, row in rows.items():
        if name not in own and "p50_ms" in row:
            equal = min((r["p50_ms"] for r in own.values() if r["recall"] >= row["recall"] - 0.0005), default=None)
            if equal is not None:
                ahead = "ahead" if equal <= row["p50_ms"] else "behind"
                lines.append(
                    f"| {name} at recall {row['recall']:.3f}, p50 {row['p50_ms']:.2f} ms | {equal:.2f} ms | {ahead} |"
                )
    return lines


def _ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    return one["p50_ms"] / other["p50_ms"] if "p50_ms" in one and "p50_ms" in other else None


def _least(row: Mapping[str, Any]) -> float:
    return min(float(row.get(f"recall {share}", 1.0)) for share in SHARES)


def _note(row: Mapping[str, Any]) -> str:
    said = [str(row[key]) for key in ("index", "missing", "failed", "stopped") if row.get(key)]
    asked = row.get("asked", QUESTIONS)
    return "; ".join(
        said + ([f"{asked} of {QUESTIONS} questions were asked, for {PATIENCE_S} s"] if asked < QUESTIONS else [])
    )


def _cell(row: Mapping[str, Any], key: str, form: str) -> str:
    if key in SHARES:
        found, spent = row.get(f"recall {key}"), row.get(f"p50_ms {key}")
        return (
            ""
            if found is None or spent is None
            else f"{found:.3f}, {spent:.2f} ({row.get(f'p10_ms {key}', spent):.2f})"
        )
    return "" if row.get(key) is None else form.format(row[key])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.store", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes")
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), metavar="NAME", help=", ".join(SYSTEMS))
    parser.add_argument("--peers-python", default=sys.executable, metavar="FILE", help="interpreter that has the peers")
    parser.add_argument(
        "--limit", type=float, default=1200, help="seconds a system may take to build, and again to answer"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the data lies between runs")
    parser.add_argument("--build-only", action="store_true", help="build into --work, measure in a later run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there, with those of earlier runs")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table into this document")
    asked = parser.parse_args(argv)
    unknown = sorted(set(asked.systems) - set(SYSTEMS))
    if unknown:
        parser.error(f"no system {unknown[0]!r}; there are {', '.join(SYSTEMS)}")
    kept = json.loads(asked.json.read_text()) if asked.json and asked.json.exists() else {"rows": []}
    if asked.systems or "setting" not in kept:
        kept["setting"] = setting() | {"peers": versions(asked.peers_python)}
    with tempfile.TemporaryDirectory() as scratch:
        for size in asked.rows:
            folder = (asked.work or Path(scratch)) / str(size)
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "truth.npz").exists():
                write_data(folder, size)
            floors = floor_ms(folder) if asked.systems else {}
            for name in asked.systems:
                own = name.startswith("remora")
                row = run(
                    name,
                    folder,
                    sys.executable if own else asked.peers_python,
                    asked.limit,
                    build_only=asked.build_only,
                )
                row |= {"system": name, "rows": size, "floor_ms": floors, "load": round(os.getloadavg()[0], 1)}
                if "p10_ms" in row:
                    row["x_floor"] = row["p10_ms"] / floors["f2" if "f2" in name else "f4"]
                kept["rows"] = [r for r in kept["rows"] if (r["system"], r["rows"]) != (name, size)] + [row]
                sys.stdout.write(
                    f"{size} {name}: {json.dumps({k: v for k, v in row.items() if k not in ('floor_ms', 'measured')})}\n"
                )
                sys.stdout.flush()
                if asked.json:
                    asked.json.parent.mkdir(parents=True, exist_ok=True)
                    asked.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = table(kept["rows"])
    sys.stdout.write(f"\n{json.dumps(kept['setting'])}\n\n{text}\n")
    if asked.table:
        before, _, rest = asked.table.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        made = ", ".join(f"{key} {value}" for key, value in kept["setting"].items())
        asked.table.write_text(f"{before}{BEGIN}\n\n{made}\n\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
