"""Writers and readers in processes of their own, killed at random times, with clocks that disagree.

- A writer writes down what it begins and what was acknowledged, in a log of its own. After a kill its successor tries what was
  open again, under the same transaction id.
- In the end every acknowledged change must be there, no change twice, no pair torn; and every snapshot that a reader opened
  meanwhile must have been whole, and have stayed what it was while it was held.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import db.vacuum
from benchmarks.torture.world import create, pair, put, values_of, violations
from db import ConflictError, Library, LibraryError

KEYS = 5  # pairs a writer has of its own
DAY_S = 86_400.0


@dataclass
class Outcome:
    """What a part of the torture found."""

    what: str
    rounds: int = 0
    opens: int = 0
    commits: int = 0
    violations: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    note: str = ""


class Log:
    """Lines that outlive the process that writes them."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *entry: Any) -> None:
        os.write(self._file, (json.dumps(entry) + "\n").encode())


def entries(path: Path) -> list[list[Any]]:
    """The lines of a log; one cut by a kill is not counted."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write(path: Path, log_path: Path, name: str, seed: int) -> None:
    """What a writer does until it is killed."""
    chance = random.Random(seed)
    shift = chance.choice([0.0, 0.0, -DAY_S, DAY_S, 400 * DAY_S])
    real = time.time
    db.vacuum.time.time = lambda: real() + shift  # type: ignore[attr-defined]
    known, log, library = entries(log_path), Log(log_path), Library.open(path)
    begun = [entry for entry in known if entry[0] == "begin"]
    done = {entry[1] for entry in known if entry[0] in ("done", "refused")}
    turn = max((int(entry[1].split("/")[1]) for entry in begun), default=0)
    for _, txn, change in begun[-1:]:
        if txn not in done:
            attempt(library, log, txn, change)
    while True:
        turn += 1
        kind = chance.choices(["put", "delete", "add", "tag", "compact", "vacuum"], [50, 12, 15, 5, 6, 6])[0]
        key = f"{name}-{chance.randrange(KEYS)}"
        shared = pair(f"all-{chance.randrange(3)}", 1_000_000 * int(name[1:]) + turn)
        change = {
            "put": {"put": {**pair(key, turn), **shared}}, "delete": {"delete": list(pair(key, 0)), "put": shared},
            "add": {"put": {f"{name}-new-{turn}": turn}}, "tag": {"tag": f"{name}-{turn}"},
        }.get(kind)  # fmt: skip
        if change is None:
            if kind == "compact":
                library.compact(thorough=chance.random() < 0.5)
            else:
                library.vacuum(keep=chance.choice([1, 2, 20]), older_than_s=0, grace_s=chance.choice([0.0, DAY_S]))
            continue
        txn = f"{name}/{turn}"
        log.write("begin", txn, change)
        attempt(library, log, txn, change)


def attempt(library: Library, log: Log, txn: str, change: dict[str, Any]) -> None:
    """Make a change and write down that it was acknowledged, or why not."""
    try:
        if "tag" in change:
            if change["tag"] not in library.tags:
                library.tag(change["tag"])
            version = library.tags[change["tag"]]
        else:
            version = put(library, change["put"], delete=change.get("delete", ()), txn_id=txn)
        log.write("done", txn, version)
    except ConflictError as error:
        log.write("refused", txn, str(error))


def read(path: Path, log_path: Path, seed: int) -> None:
    """What a reader does until it is killed: open the newest version, look at all of it, hold some, look at them again."""
    chance, log = random.Random(seed), Log(log_path)
    held: list[tuple[Any, dict[str, int]]] = []
    while True:
        try:
            snapshot = Library.open(path).snapshot()
            found = violations(snapshot)
            if held and chance.random() < 0.5:
                old, values = held.pop(chance.randrange(len(held)))
                if values_of(old) != values or violations(old):
                    found.append(f"version {old.version} changed while it was held")
            if chance.random() < 0.3:
                held = [*held[-3:], (snapshot, values_of(snapshot))]
            log.write("read", snapshot.version, found)
        except LibraryError as error:
            log.write("read", -1, [f"{type(error).__name__}: {error}"])


def crowd(folder: Path, *, kills: int, writers: int = 3, readers: int = 2, seed: int = 0) -> Outcome:
    """Let writers and readers work, and kill one every little while, so many times."""
    path, chance = folder / "crowd", random.Random(seed)
    create(path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.torture.crowd"])
    logs = {f"w{i}": folder / f"w{i}.log" for i in range(writers)} | {
        f"r{i}": folder / f"r{i}.log" for i in range(readers)
    }
    working: dict[str, BaseProcess] = {}
    done = 0
    try:
        while done < kills:
            for name, log in logs.items():
                process = working.get(name)
                if process is None or not process.is_alive():
                    arguments = (path, log, name, chance.randrange(2**31))
                    target, given = (write, arguments) if name[0] == "w" else (read, (path, log, arguments[3]))
                    working[name] = context.Process(target=target, args=given, daemon=True)
                    working[name].start()
            _wait_for_work(logs.values(), chance.randrange(900))
            time.sleep(chance.uniform(0.0, 0.05))
            name = chance.choice([*logs, *(n for n in logs if n[0] == "w")])
            process = working[name]
            if process.is_alive():
                process.kill()
                done += 1
            process.join(20)
    finally:
        for process in working.values():
            process.kill()
            process.join(20)
    return judge(path, logs, done)


def _wait_for_work(logs: Iterable[Path], amount: int) -> None:
    """Until the logs have grown by so many bytes (a change writes some 150), on a machine of whatever speed."""
    began, until = _size(logs), time.monotonic() + 60
    while _size(logs) < began + amount and time.monotonic() < until:
        time.sleep(0.002)


def _size(logs: Iterable[Path]) -> int:
    return sum(log.stat().st_size for log in logs if log.exists())


def judge(path: Path, logs: dict[str, Path], kills: int) -> Outcome:
    """Hold what the logs say against what is there."""
    library = Library.open(path)
    snapshot = library.snapshot()
    values = values_of(snapshot)
    out = Outcome("processes killed at random", rounds=kills, violations=violations(snapshot))
    reads = [entry for name, log in logs.items() if name[0] == "r" for entry in entries(log)]
    out.opens = len(reads)
    out.violations += [text for _, _, found in reads for text in found]
    refused = 0
    for name, log in ((n, p) for n, p in logs.items() if n[0] == "w"):
        begun = {txn: change for kind, txn, *rest in entries(log) if kind == "begin" for change in rest}
        versions: dict[str, set[int]] = {}
        for kind, txn, *rest in entries(log):
            if kind == "done":
                versions.setdefault(txn, set()).add(rest[0])
            refused += kind == "refused"
        out.doubled += sum(len(found) > 1 for found in versions.values())
        out.commits += len(versions)
        expected: dict[str, set[int | None]] = {}
        for txn, change in begun.items():
            new = {**dict.fromkeys(change.get("delete", ()), None), **change.get("put", {})}
            for key, value in new.items():
                if key.startswith(f"{name}-"):  # of this writer alone
                    expected[key] = {value} if txn in versions else expected.get(key, {None}) | {value}
            if "tag" in change and txn in versions and library.tags.get(change["tag"]) not in versions[txn]:
                out.lost += 1
        out.lost += sum(values.get(key) not in possible for key, possible in expected.items())
    report = library.verify(all_versions=True)
    out.violations += report.problems
    for version in library.versions():
        out.violations += violations(library.snapshot(version.version))
    library.vacuum(keep=1, older_than_s=0, grace_s=0)
    out.violations += litter(library)
    out.note = f"{library.latest} versions; {refused} changes refused as conflicts"
    return out


def litter(library: Library) -> list[str]:
    """Files that no version needs and a vacuum left."""
    needed = set()
    for version in library.versions():
        manifest = library.manifest(version.version)
        needed |= set(manifest.truth()) | set(manifest.derived())
    there = {
        str(path.relative_to(library.path)) for kind in ("segments", "deletes", "indexes")
        for path in (library.path / kind).rglob("*") if path.is_file()
    }  # fmt: skip
    left = [str(path) for path in library.path.rglob(".tmp-*")]
    return [f"left over: {name}" for name in sorted(there - needed) + left]
