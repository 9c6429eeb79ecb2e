"""Motions as files to take away: one, or an archive with what one must know about each."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from motion import Clip, write
from remora.web.clips import clip_answer
from remora.web.errors import StudioError

EXPORT_FORMATS = ("bvh", "glb", "npy", "npz", "png", "gif", "mp4")
ARCHIVE_FORMATS = ("bvh", "glb", "npy", "npz")  # quick ones: an archive may hold many


def check_format(name: str, known: Sequence[str] = EXPORT_FORMATS) -> str:
    """A format that can be written; StudioError 422 otherwise."""
    if name not in known:
        raise StudioError(422, "request", f"{name[:20]!r} is none of {', '.join(known)}; choose one of them")
    return name


def file_name(clip: Clip) -> str:
    """A name for a clip's file: the letters and digits of its id."""
    return re.sub(r"[^\w.-]+", "_", clip.clip_id, flags=re.ASCII).strip("._")[:120] or "motion"


def exported(clip: Clip, suffix: str) -> bytes:
    """A clip as the bytes of a file."""
    with tempfile.TemporaryDirectory(prefix="remora-") as folder:
        path = Path(folder) / f"{file_name(clip)}.{suffix}"
        write(clip, path)
        return path.read_bytes()


def archive(clips: Iterable[Clip], formats: Sequence[str], version: int) -> bytes:
    """A zip: a folder a format, and ``clips.json`` with captions, licence and origin of each clip."""
    with tempfile.TemporaryDirectory(prefix="remora-") as folder:
        place = Path(folder) / "motions.zip"
        cards = []
        taken: set[str] = set()
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as packed:
            for clip in clips:
                name = file_name(clip)
                while name in taken:
                    name += "_"
                taken.add(name)
                for suffix in formats:
                    packed.writestr(f"{suffix}/{name}.{suffix}", exported(clip, suffix))
                cards.append({"file": name} | clip_answer(clip, version).__dict__)
            text = json.dumps(cards, default=lambda value: value.__dict__, indent=1, ensure_ascii=False)
            packed.writestr("clips.json", text + "\n")
        return place.read_bytes()
