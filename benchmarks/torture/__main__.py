"""Torture of the store: ``python -m benchmarks.torture``; the table is what stands in docs/store.md.

Every part says how often it was tried, how many snapshots were opened and looked through, what was wrong with them, and how
many acknowledged changes were lost or acknowledged twice. All is seeded but for the moments at which processes are killed.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy
import pyarrow

from benchmarks.torture import boundaries, crowd, media, power
from benchmarks.torture.crowd import Outcome

PARTS: dict[str, Callable[[Path, argparse.Namespace], Outcome]] = {
    "crowd": lambda folder, given: crowd.crowd(folder, kills=given.kills, seed=given.seed),
    "killed": lambda folder, given: boundaries.killed(folder, every=given.every),
    "failing": lambda folder, given: boundaries.failing(folder, every=given.every),
    "power": lambda folder, given: power.power(folder, seeds=given.cuts, every=given.every),
    "mutants": lambda folder, given: power.mutants(folder),
    "full": lambda folder, given: media.full(folder),
    "read-only": lambda folder, given: media.read_only(folder),
    "rot": lambda folder, given: media.rot(folder, flips=given.flips, seed=given.seed),
}


def table(outcomes: list[Outcome]) -> str:
    lines = [
        "| what | rounds | snapshots seen | commits | violations | lost | doubled | note |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for o in outcomes:
        numbers = [o.rounds, o.opens, o.commits, len(o.violations), o.lost, o.doubled]
        lines.append(f"| {o.what} | {' | '.join(f'{number:,}' for number in numbers)} | {o.note} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=300, help="processes killed at random times")
    parser.add_argument("--cuts", type=int, default=4, help="power cuts at each moment")
    parser.add_argument("--flips", type=int, default=12, help="bits flipped, or cuts made, in each file")
    parser.add_argument("--every", type=int, default=1, help="only every n-th call of a change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the outcomes here, too")
    given = parser.parse_args(argv)
    logging.disable(logging.WARNING)  # the store names each damaged file, as it should
    outcomes = []
    for part in given.parts:
        folder = Path(tempfile.mkdtemp(prefix=f"torture-{part}-"))
        began = time.perf_counter()
        try:
            outcomes.append(PARTS[part](folder, given))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found = outcomes[-1]
        sys.stderr.write(f"{part}: {time.perf_counter() - began:.0f} s, {found.rounds} rounds\n")
        for text in found.violations[:20]:
            sys.stderr.write(f"  {text}\n")
    versions = f"Python {platform.python_version()}, numpy {numpy.__version__}, pyarrow {pyarrow.__version__}"
    print(f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, {versions}, seed {given.seed}\n")
    print(table(outcomes))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    return int(any(o.violations or o.lost or o.doubled for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
