"""Disks that are full, read-only or rotten."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import db.files
from benchmarks.torture.boundaries import start
from benchmarks.torture.crowd import Outcome
from benchmarks.torture.world import content, create, pair, put, values_of, violations
from db import CorruptionError, Library, LibraryError, WriteError
from tests.db.faults import FaultySystem

CHANGING = {"write", "fsync", "link", "rename", "unlink", "rmdir", "makedirs"}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path | None]:
    """A file system of its own of that size; None where mounting is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        # lazily: what was mapped is let go of some time later, and a plain umount would find the disk busy
        subprocess.run(["umount", "--lazy", folder], capture_output=True, check=True)


def full(folder: Path, *, rounds: int = 4) -> Outcome:
    """Write until the disk is full: a typed error, all that was acknowledged is there, a vacuum makes room, writing goes on."""
    out = Outcome("a full disk")
    with small_disk(folder / "small", "8m") as disk:
        if disk is None:
            out.note = "skipped: mounting a small tmpfs needs root"
            return out
        library = create(disk / "lib")
        done: dict[str, int] = {}
        for turn in range(rounds):
            try:
                for number in range(10_000):
                    new = {f"k{(turn * 7 + number + i) % 90}": 1000 * turn + number for i in range(30)}
                    put(library, new)
                    done |= new
                    out.commits += 1
            except WriteError as error:
                if "space" not in str(error):
                    out.violations.append(f"the error does not speak of space: {error}")
            except BaseException as error:
                out.violations.append(f"{type(error).__name__}: {error}")
            found = Library.open(disk / "lib")
            out.lost += values_of(found.snapshot()) != done
            out.violations += [*violations(found.snapshot()), *found.verify().problems]
            free = shutil.disk_usage(disk).free
            found.vacuum(keep=1, older_than_s=0, grace_s=0)
            if shutil.disk_usage(disk).free <= free:
                out.violations.append("a vacuum freed nothing")
            put(library, {"k0": -turn})
            done["k0"] = -turn
            out.rounds += 1
            out.opens += 2
    out.note = "tmpfs of 8 MB"
    return out


def read_only(folder: Path) -> Outcome:
    """A library on a file system that is remounted read-only: everything can be read, nothing is tried to be written."""
    out = Outcome("a read-only disk")
    with small_disk(folder / "locked", "16m") as disk:
        if disk is None:
            out.note = "skipped: mounting a small tmpfs needs root"
            return out
        start(disk / "lib")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        system = FaultySystem()
        db.files.os = system  # type: ignore[assignment]
        try:
            library = Library.open(disk / "lib")
            for version in library.versions():
                snapshot = library.snapshot(version.version)
                out.violations += violations(snapshot)
                snapshot.search("motion/whole", content(pair("q", 1))[2]["motion/whole"], 3)
                out.opens += 1
            out.violations += library.verify(all_versions=True).problems
            library.stats()
        finally:
            db.files.os = os  # type: ignore[assignment]
        tried = {name for name, _ in system.calls} & CHANGING
        out.violations += [f"a reader tried to {name}" for name in sorted(tried)]
        try:
            put(library, pair("x", 9))
            out.violations.append("a commit on a read-only disk was acknowledged")
        except WriteError:
            out.rounds += 1
    return out


def rot(folder: Path, *, flips: int = 12, seed: int = 0) -> Outcome:
    """Flip bits and cut files: an error that names the file, or the same answer as before."""
    out = Outcome("bits flipped, files cut")
    start(folder / "rot")
    chance = np.random.default_rng(seed)
    path = folder / "rot"
    right = values_of(Library.open(path).snapshot())
    names = [name for name in path.rglob("*") if name.is_file()]
    for name in names:
        good = name.read_bytes()
        for number in range(flips):
            bad = bytearray(good)
            if number % 4:
                bad[int(chance.integers(len(bad)))] ^= 1 << int(chance.integers(8))
            else:
                del bad[int(chance.integers(len(bad))) :]
            name.write_bytes(bad)
            out.rounds += 1
            try:
                library = Library.open(path)
                snapshot = library.snapshot()
                seen, newest = violations(snapshot), snapshot.version == 5
                if seen or (newest and values_of(snapshot) != right):
                    out.violations.append(f"{name.relative_to(path)}: a wrong answer: {seen}")
                out.opens += 1
                report = library.verify(all_versions=True)
                if report.ok and not report.derived and name.parent.name != "rot":
                    out.violations.append(f"{name.relative_to(path)}: verify found nothing")
            except (CorruptionError, LibraryError) as error:
                if (
                    name.name not in str(error)
                    and name.parent.name not in str(error)
                    and "library.json" not in name.name
                ):
                    out.violations.append(f"{name.relative_to(path)} is not named: {error}")
            except BaseException as error:
                out.violations.append(f"{name.relative_to(path)}: {type(error).__name__}: {error}")
        name.write_bytes(good)
    out.note = f"{len(names)} files, a quarter of the rounds cuts"
    return out
