"""What a small commit costs, and what is gained by committing in groups: ``python -m benchmarks.commits``.

The same clips are written in three ways: a version a change; handed in one by one to ``Library.ingest``, which makes a version
of all that waits; and as one change. Ratios are of one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.torture.world import content, create, put
from db import Library


def one_by_one(library: Library, changes: list[dict[str, int]]) -> None:
    for change in changes:
        put(library, change)


def in_groups(library: Library, changes: list[dict[str, int]]) -> None:
    with library.ingest() as group:
        for promise in [group.upsert(*content(change)) for change in changes]:
            promise.result()


def at_once(library: Library, changes: list[dict[str, int]]) -> None:
    put(library, {name: value for change in changes for name, value in change.items()})


WAYS: dict[str, Callable[[Library, list[dict[str, int]]], None]] = {
    "a version a change": one_by_one, "Library.ingest": in_groups, "one change": at_once,
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=__doc__)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--clips", type=int, default=5, help="of a change")
    given = parser.parse_args(argv)
    changes = [{f"c{turn}-{i}": turn for i in range(given.clips)} for turn in range(given.changes)]
    print("| way | s | clips/s | versions | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    first = 0.0
    for way, write in WAYS.items():
        with tempfile.TemporaryDirectory(prefix="commits-") as folder:
            library = create(Path(folder) / "lib")
            began = time.perf_counter()
            write(library, changes)
            seconds = time.perf_counter() - began
            first = first or seconds
            rate = given.changes * given.clips / seconds
            print(f"| {way} | {seconds:.2f} | {rate:,.0f} | {library.latest} | {first / seconds:.1f} × |")


if __name__ == "__main__":
    main()
