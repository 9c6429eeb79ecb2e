"""A tuned library answers by its index, says so, and loses nothing when the index is gone, damaged, forged or outgrown."""

from __future__ import annotations

import logging
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import Library, RequestError, Snapshot
from db.indexes import Hnsw, Pq, Scalar
from tests.db.test_indexes import ROWS, SPACE, clustered
from tests.db.world import ENCODER, batch, names


def fill(library: Library, numbers: range) -> None:
    rows, said, _, frames = batch(names(*numbers))
    with library.begin() as change:
        change.upsert(rows, said, {SPACE.name: clustered(len(numbers), numbers[0])}, frames)
        change.commit()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune") / "lib"
    library = Library.create(path, spaces=[SPACE], encoder=ENCODER)
    fill(library, range(ROWS))
    library.use_index(SPACE.name, Scalar(16))
    return path


@pytest.fixture
def library(tuned: Path, tmp_path: Path) -> Library:
    shutil.copytree(tuned, tmp_path / "lib")
    return Library.open(tmp_path / "lib")


ASKED = clustered(12, 77)


def answers(snapshot: Snapshot, **options: Any) -> list[list[str]]:
    return snapshot.search(SPACE.name, ASKED, 10, **options).ids


def test_a_tuned_library_is_searched_by_its_index_from_then_on(library: Library) -> None:
    snapshot = library.snapshot()
    plan = snapshot.search(SPACE.name, ASKED[:1], 10).plan
    assert plan["method"] == "index"
    assert plan["index"][0].startswith("scalar(bits=16")
    assert snapshot.search(SPACE.name, ASKED, 10, exact=True).plan["method"] == "flat"


def test_the_report_holds_truth_and_a_pareto_front(library: Library) -> None:
    report = library.tune(specs=[Scalar(16), Pq(), Hnsw(links=8, build_ef=40)], questions=20, write=False)
    exact = report.measured[0]
    assert (exact.spec, exact.recall_1, exact.recall_10) == (None, 1.0, 1.0)
    assert report.version is None
    assert all(recall == 1.0 for way in report.measured for _, recall, _ in way.filtered)
    front = report.pareto
    assert all(a.p50_ms <= b.p50_ms and a.recall_10 < b.recall_10 for a, b in pairwise(front))
    assert report.chosen.recall_10 >= 0.99
    assert report.chosen.p50_ms == min(way.p50_ms for way in report.measured if way.recall_10 >= 0.99)
    assert report.to_json()["pareto"] == [way.name for way in front]


def test_a_target_nothing_reaches_leaves_the_library_exact(library: Library) -> None:
    report = library.tune(specs=[], questions=5)
    assert report.chosen.spec is None
    assert library.snapshot().manifest.indexes == ()
    assert "search" not in library.snapshot().manifest.config
    assert library.snapshot().search(SPACE.name, ASKED[:1], 10).plan["method"] == "flat"


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-40])
    elif how == "nonsense":
        path.write_bytes(bytes(len(data)))
    else:
        data[len(data) // 2] ^= 4
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["gone", "cut", "nonsense", "one bit"])
def test_a_damaged_index_is_said_once_searched_around_and_built_again(
    library: Library, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    truth = answers(library.snapshot(), exact=True)
    (file,) = library.path.glob("indexes/*/index.faiss")
    damage(file, how)
    again = Library.open(library.path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert answers(again.snapshot()) == truth
    assert sum("index" in record.getMessage() for record in caplog.records) == 1
    assert again.snapshot().search(SPACE.name, ASKED[:1], 10).plan["method"] == "flat"
    assert again.rebuild_indexes() == [SPACE.name]
    mended = Library.open(library.path).snapshot()
    assert mended.search(SPACE.name, ASKED[:1], 10).plan["method"] == "index"
    assert Library.open(library.path).rebuild_indexes() == []


def test_an_index_of_other_vectors_under_a_right_hash_is_not_used(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    from db.marks import NewIndex
    from db.tune import build
    from db.vectors import SpaceVectors

    known = library.snapshot().manifest
    good = NewIndex(
        "x", SPACE.name, "pq", [s.id for s in known.segments], ROWS,
        {"index.faiss": build(Pq(), SpaceVectors([clustered(2100, 1)], SPACE.dim))[1]}, {"wide": 4, "refine": 16},
    )  # fmt: skip
    drop = [entry.name for entry in known.indexes]
    for forged in (
        good,
        replace(good, kind="lsh"),
        replace(good, params={"wide": -1}),
        replace(good, files={"index.faiss": b"x" * 64}),
    ):
        library.change_indexes(put=[forged], drop=[name for name in drop if name != "x"])
        caplog.clear()
        snapshot = Library.open(library.path).snapshot()
        assert snapshot.search(SPACE.name, ASKED[:1], 10).plan["method"] == "flat"
        assert sum("not used" in record.getMessage() for record in caplog.records) == 1


def test_rows_that_came_or_went_since_are_seen(library: Library) -> None:
    fill(library, range(ROWS, ROWS + 100))
    with library.begin() as change:
        change.delete(ids=answers(library.snapshot(), exact=True)[0])
        change.commit()
    snapshot = library.snapshot()
    assert answers(snapshot) == answers(snapshot, exact=True)
    plan = snapshot.search(SPACE.name, ASKED[:1], 10).plan
    assert (plan["method"], plan["uncovered"]) == ("index", 100)
    assert library.rebuild_indexes() == []
    fill(library, range(ROWS + 100, ROWS + 700))
    assert library.rebuild_indexes() == [SPACE.name]
    assert library.snapshot().search(SPACE.name, ASKED[:1], 10).plan["uncovered"] == 0


@pytest.mark.parametrize(
    "options", [{"recall": 0}, {"recall": 1.5}, {"space": "motion/head"}, {"questions": 0}, {"within_ms": -1.0}]
)
def test_wishes_that_make_no_sense_are_one_clear_error(library: Library, options: Any) -> None:
    with pytest.raises(RequestError) as caught:
        library.tune(**options)
    assert "\n" not in str(caught.value)


def test_a_library_without_clips_has_nothing_to_tune(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nothing to tune"):
        Library.create(tmp_path / "lib", spaces=[SPACE], encoder=ENCODER).tune()


def test_near_doubles_are_all_pairs_above_the_floor(library: Library) -> None:
    snapshot = library.snapshot()
    ids = snapshot.ids()
    vectors = snapshot.vectors(ids, SPACE.name).astype(np.float64)
    scores = vectors @ vectors.T
    found = snapshot.pairs(SPACE.name, 0.97)
    expected = {tuple(sorted((ids[i], ids[j]))) for i, j in np.argwhere(np.triu(scores >= 0.97, 1))}
    assert len(found) == len(expected) > 1
    assert {tuple(sorted((pair.one, pair.other))) for pair in found} == expected
    across = snapshot.pairs(SPACE.name, 0.9, where="source = 'kit'", against="source = 'cmu'")
    odd = np.array([int(name.split("-")[1]) % 2 == 1 for name in ids])
    assert len(across) == int((scores[odd][:, ~odd] >= 0.9).sum())
    assert all(int(pair.one.split("-")[1]) % 2 > int(pair.other.split("-")[1]) % 2 for pair in across)


def test_neighbours_are_the_search_without_the_clip_itself(library: Library) -> None:
    snapshot = library.snapshot()
    where = "n_frames < 700"
    graph = {
        name: ids
        for own, hits in snapshot.neighbours(SPACE.name, 3, where=where)
        for name, ids in zip(own, hits.ids, strict=True)
    }
    assert list(graph) == snapshot.ids(where)
    for name in names(0, 5, 42):
        asked = snapshot.vectors([name], SPACE.name)
        found = snapshot.search(SPACE.name, asked, 4, where=where, exact=True).ids[0]
        assert graph[name] == [other for other in found if other != name][:3]


def test_a_range_is_every_clip_above_the_floor(library: Library) -> None:
    snapshot = library.snapshot()
    for where in (None, "source = 'kit'"):
        found = snapshot.within(SPACE.name, ASKED, 0.8, where=where)
        everything = snapshot.search(SPACE.name, ASKED, 5000, where=where, exact=True)
        for row in range(len(ASKED)):
            ranked = zip(everything.ids[row], everything.scores[row].tolist(), strict=True)
            assert found[row] == [(name, score) for name, score in ranked if score >= 0.8]


def test_words_are_ranked_by_the_formula(library: Library) -> None:
    snapshot = library.snapshot()
    hits = snapshot.match_text("doing thing 77 way 1", 5)
    assert hits.ids[0][0] == "clip-77"
    assert (np.diff(hits.scores[0]) <= 0).all()
    assert snapshot.match_text("xylophone", 5).ids == [[]]
    assert set(snapshot.match_text("thing", 5000, where="mirrored").ids[0]) == set(snapshot.ids("mirrored"))
    with pytest.raises(RequestError, match="no word"):
        snapshot.match_text("?!", 3)
