"""An index may miss a clip; it never gives one a wrong score or order, never fewer than k, never one that is filtered out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db import Library, NewIndex, RequestError, Snapshot, Space
from db.indexes import KINDS, Hnsw, IndexSpec, IvfPq, Pq, Scalar, spec_from_json
from db.loading import INDEX_FILE
from db.tune import build
from db.vectors import SpaceVectors
from tests.db.world import ENCODER, batch, names

DIM = 32
ROWS = 2400
SPACE = Space("f" * 32, "whole", "motion", DIM)
SPECS = [
    Pq(),
    Pq(wide=8, refine=8),
    IvfPq(lists=16, probes=4),
    Hnsw(links=8, build_ef=40, ef=16),
    Scalar(16),
    Scalar(8),
]


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors [count, DIM] around sixty centres, with doubles among them."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((60, DIM))
    vectors = centres[random.integers(60, size=count)] + 0.4 * random.standard_normal((count, DIM))
    vectors[count // 2] = vectors[0]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library.create(tmp_path_factory.mktemp("indexes") / "lib", spaces=[SPACE], encoder=ENCODER)
    vectors = clustered(ROWS + 200, 1)
    for numbers in (range(1500), range(1500, ROWS), range(ROWS, ROWS + 200)):
        rows, said, _, frames = batch(names(*numbers))
        with library.begin() as change:
            change.upsert(rows, said, {SPACE.name: vectors[list(numbers)]}, frames)
            change.commit()
    with library.begin() as change:
        change.delete(ids=names(*range(0, 300, 3)))
        change.commit()
    return library


@pytest.fixture(params=SPECS, ids=str)
def indexed(request: pytest.FixtureRequest, library: Library) -> Snapshot:
    """The library with an index of its first two segments; the third is not covered."""
    covers = library.snapshot().manifest.segments[:2]
    blocks = [library.store.vectors(s, SPACE, None) for s in covers]
    spec: IndexSpec = request.param
    _, data = build(spec, SpaceVectors(blocks, DIM))
    new = NewIndex("tried", SPACE.name, spec.KIND, [s.id for s in covers], ROWS, {INDEX_FILE: data}, asdict(spec))
    library.change_indexes(put=[new])
    return library.snapshot()


def test_scores_are_the_true_ones_and_most_of_the_best_are_found(indexed: Snapshot) -> None:
    asked = clustered(40, 2)
    found, truth = (indexed.search(SPACE.name, asked, 10, exact=exact) for exact in (None, True))
    assert found.plan["method"] == "index"
    assert truth.plan["method"] != "index"
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, truth.ids, strict=True)])
    assert recall > 0.6
    for row in range(len(asked)):
        scores = indexed.scores(SPACE.name, asked[row : row + 1], found.ids[row])[0]
        np.testing.assert_array_equal(found.scores[row], scores)
        order = sorted(zip(-scores, found.ids[row], strict=True))
        assert [name for _, name in order] == found.ids[row]


def test_a_spec_that_bounds_its_error_says_exact_only_where_it_is(indexed: Snapshot) -> None:
    asked = clustered(40, 3)
    for query in asked[:, None]:
        found = indexed.search(SPACE.name, query, 5)
        if found.plan["exact"]:
            assert found.ids == indexed.search(SPACE.name, query, 5, exact=True).ids
    bounded = indexed.search(SPACE.name, asked, 5).plan["index"] == [str(Scalar(16))]
    certain = [indexed.search(SPACE.name, query, 5).plan["exact"] for query in asked[:, None]]
    assert any(certain) == bounded


@pytest.mark.parametrize(
    "where",
    [None, "n_frames >= 40", "n_frames < 2000", "n_frames < 50", "source = 'kit'", "n_frames > 25900", "n_frames < 0"],
)
@pytest.mark.parametrize("exact", [None, False])
def test_k_come_back_where_k_match_and_none_that_does_not(
    indexed: Snapshot, where: str | None, exact: bool | None
) -> None:
    match = set(indexed.ids(where))
    for k in (1, 10, 200, 3000):
        found = indexed.search(SPACE.name, clustered(3, 4), k, where=where, exact=exact)
        assert {len(ids) for ids in found.ids} == {min(k, len(match))}
        assert all(set(ids) <= match and len(set(ids)) == len(ids) for ids in found.ids)


def test_narrow_filters_are_answered_exactly_whatever_index_there_is(indexed: Snapshot) -> None:
    asked = clustered(20, 5)
    for where in (
        "n_frames < 13000",
        "source = 'kit'",
        "n_frames between 100 and 400",
        "mirrored",
        "class_id = 'class1'",
    ):
        found, truth = (indexed.search(SPACE.name, asked, 10, where=where, exact=exact) for exact in (None, True))
        assert found.ids == truth.ids
        assert found.plan["exact"]


def test_clips_that_the_index_does_not_cover_are_found(indexed: Snapshot) -> None:
    for name in names(ROWS, ROWS + 57, ROWS + 199):
        found = indexed.search(SPACE.name, indexed.vectors([name], SPACE.name), 1)
        assert found.ids == [[name]]
        assert found.plan["uncovered"] == 200


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_spec_survives_json_and_tells_its_memory(spec: IndexSpec, library: Library) -> None:
    snapshot = library.snapshot()
    assert spec_from_json(spec.to_json()) == spec
    assert all(other.built == spec.built for other in spec.sweep())
    assert spec.with_effort({"refine": 9, "probes": 3, "ef": 7, "lists": 5, "nothing": 1}).built == spec.built
    size = len(build(spec, snapshot.searcher.vectors(SPACE))[1])
    assert 0.7 < size / spec.memory(ROWS + 200, DIM) < 1.4


@pytest.mark.parametrize(
    "make",
    [lambda: Pq(refine=0), lambda: Hnsw(ef=-1), lambda: IvfPq(lists=2.5), lambda: Scalar(bits=4), lambda: Pq(wide=True),  # type: ignore[arg-type]
     lambda: spec_from_json({"kind": "lsh"}), lambda: spec_from_json({"kind": "pq", "size": 3}), lambda: spec_from_json({})],
)  # fmt: skip
def test_settings_that_make_no_sense_are_one_clear_error(make: Any) -> None:
    with pytest.raises(RequestError) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_every_kind_is_tried_here() -> None:
    assert {spec.KIND for spec in SPECS} == set(KINDS)


def test_half_precision_libraries_answer_as_plain_sums_of_their_vectors_do(tmp_path: Path) -> None:
    space = Space("f" * 32, "whole", "motion", DIM, dtype="f2")
    library = Library.create(tmp_path / "lib", spaces=[space], encoder=ENCODER)
    for numbers in (range(700), range(700, 5300), range(5300, 5400)):
        rows, said, _, frames = batch(names(*numbers))
        with library.begin() as change:
            change.upsert(rows, said, {space.name: clustered(len(numbers), numbers[0])}, frames)
            change.commit()
    snapshot = library.snapshot()
    for count in (2, 20):
        asked = clustered(count, 9)
        for where in (None, "n_frames > 30", "source = 'kit'", "n_frames < 100"):
            hits = snapshot.search(space.name, asked, 12, where=where)
            ids = snapshot.ids(where)
            own = snapshot.vectors(ids, space.name).astype(np.float64)
            for row in range(count):
                scores = (own * asked[row].astype(np.float64)).sum(-1).astype(np.float32).tolist()
                expected = sorted(zip(ids, scores, strict=True), key=lambda hit: (-hit[1], hit[0]))[:12]
                assert list(zip(hits.ids[row], hits.scores[row].tolist(), strict=True)) == expected
