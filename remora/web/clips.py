"""What is told of a clip: its row and captions, without frames, and without where on this machine it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from db import Snapshot
from motion import Clip
from remora.web.answers import CaptionAnswer, ClipAnswer, ClipsAnswer
from remora.web.errors import without_paths

_TEXTS = ("clip_id", "source", "take", "skeleton", "subject", "split", "licence", "origin")
_NUMBERS = ("start_s", "end_s", "duration_s", "fps", "n_frames")
_LABELS = ("class_id", "class_text", "style")


def clip_answer(clip: Clip, version: int) -> ClipAnswer:
    """What is known of a clip in memory."""
    source = clip.source
    return ClipAnswer(
        clip_id=clip.clip_id, source=source.dataset, take=without_paths(source.take), start_s=source.start_s,
        end_s=source.end_s, duration_s=clip.duration_s, fps=clip.fps, n_frames=len(clip), skeleton=clip.skeleton.name,
        subject=source.subject, split=source.split, licence=source.licence, origin=without_paths(source.origin),
        mirrored=source.mirrored, labels={name: clip.labels[name] for name in _LABELS if clip.labels.get(name)},
        captions=tuple(CaptionAnswer(c.text, c.start_s, c.end_s, c.kind) for c in clip.captions), version=version,
    )  # fmt: skip


def clip_answers(snapshot: Snapshot, ids: Sequence[str]) -> tuple[ClipAnswer, ...]:
    """What is known of clips of the library, in the order of ``ids``."""
    rows = snapshot.rows(ids, [*_TEXTS, *_NUMBERS, *_LABELS, "mirrored"]).to_pylist()
    captions: dict[str, list[CaptionAnswer]] = {}
    for row in snapshot.captions(ids).to_pylist():
        answer = CaptionAnswer(row["text"], row["start_s"] or 0.0, row["end_s"] or 0.0, row["kind"] or "human")
        captions.setdefault(row["clip_id"], []).append(answer)
    return tuple(_answer(row, tuple(captions.get(row["clip_id"], ())), snapshot.version) for row in rows)


def _answer(row: Mapping[str, Any], captions: tuple[CaptionAnswer, ...], version: int) -> ClipAnswer:
    texts: dict[str, Any] = {name: row[name] or "" for name in _TEXTS}
    texts |= {name: without_paths(texts[name]) for name in ("take", "origin")}
    numbers = {name: row[name] for name in _NUMBERS}
    labels = {name: row[name] for name in _LABELS if row[name]}
    return ClipAnswer(
        **texts, **numbers, mirrored=bool(row["mirrored"]), labels=labels, captions=captions, version=version
    )  # fmt: skip


def page_of_clips(snapshot: Snapshot, where: Any, offset: int, limit: int) -> ClipsAnswer:
    """``limit`` clips that pass a filter, in the order of the library."""
    ids = snapshot.ids(where)
    stop = offset + limit
    items = clip_answers(snapshot, ids[offset:stop])
    return ClipsAnswer(snapshot.version, len(ids), offset, items, stop if stop < len(ids) else None)
