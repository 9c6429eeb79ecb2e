"""What is found is what plain sums find, in an order that depends on nothing but the clips."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db import CorruptionError, Library, RequestError, Snapshot, Space
from tests.db.world import ENCODER, batch, names, unit

WIDE = 72  # wide enough that the kernels of a matrix product treat rows differently
SPACES = [Space("f" * 32, part, "motion", WIDE) for part in ("whole", "left_arm")]
FILTERS = [None, "n_frames >= 0", "n_frames < 400", "n_frames < 50", "source = 'kit'", "caption not like '%way 1'"]


def library_of(path: Path, vectors: NDArray[np.float32], *, segments: int = 3) -> Snapshot:
    """Clips clip-0, clip-1, … with these vectors [N, D] in both spaces, the second space back to front."""
    library = Library.create(path, spaces=SPACES, encoder=ENCODER)
    for numbers in np.array_split(np.arange(len(vectors)), segments):
        rows, said, _, frames = batch(names(*numbers.tolist()))
        with library.begin() as change:
            own = {"motion/whole": vectors[numbers], "motion/left_arm": vectors[::-1][numbers]}
            change.upsert(rows, said, own, frames)
            change.commit()
    with library.begin() as change:
        change.delete(ids=names(0, 17, 44))
        change.commit()
    return library.snapshot()


@pytest.fixture(scope="module")
def various(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Clips with near and exact doubles among them."""
    vectors = unit((90, WIDE), 3)
    vectors[30:40] = vectors[20]
    vectors[41:45] = vectors[20] + 1e-7
    return library_of(tmp_path_factory.mktemp("search") / "lib", vectors / np.linalg.norm(vectors, axis=1)[:, None])


def plain(
    snapshot: Snapshot, weights: dict[str, float], queries: dict[str, Any], k: int, where: str | None
) -> list[list[tuple[str, float]]]:
    """The answer by sums in double precision, rounded once, sorted by score and id."""
    ids = snapshot.ids(where)
    scores = sum(
        weight * (queries[name].astype(np.float64)[:, None] * snapshot.vectors(ids, name).astype(np.float64)).sum(-1)
        for name, weight in weights.items()
    )
    rounded = np.asarray(scores).astype(np.float32)
    return [sorted(zip(ids, row.tolist(), strict=True), key=lambda hit: (-hit[1], hit[0]))[:k] for row in rounded]


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("queries", [1, 3, 17])
@pytest.mark.parametrize(
    "weights", [{"motion/whole": 1.0}, {"motion/whole": 0.3, "motion/left_arm": 2.0}, {"motion/whole": -1.0},
                {"motion/left_arm": 0.0}],
    ids=["one", "two", "least alike", "nothing"],
)  # fmt: skip
def test_every_way_of_searching_gives_the_plain_answer_to_the_bit(
    various: Snapshot, where: str | None, queries: int, weights: dict[str, float]
) -> None:
    asked = {name: unit((queries, WIDE), at + 50) for at, name in enumerate(weights)}
    asked[next(iter(asked))][0] = various.vectors(names(30), next(iter(asked)))[0]  # a clip with many doubles
    for k in (1, 4, 12, 500):
        hits = various.search(weights, asked, k, where=where)
        expected = plain(various, weights, asked, k, where)
        assert [
            list(zip(ids, row, strict=True)) for ids, row in zip(hits.ids, hits.scores.tolist(), strict=True)
        ] == expected
        assert hits.plan["exact"]
        assert hits.plan["rows"] == various.count(where)
        assert hits.plan["filtered"] is (where is not None)


def test_a_question_is_answered_alike_alone_and_in_company(various: Snapshot) -> None:
    asked = unit((40, WIDE), 8)
    together = various.search("motion/whole", asked, 7)
    for row in range(0, 40, 9):
        alone = various.search("motion/whole", asked[row : row + 1], 7)
        assert alone.ids[0] == together.ids[row]
        np.testing.assert_array_equal(alone.scores[0], together.scores[row])


def test_scores_of_clips_are_those_of_the_search(various: Snapshot) -> None:
    asked = unit((2, WIDE), 5)
    hits = various.search("motion/whole", asked, 6)
    for row in range(2):
        np.testing.assert_array_equal(various.scores("motion/whole", asked, hits.ids[row])[row], hits.scores[row])


@pytest.mark.parametrize("segments", [1, 2, 9])
def test_the_answer_does_not_depend_on_how_clips_came_in(various: Snapshot, tmp_path: Path, segments: int) -> None:
    vectors = np.zeros((90, WIDE), np.float32)
    for number in range(90):
        if f"clip-{number}" in various.row_index.by_id:
            vectors[number] = various.vectors(names(number), "motion/whole")[0]
        else:
            vectors[number] = unit((WIDE,), number)
    other = library_of(tmp_path / "lib", vectors, segments=segments)
    asked = unit((2, WIDE), 4)
    ours, theirs = (snapshot.search("motion/whole", asked, 30) for snapshot in (various, other))
    assert ours.ids == theirs.ids
    np.testing.assert_array_equal(ours.scores, theirs.scores)


Q = unit((1, WIDE), 0)


@pytest.mark.parametrize(
    ("space", "queries", "k"),
    [
        ("motion/head", Q, 3),
        ("motion/whole", Q[:, 1:], 3),
        ("motion/whole", Q[0], 3),
        ("motion/whole", Q * np.nan, 3),
        ("motion/whole", Q, 0),
        ("motion/whole", Q, 2.5),
        ({}, {}, 3),
        ({"motion/whole": float("nan")}, {"motion/whole": Q}, 3),
        ({"motion/whole": float("inf")}, {"motion/whole": Q}, 3),
        ({"motion/whole": 1.0, "motion/left_arm": 1.0}, {"motion/whole": Q}, 3),
        ({"motion/whole": 1.0, "motion/left_arm": 1.0}, Q, 3),
        ({"motion/whole": 1.0, "motion/left_arm": 1.0}, {"motion/whole": Q, "motion/left_arm": np.repeat(Q, 2, 0)}, 3),
    ],
)
def test_questions_that_do_not_fit_are_one_clear_error(various: Snapshot, space: Any, queries: Any, k: Any) -> None:
    with pytest.raises(RequestError) as caught:
        various.search(space, queries, k)
    assert "\n" not in str(caught.value)


def test_columns_and_captions_that_are_not_there_are_named(various: Snapshot) -> None:
    with pytest.raises(RequestError, match="shoe_size"):
        various.rows(names(1), ["clip_id", "shoe_size"])
    with pytest.raises(RequestError, match="shoe_size"):
        list(various.scan(columns=["shoe_size"]))
    for caption in ("clip-1", "clip-1#99", "clip-1#x", "#1", ""):
        with pytest.raises(RequestError, match="caption"):
            various.caption_texts([caption])


def test_a_damaged_page_or_table_is_an_error_and_never_an_answer(tmp_path: Path) -> None:
    vectors = unit((60, WIDE), 1)
    folder = tmp_path / "lib"
    library_of(folder, vectors)
    rng = np.random.default_rng(0)
    for path in [*folder.glob("segments/*/*.vec"), *folder.glob("segments/*/*.parquet")]:
        good = path.read_bytes()
        begin, end = (4096, len(good) - 24) if path.suffix == ".vec" else (0, len(good))
        for at in rng.integers(begin, end, 5):
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(bad))
            snapshot = Library.open(folder).snapshot()
            with pytest.raises(CorruptionError, match=path.name):
                for space in SPACES:
                    snapshot.search(space.name, vectors[:1], 3)
                    snapshot.vectors(snapshot.ids(), space.name)
                snapshot.captions(snapshot.ids())
        path.write_bytes(good)


def test_clips_that_lack_a_part_are_judged_by_the_others(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    whole, arm = unit((80, WIDE), 1), unit((80, WIDE), 2)
    arm[::3] = 0
    rows, said, _, frames = batch(names(*range(80)))
    with library.begin() as change:
        change.upsert(rows, said, {"motion/whole": whole, "motion/left_arm": arm}, frames)
        change.commit()
    snapshot, lacks = library.snapshot(), np.arange(80) % 3 == 0
    for queries in (1, 20):
        asked = {"motion/whole": unit((queries, WIDE), 3), "motion/left_arm": unit((queries, WIDE), 4)}
        weights = {"motion/whole": 0.25, "motion/left_arm": 0.75}
        for where, passes in ((None, np.ones(80, bool)), ("n_frames < 300", np.arange(80) < 30)):
            hits = snapshot.search(weights, asked, 12, where=where)
            for row in range(queries):
                body, part = whole @ asked["motion/whole"][row], arm @ asked["motion/left_arm"][row]
                scores = np.where(lacks, body, 0.25 * body + 0.75 * part)
                best = [n for n in np.argsort(-scores) if passes[n]][:12]
                assert hits.ids[row] == names(*best)
                np.testing.assert_allclose(hits.scores[row], scores[best], atol=1e-6)
        only = snapshot.search("motion/left_arm", asked["motion/left_arm"], 80)
        assert {len(ids) for ids in only.ids} == {int((~lacks).sum())}
        assert not set(only.ids[0]) & set(names(*np.flatnonzero(lacks)))


def test_a_child_that_was_forked_is_refused_and_does_not_hang(various: Snapshot) -> None:
    """FAISS's threads do not outlive a fork; see db.searcher."""
    various.search("motion/whole", Q, 3)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            various.search("motion/whole", Q, 3)
            os.write(into, b"answered")
        except RequestError as error:
            os.write(into, str(error).encode())
        os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    assert b"spawn" in os.read(out, 1000)
    os.close(out)


def test_many_threads_get_the_answers_of_one(various: Snapshot) -> None:
    asked = unit((24, WIDE), 6)
    alone = [various.search("motion/whole", query, 5, where="n_frames < 600").ids for query in asked[:, None]]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda q: various.search("motion/whole", q, 5, where="n_frames < 600").ids, asked[:, None])
        )
    assert together == alone
