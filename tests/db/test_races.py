"""Several writers and readers at once: nothing is lost, nothing is there twice, every answer is of one version."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db import ConflictError, CorruptionError, Library, Transaction
from tests.db.faults import Overtaken
from tests.db.test_faults import referenced
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit


@pytest.fixture
def library(tmp_path: Path) -> Library:
    found = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    upsert(found, 1)
    return found


def upsert(library: Library, *numbers: int, version: int = 0) -> int:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version))
    return transaction.commit().version


def delete(library: Library, *numbers: int) -> None:
    transaction = library.begin()
    transaction.delete(ids=names(*numbers))
    transaction.commit()


def stale(library: Library) -> set[str]:
    """Files of segments and bitmaps that no version has."""
    there = {path.name for kind in ("segments", "deletes") for path in (library.path / kind).glob("*")}
    return there - referenced(library)


# what the slower writer wants; what the faster one does meanwhile; which clips, in which version, are there in the end
Change = Callable[[Transaction], None]
Meanwhile = Callable[[Library], object]


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (lambda t: t.upsert(*batch(names(5))), lambda lib: upsert(lib, 6), {1: 0, 5: 0, 6: 0}),
        (lambda t: t.upsert(*batch(names(5), version=1)), lambda lib: upsert(lib, 5, version=2), {1: 0, 5: 1}),
        (lambda t: t.upsert(*batch(names(1, 5), version=1)), lambda lib: delete(lib, 1), {1: 1, 5: 1}),
        (lambda t: t.delete(ids=names(1)), lambda lib: upsert(lib, 2), {2: 0}),
        (lambda t: t.delete(ids=names(1)), lambda lib: delete(lib, 1), {}),
        (lambda t: t.delete(where="duration_s <= 1"), lambda lib: upsert(lib, 2, 3), {3: 0}),
        (lambda t: t.upsert(*batch(names(5))), lambda lib: upsert(lib, 5), {1: 0, 5: 0}),
        # clip 1 is there already, so a segment for clip 2 alone is written; then clip 1 goes and clip 2 comes
        (lambda t: t.upsert(*batch(names(1, 2))), lambda lib: (delete(lib, 1), upsert(lib, 2)), {1: 0, 2: 0}),
        (lambda t: t.upsert(*batch(names(1, 2), version=3)), lambda lib: upsert(lib, 1, 2, 4), {1: 3, 2: 3, 4: 0}),
    ],
    ids=["both add", "same id", "replaced and deleted", "delete beside add", "both delete", "where is asked again",
         "same content", "the other half", "replace what came"],
)  # fmt: skip
def test_a_writer_that_is_overtaken_builds_on_the_winner(
    library: Library, mine: Change, theirs: Meanwhile, expected: dict[int, int]
) -> None:
    slower = Library.open(library.path, files=Overtaken(library.path, lambda: theirs(Library.open(library.path))))
    transaction = slower.begin(txn_id="slow")
    mine(transaction)
    report = transaction.commit()
    found = Library.open(library.path)
    assert found.verify().problems == ()
    snapshot = found.snapshot()
    assert {name: snapshot.frames(name) for name in snapshot.ids()} == {
        f"clip-{number}": f"clip-{number}/{version}".encode() for number, version in expected.items()
    }
    assert report.version == found.latest
    assert stale(found) == set()
    entries = {entry.id: entry for entry in found.manifest(found.latest).segments}
    assert all(entry.created_in <= found.latest for entry in entries.values())


def test_adding_what_another_writer_added_meanwhile_is_a_conflict(library: Library) -> None:
    files = Overtaken(library.path, lambda: upsert(Library.open(library.path), 5))
    transaction = Library.open(library.path, files=files).begin()
    transaction.add(*batch(names(5, 6), version=7))
    with pytest.raises(ConflictError, match="clip-5"):
        transaction.commit()
    assert sorted(library.snapshot().ids()) == names(1, 5)
    assert stale(library) == set()


def test_nothing_is_written_after_a_manifest_that_was_damaged_meanwhile(library: Library) -> None:
    transaction = Library.open(library.path).begin()
    transaction.upsert(*batch(names(8)))
    upsert(library, 5)
    newest = library.path / "manifests" / f"{library.latest:020d}.json"
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.raises(CorruptionError, match=newest.name):
        transaction.commit()


def test_clips_deleted_and_given_in_one_change_are_replaced(library: Library) -> None:
    transaction = library.begin()
    transaction.delete(ids=names(1))
    transaction.add(*batch(names(1), version=4))
    assert transaction.commit().replaced == 1
    assert library.snapshot().frames("clip-1") == b"clip-1/4"


def write_many(path: str, worker: int, turns: int) -> None:
    """What a process of its own does: clips of its own, and one that all of them replace."""
    mine = Library.open(Path(path))
    for turn in range(turns):
        upsert(mine, 100 * worker + turn, 7, version=10 * worker + turn)


def test_writers_in_processes_of_their_own_lose_nothing(library: Library) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(str(library.path), worker, 6)) for worker in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert set(library.snapshot().ids()) == set(names(1, 7, *(100 * w + t for w in (1, 2) for t in range(6))))
    assert [entry.version for entry in library.versions()] == list(range(14))
    assert library.verify().problems == ()
    assert stale(library) == set()


def test_readers_in_threads_get_the_answers_of_one(library: Library) -> None:
    upsert(library, *range(2, 30))
    snapshot = Library.open(library.path).snapshot()
    wrong: list[object] = []

    def read(salt: int) -> None:
        for turn in range(25):
            number = (7 * salt + turn) % 28 + 1
            try:
                name = f"clip-{number}"
                found = [snapshot.ids(f"n_frames = {10 * number}"), snapshot.rows([name])["clip_id"].to_pylist()]
                query = snapshot.vectors([name], "motion/whole")
                found.append(snapshot.search("motion/whole", query, 1, where="n_frames < 1000").ids[0])
                wrong.extend(ids for ids in found if ids != [name])
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=read, args=(salt,)) for salt in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_readers_keep_their_version_while_a_writer_goes_on(library: Library) -> None:
    upsert(library, *range(2, 12))
    reader = Library.open(library.path)
    snapshot, query = reader.snapshot(), unit((1, DIM), 1)
    before = snapshot.search("motion/whole", query, 5)
    for turn in range(5):
        upsert(library, turn + 1, turn + 40, version=turn + 1)
        delete(library, turn + 6)
    after = snapshot.search("motion/whole", query, 5)
    assert after.ids == before.ids
    np.testing.assert_array_equal(after.scores, before.scores)
    assert reader.latest == library.latest == snapshot.version + 10
