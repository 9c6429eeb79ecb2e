"""Group commit: a promise is kept when the change is there, the later change counts, and a bad one spoils no other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from db import CorruptionError, Library, RequestError
from tests.db.world import ENCODER, SPACES, batch, captions, names


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)


def test_what_was_promised_is_in_the_version_it_names(library: Library) -> None:
    kept: dict[int, int] = {}

    def hand_in(worker: int) -> None:
        for turn in range(6):
            number = 10 * worker + turn
            kept[number] = group.upsert(*batch(names(number, 99), version=number)).result(60).version

    with library.ingest("many") as group:
        threads = [threading.Thread(target=hand_in, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(kept) == 24
    for number, version in kept.items():
        assert library.snapshot(version).frames(f"clip-{number}") == f"clip-{number}/{number}".encode()
    assert {info.note for info in library.versions()[1:] if info.kind != "compact"} == {"many"}
    assert library.verify(all_versions=True).problems == ()


def test_of_two_changes_of_a_clip_the_later_counts_and_all_are_one_version(library: Library) -> None:
    group = library.ingest()
    with group._turn:  # nothing is taken before all are there
        promises = []
        for version in range(4):
            change = library.begin()
            change.upsert(*batch(names(1, 10 + version), version=version))
            from concurrent.futures import Future

            promises.append(Future())  # type: ignore[var-annotated]
            group._waiting.append((change, promises[-1]))
            group._rows += len(change)
        group._turn.notify_all()
    group.close()
    assert {promise.result().version for promise in promises} == {1}
    snapshot = library.snapshot()
    assert sorted(snapshot.ids()) == names(1, 10, 11, 12, 13)
    assert snapshot.frames("clip-1") == b"clip-1/3"
    texts = snapshot.captions(names(11, 1))["text"].to_pylist()
    assert texts == captions(names(11, 1))["text"].to_pylist()
    assert library.verify().problems == ()


def test_a_change_that_cannot_be_is_refused_at_the_door(library: Library) -> None:
    with library.ingest() as group:
        good = group.upsert(*batch(names(1)))
        rows, said, vectors, frames = batch(names(2))
        with pytest.raises(RequestError, match="normalise"):
            group.upsert(rows, said, {**vectors, "motion/whole": 2 * vectors["motion/whole"]}, frames)
        assert good.result(60).added == 1
    with pytest.raises(RequestError, match="closed"):
        group.upsert(*batch(names(3)))


def test_an_error_reaches_all_who_wait(library: Library) -> None:
    with library.ingest() as group:
        group.upsert(*batch(names(1))).result(60)
        newest = max((library.path / "manifests").iterdir())
        change = batch(names(2))
        library.begin()
        data = newest.read_bytes()
        newest.write_bytes(data[:-9])
        with pytest.raises(CorruptionError, match=newest.name):
            group.upsert(*change).result(60)
        newest.write_bytes(data)
        assert group.upsert(*change).result(60).added == 1
