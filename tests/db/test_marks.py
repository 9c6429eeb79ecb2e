"""Tags, settings, derived indexes and going back: merged with what others commit, or refused, and never lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db import ConflictError, Library, NewIndex, RequestError
from tests.db.faults import Overtaken
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Version 1 has clips 1 and 2, version 2 clip 3 besides."""
    found = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    put(found, 1, 2)
    put(found, 3)
    return found


def put(library: Library, *numbers: int, version: int = 0) -> int:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version))
    return transaction.commit().version


def delete(library: Library, *numbers: int) -> None:
    transaction = library.begin()
    transaction.delete(ids=names(*numbers))
    transaction.commit()


def an_index(library: Library, name: str = "i", segment: int = 0, data: bytes = b"graph") -> NewIndex:
    entry = library.snapshot().manifest.segments[segment]
    return NewIndex(
        name, "motion/whole", "test", [entry.id], entry.rows, {"index.bin": data}, {"m": 16}, {"recall": 0.9}
    )


def overtaken(library: Library, other: object) -> Library:
    """The library as a writer sees it that is overtaken once by what ``other`` does."""
    return Library.open(library.path, files=Overtaken(library.path, lambda: other(Library.open(library.path))))  # type: ignore[operator]


def test_a_tag_names_a_version_until_it_is_taken_away(library: Library) -> None:
    library.tag("first", 1)
    library.tag("now")
    assert dict(library.tags) == {"first": 1, "now": 3}
    assert library.snapshot("first").ids() == names(1, 2)
    assert library.resolve("2") == 2
    with pytest.raises(ConflictError, match="version 1"):
        library.tag("first", 2)
    library.untag("first")
    library.tag("first", 2)
    assert library.snapshot("first").ids() == names(1, 2, 3)
    with pytest.raises(RequestError, match="there are first, now"):
        library.snapshot("last")
    for bad in ("", "7", "a b", "../x", "x" * 101):
        with pytest.raises(RequestError, match="cannot be a tag"):
            library.tag(bad)
    with pytest.raises(RequestError, match="0 to 6"):
        library.tag("later", 99)


def test_a_tag_again_on_the_same_version_changes_nothing(library: Library) -> None:
    assert library.tag("a", 1).version == library.tag("a", 1).version == library.latest


@pytest.mark.parametrize(
    "theirs", [lambda lib: put(lib, 9), lambda lib: lib.tag("b", 1), lambda lib: lib.configure({"x": 1})]
)
def test_tags_and_settings_merge_with_what_came_in_between(library: Library, theirs: object) -> None:
    overtaken(library, theirs).tag("a", 2)
    overtaken(library, lambda lib: lib.tag("c", 1)).configure({"k": [1, 2]})
    found = library.snapshot().manifest
    assert found.tags["a"] == 2
    assert found.config["k"] == [1, 2]
    assert library.verify().ok


def test_the_same_tag_or_setting_changed_by_two_is_a_conflict(library: Library) -> None:
    with pytest.raises(ConflictError, match="'a' belongs to version 1"):
        overtaken(library, lambda lib: lib.tag("a", 1)).tag("a", 2)
    with pytest.raises(ConflictError, match="setting 'k'"):
        overtaken(library, lambda lib: lib.configure({"k": 1})).configure({"k": 2})
    assert library.snapshot().manifest.config == {"k": 1}


def test_settings_are_set_kept_and_taken_away(library: Library) -> None:
    library.configure({"search": {"kind": "hnsw", "m": 16}, "note": "x"})
    put(library, 5)
    library.configure({"note": None})
    assert library.snapshot().manifest.config == {"search": {"kind": "hnsw", "m": 16}}
    with pytest.raises(RequestError, match="no JSON"):
        library.configure({"bad": object()})


def test_an_index_is_kept_over_appends_and_dropped_with_its_segment(library: Library) -> None:
    overtaken(library, lambda lib: put(lib, 8)).change_indexes([an_index(library)])
    delete(library, 1)
    (entry,) = library.snapshot().manifest.indexes
    assert (entry.name, entry.rows, entry.params, entry.info) == ("i", 2, {"m": 16}, {"recall": 0.9})
    found = library.store.index_file(entry, "index.bin")
    assert found is not None
    assert found[:] == b"graph"
    assert library.verify().ok
    delete(library, 2)  # the last live row of the segment
    assert library.snapshot().manifest.indexes == ()
    assert library.snapshot(library.latest - 1).manifest.indexes == (entry,)


def test_an_index_whose_segment_went_meanwhile_is_not_put(library: Library) -> None:
    slower = overtaken(library, lambda lib: delete(lib, 1, 2))
    slower.change_indexes([an_index(library, "gone"), an_index(library, "there", 1)])
    assert [index.name for index in library.snapshot().manifest.indexes] == ["there"]
    assert len(list((library.path / "indexes").iterdir())) == 1
    before = library.latest
    overtaken(library, lambda lib: delete(lib, 3)).change_indexes([an_index(library, "late")])
    assert library.latest == before + 1
    assert library.snapshot().manifest.indexes == ()


def test_the_later_index_of_a_name_wins_and_others_are_dropped_by_name(library: Library) -> None:
    library.change_indexes([an_index(library, data=b"old"), an_index(library, "other")])
    overtaken(library, lambda lib: lib.change_indexes([an_index(lib, data=b"theirs")])).change_indexes(
        [an_index(library, data=b"new")], drop=["other"]
    )
    (entry,) = library.snapshot().manifest.indexes
    assert library.store.index_file(entry, "index.bin")[:] == b"new"  # type: ignore[index]
    with pytest.raises(RequestError, match="two indexes"):
        library.change_indexes([an_index(library), an_index(library)])
    with pytest.raises(RequestError, match="no space"):
        library.change_indexes([NewIndex("x", "motion/head", "test", [], 0, {})])


@pytest.mark.parametrize("harm", ["cut", "flipped", "missing"])
def test_a_bad_index_is_not_read_and_said_once(library: Library, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    library.change_indexes([an_index(library)])
    path = library.path / library.snapshot().manifest.indexes[0].path("index.bin")
    path.write_bytes(b"grap" if harm == "cut" else b"grapH")
    if harm == "missing":
        path.unlink()
    found = Library.open(library.path)
    snapshot = found.snapshot()
    for _ in range(3):
        assert found.store.index_file(snapshot.manifest.indexes[0], "index.bin") is None
    assert [path.name in record.message for record in caplog.records] == [True]
    assert snapshot.search("motion/whole", unit((1, DIM), 0), 3).plan["exact"]


def test_restore_makes_a_new_version_of_the_old_rows(library: Library) -> None:
    library.tag("keep", 1)
    put(library, 1, version=5)
    delete(library, 2)
    report = library.restore("keep")
    now = library.snapshot()
    assert (report.version, now.version, now.ids()) == (6, 6, names(1, 2))
    assert now.frames("clip-1") == b"clip-1/0"
    assert dict(library.tags) == {"keep": 1}
    np.testing.assert_array_equal(
        now.vectors(names(1, 2), "motion/whole"), library.snapshot(1).vectors(names(1, 2), "motion/whole")
    )
    assert library.verify().ok
    assert library.restore(1).version == 6  # nothing to do
    assert library.snapshot(5).ids() == names(3, 1)


def test_restore_refuses_what_came_in_between_and_stops_changes_begun_before(library: Library) -> None:
    with pytest.raises(ConflictError, match="not 2 as expected"):
        overtaken(library, lambda lib: put(lib, 9)).restore(1)
    transaction = library.begin()
    transaction.upsert(*batch(names(7)))
    library.restore(1)
    with pytest.raises(ConflictError, match="begin it again"):
        transaction.commit()
    left = {entry.id for version in library.versions() for entry in library.manifest(version.version).segments}
    assert {path.name for path in (library.path / "segments").iterdir()} == left


def test_a_commit_on_an_expected_version_only(library: Library) -> None:
    transaction = library.begin()
    transaction.upsert(*batch(names(7)))
    put(library, 8)
    with pytest.raises(ConflictError, match="version 3, not 2"):
        transaction.commit(expect=2)
    transaction = library.begin()
    transaction.upsert(*batch(names(7)))
    assert transaction.commit(expect=3).version == 4
