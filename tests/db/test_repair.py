"""Damage is named with the newest good version, a rollback moves it aside, and nothing is ever deleted by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from db import CorruptionError, Library, NewIndex
from tests.db.world import ENCODER, SPACES, batch, names


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Version n has clips 1 to n; the first three rows are one segment each."""
    found = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    for number in (1, 2, 3):
        put(found, number)
    return found


def put(library: Library, *numbers: int, version: int = 0) -> int:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version))
    return transaction.commit().version


def flip(path: Path, at: int = -40) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(bytes(data))


def manifest(library: Library, version: int) -> Path:
    return library.path / "manifests" / f"{version:020d}.json"


def segment(library: Library, version: int) -> Path:
    """The folder of the segment that a version added."""
    return library.path / "segments" / library.manifest(version).segments[-1].id


def contents(library: Library) -> set[bytes]:
    return {path.read_bytes() for path in library.path.rglob("*") if path.is_file()}


def test_a_damaged_newest_manifest_is_rolled_back(library: Library) -> None:
    flip(manifest(library, 3))
    found = Library.open(library.path)
    with pytest.raises(CorruptionError, match=r"version 2 with remora library repair --rollback"):
        found.begin()
    assert found.snapshot().version == 2
    planned = found.repair()
    assert (planned.good, planned.lost, planned.needs_rollback, planned.moved) == (2, (3,), True, ())
    before = contents(library)
    report = found.repair(rollback=True)
    assert (report.good, report.lost, report.version, report.needs_rollback) == (2, (3,), 4, False)
    assert report.moved == (f"quarantine/manifests/{3:020d}.json",)
    assert contents(library) >= before
    assert sorted(found.snapshot().ids()) == names(1, 2)
    assert [(v.version, v.kind, v.parent) for v in found.versions()][-1] == (4, "repair", 2)
    assert put(found, 9) == 5
    assert found.verify(all_versions=True).problems == ()
    assert found.repair(rollback=True).version == 5  # nothing is left to do


@pytest.mark.parametrize("harm", ["cut", "missing", "flipped"])
@pytest.mark.parametrize("file", ["rows.parquet", "captions.parquet", "frames.bin", ".vec"])
def test_a_damaged_segment_is_rolled_back_and_kept(library: Library, file: str, harm: str) -> None:
    path = next(p for p in segment(library, 3).iterdir() if p.name.endswith(file))
    name = path.parent.name
    if harm == "flipped":
        flip(path, 4100 if file == ".vec" else -5)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    found = Library.open(library.path)
    if harm == "flipped":
        assert not found.verify().ok
    else:
        with pytest.raises(CorruptionError, match=rf"{path.name}.*version 2 has all its files.*--at 2"):
            found.snapshot()
        with pytest.raises(CorruptionError, match=path.name):
            found.begin()
    assert found.snapshot(2).ids() == names(1, 2)
    report = found.repair(rollback=True)
    assert (report.good, report.version) == (2, 4)
    assert any(path.name in problem for problem in report.problems)
    assert set(report.moved) == {f"quarantine/manifests/{3:020d}.json", f"quarantine/segments/{name}"}
    assert sorted(found.snapshot().ids()) == names(1, 2)
    assert Library.open(library.path).verify(all_versions=True).problems == ()
    found.vacuum(keep=1, older_than_s=0, grace_s=0)
    assert (library.path / "quarantine" / "segments" / name).is_dir()


def test_all_versions_on_a_damaged_segment_are_bad(library: Library) -> None:
    path = segment(library, 2) / "frames.bin"
    flip(path)
    report = Library.open(library.path).repair(rollback=True)
    assert (report.good, report.lost) == (1, (2, 3))
    assert Library.open(library.path).snapshot().ids() == names(1)


def test_a_library_without_a_whole_version_is_refused_and_left(library: Library) -> None:
    for number in range(4):
        flip(manifest(library, number))
    with pytest.raises(CorruptionError, match="restore it from a copy"):
        library.repair(rollback=True)
    assert not (library.path / "quarantine").exists()


def test_a_damaged_old_manifest_is_moved_away(library: Library) -> None:
    flip(manifest(library, 1))
    report = Library.open(library.path).repair()
    assert (report.lost, report.version) == ((), 3)
    assert report.moved == (f"quarantine/manifests/{1:020d}.json",)
    assert Library.open(library.path).vacuum(keep=1, older_than_s=0).versions == (0, 2)


def test_a_damaged_index_is_dropped(library: Library) -> None:
    entry = library.snapshot().manifest.segments[0]
    library.change_indexes([NewIndex("i", "motion/whole", "test", [entry.id], 1, {"a.bin": b"abc"})])
    flip(library.path / library.snapshot().manifest.indexes[0].path("a.bin"), 0)
    found = Library.open(library.path)
    report = found.verify()
    assert (report.ok, report.derived) == (True, ("index i is damaged or missing",))
    done = found.repair()
    assert (done.indexes, done.problems, done.version) == (("i",), (), 5)
    assert found.snapshot().manifest.indexes == ()
    assert len(list((library.path / "quarantine/indexes").iterdir())) == 1


@pytest.mark.parametrize("harm", ["gone", "empty", "flipped", "another's"])
def test_an_index_of_ids_is_done_without_and_made_anew(library: Library, harm: str) -> None:
    """It follows from the rows: no version is lost with it, and what a repair writes has the hash of the manifest."""
    path, other = (segment(library, version) / "ids.bin" for version in (2, 3))
    good = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "flipped":
        flip(path, 40)
    else:
        path.write_bytes(other.read_bytes()[:-1] + b"\x07")
    found = Library.open(library.path)
    report = found.verify(all_versions=True)
    assert (report.problems, report.derived) == ((), (f"segments/{path.parent.name}/ids.bin is damaged or missing",))
    put(found, 2, version=1)  # replaced, so that its id is looked up
    assert found.snapshot().ids() == names(1, 3, 2)
    found.checkout(3, library.path.parent / "old")
    assert Library.open(library.path.parent / "old").snapshot().ids() == names(1, 2, 3)
    assert found.restore(3).version == 5
    done = Library.open(library.path).repair()
    assert (done.problems, done.lost, done.version) == ((), (), 5)
    assert done.renewed == (f"segments/{path.parent.name}/ids.bin",)
    assert path.read_bytes() == good
    assert Library.open(library.path).verify(all_versions=True).derived == ()


def test_a_copy_without_its_newest_files(library: Library, tmp_path: Path) -> None:
    """A copy or a cloud drive brings files in any order: a manifest before its segment, a segment before its manifest."""
    half = tmp_path / "half"
    shutil.copytree(library.path, half)
    shutil.rmtree(half / "segments" / segment(library, 3).name)
    with pytest.raises(CorruptionError, match=r"is missing.*version 2 has all its files"):
        Library.open(half).snapshot()
    shutil.rmtree(half)
    shutil.copytree(library.path, half)
    manifest(Library.open(half), 3).unlink()
    assert Library.open(half).snapshot().ids() == names(1, 2)
    manifest_3 = manifest(library, 3).read_bytes()
    (half / "manifests" / f"{3:020d}.json").write_bytes(manifest_3[:100])  # arriving
    assert Library.open(half).snapshot().version == 2
    with pytest.raises(CorruptionError, match="nothing is written"):
        Library.open(half).begin()
    (half / "manifests" / f"{3:020d}.json").write_bytes(manifest_3)
    assert Library.open(half).snapshot().ids() == names(1, 2, 3)


def test_a_copy_of_a_cloud_drive_with_conflicts_and_place_holders(library: Library) -> None:
    (library.path / "manifests" / f"{3:020d} (conflicted copy).json").write_text("{}")
    (library.path / "manifests" / ".DS_Store").write_text("x")
    (library.path / "library (1).json").write_text("{}")
    assert Library.open(library.path).snapshot().version == 3
    assert put(library, 4) == 4
    path = segment(library, 4) / "rows.parquet"
    path.write_bytes(b"")  # a place holder: the name is there, the bytes are not yet
    with pytest.raises(CorruptionError, match="has 0 bytes"):
        Library.open(library.path).snapshot()
