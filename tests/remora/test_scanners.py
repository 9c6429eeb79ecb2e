"""A first pass on another device, or of lower precision, changes nothing in an answer: ids, order, ties and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db import FaissGpuScanner, Library, Scanner, Snapshot, SpaceVectors, probe_faiss_gpu
from remora.torch_search import TorchScanner, scanner_for
from tests.db.test_indexes import SPACE, clustered
from tests.db.world import ENCODER, batch, names

ASKED = clustered(24, 11)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    made = Library.create(tmp_path_factory.mktemp("scan") / "lib", spaces=[SPACE], encoder=ENCODER)
    vectors = clustered(900, 1)
    vectors[400:420] = vectors[7]  # doubles: more than a first pass is asked for
    for numbers in (range(500), range(500, 900)):
        rows, said, _, frames = batch(names(*numbers))
        with made.begin() as change:
            change.upsert(rows, said, {SPACE.name: vectors[list(numbers)]}, frames)
            change.commit()
    with made.begin() as change:
        change.delete(ids=names(1, 410, 888))
        change.commit()
    return made


class Coarse:
    """A scanner in plain numpy that rounds to a few bits, says so, and can name few rows."""

    name, filters, largest, error = "coarse", True, 100, 0.02

    def __init__(self, vectors: SpaceVectors) -> None:
        self._vectors = np.concatenate([piece for _, piece in vectors.chunks()])

    def best(self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None) -> tuple[Any, Any]:
        """See :class:`db.Scanner`."""
        scores = np.round(queries @ self._vectors.T / 0.03) * 0.03
        scores = np.where(True if keep is None else keep, scores, -np.inf)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(scores, rows, axis=1).astype(np.float32), rows


class Broken(Coarse):
    """One whose card is full."""

    def __init__(self, vectors: SpaceVectors) -> None:
        raise RuntimeError(f"out of memory for {len(vectors)} vectors")


def same(snapshot: Snapshot, factory: Any) -> None:
    """With and without the scanner: the very same answers."""
    for where in (None, "source = 'kit'", "n_frames < 300", "n_frames < 30", "n_frames < 0"):
        for k in (1, 10, 60, 2000):
            for queries in (ASKED, ASKED[:1], snapshot.vectors(names(7), SPACE.name)):
                snapshot.searcher.use_scanner(None)
                plain = snapshot.search(SPACE.name, queries, k, where=where)
                snapshot.searcher.use_scanner(factory)
                found = snapshot.search(SPACE.name, queries, k, where=where)
                assert found.ids == plain.ids
                np.testing.assert_array_equal(found.scores, plain.scores)
                assert found.plan["exact"]
    snapshot.searcher.use_scanner(None)


def test_torch_answers_as_the_cpu_does(library: Library) -> None:
    snapshot = library.snapshot()
    same(snapshot, lambda vectors: TorchScanner(vectors, "cpu"))
    snapshot.searcher.use_scanner(lambda vectors: TorchScanner(vectors, "cpu"))
    plan = snapshot.search(SPACE.name, ASKED, 3).plan
    assert (plan["method"], plan["device"]) == ("scanner", "torch cpu")
    snapshot.searcher.use_scanner(None)


def test_torch_scores_are_within_what_it_says(library: Library) -> None:
    snapshot = library.snapshot()
    vectors = snapshot.searcher.vectors(SPACE)
    scanner: Scanner = TorchScanner(vectors, "cpu")
    scores, rows = scanner.best(ASKED, 50, None)
    for query in range(len(ASKED)):
        true = vectors.take(rows[query]).astype(np.float64) @ ASKED[query].astype(np.float64)
        assert np.abs(scores[query] - true).max() < min(scanner.error, 1e-3)


def test_a_coarse_first_pass_is_asked_again_and_never_changes_an_answer(library: Library) -> None:
    same(library.snapshot(), Coarse)


def test_a_card_that_is_full_is_said_once_and_the_cpu_answers(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = library.snapshot()
    same(snapshot, Broken)
    snapshot.searcher.use_scanner(Broken)
    caplog.clear()
    for _ in range(3):
        assert snapshot.search(SPACE.name, ASKED, 3).plan["method"] != "scanner"
    assert sum("out of memory" in record.getMessage() for record in caplog.records) == 1
    snapshot.searcher.use_scanner(None)


def test_a_scanner_that_cannot_filter_is_never_asked_to(library: Library) -> None:
    class Plain(Coarse):
        filters = False

        def best(self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None) -> tuple[Any, Any]:
            assert keep is None
            return super().best(queries, count, keep)

    same(library.snapshot(), Plain)


def test_small_libraries_and_the_cpu_need_no_card() -> None:
    assert scanner_for("cpu", 10**7) == (None, "asked for")
    assert scanner_for("auto", 49_999)[0] is None


def test_a_card_answers_as_the_cpu_does(library: Library) -> None:
    from encoders.device import choose_device

    device = choose_device("auto")
    if device.name == "cpu":
        pytest.skip(device.reason)
    same(library.snapshot(), lambda vectors: TorchScanner(vectors, device.name))
    same(library.snapshot(), scanner_for(device.name, 10**6)[0])


def test_faiss_on_a_card_answers_as_the_cpu_does(library: Library) -> None:
    there, why = probe_faiss_gpu()
    if not there:
        pytest.skip(why)
    same(library.snapshot(), FaissGpuScanner)
