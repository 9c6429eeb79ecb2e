"""Libraries for other people's viewers: Embedding Atlas (clips as points of a map) and Rerun (clips as moving skeletons).

- For Embedding Atlas a Parquet file of its own: a row a clip with its metadata, ``text``, a place ``x``, ``y`` in the map of
  the studio, and ``neighbors`` as it wants them, by exact search: it has nothing left to compute.
- For Rerun a recording: an entity a clip, points and bones in metres over ``seconds``, y up; captions as documents. It needs
  the package ``rerun-sdk``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from remora.errors import RemoraError

if TYPE_CHECKING:
    from db import Snapshot
    from motion import Clip

NEIGHBOURS = 15
ATLAS_OPTIONS = "--text text --x x --y y --neighbors neighbors"


def write_atlas(snapshot: Snapshot, path: Path, *, where: str | None = None, space: str = "motion/whole") -> int:
    """Write the clips that pass ``where`` for Embedding Atlas; how many.

    Raises:
        RemoraError: no clip passes.  RequestError: an unknown space.  FilterError: the filter cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from remora.web.projection import project

    ids = snapshot.ids(where)
    if not ids:
        raise RemoraError(f"no clip passes the filter {where!r}; leave --where out to see all")
    points, place = project(snapshot.vectors(ids, space).astype(np.float32)), {name: at for at, name in enumerate(ids)}
    near: list[dict[str, Any]] = [{}] * len(ids)
    for own, hits in snapshot.neighbours(space, NEIGHBOURS, where=where):
        for name, others, scores in zip(own, hits.ids, hits.scores, strict=True):
            near[place[name]] = {"ids": [place[other] for other in others], "distances": (1 - scores).tolist()}
    said: dict[str, list[str]] = {name: [] for name in ids}
    captions = snapshot.captions(ids)
    for name, text in zip(captions["clip_id"].to_pylist(), captions["text"].to_pylist(), strict=True):
        said[name].append(text)
    kind = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])
    table = snapshot.rows(ids).append_column("text", pa.array(["; ".join(said[name]) or name for name in ids]))
    for name, column in (
        ("x", pa.array(points[:, 0])),
        ("y", pa.array(points[:, 1])),
        ("neighbors", pa.array(near, kind)),
    ):
        table = table.append_column(name, column)
    draft = path.with_name(f".{path.name}.partial")
    try:
        pq.write_table(table, draft, compression="zstd")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RemoraError(f"cannot write {path}: {error.strerror or error}; check the folder and its rights") from error
    return len(ids)


def write_rerun(clips: Iterable[Clip], path: Path) -> int:
    """Write clips as one Rerun recording (.rrd); how many.

    Raises:
        RemoraError: the package is missing, or the file cannot be written.
    """
    try:
        import rerun
    except ModuleNotFoundError as error:
        raise RemoraError("writing .rrd needs Rerun; run: pip install 'remora[rerun]', or write .parquet") from error

    if not path.parent.is_dir():
        raise RemoraError(f"{path}: the folder {path.parent} does not exist; create it first")
    draft = path.with_name(f".{path.stem}.partial.rrd")
    recording, count = rerun.RecordingStream("remora"), 0
    try:
        recording.save(draft)
        recording.log("/", rerun.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
        for clip in clips:
            _log_clip(rerun, recording, clip)
            count += 1
        recording.flush()
        recording.disconnect()
        draft.replace(path)
    except OSError as error:
        raise RemoraError(f"cannot write {path}: {error.strerror or error}; check rights and space") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def _log_clip(rerun: Any, recording: Any, clip: Clip) -> None:
    entity = f"clips/{rerun.escape_entity_path_part(clip.clip_id or clip.source.take or 'clip')}"
    parents = np.array(clip.skeleton.parents)
    bones = np.flatnonzero(parents >= 0)
    text = "\n".join(f"- {caption.text}" for caption in clip.captions)
    recording.log(f"{entity}/captions", rerun.TextDocument(text, media_type="text/markdown"), static=True)
    times = rerun.TimeColumn("seconds", duration=np.arange(len(clip)) / clip.fps)
    points = rerun.Points3D.columns(positions=clip.joints.reshape(-1, 3)).partition([len(parents)] * len(clip))
    recording.send_columns(f"{entity}/joints", [times], points)
    ends = np.stack([clip.joints[:, parents[bones]], clip.joints[:, bones]], axis=2)
    strips = rerun.LineStrips3D.columns(strips=list(ends.reshape(-1, 2, 3))).partition([len(bones)] * len(clip))
    recording.send_columns(f"{entity}/bones", [times], strips)
