"""Clips become what a library stores: Arrow rows, caption rows, and one block of frames each.

- A block is an npy file (float32 [T, J, 3], no objects) of the clip as it was read: its own rate, metres, y up.
- What the joints do (speed, path, turn, contacts) goes into the row, so that it can be filtered by.
- What a reader assumed goes into ``notes`` as JSON, with the folder the take came from.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from motion import SKELETONS, Caption, Clip, JointStatistics, MotionError, Source, joint_statistics

ROW_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("clip_id", "source", "split", "subject", "take", "take_stamp")),
        *((name, pa.string()) for name in ("class_id", "class_text", "style")),
        *((name, pa.float64()) for name in ("start_s", "end_s", "duration_s")),
        ("fps", pa.float32()),
        ("n_frames", pa.int32()),
        ("mirrored", pa.bool_()),
        *((name, pa.string()) for name in ("skeleton", "licence", "origin", "sha256", "notes")),
        *((field.name, pa.float32()) for field in fields(JointStatistics)),
    ]
)
CAPTION_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("text", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("kind", pa.string()),
        ("tokens", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class StampedClip:
    """A clip with its id, the stamp of its take, and the folder that take was read from."""

    clip: Clip
    stamp: str
    folder: str


def with_ids(key: str, clips: Sequence[Clip]) -> list[Clip]:
    """``clips`` of the take ``key`` with their ids ``<key>#<start>-<end>``; a second one of equal span gets ``~2``."""
    named: list[Clip] = []
    seen: dict[str, int] = {}
    for clip in clips:
        clip_id = f"{key}#{clip.source.start_s:.2f}-{clip.source.end_s:.2f}"
        seen[clip_id] = seen.get(clip_id, 0) + 1
        named.append(replace(clip, clip_id=clip_id if seen[clip_id] == 1 else f"{clip_id}~{seen[clip_id]}"))
    return named


def row_table(clips: Sequence[StampedClip]) -> pa.Table:
    """One row a clip, columns of :data:`ROW_SCHEMA`."""
    return pa.Table.from_pylist([_row(item) for item in clips], schema=ROW_SCHEMA)


def _row(item: StampedClip) -> dict[str, Any]:
    clip, source = item.clip, item.clip.source
    return {
        "clip_id": clip.clip_id, "source": source.dataset, "split": source.split, "subject": source.subject,
        "take": source.take, "take_stamp": item.stamp, "class_id": clip.labels.get("class_id", ""),
        "class_text": clip.labels.get("class_text", ""), "style": clip.labels.get("style", ""),
        "start_s": source.start_s, "end_s": source.end_s, "duration_s": clip.duration_s, "fps": clip.fps,
        "n_frames": len(clip), "mirrored": source.mirrored, "skeleton": clip.skeleton.name, "licence": source.licence,
        "origin": source.origin, "sha256": clip.content_hash(),
        "notes": json.dumps({**source.notes, "folder": item.folder}, sort_keys=True, ensure_ascii=False),
        **asdict(joint_statistics(clip)),
    }  # fmt: skip


def caption_table(clips: Sequence[StampedClip]) -> pa.Table:
    """One row a caption, in the order of the clips, columns of :data:`CAPTION_SCHEMA`."""
    rows = [
        {
            "clip_id": item.clip.clip_id, "text": caption.text, "start_s": caption.start_s, "end_s": caption.end_s,
            "kind": caption.kind, "tokens": list(caption.tokens),
        }
        for item in clips
        for caption in item.clip.captions
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=CAPTION_SCHEMA)


def frame_block(clip: Clip) -> bytes:
    """The clip's joints as the bytes of an npy file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(clip.joints, dtype="<f4"), allow_pickle=False)
    return out.getvalue()


def joints_of_block(block: bytes) -> NDArray[np.float32]:
    """Joints [T, J, 3] of a block; the inverse of :func:`frame_block`.

    Raises:
        MotionError: the block is damaged.
    """
    try:
        joints = np.lib.format.read_array(io.BytesIO(block), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise MotionError(f"a block of {len(block)} bytes holds no frames ({error}); verify the library") from error
    return np.asarray(joints, dtype=np.float32)


def clip_of_row(row: dict[str, Any], captions: Sequence[dict[str, Any]], block: bytes) -> Clip:
    """The clip that a row, its caption rows and its block were made from; the inverse of the functions above."""
    notes = json.loads(row.get("notes") or "{}")
    source = Source(
        dataset=row["source"] or "", take=row["take"] or "", start_s=row["start_s"], end_s=row["end_s"],
        subject=row["subject"] or "", licence=row["licence"] or "", origin=row["origin"] or "",
        split=row["split"] or "", mirrored=bool(row["mirrored"]),
        notes={key: str(value) for key, value in notes.items()},
    )  # fmt: skip
    said = tuple(
        Caption(item["text"], item["start_s"], item["end_s"], item["kind"], tuple(item["tokens"] or ()))
        for item in captions
    )
    labels = {name: row[name] for name in ("class_id", "class_text", "style") if row[name]}
    return Clip(
        joints_of_block(block), SKELETONS[row["skeleton"]], float(row["fps"]), said, source, labels, row["clip_id"]
    )
