"""Every call of a change to the system in turn: killed there, or made to fail there; then the library is looked at.

The change must have happened or not, must be possible again, and a vacuum must find what was left lying about.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import db.files
from benchmarks.torture.crowd import Outcome, litter
from benchmarks.torture.world import create, pair, put, values_of, violations
from db import CommitUncertain, Library, LibraryError, NewIndex
from tests.db.faults import FaultySystem

ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EDQUOT)


class DeadlySystem(FaultySystem):
    """``os``, whose ``fail_at``-th call is the last thing the process sees."""

    def _call(self, name: str, real: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if len(self.calls) + 1 == self.fail_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._call(name, real, given, named)


class FailingSystem(FaultySystem):
    """``os``, whose ``fail_at``-th call fails with ``code``."""

    code = errno.EIO

    def _call(self, name: str, real: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            return super()._call(name, real, given, named)
        except OSError as error:
            if len(self.calls) == self.fail_at and error.errno == errno.EIO:
                raise OSError(self.code, os.strerror(self.code)) from error
            raise


def commit(library: Library) -> None:
    put(library, {**pair("x", 2), **pair("new", 1)}, delete=list(pair("y", 0)), txn_id="again")


def index(library: Library) -> None:
    entry = library.snapshot().manifest.segments[0]
    library.change_indexes(
        [NewIndex("i", "motion/whole", "test", [entry.id], entry.rows, {"a.bin": b"abc"})], drop=["old"]
    )


CHANGES: dict[str, Callable[[Library], object]] = {
    "commit": commit,
    "compact": lambda library: library.compact(thorough=True),
    "tag": lambda library: library.tag("later", 1),
    "index": index,
    "restore": lambda library: library.restore(1),
    "vacuum": lambda library: library.vacuum(keep=1, older_than_s=0, grace_s=0),
}


def start(path: Path) -> None:
    """Three segments, dead rows, a tag, an index, a row of versions."""
    library = create(path)
    library.auto_compact = False
    put(library, {**pair("x", 1), **pair("y", 1)})
    put(library, {**pair("z", 1), **pair("x", 0)})
    put(library, {}, delete=list(pair("z", 0)))
    entry = library.snapshot().manifest.segments[0]
    library.change_indexes([NewIndex("old", "motion/whole", "test", [entry.id], entry.rows, {"a.bin": b"abc"})])
    put(library, pair("w", 1), delete=list(pair("x", 0)))  # a second bitmap of a segment: the first is for a vacuum


def die(path: Path, what: str, at: int) -> None:
    """Begin a change and be killed at its ``at``-th call."""
    db.files.os = DeadlySystem(at)  # type: ignore[assignment]
    library = Library.open(path)
    library.auto_compact = False
    CHANGES[what](library)


def count(path: Path, what: str) -> int:
    """How many calls a change makes; it is made."""
    system = FaultySystem()
    db.files.os = system  # type: ignore[assignment]
    try:
        library = Library.open(path)
        library.auto_compact = False
        CHANGES[what](library)
    finally:
        db.files.os = os  # type: ignore[assignment]
    return len(system.calls)


def state(path: Path) -> tuple[Any, ...]:
    """What a change changes."""
    library = Library.open(path)
    manifest = library.snapshot().manifest
    there = tuple(version.version for version in library.versions())
    return values_of(library.snapshot()), len(manifest.segments), dict(manifest.tags), len(manifest.indexes), there


def look(path: Path, what: str, before: tuple[Any, ...], after: tuple[Any, ...], *, must: str = "") -> list[str]:
    """What is wrong after a change that was cut short; it is made again to the end."""
    library = Library.open(path)
    library.auto_compact = False
    found = [*library.verify(all_versions=True).problems, *violations(library.snapshot())]
    now = state(path)
    if what != "vacuum" and now not in (before, after):
        found.append(f"{what}: half done: {now}")
    if (must == "old" and now != before) or (must == "new" and now != after):
        found.append(f"{what}: reported otherwise than done")
    CHANGES[what](library)
    if what not in ("restore", "tag") and state(path)[:2] != after[:2]:
        found.append(f"{what}: could not be done again")
    library.vacuum(keep=1, older_than_s=0, grace_s=0)
    return found + litter(library) + list(Library.open(path).verify(all_versions=True).problems)


def killed(folder: Path, *, every: int = 1) -> Outcome:
    """SIGKILL before every call of every kind of change (or before each ``every``-th)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.torture.boundaries"])
    out = Outcome("SIGKILL before every system call of a change")
    calls = {}
    start(folder / "start")
    before = state(folder / "start")
    for what in CHANGES:
        shutil.copytree(folder / "start", folder / what)
        calls[what] = count(folder / what, what)
        after = state(folder / what)
        for at in range(1, calls[what] + 1, every):
            path = folder / f"{what}-{at}"
            shutil.copytree(folder / "start", path)
            process = context.Process(target=die, args=(path, what, at))
            process.start()
            process.join(60)
            if process.exitcode != -signal.SIGKILL:
                out.violations.append(f"{what} at call {at} ended with {process.exitcode}")
            out.violations += [f"killed at call {at}: {text}" for text in look(path, what, before, after)]
            out.rounds += 1
            out.opens += 4
            shutil.rmtree(path)
    out.note = ", ".join(f"{what} {number} calls" for what, number in calls.items()) + _some(every)
    return out


def failing(folder: Path, *, every: int = 1, errors: tuple[int, ...] = ERRORS) -> Outcome:
    """Every call fails once, before it did anything or after it did all, with every kind of error."""
    out = Outcome("a failing system call at each place of a change")
    start(folder / "start")
    before = state(folder / "start")
    for what in CHANGES:
        shutil.copytree(folder / "start", folder / what)
        number = count(folder / what, what)
        after = state(folder / what)
        for at in range(1, number + 1, every):
            for code, late in [(code, False) for code in errors] + [(errno.EIO, True)]:
                path = folder / "now"
                shutil.copytree(folder / "start", path)
                system = FailingSystem(at, after=late)
                system.code = code
                must = "new"
                db.files.os = system  # type: ignore[assignment]
                try:
                    library = Library.open(path)
                    library.auto_compact = False
                    CHANGES[what](library)
                except CommitUncertain:
                    must = ""
                except LibraryError:
                    must = "old"
                except BaseException as error:
                    out.violations.append(f"{what} at call {at}: {type(error).__name__} came out")
                finally:
                    db.files.os = os  # type: ignore[assignment]
                must = "" if what in ("vacuum", "restore") else must
                where = f"{errno.errorcode[code]} {'after' if late else 'at'} call {at}"
                out.violations += [f"{where}: {text}" for text in look(path, what, before, after, must=must)]
                out.rounds += 1
                out.opens += 4
                shutil.rmtree(path)
    out.note = ", ".join(errno.errorcode[code] for code in errors) + "; EIO after the work was done" + _some(every)
    return out


def _some(every: int) -> str:
    return f"; only one call in {every}" if every > 1 else ""
