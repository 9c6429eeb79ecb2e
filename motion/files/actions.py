"""Folders of labelled clips as tables: ``<source>/clips.parquet`` beside ``<source>/joints.npz``.

- One row a clip: labels, captions, split, licence; its frames lie in one int16 array of differences, 22 joints at 20
  fps.
- ``class_text`` also becomes a template caption (with the style, where there is one), so that clips nobody described
  are found by words.
- The array of one source is held once and reread for the next: memory does not grow with the number of sources.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Caption, Clip, Source
from motion.errors import FileFormatError
from motion.files.captions import styled
from motion.files.takes import TakeRef
from motion.skeleton import SMPL_22

COLUMNS = {"clip_id": str, "n_frames": int, "row_start": int, "fps": float}
TEXT_COLUMNS = ("source", "split", "subject", "take", "class_id", "class_text", "style", "license", "origin", "capture")


def is_actions(folder: Path) -> bool:
    """Whether ``folder`` itself holds the two files."""
    return (folder / "clips.parquet").is_file() and (folder / "joints.npz").is_file()


def actions_takes(folder: Path) -> Iterator[TakeRef]:
    """The clips of one source folder, in table order.

    Raises:
        FileFormatError: the table or the array is damaged, or they do not belong together.
    """
    rows = _rows(folder / "clips.parquet")
    mark, n_frames = _array_mark(folder / "joints.npz")
    for row in rows:
        if not 0 <= row["row_start"] <= row["row_start"] + row["n_frames"] <= n_frames or row["n_frames"] == 0:
            raise FileFormatError(
                f"{folder / 'clips.parquet'}: clip {row['clip_id']!r} asks for {row['n_frames']} frames from "
                f"{row['row_start']}, joints.npz has {n_frames}; the two files do not belong together"
            )
        stamp = hashlib.blake2b(f"{mark}{sorted(row.items(), key=lambda item: item[0])!r}".encode(), digest_size=16)
        yield TakeRef(
            take=row["clip_id"], stamp=stamp.hexdigest(), path=folder, kind="actions", split=row.get("split") or "",
            names=(row["clip_id"],), loose_names=(row.get("take") or row["clip_id"],),
            reader=partial(_read_row, folder, mark, row),
        )  # fmt: skip


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: no readable Parquet ({error}); copy the folder again") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise FileFormatError(
            f"{path}: lacks the column {missing[0]!r}, has {table.column_names[:12]}; see read_actions"
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        for name, kind in COLUMNS.items():
            if not isinstance(row[name], kind) and not (kind is float and isinstance(row[name], int)):
                raise FileFormatError(
                    f"{path}: {name} is {row[name]!r} in clip {row['clip_id']!r}; write a {kind.__name__}"
                )
    return rows


def _array_mark(path: Path) -> tuple[str, int]:
    """A mark of the array's content (the checksum the zip stores) and its number of frames, without reading it."""
    from motion.files.npz import open_npz

    with open_npz(path) as archive:
        info = archive.member("delta")
        if len(info.shape) != 3 or info.shape[1:] != (len(SMPL_22), 3):
            raise FileFormatError(
                f"{path}: 'delta' has shape {list(info.shape)}, expected [frames, 22, 3]; copy it again"
            )
        return f"{info.checksum:08x}", info.shape[0]


@lru_cache(maxsize=1)
def _array(path: Path, mark: str) -> tuple[NDArray[np.int16], float]:
    from motion.files.npz import open_npz

    with open_npz(path) as archive:
        unit = float(archive.read("unit"))
        if not 0.0 < unit < 1.0:
            raise FileFormatError(f"{path}: 'unit' is {unit}, expected metres per step; copy the file again")
        try:
            delta: NDArray[np.int16] = archive.read("delta")
        except zipfile.BadZipFile as error:
            raise FileFormatError(f"{path}: damaged ({error}); copy the file again") from error
    return delta, unit


def _read_row(folder: Path, mark: str, row: Mapping[str, Any]) -> list[Clip]:
    delta, unit = _array(folder / "joints.npz", mark)
    frames = delta[row["row_start"] : row["row_start"] + row["n_frames"]]
    joints = (np.cumsum(frames, axis=0, dtype=np.int64) * unit).astype(np.float32)
    text = {name: str(row.get(name) or "") for name in TEXT_COLUMNS}
    captions = [Caption(sentence) for sentence in row.get("captions") or ()]
    if text["class_text"]:
        captions.append(Caption(styled(text["class_text"], text["style"]), kind="template"))
    start = float(row.get("start_s") or 0.0)
    source = Source(
        dataset=text["source"] or folder.name, take=text["take"] or row["clip_id"], start_s=start,
        end_s=float(row.get("end_s") or start + row["n_frames"] / row["fps"]), subject=text["subject"],
        licence=text["license"], origin=text["origin"], split=text["split"],
        notes={"capture": text["capture"]} if text["capture"] else {},
    )  # fmt: skip
    labels = {name: text[name] for name in ("class_id", "class_text", "style") if text[name]}
    return [Clip(joints, SMPL_22, float(row["fps"]), tuple(captions), source, labels)]
