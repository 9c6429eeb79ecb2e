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
from typing import Any

import numpy
import pyarrow

from benchmarks.store import setting, versions
from benchmarks.torture import boundaries, crowd, media, peers, power
from benchmarks.torture.crowd import Outcome

BEGIN, END = "<!-- torture begin -->", "<!-- torture end -->"
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


COLUMNS = ("rounds", "snapshots seen", "commits", "violations", "lost", "doubled", "note", "s")


def table(rows: dict[str, dict[str, Any]]) -> str:
    """All parts, and the peers beside Remora, as Markdown."""
    lines = [f"| what | {' | '.join(COLUMNS)} |", "| --- |" + " ---: |" * 6 + " --- | ---: |"]
    for part in PARTS:
        if part in rows:
            row = rows[part]
            numbers = [row["rounds"], row["opens"], row["commits"], len(row["violations"]), row["lost"], row["doubled"]]
            lines.append(
                f"| {row['what']} | {' | '.join(f'{n:,}' for n in numbers)} | {row['note']} | {row['seconds']:.0f} |"
            )
    told = [rows[f"peer {kind}"] for kind in peers.KINDS if f"peer {kind}" in rows]
    if told:
        lines += ["", "One writer each, killed at random; what it was told is done must be there, and whole:", ""]
        lines += [f"| {' | '.join(told[0])} |", "| --- |" + " ---: |" * (len(told[0]) - 2) + " --- |"]
        lines += [f"| {' | '.join(str(value) for value in row.values())} |" for row in told]
    return "\n".join(lines)


def run(part: str, given: argparse.Namespace) -> dict[str, Any]:
    """The outcome of one part."""
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{part}-"))
    began = time.perf_counter()
    try:
        found = PARTS[part](folder, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for text in found.violations[:20]:
        sys.stderr.write(f"  {text}\n")
    return {**asdict(found), "seconds": time.perf_counter() - began}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--peers", nargs="*", choices=peers.KINDS, default=list(peers.KINDS))
    parser.add_argument("--peers-python", default=sys.executable, metavar="FILE", help="interpreter that has the peers")
    parser.add_argument("--peer-seconds", type=float, default=120, help="of torture for each peer")
    parser.add_argument("--kills", type=int, default=300, help="processes killed at random times")
    parser.add_argument("--cuts", type=int, default=4, help="power cuts at each moment")
    parser.add_argument("--flips", type=int, default=12, help="bits flipped, or cuts made, in each file")
    parser.add_argument("--every", type=int, default=1, help="only every n-th call of a change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep the outcomes there, with those of earlier runs")
    parser.add_argument("--table", type=Path, help="write the tables into this document")
    given = parser.parse_args(argv)
    kept = json.loads(given.json.read_text()) if given.json and given.json.exists() else {"rows": {}}
    own, of_peers = setting(), versions(given.peers_python)
    names = [*given.parts, *(f"peer {kind}" for kind in given.peers)]
    if names or "setting" not in kept:
        kept["setting"] = (
            f"{own['date']}, {platform.system()} {own['machine']}, commit {own['commit']}, Python {own['python']}, "
            f"numpy {numpy.__version__}, pyarrow {pyarrow.__version__}, seed {given.seed}, peers {of_peers}"
        )
    for name in names:
        if name in PARTS:
            kept["rows"][name] = run(name, given)
        else:
            kept["rows"][name] = peers.torture(
                name[5:], given.peers_python, seconds=given.peer_seconds, seed=given.seed
            )
        sys.stderr.write(f"{name}: {kept['rows'][name]}\n"[:300].rstrip() + "\n")
        if given.json:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(kept, indent=1) + "\n")
    text = f"{kept['setting']}\n\n{table(kept['rows'])}"
    print(text)
    if given.table:
        before, _, rest = given.table.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        given.table.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    own = [row for name, row in kept["rows"].items() if name in PARTS]
    return int(any(row["violations"] or row["lost"] or row["doubled"] for row in own))


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # the store names each damaged file, as it should
    sys.exit(main())
