"""Out and in: a version as one plain Parquet file, and vectors with ids from Parquet or npy.

- An export is readable by anything that reads Parquet: a row a clip, its metadata, ``captions`` (list of text), and
  each space of clips as ``vector_<part>``, a list of fixed size of float32. A part that a clip lacks is null.
- It is written a batch at a time, under another name first: a file that is there is whole.
- An import needs ids and vectors, and takes the columns of rows it knows; unit length is checked, or made where asked
  for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from db import schema
from db.errors import LibraryError, RequestError, WriteError
from db.filters import Filter
from db.space import Space

if TYPE_CHECKING:
    import pyarrow as pa

    from db.library import Library
    from db.publish import CommitReport
    from db.snapshot import Snapshot

BATCH = 8192
UNIT = 1e-3
_ID_NAMES = ("clip_id", "id", "ids", "key", "name")
_VECTOR_NAMES = ("vector_whole", "vector", "vectors", "embedding", "embeddings", "emb")


def export_parquet(
    snapshot: Snapshot, path: Path, *, where: str | Filter | None = None, spaces: Sequence[str] | None = None
) -> int:
    """Write the clips that pass ``where`` to a Parquet file; how many. ``spaces``: of these only, by default all of
    clips.

    Raises:
        WriteError: the file cannot be written.  RequestError: an unknown space.  FilterError: the filter cannot be
            read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [space.name for space in snapshot.spaces.values() if space.rows_of == "rows"] if spaces is None else spaces
    wanted = [snapshot.searcher.space(name) for name in names]
    ids = snapshot.ids(where)
    fields = [pa.field(_column(space), pa.list_(pa.float32(), space.dim)) for space in wanted]
    table_schema = pa.schema([*schema.row_schema(), pa.field("captions", pa.list_(pa.string())), *fields])
    partial = path.with_name(f".{path.name}.partial")
    try:
        with pq.ParquetWriter(partial, table_schema, compression="zstd") as writer:
            for start in range(0, len(ids), BATCH):
                writer.write_table(_batch(snapshot, ids[start : start + BATCH], wanted, table_schema))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}; check the folder, its rights and space"
        ) from error
    return len(ids)


def _column(space: Space) -> str:
    return f"vector_{space.part}"


def _batch(snapshot: Snapshot, ids: list[str], spaces: Sequence[Space], table_schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    table = snapshot.rows(ids)
    said: dict[str, list[str]] = {name: [] for name in ids}
    captions = snapshot.captions(ids)
    for name, text in zip(captions["clip_id"].to_pylist(), captions["text"].to_pylist(), strict=True):
        said[name].append(text)
    table = table.append_column("captions", pa.array([said[name] for name in ids], pa.list_(pa.string())))
    for space in spaces:
        vectors = snapshot.vectors(ids, space.name)
        lists = pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.ravel()), space.dim, mask=pa.array(~vectors.any(axis=1))
        )
        table = table.append_column(_column(space), lists)
    return table.cast(table_schema)


@dataclass(frozen=True)
class Foreign:
    """Vectors [N, D] from elsewhere with their ids, and the columns of rows that came with them."""

    ids: list[str]
    vectors: NDArray[np.float32]
    columns: Mapping[str, pa.ChunkedArray]
    captions: list[list[str]]


def read_vectors(
    path: Path,
    *,
    ids: Path | None = None,
    id_column: str | None = None,
    vector_column: str | None = None,
    normalise: bool = False,
) -> Foreign:
    """Vectors of a Parquet file (a column of ids, a column of lists), or of an npy file with ``ids``, a text file of
    one a line.

    Raises:
        RequestError: no such column, ids and vectors do not fit, ids are empty or repeated, vectors are not finite
            unit vectors.
        LibraryError: the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix not in (".npy", ".parquet"):
        raise RequestError(f"{path}: vectors are read from .parquet or .npy files; write them as one of these")
    columns: dict[str, Any] = {}
    captions: list[list[str]] = []
    try:
        if path.suffix == ".npy":
            vectors = np.load(path, allow_pickle=False)
            if ids is None:
                raise RequestError(f"{path}: an npy file holds no ids; give --ids FILE with one a line")
            names = [line.strip() for line in ids.read_text(encoding="utf-8").splitlines() if line.strip()]
        else:
            table = pq.read_table(path)
            named = _pick(table, id_column, _ID_NAMES, path, "ids")
            names = [str(value) if value is not None else "" for value in table[named].to_pylist()]
            vectors = _matrix(table[_pick(table, vector_column, _VECTOR_NAMES, path, "vectors")], path)
            known = set(schema.row_schema().names) - {"clip_id", "sha256"}
            columns = {name: table[name] for name in table.column_names if name in known}
            if "captions" in table.column_names:
                captions = [list(texts or ()) for texts in table["captions"].to_pylist()]
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise LibraryError(f"{path}: cannot be read ({reason}); give a Parquet or npy file of plain numbers") from error
    return Foreign(names, _checked(vectors, names, path, normalise=normalise), columns, captions or [[] for _ in names])


def _pick(table: pa.Table, wanted: str | None, usual: Sequence[str], path: Path, what: str) -> str:
    """The column of ids or vectors."""
    there = table.column_names
    for name in usual if wanted is None else (wanted,):
        if name in there:
            return str(name)
    raise RequestError(
        f"{path}: no column of {what} ({wanted or ', '.join(usual)}); it has {', '.join(there[:20])}; name one"
    )


def _matrix(column: pa.ChunkedArray, path: Path) -> NDArray[Any]:
    """A column of lists of equal length as an array [N, D]."""
    import pyarrow as pa

    lists = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], column.type)
    if not (
        pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type) or pa.types.is_fixed_size_list(lists.type)
    ):
        raise RequestError(f"{path}: the column of vectors holds {lists.type}, expected lists of numbers")
    if lists.null_count:
        raise RequestError(f"{path}: {lists.null_count} vectors are missing; leave these rows out")
    flat = np.asarray(lists.flatten().to_numpy(zero_copy_only=False))
    if len(lists) == 0 or len(flat) % len(lists):
        raise RequestError(
            f"{path}: holds {len(lists)} vectors of {len(flat)} numbers in all; they must be of one length"
        )
    lengths = (
        set(np.diff(lists.offsets.to_numpy()).tolist()) if hasattr(lists, "offsets") else {len(flat) // len(lists)}
    )
    if len(lengths) > 1:
        raise RequestError(
            f"{path}: vectors are of lengths {min(lengths)} to {max(lengths)}; they must be of one length"
        )
    return flat.reshape(len(lists), -1)


def _checked(vectors: NDArray[Any], names: Sequence[str], path: Path, *, normalise: bool) -> NDArray[np.float32]:
    """Finite unit vectors, one an id."""
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise RequestError(f"{path}: holds {vectors.dtype} of shape {list(vectors.shape)}, expected numbers [N, D]")
    if len(vectors) != len(names):
        raise RequestError(f"{path}: {len(vectors)} vectors for {len(names)} ids; give one id a vector")
    if len(names) == 0:
        raise RequestError(f"{path}: holds no vector; there is nothing to import")
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated or "" in names:
        raise RequestError(
            f"{path}: {'an id is empty' if '' in names else f'id {min(repeated)!r} is there twice'}; ids must differ"
        )
    found = vectors.astype(np.float32)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise RequestError(f"{path}: the vector of {names[row]!r} is not finite; leave it out")
    lengths = np.linalg.norm(found, axis=1)
    if normalise and (lengths > 0).all():
        return np.asarray(found / lengths[:, None], np.float32)
    wrong = np.flatnonzero(np.abs(lengths - 1) > UNIT)
    if len(wrong):
        advice = "leave it out" if lengths[wrong[0]] == 0 else "give --normalise"
        raise RequestError(
            f"{path}: the vector of {names[wrong[0]]!r} has length {lengths[wrong[0]]:.3g}, expected 1; {advice}"
        )
    return found


def open_for_vectors(path: Path, *, dim: int, made_by: str) -> Library:
    """The library in a folder, or a new one whose only space is of vectors [N, ``dim``] that ``made_by`` made.

    Raises:
        ConflictError: there is a library of other vectors.
    """
    from db.library import Library

    if Library.exists(path):
        return Library.open(path)
    fingerprint = hashlib.blake2b(f"imported/{made_by}/{dim}".encode(), digest_size=16).hexdigest()
    card = {
        "name": made_by, "fingerprint": fingerprint, "dim": dim, "parts": [], "features": "imported", "fps": 20.0,
        "provenance": {"imported": "vectors made elsewhere"},
    }  # fmt: skip
    return Library.create(path, spaces=[Space(fingerprint, "whole", "motion", dim)], encoder=card)


def import_vectors(library: Library, space: str, given: Foreign, *, note: str = "") -> CommitReport:
    """Add vectors to a library that has this one space of clips, or replace those of the same ids.

    Raises:
        RequestError: the library has other spaces too, or vectors of another width.
    """
    import pyarrow as pa

    spaces = library.spaces
    others = sorted(set(spaces) - {space})
    if space not in spaces or spaces[space].rows_of != "rows" or any(spaces[name].rows_of == "rows" for name in others):
        raise RequestError(
            f"{library.path} has spaces {', '.join(sorted(spaces))}; vectors of {space!r} alone cannot be added"
        )
    if given.vectors.shape[1] != spaces[space].dim:
        raise RequestError(
            f"the vectors have {given.vectors.shape[1]} numbers, {library.path} holds {spaces[space].dim}"
        )
    count = len(given.ids)
    defaults: dict[str, Any] = {
        "start_s": 0.0,
        "end_s": 0.0,
        "duration_s": 0.0,
        "fps": 20.0,
        "n_frames": 0,
        "mirrored": False,
    }
    columns = {}
    for field in schema.row_schema():
        default = None if field.name in schema.STATISTICS else defaults.get(field.name, "")
        columns[field.name] = given.columns.get(field.name, pa.array([default] * count, field.type))
    columns |= {"clip_id": pa.array(given.ids, pa.string())}
    said = [(name, text) for name, texts in zip(given.ids, given.captions, strict=True) for text in texts]
    captions = pa.table(
        {
            "clip_id": pa.array([name for name, _ in said], pa.string()), "text": pa.array([t for _, t in said], pa.string()),
            "start_s": pa.array([0.0] * len(said)), "end_s": pa.array([0.0] * len(said)),
            "kind": pa.array(["human"] * len(said), pa.string()), "tokens": pa.array([[]] * len(said), pa.list_(pa.string())),
        }
    )  # fmt: skip
    with library.begin(note=note or f"import: {count} vectors") as change:
        change.upsert(pa.table(columns), captions, {space: given.vectors})
        return change.commit()
