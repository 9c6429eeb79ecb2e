"""Power cuts, replayed: what was not synced may be missing, cut or full of zeros, and so may names be missing.

- A change is recorded call by call. For every moment of it a disk is made as a power cut may leave it: all that was synced, and
  of the rest whatever chance says: each change of a folder is there or not, each file whole, cut at 512 bytes, zero from some
  place on, or as it was at its last sync.
- Every version whose manifest is there must be whole, its indexes too, and every change that had been acknowledged must be
  there.
- The test is tested: with any one of the syncs left out it must find a disk that breaks this.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import db.files
from benchmarks.torture.boundaries import CHANGES, start
from benchmarks.torture.crowd import Outcome
from benchmarks.torture.world import violations
from db import Library, LibraryError

SECTOR = 512
Step = tuple[Any, ...]  # name of a call, paths inside the library, bytes written


@dataclass
class File:
    """A file's bytes, and those that were synced last."""

    data: bytes = b""
    synced: bytes = b""


@dataclass
class Folder:
    """A folder's entries, those that were synced, and what was done to them since, in order."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)
    waiting: list[tuple[str | None, str | None, File | Folder]] = field(default_factory=list)  # old name, new name

    def change(self, old: str | None, new: str | None, node: File | Folder) -> None:
        if old is not None:
            del self.names[old]
        if new is not None:
            self.names[new] = node
        self.waiting.append((old, new, node))

    def at(self, path: str) -> File | Folder:
        node: File | Folder = self
        for part in Path(path).parts:
            assert isinstance(node, Folder)
            node = node.names[part]
        return node

    def play(self, step: Step) -> None:
        """Do to this disk what a recorded call did."""
        call, path, *rest = step
        parent, name = self.at(str(Path(path).parent)), Path(path).name
        assert isinstance(parent, Folder)
        if call == "create":
            parent.change(None, name, File())
        elif call == "makedirs":
            parent.change(None, name, Folder())
        elif call == "write":
            parent.names[name].data += rest[0]  # type: ignore[union-attr]
        elif call == "link":
            self.at(str(Path(rest[0]).parent)).change(None, Path(rest[0]).name, parent.names[name])  # type: ignore[union-attr]
        elif call == "rename":
            parent.change(name, Path(rest[0]).name, parent.names[name])
        elif call in ("unlink", "rmdir"):
            parent.change(name, None, parent.names[name])
        else:  # fsync
            node = self.at(path)
            node.synced = dict(node.names) if isinstance(node, Folder) else node.data  # type: ignore[assignment]
            if isinstance(node, Folder):
                node.waiting = []


def load(path: Path) -> Folder:
    """A folder as it is, all synced."""
    found = Folder()
    for entry in path.iterdir():
        data = b"" if entry.is_dir() else entry.read_bytes()
        found.names[entry.name] = load(entry) if entry.is_dir() else File(data, data)
    found.synced = dict(found.names)
    return found


class Recorder:
    """``os``, which writes down every change of the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root, self.steps = root, list[Step]()
        self._open: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _note(self, call: str, *paths: Any, data: tuple[bytes, ...] = ()) -> None:
        self.steps.append((call, *(str(Path(path).relative_to(self.root)) for path in paths), *data))

    def open(self, path: Any, flags: int, *rest: Any) -> int:
        descriptor = os.open(path, flags, *rest)
        self._open[descriptor] = str(path)
        if flags & os.O_CREAT:
            self._note("create", path)
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        size = os.write(descriptor, data)
        self._note("write", self._open[descriptor], data=(bytes(memoryview(data)[:size]),))
        return size

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)
        self._note("fsync", self._open[descriptor])

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        there = Path(path).exists()
        os.makedirs(path, exist_ok=exist_ok)
        if not there:
            self._note("makedirs", path)

    def link(self, source: Any, target: Any, **named: Any) -> None:
        os.link(source, target, **named)
        self._note("link", source, target)

    def rename(self, source: Any, target: Any) -> None:
        os.rename(source, target)
        self._note("rename", source, target)

    def unlink(self, path: Any) -> None:
        os.unlink(path)
        self._note("unlink", path)

    def rmdir(self, path: Any) -> None:
        os.rmdir(path)
        self._note("rmdir", path)


def record(folder: Path, what: str) -> tuple[list[Step], int, int]:
    """The steps of a change, and the newest version before and after it."""
    path = folder / what
    shutil.copytree(folder / "start", path)
    before, recorder = Library.open(path).latest, Recorder(path)
    db.files.os = recorder  # type: ignore[assignment]
    try:
        library = Library.open(path)
        library.auto_compact = False
        CHANGES[what](library)
    finally:
        db.files.os = os  # type: ignore[assignment]
    after = Library.open(path).latest
    shutil.rmtree(path)
    return recorder.steps, before, after


def after_cut(disk: Folder, path: Path, chance: random.Random) -> None:
    """Make a folder as a power cut may leave ``disk``."""
    path.mkdir()
    entries, lost = dict(disk.synced), chance.choice([0.0, 0.5, 0.5, 0.9, 1.0])
    for old, new, node in disk.waiting:
        if chance.random() < lost or (old is not None and entries.get(old) is not node):
            continue
        if old is not None:
            del entries[old]
        if new is not None:
            entries[new] = node
    for name, node in entries.items():
        if isinstance(node, Folder):
            after_cut(node, path / name, chance)
        else:
            (path / name).write_bytes(bytes_left(node, chance))


def bytes_left(node: File, chance: random.Random) -> bytes:
    """What is left of a file that was written but perhaps not synced."""
    if node.data == node.synced:
        return node.data
    at = SECTOR * chance.randrange(len(node.data) // SECTOR + 1)
    return chance.choice([node.data, node.synced, node.data[:at], node.data[:at] + bytes(len(node.data) - at)])


def cut(folder: Path, steps: Sequence[Step], at: int, seed: str) -> Path:
    """A library after a power cut that came after ``at`` of ``steps``."""
    disk, path = load(folder / "start"), folder / "cut"
    for step in steps[:at]:
        disk.play(step)
    if path.exists():
        shutil.rmtree(path)
    after_cut(disk, path, random.Random(seed))
    return path


def broken(path: Path, acknowledged: int) -> list[str]:
    """What is wrong with a library after a power cut."""
    try:
        library = Library.open(path)
        snapshot = library.snapshot()
        report = library.verify(all_versions=True)
        found = [*report.problems, *report.derived, *violations(snapshot)]
        if snapshot.version < acknowledged:
            found.append(f"version {acknowledged} was acknowledged, {snapshot.version} is the newest")
        return found
    except LibraryError as error:
        return [f"{type(error).__name__}: {error}"]


def power(folder: Path, *, seeds: int = 4, every: int = 1) -> Outcome:
    """Power cuts at every moment (or every ``every``-th) of every kind of change."""
    out = Outcome("power cut at each moment of a change")
    start(folder / "start")
    for what in CHANGES:
        steps, before, after = record(folder, what)
        for at in [*range(0, len(steps), every), len(steps)]:
            for seed in range(seeds):
                path = cut(folder, steps, at, f"{what}/{at}/{seed}")
                found = broken(path, after if at == len(steps) else before)
                out.violations += [f"{what}, cut after {at} calls, seed {seed}: {text}" for text in found]
                out.rounds += 1
                out.opens += 1
        out.commits += after - before
    out.note = "unsynced bytes lost, cut at 512 bytes or zeroed; unsynced names lost"
    return out


def mutants(folder: Path, *, tries: int = 300, whats: Sequence[str] = tuple(CHANGES)) -> Outcome:
    """The same with one sync left out; a mutant that is not found out stands in ``violations``."""
    out = Outcome("of it: mutants that leave out one sync")
    if not (folder / "start").exists():
        start(folder / "start")
    for what in whats:
        steps, before, after = record(folder, what)
        for skip in [number for number, step in enumerate(steps) if step[0] == "fsync"]:
            mutant = [*steps[:skip], *steps[skip + 1 :]]
            out.rounds += 1
            if not any(_some(folder, mutant, (before, after), f"{what}/{skip}", tries)):
                out.violations.append(f"{what} without the sync of {steps[skip][1]} was not found out")
    out.note = f"{out.rounds - len(out.violations)} of {out.rounds} found out"
    return out


def _some(folder: Path, steps: Sequence[Step], versions: tuple[int, int], name: str, tries: int) -> Iterator[list[str]]:
    """What is wrong after power cuts at the end and, every other time, at moments that chance chooses."""
    chance = random.Random(name)
    for number in range(tries):
        at = len(steps) if number % 2 == 0 else chance.randrange(len(steps) + 1)
        yield broken(cut(folder, steps, at, f"{name}/{number}"), versions[at == len(steps)])
