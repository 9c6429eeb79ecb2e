"""Speed and memory of the whole slice, from files to hits: ``python -m benchmarks.slice [--json FILE]``.

- ingest: a folder of BVH files of 120 frames is indexed; the time is split by stage, and embedding once more into
  features and forward pass.
- memory: peak resident memory of a process that indexes a tenth of the files, and all of them (hard links to the same
  files: other takes, same bytes). Flat means that the two are near each other.
- help: what the help of a command costs the processor, beside the import of the command-line library alone.
- query and opening: a library of random unit vectors in 20 segments, the encoder's spaces, no frames.
- The floor of a search, which runs on one core, is the fastest of several ways to read the same bytes once on one core.
  Ten thousand vectors fit into a large cache, a hundred thousand do not: both are shown.

Times are wall clock, best or median as named; the load of the machine at the start is printed with them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import remora  # settles threads before torch or faiss is loaded
from remora import Engine

FRAMES = 120
FPS = 20.0
SEGMENTS = 20
TEXTS = (
    "a person waves with the left hand", "somebody walks in a circle", "a man kicks with the right leg",
    "jumping up and down", "a person sits down on a chair and stands up again", "throwing something far away",
    "she turns around slowly", "dancing salsa", "a tired person walks", "raising both arms over the head",
)  # fmt: skip
Row = dict[str, Any]


def best(call: Callable[[], object], repeat: int = 9) -> float:
    """Seconds of the fastest of ``repeat`` calls."""
    return min(_seconds(call) for _ in range(repeat))


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def row(what: str, value: float, unit: str, goal: str = "", note: str = "") -> Row:
    """One line of the report."""
    return {"what": what, "value": round(value, 4), "unit": unit, "goal": goal, "note": note}


# ---- ingest --------------------------------------------------------------------------------------------------------


def write_bvh(folder: Path, count: int, distinct: int = 200) -> None:
    """``count`` BVH files of :data:`FRAMES` frames: ``distinct`` motions, and hard links to them."""
    from dataclasses import replace

    folder.mkdir(parents=True)
    clips = remora.synthesise(min(count, distinct), seed=0, fps=FPS)
    for number, clip in enumerate(clips):
        frames = np.arange(FRAMES) * (len(clip.joints) - 1) / (FRAMES - 1)  # stretched to one length
        low, share = frames.astype(int), (frames % 1)[:, None, None]
        high = np.minimum(low + 1, len(clip.joints) - 1)
        joints = clip.joints[low] * (1 - share) + clip.joints[high] * share
        remora.write(replace(clip, joints=joints.astype(np.float32)), folder / f"take_{number:05d}.bvh")
    for number in range(len(clips), count):
        os.link(folder / f"take_{number % len(clips):05d}.bvh", folder / f"take_{number:05d}.bvh")


def ingest(work: Path, encoder: str | None, clips: int) -> list[Row]:
    """Clips a second from BVH files to a committed version, and where the time goes."""
    write_bvh(work / "bvh", clips)
    engine = Engine(work / "ingest", encoder=encoder, device="cpu")
    some = [remora.read(path)[0] for path in sorted((work / "bvh").iterdir())[:64]]
    engine.encoder.encode_motion(some)  # warm: weights and kernels
    begin = time.perf_counter()
    report = engine.index(work / "bvh")
    seconds = time.perf_counter() - begin
    rows = [row(f"ingest, {report.added} BVH files of {FRAMES} frames", report.added / seconds, "clips/s", ">= 60")]
    for stage, spent in report.seconds.items():
        rows.append(row(f"  {stage}", 1e3 * spent / report.added, "ms a clip", note=f"{spent / seconds:.0%}"))
    again = _seconds(lambda: engine.index(work / "bvh"))
    rows.append(row("the same folder again, nothing changed", report.added / again, "clips/s"))
    return rows + embedding(engine, some)


def embedding(engine: Engine, clips: Sequence[Any]) -> list[Row]:
    """Of embedding: the features alone, and all of it."""
    from motion.features import FEATURES, joints_to_features

    spec = FEATURES[engine.encoder.spec.features]
    features = best(lambda: [joints_to_features(clip.joints, spec) for clip in clips], 5) / len(clips)
    both = best(lambda: engine.encoder.encode_motion(clips), 5) / len(clips)
    return [
        row("embedding alone, warm, batch of 64", 1e3 * both, "ms a clip"),
        row("  of it features", 1e3 * features, "ms a clip", note=f"{features / both:.0%}"),
    ]


def memory(work: Path, encoder: str | None, clips: int) -> list[Row]:
    """Peak resident memory of indexing a tenth, and all, each in a process of its own."""
    write_bvh(work / "many", clips)
    few = work / "few"
    few.mkdir()
    for path in sorted((work / "many").iterdir())[: max(1, clips // 10)]:
        os.link(path, few / path.name)
    peaks = {}
    for name in ("few", "many"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.slice",
            "--index-only",
            str(work / name),
            str(work / f"{name}-lib"),
        ]
        done = subprocess.run(
            command + (["--encoder", encoder] if encoder else []), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"indexing in a process of its own failed:\n{done.stderr[-2000:]}")
        peaks[name] = json.loads(done.stdout.splitlines()[-1])
    grown = peaks["many"]["peak_mb"] / peaks["few"]["peak_mb"]
    return [
        row(f"peak memory, {clips // 10} clips", peaks["few"]["peak_mb"], "MB"),
        row(f"peak memory, {clips} clips", peaks["many"]["peak_mb"], "MB", "< 1500", f"{grown:.2f} x the above"),
        row(
            f"ingest of {clips} clips", clips / peaks["many"]["seconds"], "clips/s", ">= 60", "load of weights included"
        ),
    ]


def index_only(source: Path, library: Path, encoder: str | None) -> None:
    """Index, and print peak memory and seconds as JSON (what :func:`memory` starts)."""
    seconds = _seconds(lambda: Engine(library, encoder=encoder, device="cpu").index(source))
    sys.stdout.write(json.dumps({"peak_mb": peak_mb(), "seconds": seconds}) + "\n")


def peak_mb() -> float:
    """Peak resident memory of this process; not by getrusage, which on Linux still knows the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # macOS counts bytes


# ---- query ---------------------------------------------------------------------------------------------------------


def fill(path: Path, engine: Engine, clips: int, segments: int) -> None:
    """A library of ``clips`` random rows in ``segments`` segments that ``engine``'s encoder may ask."""
    import pyarrow as pa

    from db import Library
    from indexer.rows import CAPTION_SCHEMA, ROW_SCHEMA
    from indexer.target import encoder_card, spaces_of

    spec = engine.encoder.spec
    library = Library.create(path, spaces=spaces_of(spec), encoder=encoder_card(spec))
    random = np.random.default_rng(0)
    for numbers in np.array_split(np.arange(clips), segments):
        ids = [f"random/{number:06d}" for number in numbers]
        plain: Row = {name: "" for name in ROW_SCHEMA.names if pa.types.is_string(ROW_SCHEMA.field(name).type)}
        plain |= {"source": "random", "start_s": 0.0, "fps": FPS, "n_frames": FRAMES, "mirrored": False}
        plain |= {"skeleton": "smpl-22", "end_s": 6.0, "notes": "{}"}
        rows = [
            plain | {"clip_id": name, "duration_s": 1.0 + number % 9, "sha256": name}
            for name, number in zip(ids, numbers, strict=True)
        ]
        said = [
            {
                "clip_id": name,
                "text": f"a person does number {name}",
                "start_s": 0.0,
                "end_s": 6.0,
                "kind": "human",
                "tokens": [],
            }
            for name in ids
        ]
        vectors = {}
        for space in library.spaces.values():
            block = random.standard_normal((len(ids), space.dim)).astype(np.float32)
            vectors[space.name] = block / np.linalg.norm(block, axis=1, keepdims=True)
        with library.begin() as change:
            change.add(pa.Table.from_pylist(rows, ROW_SCHEMA), pa.Table.from_pylist(said, CAPTION_SCHEMA), vectors)
            change.commit()


def query(engine: Engine, clips: int, texts: int) -> list[Row]:
    """Text in, hits out, warm; the same with a filter; and the parts of it."""
    asked = [f"{TEXTS[at % len(TEXTS)]}, number {at}" for at in range(texts)]
    for text in asked[:5]:
        engine.search(text, where="duration_s < 4")
        engine.search(text)
    # Sentences that were asked before are remembered: each of the three asks its own.
    plain = sorted(_seconds(lambda text=text: engine.search(text)) for text in asked)  # type: ignore[misc]
    short = [f"{text}, shorter" for text in asked]
    filtered = sorted(_seconds(lambda text=text: engine.search(text, where="duration_s < 4")) for text in short)  # type: ignore[misc]
    alone = [f"{text}, alone" for text in asked]
    encoding = statistics.median(_seconds(lambda text=text: engine.encoder.encode_text([text])) for text in alone)  # type: ignore[misc]
    middle = statistics.median(plain)
    return [
        row(f"text in, hits out, {clips} clips, p50", 1e3 * middle, "ms", "<= 25"),
        row("  p95", 1e3 * plain[int(0.95 * (len(plain) - 1))], "ms"),
        row("  of it the sentence", 1e3 * encoding, "ms", note=f"{encoding / middle:.0%}"),
        row('  with --where "duration_s < 4", p50', 1e3 * statistics.median(filtered), "ms"),
    ]


def floor(engine: Engine, clips: int) -> list[Row]:
    """The vector search against one reading of the same bytes."""
    snapshot = engine.snapshot
    block = np.ascontiguousarray(snapshot.vectors(snapshot.ids(), "motion/whole"))
    random = np.random.default_rng(1)
    asked = random.standard_normal((1, block.shape[1])).astype(np.float32)
    asked /= np.linalg.norm(asked)
    flat, sink = block.reshape(-1), np.empty_like(block)
    readings = {
        "sum": best(flat.sum, 31),
        "maximum": best(flat.max, 31),
        "copy": best(lambda: np.copyto(sink, block), 31),
    }
    way, least = min(readings.items(), key=lambda item: item[1])
    searched = best(lambda: snapshot.search("motion/whole", asked, 10), 31)
    size = block.nbytes / 1e6
    return [
        row(
            f"vector search, {clips} x {block.shape[1]} ({size:.0f} MB), k = 10",
            1e3 * searched,
            "ms",
            note=f"{size / 1e3 / searched:.1f} GB/s",
        ),
        row(f"  one reading of these bytes ({way})", 1e3 * least, "ms", note=f"{size / 1e3 / least:.1f} GB/s"),
        row("  search / reading", searched / least, "x", "<= 2"),
    ]


def opening(path: Path, clips: int) -> list[Row]:
    """From a path to a snapshot, and to one that has answered a vector search."""
    from db import Library

    snapshot = Library.open(path).snapshot()
    asked = np.eye(1, snapshot.spaces["motion/whole"].dim, dtype=np.float32)
    opened = best(lambda: len(Library.open(path).snapshot()))
    first = best(lambda: Library.open(path).snapshot().search("motion/whole", asked, 10))
    return [
        row(f"open {clips} clips in {SEGMENTS} segments", 1e3 * opened, "ms", "<= 150"),
        row("  and answer the first vector search", 1e3 * first, "ms", "<= 150"),
    ]


# ---- command line --------------------------------------------------------------------------------------------------


def help_page(command: str = "search", repeat: int = 5) -> list[Row]:
    """Processor time of ``remora COMMAND --help``, beside what importing the command-line library alone takes."""

    def spent(*arguments: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    page = min(spent("-m", "remora", command, "--help") for _ in range(repeat))
    typer = min(spent("-c", "import typer") for _ in range(repeat))
    return [row(f"remora {command} --help, processor", page, "s", "< 0.3", f"{page / typer:.1f} x import typer")]


# ---- report --------------------------------------------------------------------------------------------------------


def setting() -> Row:
    """The machine and what it was doing."""
    import faiss
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()], "torch": torch.__version__, "faiss": faiss.__version__,
        "torch_threads": torch.get_num_threads(), "commit": commit.stdout.strip(),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slice", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", help="name or folder; default: the shipped one")
    parser.add_argument("--clips", type=int, default=600, help="BVH files of the ingest")
    parser.add_argument("--memory-clips", type=int, default=10_000, help="clips of the memory test; 0 leaves it out")
    parser.add_argument("--library-clips", type=int, default=10_000, help="clips of the library that is asked")
    parser.add_argument(
        "--large-clips", type=int, default=100_000, help="vectors of the second search; 0 leaves it out"
    )
    parser.add_argument("--texts", type=int, default=60, help="questions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--index-only", nargs=2, type=Path, metavar=("SOURCE", "LIBRARY"), help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.index_only:
        source, library = asked.index_only
        index_only(source, library, asked.encoder)
        return
    where = setting()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        engine = Engine(work / "library", encoder=asked.encoder, device="cpu")
        fill(engine.path, engine, asked.library_clips, SEGMENTS)
        rows += help_page() + opening(engine.path, asked.library_clips)
        rows += query(engine, asked.library_clips, asked.texts) + floor(engine, asked.library_clips)
        if asked.large_clips:
            large = Engine(work / "large", encoder=engine.encoder)
            fill(large.path, large, asked.large_clips, SEGMENTS)
            rows += floor(large, asked.large_clips)
        rows += ingest(work, asked.encoder, asked.clips)
        if asked.memory_clips:
            rows += memory(work, asked.encoder, asked.memory_clips)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps({"setting": where, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    report(where, rows)


def report(where: Row, rows: Sequence[Row]) -> None:
    """The table on stdout."""
    sys.stdout.write(", ".join(f"{key} {value}" for key, value in where.items()) + "\n\n")
    for line in rows:
        sys.stdout.write(
            f"{line['what']:<58} {line['value']:>10.2f} {line['unit']:<10} {line['goal']:<8} {line['note']}\n"
        )


if __name__ == "__main__":
    main()
