"""Compaction changes no answer and no byte of a vector, bounds what it writes, and never stands in a writer's way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import db.compaction
from db import CorruptionError, Library, Snapshot
from db.compaction import groups
from db.manifest import FileEntry, SegmentEntry
from tests.db.faults import Overtaken
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Six segments, of which some rows are dead."""
    found = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    found.auto_compact = False
    for turn in range(6):
        put(found, *range(7 * turn, 7 * turn + 7))
    delete(found, 0, 9, 10, 41)
    put(found, 20, 21, version=1)
    return found


def put(library: Library, *numbers: int, version: int = 0) -> None:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version))
    transaction.commit()


def delete(library: Library, *numbers: int) -> None:
    transaction = library.begin()
    transaction.delete(ids=names(*numbers))
    transaction.commit()


def everything(snapshot: Snapshot) -> dict[str, Any]:
    """All that can be read of a snapshot, by clip."""
    ids = sorted(snapshot.ids())
    rows = snapshot.rows(ids).to_pylist()
    said = {name: snapshot.captions([name]).to_pylist() for name in ids}
    vectors = [snapshot.vectors(ids, space).tobytes() for space in ("motion/whole", "motion/left_arm")]
    text = snapshot.search("text/whole", unit((1, DIM), 3), 500)
    hits = snapshot.search("motion/whole", unit((3, DIM), 4), 9, where="duration_s > 3")
    frames = [snapshot.frames(name) for name in ids]
    return {"rows": rows, "said": said, "vectors": vectors, "frames": frames, "text": (text.ids, text.scores.tolist()),
            "hits": (hits.ids, hits.scores.tolist())}  # fmt: skip


def segments(library: Library) -> tuple[SegmentEntry, ...]:
    return library.snapshot().manifest.segments


def test_nothing_that_can_be_read_changes(library: Library) -> None:
    before, old = everything(library.snapshot()), library.latest
    report = library.compact(thorough=True)
    (only,) = segments(library)
    assert (only.rows, only.live, only.deletes) == (38, 38, None)
    assert (report.merged, report.into, report.rows, report.dropped_rows) == (7, 1, 38, 6)
    assert everything(Library.open(library.path).snapshot()) == before
    assert everything(library.snapshot(old)) == before
    assert library.verify().problems == ()
    assert library.versions()[-1].kind == "compact"
    assert library.compact(thorough=True).version == report.version  # nothing is left to do


def test_pages_and_batches_of_frames_are_cut_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("db.segment", "db.compaction"):
        monkeypatch.setattr(f"{module}.CHECK_ROWS", 16)
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    for turn in range(5):
        put(library, *range(33 * turn, 33 * turn + 33))
    delete(library, *range(3, 160, 5))
    before = everything(library.snapshot())
    library.compact(thorough=True)
    assert len(segments(library)) == 1
    assert everything(library.snapshot()) == before
    assert library.verify().problems == ()


def test_segments_stay_few_and_rows_are_copied_a_few_times(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    for number in range(60):
        put(library, number)
        assert len(segments(library)) <= db.compaction.SMALL_SEGMENTS
    assert sorted(library.snapshot().ids()) == sorted(names(*range(60)))
    assert library.verify().problems == ()
    quiet = Library.create(tmp_path / "quiet", spaces=SPACES, encoder=ENCODER)
    quiet.auto_compact = False
    for number in range(20):
        put(quiet, number)
    assert len(segments(quiet)) == 20


def entry(number: int, rows: int, live: int | None = None, size: int = 1000) -> SegmentEntry:
    files = (FileEntry("rows.parquet", size * rows, ""),)
    return SegmentEntry(f"{number:032x}", rows, rows if live is None else live, 0, 0, files)


def test_a_row_is_copied_a_logarithm_of_times_and_no_segment_is_too_large() -> None:
    there: list[SegmentEntry] = []
    copied = 0
    for number in range(3000):
        there.append(entry(number, 100))
        for group in groups(there):
            copied += sum(s.live for s in group)
            assert sum(s.live for s in group) <= db.compaction.MOST_ROWS
            merged = entry(10**6 + number, sum(s.live for s in group))
            there = [s for s in there if s not in group] + [merged]
        assert sum(s.live < db.compaction.SMALL_ROWS for s in there) <= db.compaction.SMALL_SEGMENTS
    assert copied / (3000 * 100) < 10


@pytest.mark.parametrize(
    ("there", "thorough", "expected"),
    [
        ([entry(1, 100), entry(2, 100, 99)], False, []),
        ([entry(1, 9000), entry(2, 9000, 6700)], False, [[2]]),  # more than a quarter dead
        ([entry(1, 100), entry(2, 100, 1)], False, []),  # but not worth the while
        ([entry(1, 100), entry(2, 100, 99)], True, [[1, 2]]),
        ([entry(1, 90_000), entry(2, 100)], True, []),
        ([entry(1, 90_000, 89_999), entry(2, 100)], True, [[1]]),
        ([entry(n, 100_000, 99_999) for n in range(5)], True, [[0, 1], [2, 3], [4]]),  # no more than 250,000 rows
        ([entry(n, 100_000, 99_999, 30_000) for n in range(3)], True, [[0], [1], [2]]),  # nor than 4 GiB
        ([], True, []),
    ],
)  # fmt: skip
def test_what_is_merged(there: list[SegmentEntry], thorough: bool, expected: list[list[int]]) -> None:
    assert [[int(s.id, 16) for s in group] for group in groups(there, thorough=thorough)] == expected


@pytest.mark.parametrize("times", [1, 3])
def test_what_was_deleted_or_added_meanwhile_is_so_afterwards(library: Library, times: int) -> None:
    def meanwhile() -> None:
        files.other = again if len(done) < times - 1 else None
        done.append(None)
        other = Library.open(library.path)
        other.auto_compact = False
        delete(other, len(done))
        put(other, 20, 90 + len(done), version=7)

    done: list[None] = []
    again = meanwhile
    files = Overtaken(library.path, meanwhile)
    slow = Library.open(library.path, files=files)
    slow.compact(thorough=True)
    ids = set(library.snapshot().ids())
    assert len(done) == times
    assert not ids & set(names(*range(1, times + 1)))
    assert ids >= set(names(20, *range(91, 91 + times)))
    assert library.snapshot().frames("clip-20") == b"clip-20/7"
    assert len(ids) == 38
    assert library.verify().problems == ()


def test_what_another_compacted_is_left_alone(library: Library) -> None:
    before = everything(library.snapshot())
    other = Overtaken(library.path, lambda: Library.open(library.path).compact(thorough=True))
    report = Library.open(library.path, files=other).compact(thorough=True)
    assert report.merged == 0
    assert report.version == library.latest
    assert everything(library.snapshot()) == before
    named = {s.id for v in library.versions() for s in library.manifest(v.version).segments}
    assert {path.name for path in (library.path / "segments").iterdir()} == named


def test_all_rows_deleted_meanwhile_leave_no_segment(library: Library) -> None:
    other = Overtaken(library.path, lambda: delete(Library.open(library.path), *range(50)))
    Library.open(library.path, files=other).compact(thorough=True)
    assert segments(library) == ()
    assert library.verify().problems == ()


@pytest.mark.parametrize("kind", ["rows.parquet", "captions.parquet", "v-9fc6563d.vec", "frames.bin"])
def test_damage_is_not_copied_under_a_new_hash(library: Library, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    path = library.path / "segments" / segments(library)[2].id / kind
    data = bytearray(path.read_bytes())
    data[4200 if kind.endswith(".vec") else len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    found = Library.open(library.path)
    with pytest.raises(CorruptionError, match=kind):
        found.compact(thorough=True)
    before = found.latest
    with caplog.at_level(logging.WARNING):
        for number in range(100, 112):  # until it is due
            put(found, number)
    assert "could not be merged" in caplog.text
    assert kind in caplog.text
    assert found.latest >= before + 12


def test_vectors_of_half_precision_are_not_rounded_again(tmp_path: Path) -> None:
    from dataclasses import replace

    spaces = [replace(space, dtype="f2") for space in SPACES]
    library = Library.create(tmp_path / "lib", spaces=spaces, encoder=ENCODER)
    put(library, *range(5))
    put(library, *range(5, 9))
    ids = names(*range(9))
    before = library.snapshot().vectors(ids, "motion/whole")
    library.compact(thorough=True)
    np.testing.assert_array_equal(library.snapshot().vectors(ids, "motion/whole"), before)
