"""Many questions to an index are shared among threads, as many as there are cores or the user allows, to the same answers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import db.vectors
from db import Library, RequestError, Snapshot, pool
from db.indexes import Pq
from db.vectors import SpaceVectors
from tests.db.test_indexes import SPACE, clustered
from tests.db.world import ENCODER, batch, names


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    library = Library.create(tmp_path_factory.mktemp("pool") / "lib", spaces=[SPACE], encoder=ENCODER)
    for numbers in (range(2000), range(2000, 2100)):
        rows, said, _, frames = batch(names(*numbers))
        change = library.begin()
        change.upsert(rows, said, {SPACE.name: clustered(2100, 1)[list(numbers)]}, frames)
        change.commit()
    library.use_index(SPACE.name, Pq())
    return library.snapshot()


def test_answers_of_many_at_once_are_those_of_each_alone(indexed: Snapshot, two: None) -> None:
    asked = clustered(60, 3)
    for where in (None, "n_frames >= 300"):
        together = indexed.search(SPACE.name, asked, 7, where=where)
        assert together.plan["method"] == "index"
        alone = [indexed.search(SPACE.name, query, 7, where=where) for query in asked[:, None]]
        assert together.ids == [one.ids[0] for one in alone]
        assert together.scores.tolist() == [one.scores[0].tolist() for one in alone]


def test_order_is_kept_all_is_done_and_two_threads_do_it(two: None) -> None:
    seen = set()

    def work(number: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.002)
        return number * number

    assert pool.each(work, range(41)) == [number * number for number in range(41)]
    assert len(seen) == 2 and threading.get_ident() not in seen
    seen.clear()
    assert pool.each(work, range(2 * pool.LEAST - 1)) == [number * number for number in range(2 * pool.LEAST - 1)]
    assert seen == {threading.get_ident()}  # not worth a second thread


def test_the_user_says_how_many_threads_there_are(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pool.workers() == 2
    for said, meant in (("1", 1), ("2", 2), ("16", 2), ("1,4", 1), ("0", 2), ("many", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert pool.workers() == meant


def test_an_error_of_one_question_is_raised(two: None) -> None:
    def work(number: int) -> int:
        if number == 30:
            raise RequestError("the thirtieth")
        return number

    with pytest.raises(RequestError, match="the thirtieth"):
        pool.each(work, range(40))


def test_a_worker_has_one_thread_of_faiss_for_itself(two: None) -> None:
    import faiss

    assert set(pool.each(lambda _: faiss.omp_get_max_threads(), range(20))) == {1}


def test_a_forked_child_has_threads_of_its_own(two: None, tmp_path: Path) -> None:
    assert pool.each(abs, range(20)) == list(range(20))
    child = os.fork()
    if child == 0:
        os._exit(int(pool.each(abs, range(20)) != list(range(20))))
    until = time.monotonic() + 20
    ended = 0, 0
    while ended[0] == 0 and time.monotonic() < until:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    assert ended == (child, 0)


def test_a_worker_that_shares_its_work_does_it_itself(two: None) -> None:
    def work(number: int) -> list[int]:
        return pool.each(lambda other: number * other, range(16))

    assert pool.each(work, range(16)) == [[number * other for other in range(16)] for number in range(16)]


def test_a_large_scan_of_float16_is_shared_and_finds_the_same(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    block = clustered(5000, 8).astype(np.float16)
    keep = np.random.default_rng(0).random(5000) < 0.6
    found = []
    for piece in (100_000, 700):
        monkeypatch.setattr(db.vectors, "PIECE_ROWS", piece)
        vectors = SpaceVectors([block[:2100], block[2100:]], block.shape[1])
        query = clustered(1, 9)[0]
        found.append([vectors.best(query, 40, kept) for kept in (None, keep)])
    for (scores, rows), (own, places) in zip(*found, strict=True):
        np.testing.assert_array_equal(scores, own)
        assert set(rows) == set(places)
