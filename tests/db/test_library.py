"""Versions, changes and searches of a library, against plain numpy and by hand."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from db import ConflictError, Library, LibraryNotFound, RequestError
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)


def put(library: Library, *numbers: int, version: int = 0, seed: int = 0) -> None:
    transaction = library.begin()
    transaction.upsert(*batch(names(*numbers), version=version, seed=seed))
    transaction.commit()


def test_a_new_library_is_empty_and_knows_its_encoder(library: Library) -> None:
    snapshot = Library.open(library.path).snapshot()
    assert (snapshot.version, len(snapshot), snapshot.encoder["name"]) == (0, 0, "test")
    assert snapshot.search("motion/whole", unit((2, DIM), 0), 5).ids == [[], []]
    assert library.verify().ok


@pytest.mark.parametrize("k", [1, 3, 50])
def test_search_equals_plain_numpy_over_several_segments_and_deletes(library: Library, k: int) -> None:
    put(library, *range(20))
    put(library, *range(20, 37))
    with library.begin() as change:
        change.delete(ids=names(3, 25, 36))
        change.commit()
    snapshot = library.snapshot()
    ids = snapshot.ids()
    queries = unit((4, DIM), 9)
    for space in ("motion/whole", "motion/left_arm"):
        scores = queries @ snapshot.vectors(ids, space).T
        hits = snapshot.search(space, queries, k)
        for row in range(4):
            best = sorted(range(len(ids)), key=lambda i: (-scores[row, i], ids[i]))[:k]
            assert hits.ids[row] == [ids[i] for i in best]
            np.testing.assert_allclose(hits.scores[row], scores[row, best], atol=1e-6)


def test_weighted_spaces_add_up(library: Library) -> None:
    put(library, *range(12))
    snapshot, ids = library.snapshot(), names(*range(12))
    query = {"motion/whole": unit((1, DIM), 1), "motion/left_arm": unit((1, DIM), 2)}
    hits = snapshot.search({"motion/whole": 0.25, "motion/left_arm": 2.0}, query, 12)
    plain = 0.25 * snapshot.scores("motion/whole", query["motion/whole"], ids) + 2 * snapshot.scores(
        "motion/left_arm", query["motion/left_arm"], ids
    )
    assert hits.ids[0] == [ids[i] for i in np.argsort(-plain[0])]
    np.testing.assert_allclose(hits.scores[0], np.sort(plain[0])[::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("duration_s < 2", lambda n: n / 2 < 2),
        ("2 > duration_s", lambda n: n / 2 < 2),
        ("source = 'kit' and n_frames >= 100", lambda n: n % 2 == 1 and 10 * n >= 100),
        ("class_id in ('class1', 'class2')", lambda n: n % 5 in (1, 2)),
        ("action = 'class1' or duration_s between 3 and 4", lambda n: n % 5 == 1 or 3 <= n / 2 <= 4),
        ("not mirrored", lambda n: n % 3 != 0),
        ("caption like '%thing 7 %'", lambda n: n == 7),
        ("caption ilike '%WAY 1%'", lambda n: n % 3 != 0),
        ("style is null", lambda n: True),
        ("not (caption like '%way 1')", lambda n: n % 3 == 0),
        ("clip_id = 'no such clip'", lambda n: False),
    ],
)
def test_filters_keep_exactly_what_they_say_and_k_rows_come_back(
    library: Library, where: str, expected: object
) -> None:
    put(library, *range(11))
    put(library, *range(11, 24))
    snapshot = library.snapshot()
    wanted = {name for n, name in zip(range(24), names(*range(24)), strict=True) if expected(n)}  # type: ignore[operator]
    assert set(snapshot.ids(where)) == wanted
    assert snapshot.count(where) == len(wanted)
    hits = snapshot.search("motion/whole", unit((2, DIM), 3), 5, where=where)
    assert all(len(row) == min(5, len(wanted)) and set(row) <= wanted for row in hits.ids)
    everything = snapshot.search("motion/whole", unit((2, DIM), 3), 24)
    for row in range(2):
        assert hits.ids[row] == [name for name in everything.ids[row] if name in wanted][:5]


def test_ties_are_broken_by_clip_id(library: Library) -> None:
    ids = names(*range(40))
    rows, said, vectors, frames = batch(ids)
    same = np.repeat(unit((1, DIM), 5), 40, axis=0)
    change = library.begin()
    change.add(rows, said, vectors | {"motion/whole": same}, frames)
    change.commit()
    hits = library.snapshot().search("motion/whole", same[:1], 3)
    assert hits.ids[0] == sorted(ids)[:3]


def test_rows_captions_and_frames_come_back_in_the_order_asked(library: Library) -> None:
    put(library, *range(5))
    put(library, *range(5, 9))
    snapshot, wanted = library.snapshot(), names(7, 0, 4)
    assert snapshot.rows(wanted)["clip_id"].to_pylist() == wanted
    assert snapshot.rows(wanted, ["n_frames"])["n_frames"].to_pylist() == [70, 0, 40]
    texts = snapshot.captions(wanted)["text"].to_pylist()
    assert texts == [f"a person does thing {n} way {i}" for n in (7, 0, 4) for i in range(1 if n % 3 == 0 else 2)]
    assert [snapshot.frames(name) for name in wanted] == [f"{name}/0".encode() for name in wanted]
    with pytest.raises(RequestError, match="clip-99"):
        snapshot.rows(names(99))


def test_caption_space_answers_with_captions_of_live_clips(library: Library) -> None:
    put(library, *range(6))
    with library.begin() as change:
        change.delete(ids=names(2))
        change.commit()
    snapshot = library.snapshot()
    hits = snapshot.search("text/whole", unit((1, DIM), 0), 100)
    assert len(hits.ids[0]) == sum(1 if n % 3 == 0 else 2 for n in range(6) if n != 2)
    texts = snapshot.caption_texts(hits.ids[0])
    assert all(text.endswith(f"way {i.rpartition('#')[2]}") and text.split()[4] == i.split("-")[1].split("#")[0]
               for text, i in zip(texts, hits.ids[0], strict=True))  # fmt: skip


def test_old_versions_stay_what_they_were(library: Library) -> None:
    put(library, 1, 2)
    before = library.snapshot()
    put(library, 2, 3, version=1)
    with library.begin() as change:
        change.delete(where="n_frames = 10")
        change.commit()
    assert before.ids() == names(1, 2)
    assert library.snapshot(1).frames("clip-2") == b"clip-2/0"
    assert library.snapshot().frames("clip-2") == b"clip-2/1"
    assert sorted(library.snapshot().ids()) == names(2, 3)
    assert [(v.version, v.kind, v.rows) for v in library.versions()] == [
        (0, "create", 0),
        (1, "add", 2),
        (2, "upsert", 3),
        (3, "delete", 2),
    ]
    with pytest.raises(RequestError, match="0 to 3"):
        library.snapshot(9)


def test_upsert_counts_and_leaves_equal_rows_alone(library: Library) -> None:
    put(library, 1, 2, 3)
    change = library.begin()
    change.upsert(*batch(names(1, 2, 3)))
    report = change.commit()
    assert (report.version, report.unchanged, report.added) == (1, 3, 0)
    rows, said, vectors, frames = batch(names(2, 3, 4), version=0)
    hashes = rows["sha256"].to_pylist()
    rows = rows.set_column(rows.column_names.index("sha256"), "sha256", pa.array(["new", *hashes[1:]]))
    stamped = rows.set_column(rows.column_names.index("take_stamp"), "take_stamp", pa.array(["x", "x", "x"]))
    change = library.begin()
    change.upsert(stamped, said, vectors, frames)
    report = change.commit()
    assert (report.added, report.replaced, report.unchanged) == (1, 1, 1)
    assert library.snapshot().rows(names(3))["take_stamp"].to_pylist() == ["x"]
    assert library.verify().ok


def test_add_refuses_ids_that_exist(library: Library) -> None:
    put(library, 1)
    change = library.begin()
    change.add(*batch(names(1, 5)))
    with pytest.raises(ConflictError, match="clip-1"):
        change.commit()
    assert library.latest == 1


def test_a_transaction_id_commits_once(library: Library) -> None:
    for _ in range(3):
        change = library.begin(txn_id="job-7")
        change.upsert(*batch(names(1, 2)))
        assert change.commit().version == 1
    put(library, 9)
    change = library.begin(txn_id="job-7")
    change.upsert(*batch(names(1, 2), version=5))
    assert change.commit().version == 1
    assert library.latest == 2


def test_racing_writers_lose_nothing(library: Library) -> None:
    failures: list[Exception] = []

    def write(worker: int) -> None:
        mine = Library.open(library.path)
        try:
            for turn in range(5):
                change = mine.begin()
                change.upsert(*batch(names(100 * worker + turn, 7), version=worker * 10 + turn))
                change.commit()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(library.snapshot().ids()) == set(names(7, *(100 * w + t for w in (1, 2, 3) for t in range(5))))
    assert [v.version for v in library.versions()] == list(range(16))
    assert library.verify().ok
    left = [p.name for p in (library.path / "segments").iterdir() if p.name.startswith(".tmp")]
    assert not left


def test_a_copied_folder_is_a_library(library: Library, tmp_path: Path) -> None:
    put(library, *range(5))
    shutil.copytree(library.path, tmp_path / "copy")
    shutil.rmtree(library.path)
    copy = Library.open(tmp_path / "copy")
    assert copy.verify().ok
    assert copy.snapshot().ids() == names(*range(5))
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "copy" / "manifests").iterdir())


@pytest.mark.parametrize(
    "broken",
    [
        {"motion/whole": unit((2, DIM + 1), 0)},
        {"motion/whole": unit((3, DIM), 0)},
        {"motion/whole": 2 * unit((2, DIM), 0)},
        {"motion/whole": np.full((2, DIM), np.nan, np.float32)},
        {"motion/head": unit((2, DIM), 0)},
    ],
    ids=["width", "count", "length", "nan", "unknown space"],
)
def test_vectors_that_do_not_fit_are_refused_and_nothing_changes(
    library: Library, broken: dict[str, np.ndarray]
) -> None:
    rows, said, vectors, frames = batch(names(1, 2))
    with pytest.raises(RequestError):
        change = library.begin()
        change.upsert(rows, said, vectors | broken, frames)
        change.commit()
    assert library.latest == 0
    assert not list((library.path / "segments").iterdir()) if (library.path / "segments").exists() else True


def test_nothing_there_says_how_to_make_a_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound, match="remora index"):
        Library.open(tmp_path / "nowhere")
    with pytest.raises(LibraryNotFound, match="not a library"):
        Library.open(tmp_path)
