"""The map: neighbours stay neighbours, the same vectors give the same map, and a page gets it with its columns."""

from __future__ import annotations

import numpy as np
import pytest
from fastapi.testclient import TestClient

from remora.web import projection
from remora.web.projection import nearest, project
from tests.web.conftest import ids, until


def groups(count: int, size: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [N, 24] in ``count`` heaps, and the heap of each."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(count, 24))
    vectors = np.repeat(middles, size, axis=0) + 0.25 * rng.normal(size=(count * size, 24))
    order = rng.permutation(count * size)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return vectors[order], np.repeat(np.arange(count), size)[order]


@pytest.mark.parametrize("laid_out", [projection.LAID_OUT, 150])
def test_neighbours_in_space_are_neighbours_on_the_map(monkeypatch: pytest.MonkeyPatch, laid_out: int) -> None:
    monkeypatch.setattr(projection, "LAID_OUT", laid_out)
    vectors, heap = groups(8, 40)
    points = project(vectors)
    rows, _ = nearest(points, points, 6)
    assert np.mean(heap[rows] == heap[:, None]) > 0.9
    assert np.abs(points).max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(points, project(vectors))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 14])
def test_few_vectors_and_equal_ones_have_a_map_too(count: int) -> None:
    vectors = np.zeros((count, 24), np.float32)
    vectors[:, 0] = 1
    points = project(vectors)
    assert points.shape == (count, 2) and np.isfinite(points).all()


def test_a_page_gets_a_point_for_every_clip(client: TestClient) -> None:
    assert client.get("/api/map").status_code in (200, 202)
    until(lambda: client.get("/api/map").status_code == 200)
    told = client.get("/api/map")
    assert told.json()["clip_ids"] == ids(client)
    assert len(told.json()["x"]) == len(told.json()["y"]) == len(ids(client))
    assert client.get("/api/map", headers={"if-none-match": told.headers["etag"]}).status_code == 304
