"""Versions beside one another: a difference is what sets of contents differ by, and a checkout is a library of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import FormatError, Library, RequestError
from db.manifest import FileEntry, SegmentEntry
from tests.db.world import ENCODER, SPACES, batch, names

CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "compact"]), st.sets(st.integers(1, 6), min_size=1), st.integers(0, 2)),
    min_size=1, max_size=5,
)  # fmt: skip


def put(library: Library, *numbers: int, version: int = 0) -> None:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version))
    transaction.commit()


def delete(library: Library, *numbers: int) -> None:
    transaction = library.begin()
    transaction.delete(ids=names(*numbers))
    transaction.commit()


@given(CHANGES)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_a_difference_is_that_of_the_contents(tmp_path_factory: pytest.TempPathFactory, changes: list) -> None:  # type: ignore[type-arg]
    library = Library.create(tmp_path_factory.mktemp("diff") / "lib", spaces=SPACES, encoder=ENCODER)
    for kind, numbers, version in changes:
        if kind == "put":
            put(library, *numbers, version=version)
        elif kind == "delete":
            delete(library, *numbers)
        else:
            library.compact(thorough=True)
    held = {
        info.version: {
            name: library.snapshot(info.version).frames(name) for name in library.snapshot(info.version).ids()
        }
        for info in library.versions()
    }
    for old, was in held.items():
        found = library.diff(old)
        now = held[library.latest]
        assert found.added == tuple(sorted(now.keys() - was.keys()))
        assert found.removed == tuple(sorted(was.keys() - now.keys()))
        assert found.changed == tuple(sorted(name for name in was.keys() & now.keys() if was[name] != now[name]))
        assert (found.old, found.new) == (old, library.latest)


def test_without_a_content_hash_contents_are_compared(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    for version in (0, 0, 1):
        rows, said, vectors, frames = batch(names(1, 2), version=version)
        rows = rows.set_column(rows.column_names.index("sha256"), "sha256", [["", ""]])
        transaction = library.begin()
        transaction.upsert(rows, said, vectors, frames)
        transaction.commit()
    assert library.diff(1, 2).changed == ()
    assert library.diff(2, 3).changed == tuple(names(1, 2))
    assert library.diff(3, 3) == library.diff(3)


def test_versions_say_their_tags(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    put(library, 1)
    library.tag("b", 1)
    library.tag("a", 1)
    library.tag("c", 0)
    library.untag("c")
    assert {v.version: v.tags for v in library.versions() if v.tags} == {1: ("a", "b")}


def test_a_checkout_is_a_library_of_its_own(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    put(library, 1, 2, 3)
    delete(library, 2)
    library.tag("two", 2)
    put(library, 1, version=5)
    assert library.checkout("two", tmp_path / "out") == tmp_path / "out"
    out = Library.open(tmp_path / "out")
    assert (out.latest, out.snapshot().ids(), dict(out.tags)) == (2, names(1, 3), {"two": 2})
    assert out.uuid != library.uuid
    assert out.verify(all_versions=True).problems == ()
    put(out, 8)
    delete(out, 1, 3, 8)
    out.vacuum(keep=1, older_than_s=0, grace_s=0)
    assert library.verify(all_versions=True).problems == ()  # files were linked, and no change goes through a link
    assert library.snapshot(2).frames("clip-1") == b"clip-1/0"
    with pytest.raises(FormatError, match="new folder"):
        library.checkout(2, tmp_path / "out")
    with pytest.raises(RequestError, match="no version 77"):
        library.checkout(77, tmp_path / "other")


def _files(segment: SegmentEntry) -> list[FileEntry]:
    return [*segment.files, *([segment.deletes] if segment.deletes else [])]


def test_sizes_add_up(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    library.auto_compact = False
    put(library, *range(20))
    delete(library, *range(5))
    put(library, 19, version=3)
    found = library.stats()
    assert (found.clips, found.dead_rows, found.segments, found.versions) == (15, 6, 2, 4)
    assert found.disk_bytes == sum(path.stat().st_size for path in library.path.rglob("*") if path.is_file())
    assert found.bytes == sum(
        file.bytes for segment in library.snapshot().manifest.segments for file in _files(segment)
    )
    assert 0 < found.dead_bytes < found.bytes
    assert found.vacuum_bytes == 0
    freed = library.vacuum(keep=1, older_than_s=0).bytes
    assert found.history_bytes == freed == found.disk_bytes - library.stats().disk_bytes
    library.compact(thorough=True)
    library.vacuum(keep=1, older_than_s=0)
    assert library.stats().dead_bytes == 0
