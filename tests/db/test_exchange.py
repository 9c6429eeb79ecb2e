"""What goes out in Parquet is what the library holds, read by others; what comes in is checked, and comes out as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db import (
    ConflictError,
    Library,
    LibraryError,
    RequestError,
    WriteError,
    export_parquet,
    import_vectors,
    open_for_vectors,
    read_vectors,
)
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit


@pytest.fixture
def library(tmp_path: Path) -> Library:
    made = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    for numbers in (range(7), range(7, 20)):
        rows, said, vectors, frames = batch(names(*numbers))
        vectors["motion/left_arm"][1] = 0
        with made.begin() as change:
            change.upsert(rows, said, vectors, frames)
            change.commit()
    with made.begin() as change:
        change.delete(ids=names(3, 9))
        change.commit()
    return made


@pytest.mark.parametrize("where", [None, "source = 'kit'", "n_frames < 0"])
def test_an_export_holds_what_the_version_holds(library: Library, tmp_path: Path, where: str | None) -> None:
    snapshot, file = library.snapshot(), tmp_path / "out.parquet"
    ids = snapshot.ids(where)
    assert export_parquet(snapshot, file, where=where) == len(ids)
    table = pq.read_table(file)
    assert table["clip_id"].to_pylist() == ids
    assert table.select(snapshot.rows([]).column_names).equals(snapshot.rows(ids))
    assert [sorted(texts) for texts in table["captions"].to_pylist()] == [
        sorted(snapshot.captions([name])["text"].to_pylist()) for name in ids
    ]
    for part in ("whole", "left_arm"):
        stored = snapshot.vectors(ids, f"motion/{part}")
        for own, vector in zip(stored, table[f"vector_{part}"].to_pylist(), strict=True):
            assert vector == (own.tolist() if own.any() else None)
    assert list(tmp_path.glob(".*")) == []


def test_an_older_version_can_be_exported_and_duckdb_reads_it(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    export_parquet(library.snapshot(1), file, spaces=["motion/whole"])
    found = duckdb.sql(f"select count(*), min(clip_id), max(len(vector_whole)) from '{file}'").fetchall()
    assert found == [(7, "clip-0", DIM)]
    assert "vector_left_arm" not in pq.read_schema(file).names


def test_what_cannot_be_written_leaves_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(WriteError):
        export_parquet(library.snapshot(), tmp_path / "nowhere" / "out.parquet")
    with pytest.raises(RequestError, match="no space"):
        export_parquet(library.snapshot(), tmp_path / "out.parquet", spaces=["motion/tail"])
    assert not list(tmp_path.glob("*.parquet"))


def test_an_export_can_be_imported_again(library: Library, tmp_path: Path) -> None:
    snapshot, file = library.snapshot(), tmp_path / "out.parquet"
    export_parquet(snapshot, file)
    other = open_for_vectors(tmp_path / "other", dim=DIM, made_by="test")
    report = import_vectors(other, "motion/whole", read_vectors(file))
    assert report.added == len(snapshot)
    copy, ids = other.snapshot(), snapshot.ids()
    assert copy.ids() == ids
    np.testing.assert_array_equal(copy.vectors(ids, "motion/whole"), snapshot.vectors(ids, "motion/whole"))
    assert copy.ids("source = 'kit' and caption like '%way 1'") == snapshot.ids(
        "source = 'kit' and caption like '%way 1'"
    )
    assert (
        copy.search("motion/whole", unit((1, DIM), 0), 5).ids
        == snapshot.search("motion/whole", unit((1, DIM), 0), 5).ids
    )
    again = import_vectors(
        open_for_vectors(tmp_path / "other", dim=DIM, made_by="test"), "motion/whole", read_vectors(file)
    )
    assert again.replaced == len(snapshot)


def test_npy_and_lists_of_any_kind_are_read_alike(tmp_path: Path) -> None:
    vectors, ids = unit((4, DIM), 5), names(*range(4))
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.npy", ids=tmp_path / "ids.txt").vectors, vectors)
    flat = pa.array(vectors.ravel())
    for lists in (
        pa.FixedSizeListArray.from_arrays(flat, DIM),
        pa.array(vectors.tolist(), pa.list_(pa.float64())),
        pa.array(vectors.tolist(), pa.large_list(pa.float32())),
    ):
        pq.write_table(pa.table({"key": ids, "emb": lists}), tmp_path / "v.parquet")
        found = read_vectors(tmp_path / "v.parquet")
        assert found.ids == ids
        np.testing.assert_array_equal(found.vectors, vectors)
    np.save(tmp_path / "v.npy", 3 * vectors)
    scaled = read_vectors(tmp_path / "v.npy", ids=tmp_path / "ids.txt", normalise=True).vectors
    np.testing.assert_allclose(scaled, vectors, atol=1e-6)


GOOD = {"id": names(0, 1), "vector": unit((2, DIM), 1).tolist()}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({**GOOD, "id": ["a", "a"]}, "twice"), ({**GOOD, "id": ["a", ""]}, "empty"), ({"id": ["a"]}, "no column of vectors"),
        ({"vector": GOOD["vector"]}, "no column of ids"), ({**GOOD, "vector": [[1.0], [1.0, 2.0]]}, "one length"),
        ({**GOOD, "vector": [[1.0], [2.0]]}, "--normalise"), ({**GOOD, "vector": [[1.0], [0.0]]}, "leave it out"),
        ({**GOOD, "vector": [[1.0], [float("nan")]]}, "not finite"), ({**GOOD, "vector": [[1.0], None]}, "missing"),
        ({**GOOD, "vector": ["a", "b"]}, "lists of numbers"), ({**GOOD, "vector": [["a"], ["b"]]}, "expected numbers"),
        ({"id": [], "vector": []}, "vector"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_one_clear_error(tmp_path: Path, columns: Any, message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    with pytest.raises(RequestError, match=message) as caught:
        read_vectors(tmp_path / "v.parquet")
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_are_one_clear_error(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", unit((3, DIM), 1))
    np.save(tmp_path / "objects.npy", np.array([{}, None], object), allow_pickle=True)
    (tmp_path / "ids.txt").write_text("a\nb\n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no parquet")
    (tmp_path / "x.csv").write_text("a,1\n")
    for file, ids, kind, message in (
        ("v.npy", None, RequestError, "--ids"), ("v.npy", "ids.txt", RequestError, "3 vectors for 2 ids"),
        ("objects.npy", "ids.txt", LibraryError, "cannot be read"), ("x.parquet", None, LibraryError, "cannot be read"),
        ("x.csv", None, RequestError, "npy"), ("none.npy", "ids.txt", LibraryError, "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            read_vectors(tmp_path / file, ids=None if ids is None else tmp_path / ids)


def test_vectors_of_another_kind_are_not_mixed_in(library: Library, tmp_path: Path) -> None:
    pq.write_table(pa.table(GOOD), tmp_path / "v.parquet")
    given = read_vectors(tmp_path / "v.parquet")
    with pytest.raises(RequestError, match="alone cannot be added"):
        import_vectors(library, "motion/whole", given)
    wide = open_for_vectors(tmp_path / "wide", dim=DIM + 1, made_by="x")
    with pytest.raises(RequestError, match="numbers"):
        import_vectors(wide, "motion/whole", given)
    with pytest.raises((RequestError, ConflictError)):
        import_vectors(open_for_vectors(tmp_path / "wide", dim=DIM, made_by="x"), "motion/whole", given)
