"""The first pass by torch, on the CPU and on a graphics card where there is one, held against sums by numpy: no FAISS here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import gpu
from db import Library, Snapshot, Space, SpaceVectors
from encoders.device import choose_device
from remora.torch_search import GROUP, TorchScanner, largest
from tests.db.world import ENCODER, batch, names

World = tuple[Snapshot, str, NDArray[np.float32]]
DIM, ROWS = 48, 1000
GONE = (3, 410, 888)
FILTERS = {
    None: lambda n: True,
    "n_frames < 5000": lambda n: n < 500,
    "n_frames < 90": lambda n: n < 9,
    "n_frames < 0": lambda n: False,
}


def card() -> str:
    """The card's name for torch; skips where there is none."""
    device = choose_device("auto")
    if device.name == "cpu":
        pytest.skip(device.reason)
    return device.name


@pytest.fixture(params=["cpu", "card"])
def device(request: pytest.FixtureRequest) -> str:
    return "cpu" if request.param == "cpu" else card()


def unit(count: int, seed: int) -> NDArray[np.float32]:
    """Vectors [count, DIM] around thirty centres."""
    centres = np.random.default_rng(0).standard_normal((30, DIM))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(30, size=count)] + 0.3 * random.standard_normal((count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=["f4", "f2"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Snapshot, str, NDArray[np.float32]]:
    """A version of two segments with doubles and deletions, its space, and its vectors as they are stored."""
    space = Space("f" * 32, "whole", "motion", DIM, dtype=request.param)
    library = Library.create(tmp_path_factory.mktemp("gpu") / "lib", spaces=[space], encoder=ENCODER)
    vectors = unit(ROWS, 1)
    vectors[400:500] = vectors[7]  # more doubles than a first pass is asked for
    for numbers in (range(600), range(600, ROWS)):
        rows, said, _, frames = batch(names(*numbers))
        with library.begin() as change:
            change.upsert(rows, said, {space.name: vectors[list(numbers)]}, frames)
            change.commit()
    with library.begin() as change:
        change.delete(ids=names(*GONE))
        change.commit()
    return library.snapshot(), space.name, vectors.astype(np.float16 if request.param == "f2" else np.float32)


def truth(vectors: NDArray[Any], query: NDArray[np.float32], k: int, passes: Any) -> list[tuple[str, float]]:
    """Ids and scores by double precision, ties by id."""
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
    kept = [(f"clip-{n}", float(scores[n])) for n in range(len(vectors)) if passes(n) and n not in GONE]
    return sorted(kept, key=lambda hit: (-hit[1], hit[0]))[:k]


def test_ids_scores_ties_and_filters_are_those_of_numpy(world: Any, device: str) -> None:
    snapshot, space, vectors = world
    snapshot.searcher.use_scanner(lambda own: TorchScanner(own, device))
    queries = np.concatenate([unit(20, 2), vectors[[7, 450]].astype(np.float32)])
    for where, passes in FILTERS.items():
        for k in (1, 10, 70, 2000):
            for some in (queries, queries[-1:]):
                hits = snapshot.search(space, some, k, where=where)
                assert hits.plan["method"] == ("empty" if where == "n_frames < 0" else "scanner")
                for query, ids, scores in zip(some, hits.ids, hits.scores, strict=True):
                    wanted = truth(vectors, query, k, passes)
                    assert ids == [name for name, _ in wanted]
                    np.testing.assert_allclose(scores, [score for _, score in wanted], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_length_of_a_question_changes_no_order(world: Any, device: str, scale: float) -> None:
    snapshot, space, vectors = world
    snapshot.searcher.use_scanner(lambda own: TorchScanner(own, device))
    query = unit(1, 5) * np.float32(scale)
    hits = snapshot.search(space, query, 12)
    assert hits.ids[0] == [name for name, _ in truth(vectors, query[0], 12, lambda n: True)]
    assert hits.plan["by_cpu"] == 0


def test_first_scores_are_within_what_the_scanner_says(device: str) -> None:
    for kind in (np.float32, np.float16):
        vectors = unit(5000, 3).astype(kind)
        scanner = TorchScanner(SpaceVectors([vectors[:3000], vectors[3000:]], DIM), device)
        queries = unit(40, 4)
        scores, rows = scanner.best(queries, 60, None)
        true = queries.astype(np.float64) @ vectors.astype(np.float64).T
        assert np.abs(scores - np.take_along_axis(true, rows, axis=1)).max() <= scanner.error < 1e-3
        kept = np.sort(true, axis=1)[:, ::-1][:, :60]
        assert np.abs(scores - kept).max() <= scanner.error


@pytest.mark.parametrize("length", [10, GROUP * 400, GROUP * 400 + 17])
def test_the_largest_of_groups_are_the_largest(device: str, length: int) -> None:
    scores = torch.from_numpy(np.random.default_rng(0).integers(0, 500, (3, length)).astype(np.float32)).to(device)
    for count in (1, 7, 90):
        found, places = largest(scores, min(count, length))
        wanted = scores.topk(min(count, length), dim=1).values
        assert torch.equal(found, wanted)
        assert torch.equal(scores.gather(1, places), wanted)
        assert all(len(set(row)) == len(row) for row in places.tolist())


def test_the_benchmark_finds_nothing_wrong(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--rows", "2000", "--questions", "2", "--times", "2", "--device", device]) == 0
    assert "f2 wrong: 0" in capsys.readouterr().out
