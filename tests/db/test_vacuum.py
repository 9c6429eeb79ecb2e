"""A vacuum takes what nothing needs and nothing else: not from a reader, a writer at work, a tag, or because of a clock."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

import db.files
import db.vacuum
from db import CorruptionError, Library, NewIndex, RequestError, SnapshotExpired, WriteError
from db.loading import INDEX_FILE
from tests.db.faults import FaultySystem, Overtaken
from tests.db.test_faults import referenced
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit

ALL = {"keep": 1, "older_than_s": 0.0, "grace_s": 0.0}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Versions 1 to 5, of which each replaces clip 1, and a compaction."""
    found = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    found.auto_compact = False
    for turn in range(5):
        put(found, 1, turn + 10, version=turn)
    found.compact(thorough=True)
    return found


def put(library: Library, *numbers: int, version: int = 0) -> None:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version))
    transaction.commit()


class FaultyDeletions(FaultySystem):
    """``os``, but the ``refuse_at``-th file is not deleted."""

    def __init__(self, refuse_at: int) -> None:
        super().__init__()
        self.refuse_at, self.deletions = refuse_at, 0

    def unlink(self, path: Path) -> None:
        self.deletions += 1
        if self.deletions == self.refuse_at:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        path.unlink()


def there(library: Library) -> set[str]:
    return {path.name for kind in ("segments", "deletes", "indexes") for path in (library.path / kind).glob("*")}


def numbers(library: Library) -> list[int]:
    return [version.version for version in library.versions()]


def litter(library: Library) -> list[Path]:
    """What writers that were killed left over."""
    left = [library.path / "segments" / ("a" * 32), library.path / "segments" / f".tmp-{'b' * 32}"]
    for folder in left:
        folder.mkdir()
        (folder / "rows.parquet").write_bytes(b"x")
    files = [library.path / "manifests/.tmp-1", library.path / "deletes" / f"{'a' * 32}-1.del", library.path / ".tmp-2"]
    for file in files:
        file.write_bytes(b"x")
    return left + files


def test_only_the_newest_version_and_its_files_are_left(library: Library) -> None:
    left = litter(library)
    size = library.files.total()
    planned = library.vacuum(**ALL, dry_run=True)
    assert library.files.total() == size
    report = library.vacuum(**ALL)
    assert (report.versions, report.files, report.bytes) == (planned.versions, planned.files, planned.bytes)
    assert report.bytes == size - library.files.total()
    assert numbers(library) == [6]
    assert there(library) == referenced(library)
    assert not any(path.exists() for path in left)
    assert sorted(library.snapshot().ids()) == names(1, 10, 11, 12, 13, 14)
    assert Library.open(library.path).verify(all_versions=True).problems == ()
    with pytest.raises(RequestError, match="6 to 6"):
        library.snapshot(3)
    put(library, 99)
    assert library.latest == 7


def test_no_age_is_asked_of_a_clock_that_was_set_back(library: Library) -> None:
    """What was written before the clock went back seems to come from the future: of no age, for who asks for one."""
    left, ahead = litter(library), time.time() + 3600
    for path in [*left, *(library.path / "manifests").iterdir()]:
        os.utime(path, (ahead, ahead))
    assert library.vacuum(keep=1, older_than_s=1, grace_s=1).versions == ()
    assert left[0].exists()
    library.vacuum(**ALL)
    assert numbers(library) == [6]
    assert not any(path.exists() for path in left)


def test_a_version_that_cannot_be_deleted_keeps_its_files(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deletion of a vacuum fails once: no version that is still there lacks a file, and it can be done again."""
    for fail_at in range(1, 100):
        copy = library.path.with_name(f"copy-{fail_at}")
        shutil.copytree(library.path, copy)
        faulty = FaultyDeletions(fail_at)
        monkeypatch.setattr(db.files, "os", faulty)
        try:
            Library.open(copy).vacuum(**ALL)
        except WriteError as error:
            assert "cannot delete" in str(error)  # a manifest; a file that stays is left to the next vacuum
        monkeypatch.undo()
        assert Library.open(copy).verify(all_versions=True).problems == ()
        Library.open(copy).vacuum(**ALL)
        assert there(Library.open(copy)) == referenced(Library.open(copy))
        if fail_at > faulty.deletions:
            break
    assert faulty.deletions > 5


def test_what_is_young_newest_or_tagged_stays(library: Library) -> None:
    assert library.vacuum().versions == ()
    assert library.vacuum(keep=1, older_than_s=3600).versions == ()
    assert library.vacuum(keep=5, older_than_s=0).versions == (0, 1)
    library.tag("good", 3)
    report = library.vacuum(**ALL)
    assert numbers(library) == [3, 7]
    assert report.versions == (2, 4, 5, 6)
    assert library.snapshot("good").frames("clip-1") == b"clip-1/2"
    assert library.verify(all_versions=True).problems == ()


def test_a_reader_keeps_its_version_until_it_is_gone(library: Library) -> None:
    reader = Library.open(library.path)
    snapshot = reader.snapshot(2)  # nothing of it is read yet
    report = library.vacuum(**ALL)
    assert report.held == (2,)
    assert numbers(library) == [2, 6]
    assert snapshot.frames("clip-1") == b"clip-1/1"
    assert sorted(snapshot.ids()) == names(1, 10, 11)
    del snapshot, reader
    assert library.vacuum(**ALL).versions == (2,)


def test_a_reader_without_a_lease_is_told_and_never_given_a_wrong_row(library: Library) -> None:
    from db import Snapshot

    snapshot = Snapshot(library.manifest(2), Library.open(library.path).store)  # as where there are no locks
    library.vacuum(**ALL)
    for ask in (snapshot.ids, lambda: snapshot.frames("clip-1"), lambda: snapshot.captions(names(1))):
        with pytest.raises(SnapshotExpired, match="vacuum"):
            ask()


@pytest.mark.parametrize("grace_s", [0.0, 3600.0])
def test_files_of_a_writer_at_work_are_left(library: Library, grace_s: float) -> None:
    def vacuum() -> None:
        Library.open(library.path).vacuum(keep=1, older_than_s=0, grace_s=grace_s)

    writer = Library.open(library.path, files=Overtaken(library.path, vacuum))
    transaction = writer.begin()
    transaction.upsert(*batch(names(1, 77), version=8))
    transaction.delete(ids=names(10))
    transaction.commit()
    assert library.verify().problems == ()
    assert library.snapshot().frames("clip-77") == b"clip-77/8"


def test_an_orphan_is_left_for_a_time_of_grace(library: Library) -> None:
    left = litter(library)
    library.vacuum(keep=1, older_than_s=0)
    assert all(path.exists() for path in left)
    for path in left:
        os.utime(path, (1, 1))
    library.vacuum(keep=1, older_than_s=0)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("jump_s", [-86_400.0 * 400, 86_400.0 * 400])
def test_a_clock_that_jumps_takes_nothing_that_lives(
    library: Library, jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.tag("kept", 1)
    reader = Library.open(library.path).snapshot(3)
    real = time.time

    def vacuum() -> None:
        monkeypatch.setattr(db.vacuum.time, "time", lambda: real() + jump_s)
        Library.open(library.path).vacuum(keep=2)
        monkeypatch.undo()

    writer = Library.open(library.path, files=Overtaken(library.path, vacuum))
    put(writer, 50)
    assert set(numbers(library)) >= {1, 3, 7, 8}
    assert reader.frames("clip-1") == b"clip-1/2"
    assert library.verify(all_versions=True).problems == ()
    assert there(library) == referenced(library) or jump_s < 0


def test_what_is_committed_while_a_vacuum_works_is_not_taken(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the vacuum's first look at the versions and its last, a writer commits, tags and goes back."""
    real, turns = db.vacuum._needed, []

    def needed(*given: object) -> object:
        turns.append(None)
        if len(turns) == 2:
            other = Library.open(library.path)
            put(other, 60)
            other.tag("late", 6)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(db.vacuum, "_needed", needed)
    library.vacuum(**ALL)
    assert numbers(library)[-3:] == [6, 7, 8]
    assert library.verify(all_versions=True).problems == ()
    assert library.snapshot("late").version == 6


def test_a_damaged_version_that_stays_stops_it(library: Library) -> None:
    path = library.path / "manifests" / f"{5:020d}.json"
    path.write_bytes(path.read_bytes()[:-30])
    before = there(library)
    with pytest.raises(CorruptionError, match="repair"):
        library.vacuum(keep=2, older_than_s=0, grace_s=0)
    assert there(library) == before
    assert library.vacuum(**ALL).versions == (0, 1, 2, 3, 4, 5)  # damaged, and not kept anyway


@pytest.mark.parametrize("wrong", [{"keep": 0}, {"older_than_s": -1}, {"grace_s": float("nan")}])
def test_numbers_that_make_no_sense(library: Library, wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="at least 1"):
        library.vacuum(**wrong)  # type: ignore[arg-type]


def test_two_vacuums_at_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    real, turns = db.vacuum._doomed, []

    def doomed(*given: object) -> object:
        turns.append(None)
        if len(turns) == 1:
            Library.open(library.path).vacuum(**ALL)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(db.vacuum, "_doomed", doomed)
    library.vacuum(**ALL)
    assert numbers(library) == [6]
    assert library.verify().problems == ()


def test_a_log_that_keeps_its_records_keeps_no_version(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    entry = library.snapshot().manifest.segments[0]
    library.change_indexes([NewIndex("i", "motion/whole", "test", [entry.id], entry.rows, {INDEX_FILE: b"x"})])
    index = library.snapshot().manifest.indexes[0]
    (library.path / "indexes" / index.id / INDEX_FILE).unlink()
    old = Library.open(library.path)
    old.snapshot().search("motion/whole", unit((1, DIM), 1), 1)
    assert "derived from the vectors" in caplog.text
    del old
    put(library, 90)
    assert library.vacuum(keep=1, older_than_s=0, grace_s=0).held == ()
