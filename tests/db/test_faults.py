"""Every call to the system fails once, at each place, before and after it did its work: a version is whole or not there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import db.files
from db import CommitUncertain, Library, LibraryError
from tests.db.faults import FaultySystem, unsynced
from tests.db.world import ENCODER, SPACES, batch, names

BEFORE, AFTER = names(1, 2, 3, 4), names(2, 3, 4, 9)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one version of four clips."""
    path = tmp_path_factory.mktemp("faults") / "start"
    library = Library.create(path, spaces=SPACES, encoder=ENCODER)
    transaction = library.begin()
    transaction.upsert(*batch(BEFORE))
    transaction.commit()
    return path


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a faulty system under the store, and takes it away."""

    def put(faulty: FaultySystem | None) -> None:
        monkeypatch.setattr(db.files, "os", faulty or __import__("os"))

    yield put
    put(None)


def change(library: Library) -> None:
    """Adds one clip, replaces two, deletes one."""
    transaction = library.begin(txn_id="t")
    transaction.upsert(*batch(names(2, 3, 9), version=1))
    transaction.delete(ids=names(1))
    transaction.commit()


def referenced(library: Library) -> set[str]:
    """Names of segments and bitmaps that any version needs."""
    found = set()
    for version in library.versions():
        for entry in library.manifest(version.version).segments:
            found |= {entry.id} | ({entry.deletes.name} if entry.deletes else set())
    return found


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_call_fails_a_version_is_whole_or_not_there(
    start: Path, tmp_path: Path, system: Any, after: bool
) -> None:
    uncertain = 0
    for fail_at in range(1, 400):
        folder = tmp_path / str(fail_at)
        shutil.copytree(start, folder)
        faulty = FaultySystem(fail_at, after=after)
        system(faulty)
        failed: LibraryError | None = None
        try:
            change(Library.open(folder))
        except LibraryError as error:  # nothing but this may come out
            failed = error
        system(None)
        found = Library.open(folder)
        ids = sorted(found.snapshot().ids())
        assert ids in (BEFORE, AFTER), fail_at
        assert found.verify().ok, (fail_at, faulty.calls[-1])
        if failed is None:
            assert ids == AFTER
        elif isinstance(failed, CommitUncertain):
            uncertain += 1
        else:
            assert ids == BEFORE, (fail_at, failed)  # an error that is not "uncertain" means: nothing happened
        change(found)  # the same transaction again: it happens once
        assert sorted(Library.open(folder).snapshot().ids()) == AFTER
        assert Library.open(folder).latest == 2
        shutil.rmtree(folder)
        if len(faulty.calls) < fail_at:
            assert fail_at > 60
            assert uncertain
            return
    pytest.fail("the commit never came through")


def test_creation_that_fails_anywhere_can_be_done_again(tmp_path: Path, system: Any) -> None:
    for fail_at in range(1, 100):
        folder = tmp_path / str(fail_at)
        faulty = FaultySystem(fail_at, after=bool(fail_at % 2))
        system(faulty)
        with contextlib.suppress(LibraryError):
            Library.create(folder, spaces=SPACES, encoder=ENCODER)
        system(None)
        again = Library.create(folder, spaces=SPACES, encoder=ENCODER)
        assert (again.latest, len(again.snapshot()), again.verify().ok) == (0, 0, True)
        change(again)
        assert Library.open(folder).latest == 1
        if len(faulty.calls) < fail_at:
            return
    pytest.fail("the creation never came through")


def test_reading_survives_or_says_what_failed(start: Path, system: Any) -> None:
    for fail_at in range(1, 200):
        faulty = FaultySystem(fail_at)
        system(faulty)
        try:
            snapshot = Library.open(start).snapshot()
            assert snapshot.ids("duration_s > 1") == names(3, 4)
            assert snapshot.captions(names(3))["text"].to_pylist() == ["a person does thing 3 way 0"]
            assert snapshot.frames("clip-2") == b"clip-2/0"
        except LibraryError as error:
            assert "\n" not in str(error)
        system(None)
        if len(faulty.calls) < fail_at:
            assert not {name for name, _ in faulty.calls} & {"write", "fsync", "link", "rename", "unlink", "makedirs"}
            return
    pytest.fail("the reading never came through")


def test_a_failed_commit_leaves_no_litter(start: Path, tmp_path: Path, system: Any) -> None:
    """A full disk, met at each write in turn: what was begun is taken away."""
    for fail_at in range(1, 400):
        folder = tmp_path / str(fail_at)
        shutil.copytree(start, folder)
        faulty = FaultySystem(fail_at)
        system(faulty)
        with contextlib.suppress(LibraryError):
            change(Library.open(folder))
        system(None)
        kind = faulty.calls[fail_at - 1][0] if fail_at <= len(faulty.calls) else ""
        if kind in ("write", "fsync", "link"):
            library = Library.open(folder)
            left = {p.name for kind in ("segments", "deletes") for p in (folder / kind).glob("*")} - referenced(library)
            assert not left, faulty.calls[fail_at - 1]
            assert not list(folder.rglob(".tmp-*"))
        shutil.rmtree(folder)
        if fail_at > len(faulty.calls):
            return


def test_short_writes_are_carried_on(start: Path, tmp_path: Path, system: Any) -> None:
    shutil.copytree(start, tmp_path / "lib")
    system(FaultySystem(short_writes=True))
    change(Library.open(tmp_path / "lib"))
    system(None)
    assert Library.open(tmp_path / "lib").verify().ok


def journal(start: Path, folder: Path, system: Any, skip: int) -> FaultySystem:
    shutil.copytree(start, folder)
    faulty = FaultySystem(skip_sync=skip)
    library = Library.open(folder)
    system(faulty)
    change(library)
    system(None)
    return faulty


def test_everything_a_manifest_names_is_on_the_disk_before_it(start: Path, tmp_path: Path, system: Any) -> None:
    faulty = journal(start, tmp_path / "whole", system, -1)
    assert unsynced(faulty.calls, tmp_path / "whole") == []
    assert faulty.syncs > 8
    for skip in range(faulty.syncs):  # a protocol that leaves out any one fsync is caught: none is there for show
        mutant = journal(start, tmp_path / str(skip), system, skip)
        assert unsynced(mutant.calls, tmp_path / str(skip)), f"fsync {skip} is not needed, or the check is blind"


def test_an_uncertain_commit_is_found_by_its_id(start: Path, tmp_path: Path, system: Any) -> None:
    shutil.copytree(start, tmp_path / "lib")
    whole = journal(start, tmp_path / "count", system, -1)
    last = max(at for at, (name, _) in enumerate(whole.calls, start=1) if name == "fsync")
    library = Library.open(tmp_path / "lib")
    system(FaultySystem(last))
    with pytest.raises(CommitUncertain, match="history"):
        change(library)
    system(None)
    found = Library.open(tmp_path / "lib")
    transaction = found.begin(txn_id="t")
    transaction.upsert(*batch(names(2, 3, 9), version=1))
    assert transaction.commit().version == 2
    assert found.latest == 2
